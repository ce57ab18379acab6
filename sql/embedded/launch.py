"""Starting an embedded server's process: its user, its folders, its settings (sql/embedded/server.py says when).

PostgreSQL refuses to run as root; there it runs as an unprivileged user who owns nothing but the data and the socket.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from sql.embedded import keeper
from sql.embedded.binaries import Binaries

SUPERUSER = "postgres"
_LOGINS = (SUPERUSER, "sitelatch_owner", "sitelatch_admin", "sitelatch_doors")
PORT = 5432
# A unix socket's address holds 104 bytes on some systems, 108 on others, with a NUL at its end.
_SOCKET_PATH_BYTES = 103
_ROOM_BYTES = 64 << 20
"""What a new database takes, and a little more."""
_UNPRIVILEGED = ("nobody", "postgres", "daemon")

_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A failed statement's text may hold what must not be in a log.
    "log_min_error_statement": "panic",
}


class EmbeddedServerFailed(Exception):  # noqa: N818 - it says what it is
    """The embedded server could not be started; the text says why, with the end of its log."""


@dataclass(frozen=True, slots=True)
class ServerUser:
    """Whose process the server is; None: ours."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def of(cls, home: Path) -> Self:
        """As root: the owner of the data where there is some, else the home's owner, else somebody unprivileged."""
        if os.geteuid() != 0:
            return cls()
        for folder in (home / "data", home):
            if folder.is_dir() and (found := folder.lstat()).st_uid != 0:
                return cls(found.st_uid, found.st_gid)
        for name in _UNPRIVILEGED:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid)
        raise EmbeddedServerFailed(
            f"PostgreSQL does not run as root, and there is no user {' or '.join(_UNPRIVILEGED)}"
        )

    def run(self, *argv: str | Path, pass_fds: tuple[int, ...] = (), log: int | None = None) -> bool:
        """Run a program as this user; whether it succeeded. What it says goes to `log`."""
        try:
            done = subprocess.run(  # noqa: S603 - our own words and paths, no shell
                argv,
                user=self.uid,
                group=self.gid,
                extra_groups=None if self.uid is None else [],
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if log is None else log,
                stderr=subprocess.DEVNULL if log is None else log,
                pass_fds=pass_fds,
                # Ctrl-C in a terminal goes to all of its session.
                start_new_session=True,
                check=False,
            )
        except PermissionError:
            return False
        return done.returncode == 0

    def reaches(self, folder: Path) -> bool:
        """Whether this user may enter a folder."""
        return self.run("/bin/sh", "-c", 'test -x "$0"', folder)

    def detach(self, *argv: str | Path, pass_fds: tuple[int, ...], log: int | None = None) -> None:
        """Run a program as this user that outlives us, and is nobody's child to wait for."""
        self.run("/bin/sh", "-c", 'exec "$0" "$@" &', *argv, pass_fds=pass_fds, log=log)


