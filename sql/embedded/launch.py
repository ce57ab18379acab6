"""Starts the process of an embedded server: its user, its folders and its settings.

PostgreSQL refuses to run as root. If this process is root, the server runs as an unprivileged user that owns only the
data and the socket.
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
# A unix socket's address has 104 bytes on some systems and 108 on others, including a final NUL.
_SOCKET_PATH_BYTES = 103
_ROOM_BYTES = 64 << 20
"""A little more than the disk space that a new database takes."""
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
    # The text of a failed statement may contain secrets.
    "log_min_error_statement": "panic",
}


class EmbeddedServerFailed(Exception):  # noqa: N818 - names what happened
    """The embedded server could not be started. The message says why, with the end of its log."""


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The user that the server runs as. None: the current user."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def of(cls, home: Path) -> Self:
        """Return the server's user. For root: the owner of the data or of the home, otherwise an unprivileged user."""
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
            f"PostgreSQL does not run as root, and there is no user named {' or '.join(_UNPRIVILEGED)} to run it as"
        )

    def run(self, *argv: str | Path, pass_fds: tuple[int, ...] = (), log: int | None = None) -> bool:
        """Run a program as this user, with its output in `log`. Returns whether it succeeded."""
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
                # Ctrl-C in a terminal would reach every process of the session.
                start_new_session=True,
                check=False,
            )
        except PermissionError:
            return False
        return done.returncode == 0

    def reaches(self, folder: Path) -> bool:
        """Return whether this user may enter a folder."""
        return self.run("/bin/sh", "-c", 'test -x "$0"', folder)

    def detach(self, *argv: str | Path, pass_fds: tuple[int, ...], log: int | None = None) -> None:
        """Run a program as this user, detached, so that it outlives this process and needs no wait()."""
        self.run("/bin/sh", "-c", 'exec "$0" "$@" &', *argv, pass_fds=pass_fds, log=log)


@dataclass(slots=True)
class Launch:
    """One start of a server. The caller holds the home's start lock."""

    home: Path
    binaries: Binaries
    settings: Mapping[str, str]
    user: ServerUser = field(init=False)
    reachable: bool = field(init=False)
    """Whether the server's user can access the home by its path. It cannot if a private folder of root is above it."""

    def __post_init__(self) -> None:
        self.user = ServerUser.of(self.home)
        self.reachable = self.user.reaches(self.home)

    def run(self, server_lock: int) -> None:
        """Start the server's process, which inherits the lock. It is not ready yet when this returns."""
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
        """Remove the files that a killed server left behind. It is not running, because we hold its lock."""
        (self.home / "data" / "postmaster.pid").unlink(missing_ok=True)
        for place in (self.home, keeper.find_outside(self.home)):
            for leftover in ("data.new", "binaries", "socket"):
                if place is not None:
                    shutil.rmtree(place / leftover, ignore_errors=True)

    def _prepare_place(self) -> Path:
        """Create the socket's folder, and copies of the binaries if necessary, where the server's user can access them.

        Returns the socket's folder.
        """
        socket = os.fsencode(self.home / "socket" / f".s.PGSQL.{PORT}")
        # Clients treat a comma as the end of a host name and cannot escape it.
        usable = len(socket) <= _SOCKET_PATH_BYTES and b"," not in socket
        place = self.home if self.reachable and usable else self._make_outside()
        if not self._runs():
            copies = (self.home if self.reachable else place) / "binaries"
            copies.mkdir()
            copies.chmod(0o755)
            self.binaries = self.binaries.copy_into(copies)
            if not self._runs():
                raise EmbeddedServerFailed(f"the PostgreSQL binaries run neither in their own folder nor from {copies}")
        socket_folder = place / "socket"
        socket_folder.mkdir(mode=0o700)
        if self.user.uid is not None and self.user.gid is not None:
            os.chown(socket_folder, self.user.uid, self.user.gid)
        return socket_folder

    def _runs(self) -> bool:
        return self.user.run(self.binaries.bin / "postgres", "--version")

    def _make_outside(self) -> Path:
        """Create a private folder outside the home, if clients or the server's user cannot use the home's path.

        It is removed with the server. The home records where it is.
        """
        # Reuse it after a crash, so that the users of the server find the next server in the same place.
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
                    # The disk may be full, for example. Without the record, nothing would find the folder again.
                    shutil.rmtree(folder)
                    raise
                if self.user.uid is not None:
                    folder.chmod(0o711)
                return folder
        raise EmbeddedServerFailed("the server's user cannot access any folder for temporary files")

    def _open_new(self, name: str) -> int:
        """Open and truncate a file in the home, but never through a link that another user created."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self.home / name, flags, 0o600)

    def _name_for_server(self, data: Path, folder: int) -> str:
        """Return the path of the data, or of its descriptor if the server's user cannot use the path.

        Below a private home, another user can reach the data only through an inherited descriptor. This way no parent
        folder has to be made accessible.
        """
        if self.reachable:
            return str(data)
        if not Path("/proc/self/fd").is_dir():
            raise EmbeddedServerFailed(f"the server's user cannot access {self.home}; choose another folder")
        return f"/proc/self/fd/{folder}"

    def _create_data(self, server_lock: int, log: int) -> None:
        """Run initdb in a temporary folder, so that a folder named `data` is always complete."""
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
            # Root can do anything with the server's files anyway.
            people = dict.fromkeys((pwd.getpwuid(os.geteuid()).pw_name, "root"))
            logins = [f'sitelatch "{person}" {login}\n' for person in people for login in _LOGINS]
            _write_inside(folder, "pg_ident.conf", "".join(logins))
        finally:
            os.close(folder)
        aside.rename(self.home / "data")

    def _check_data(self, data: Path) -> None:
        """Raise EmbeddedServerFailed if these binaries cannot serve this data, or another server is using it."""
        try:
            found = (data / "PG_VERSION").read_text().strip()
        except OSError:
            raise EmbeddedServerFailed(
                f"{data} exists and does not contain a PostgreSQL database; nothing was changed. Choose another folder"
            ) from None
        own = self.binaries.version
        if found != str(own):
            raise EmbeddedServerFailed(
                f"{data} was created by PostgreSQL {found} and cannot be read by the installed version {own}; nothing "
                f"was changed. To keep the data, run PostgreSQL {found} on it, dump it with pg_dump, and restore the "
                "dump into a new folder. To start over, choose another folder, or move this one away"
            )
        # The lock is free, so a server that runs there was not started by Sitelatch.
        running = keeper.read_postmaster(self.home)
        if running is not None and keeper.is_server(running.pid):
            raise EmbeddedServerFailed(
                f"another PostgreSQL server, process {running.pid}, is running on {data}: stop it first. "
                f"If there is no such process, remove {data}/postmaster.pid"
            )


def _write_inside(folder: int, name: str, text: str) -> None:
    """Overwrite a file in an open folder that belongs to another user."""
    file = os.open(name, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW, dir_fd=folder)
    with open(file, "w", encoding="utf-8") as writer:
        writer.write(text)


def last_lines(home: Path) -> str:
    """Return the end of the server's log. If the disk is full, say so, because the log may be incomplete."""
    lines = " / ".join((home / "server.log").read_text(errors="replace").splitlines()[-5:])
    free = shutil.disk_usage(home).free
    return lines if free > _ROOM_BYTES else f"the disk of {home} is full: only {free >> 20} MB are free ({lines})"