@dataclass(slots=True)
class Launch:
    """One launch of a server, by whoever holds the home's start lock."""

    home: Path
    binaries: Binaries
    settings: Mapping[str, str]
    user: ServerUser = field(init=False)
    reachable: bool = field(init=False)
    """Whether a path leads the server's user to the home. Under a private home, as root, none does."""

    def __post_init__(self) -> None:
        self.user = ServerUser.of(self.home)
        self.reachable = self.user.reaches(self.home)

    def run(self, server_lock: int) -> None:
        """Start the server's process; it inherits the lock, and is not ready yet when this returns."""
        data = self.home / "data"
        if os.path.lexists(data):
            self._check_data(data)
        self._clean_up()
        socket_folder = self._prepare_place()
        log = self._open_new("server.log")
        try:
            if not data.is_dir():
                self._create_data(server_lock, log)
            folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                settings = _SETTINGS | {"unix_socket_directories": '"' + str(socket_folder).replace('"', '""') + '"'}
                if self.binaries.version >= 18:
                    settings["io_method"] = "sync"
                options = [part for item in (settings | dict(self.settings)).items() for part in ("-c", "=".join(item))]
                self.user.detach(
                    self.binaries.bin / "postgres",
                    "-D",
                    self._name_for_server(data, folder),
                    *options,
                    pass_fds=(server_lock, folder),
                    log=log,
                )
            finally:
                os.close(folder)
        finally:
            os.close(log)

    def _clean_up(self) -> None:
        """Remove what a server that was killed left behind. Nothing of it lives: its lock is ours."""
        (self.home / "data" / "postmaster.pid").unlink(missing_ok=True)
        for place in (self.home, keeper.find_outside(self.home)):
            for leftover in ("data.new", "binaries", "socket"):
                if place is not None:
                    shutil.rmtree(place / leftover, ignore_errors=True)

    def _prepare_place(self) -> Path:
        """Put the socket's folder, and if need be copies of the binaries, where the server's user reaches them.

        Return the socket's folder.
        """
        socket = os.fsencode(self.home / "socket" / f".s.PGSQL.{PORT}")
        # Clients take a comma for the end of one host's name, and have no way to escape it.
        usable = len(socket) <= _SOCKET_PATH_BYTES and b"," not in socket
        place = self.home if self.reachable and usable else self._make_outside()
        if not self._runs():
            copies = (self.home if self.reachable else place) / "binaries"
            copies.mkdir()
            copies.chmod(0o755)
            self.binaries = self.binaries.copy_into(copies)
            if not self._runs():
                raise EmbeddedServerFailed(f"the PostgreSQL binaries cannot be run, neither in place nor in {copies}")
        socket_folder = place / "socket"
        socket_folder.mkdir(mode=0o700)
        if self.user.uid is not None and self.user.gid is not None:
            os.chown(socket_folder, self.user.uid, self.user.gid)
        return socket_folder

    def _runs(self) -> bool:
        return self.user.run(self.binaries.bin / "postgres", "--version")

    def _make_outside(self) -> Path:
        """Make a private folder outside of the home, for a home whose path no client can use, or the server's user.

        It goes with the server; the home says where it is.
        """
        # Users of a server that died find the next one where it was.
        if (left := keeper.find_outside(self.home)) is not None:
            return left
        for candidate in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp", "/run")):  # noqa: S108 - mkdtemp
            if os.access(candidate, os.W_OK | os.X_OK) and self.user.reaches(Path(candidate)):
                folder = Path(tempfile.mkdtemp(prefix="sitelatch-", dir=candidate))
                (folder / "home").write_text(str(self.home))
                try:
                    with open(self._open_new("outside"), "w") as record:
                        record.write(str(folder))
                except OSError:
                    # On a full disk, say: nobody would find it any more.
                    shutil.rmtree(folder)
                    raise
                if self.user.uid is not None:
                    folder.chmod(0o711)
                return folder
        raise EmbeddedServerFailed("there is no folder for temporary files that the server's user can reach")

    def _open_new(self, name: str) -> int:
        """Open a file of the home, emptied; never through a link that somebody else put there."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self.home / name, flags, 0o600)

    def _name_for_server(self, data: Path, folder: int) -> str:
        """Return the data's path, or the name of its descriptor where the server's user cannot walk the path.

        Below a private home no path leads to the data for another user, but a descriptor that is inherited does; so
        no parent folder needs to be opened.
        """
        if self.reachable:
            return str(data)
        if not Path("/proc/self/fd").is_dir():
            raise EmbeddedServerFailed(f"the server's user cannot reach {self.home}; choose another folder")
        return f"/proc/self/fd/{folder}"

    def _create_data(self, server_lock: int, log: int) -> None:
        """Run initdb, aside: a folder named `data` is always whole."""
        aside = self.home / "data.new"
        aside.mkdir(mode=0o700)
        folder = os.open(aside, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if self.user.uid is not None and self.user.gid is not None:
                os.fchown(folder, self.user.uid, self.user.gid)
            options = ["--username", SUPERUSER, "--encoding=UTF8", "--locale=C", "--auth=peer", "--no-instructions"]
            if self.binaries.version >= 17:
                options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            if self.settings.get("fsync") == "off":
                options.append("--no-sync")
            name = self._name_for_server(aside, folder)
            argv: list[str | Path] = [self.binaries.bin / "initdb", "-D", name, *options]
            if not self.user.run(*argv, pass_fds=(server_lock, folder), log=log):
                raise EmbeddedServerFailed(f"initdb failed: {last_lines(self.home)}")
            _write_inside(folder, "pg_hba.conf", "local all all peer map=sitelatch\n")
            # Root may do anything to the server's files anyway.
            people = dict.fromkeys((pwd.getpwuid(os.geteuid()).pw_name, "root"))
            logins = [f'sitelatch "{person}" {login}\n' for person in people for login in _LOGINS]
            _write_inside(folder, "pg_ident.conf", "".join(logins))
        finally:
            os.close(folder)
        aside.rename(self.home / "data")

    def _check_data(self, data: Path) -> None:
        """Raise EmbeddedServerFailed unless this is a server's data that these binaries may serve now."""
        try:
            found = (data / "PG_VERSION").read_text().strip()
        except OSError:
            raise EmbeddedServerFailed(
                f"{data} is there and is not PostgreSQL's: nothing was changed. Choose another folder"
            ) from None
        own = self.binaries.version
        if found != str(own):
            raise EmbeddedServerFailed(
                f"{data} is of PostgreSQL {found}, the binaries are {own} and cannot read it: nothing was changed. "
                f"To keep what it holds, run PostgreSQL {found} on it, dump it with pg_dump, and restore that into a "
                "new folder. To begin anew, choose another folder, or move this one away"
            )
        # Nobody holds our lock, so whatever runs there was not started by us.
        running = keeper.read_postmaster(self.home)
        if running is not None and keeper.is_server(running.pid):
            raise EmbeddedServerFailed(
                f"a PostgreSQL server that is not ours, process {running.pid}, runs on {data}: end it first. "
                f"If there is none, remove {data}/postmaster.pid"
            )


def _write_inside(folder: int, name: str, text: str) -> None:
    """Replace the text of a file in an open folder that belongs to another user."""
    file = os.open(name, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW, dir_fd=folder)
    with open(file, "w", encoding="utf-8") as writer:
        writer.write(text)


def last_lines(home: Path) -> str:
    """Return the end of the server's log, and that there is no room, where that is so: then the log is not whole."""
    said = " / ".join((home / "server.log").read_text(errors="replace").splitlines()[-5:])
    free = shutil.disk_usage(home).free
    return said if free > _ROOM_BYTES else f"there is no room on the disk of {home}, {free >> 20} MB are free ({said})"
