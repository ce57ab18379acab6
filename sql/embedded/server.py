"""A PostgreSQL server of our own in a folder, for trying out and for the tests: `database.url = "embedded:DIR"`.

Several processes may use one folder at a time: the first starts the server, and sql/embedded/keeper.py ends it with
the last.
Where it dies under them, whoever notices first starts it again.
It listens on a unix socket in a private folder only, and lets in whoever started it (peer authentication).
"""

import asyncio
import contextlib
import fcntl
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self
from urllib.parse import quote

from sql.embedded import keeper
from sql.embedded.binaries import Binaries, ServerBinariesMissing, find_binaries
from sql.embedded.launch import PORT, SUPERUSER, EmbeddedServerFailed, Launch, ServerUser, last_lines

__all__ = ["EmbeddedServer", "EmbeddedServerFailed", "ServerBinariesMissing"]

_START_SECONDS = 120.0
"""How long a start may take: another process's initdb, or recovery after a crash."""
_STOP_SECONDS = 90.0
_TICK_SECONDS = 0.02
_OURS = {"data", "start.lock"}
"""One of these is in every folder that a server was started in."""
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


class EmbeddedServer:
    """One process's use of the server in a folder. The server lives at least as long as this does."""

    def __init__(
        self, home: Path, users_lock: int, socket_folder: str, settings: Mapping[str, str], binaries: Binaries
    ) -> None:
        host = quote(socket_folder, safe="/")
        self.dsn = f"postgresql://{SUPERUSER}@/postgres?host={host}&port={PORT}"
        """For asyncpg and libpq alike. It holds no secret: the server asks the kernel who is there."""
        self._home = home
        self._users_lock: int | None = users_lock
        self._settings = settings
        self._binaries = binaries
        self._one_at_a_time = threading.Lock()

    @classmethod
    def open(
        cls, directory: Path, settings: Mapping[str, str] = _NO_SETTINGS, binaries: Binaries | None = None
    ) -> Self:
        """Start the server in `directory`, or join those who use it; return when it takes connections.

        `settings` are the server's own (`{"fsync": "off"}`); they count only where this starts it.
        ServerBinariesMissing, or EmbeddedServerFailed with the reason.
        """
        binaries = find_binaries() if binaries is None else binaries
        home = Path(os.path.abspath(directory))
        try:
            _prepare_home(home)
            start_lock = _take(home, "start")
            try:
                users_lock = _take(home, "users", fcntl.LOCK_SH)
                try:
                    socket_folder = _ensure_running(home, settings, binaries)
                except BaseException:
                    os.close(users_lock)
                    raise
            finally:
                os.close(start_lock)
        except OSError as error:
            raise _unusable(home, error) from error
        return cls(home, users_lock, socket_folder, settings, binaries)

    def revive(self) -> bool:
        """Start the server again if it has ended under its users; return whether it had. Raises EmbeddedServerFailed.

        It is found where it was: the DSN stays. Where the keeper was killed there is another afterwards.
        """
        with self._one_at_a_time:
            try:
                if self._users_lock is None:
                    return False
                _ensure_keeper(self._home)
                if not keeper.is_free(self._home, "server"):
                    return False
                start_lock = _take(self._home, "start")
                try:
                    _ensure_running(self._home, self._settings, self._binaries)
                finally:
                    os.close(start_lock)
            except OSError as error:
                raise _unusable(self._home, error) from error
            return True

    def close(self) -> None:
        """Stop using the server. Where this was its last user, return when it has ended and nothing of it is left."""
        with self._one_at_a_time:
            if self._users_lock is None:
                return
            users_lock, self._users_lock = self._users_lock, None
        # A folder that was removed under the server: PostgreSQL notices by itself, within a minute.
        with contextlib.suppress(FileNotFoundError):
            try:
                # The keeper ends the server; should it have been killed, here is another.
                _ensure_keeper(self._home)
            finally:
                os.close(users_lock)
            self._wait_for_the_end()

    def _wait_for_the_end(self) -> None:
        """Return when the server has ended, or when it is seen that others use it."""
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline:
            if keeper.is_free(self._home, "keeper"):
                if keeper.is_free(self._home, "server"):
                    return
                # The one that was relied on was being killed.
                _ensure_keeper(self._home)
            # Held by users, then: the keeper would be the only one.
            if not keeper.is_free(self._home, "users") and keeper.is_free(self._home, "users", fcntl.LOCK_SH):
                return
            time.sleep(_TICK_SECONDS)

    @classmethod
    async def start(cls, directory: Path, settings: Mapping[str, str] = _NO_SETTINGS) -> Self:
        """Do what `open` does, beside the event loop."""
        return await asyncio.to_thread(cls.open, directory, settings)

    async def stop(self) -> None:
        """Do what `close` does, beside the event loop."""
        await asyncio.to_thread(self.close)


def _unusable(home: Path, error: OSError) -> EmbeddedServerFailed:
    return EmbeddedServerFailed(f"the folder {home} cannot be used: {error.strerror}")


def _prepare_home(home: Path) -> None:
    """Make the folder; only as root may others enter it: the server is another user there."""
    if not home.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    elif (there := set(os.listdir(home))) and there.isdisjoint(_OURS):
        # What is removed and written below is ours by its name alone.
        raise EmbeddedServerFailed(f"the folder {home} holds something else: choose a new one for the database")


def _take(home: Path, name: str, kind: int = fcntl.LOCK_EX) -> int:
    """Wait for one of the home's locks."""
    deadline = time.monotonic() + _START_SECONDS
    while (lock := keeper.try_lock(home, name, kind)) is None:
        if time.monotonic() > deadline:
            raise EmbeddedServerFailed(f"another process has been starting or ending the server in {home} for too long")
        time.sleep(_TICK_SECONDS)
    return lock


def _ensure_running(home: Path, settings: Mapping[str, str], binaries: Binaries) -> str:
    """Return the folder of the socket of a server that takes connections, and that has a keeper."""
    _ensure_keeper(home)
    launched = False
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        server_lock = keeper.try_lock(home, "server")
        if server_lock is not None:
            try:
                if launched:
                    raise EmbeddedServerFailed(f"the server in {home} ended at once: {last_lines(home)}")
                Launch(home, binaries, settings).run(server_lock)
                launched = True
            finally:
                os.close(server_lock)
        postmaster = keeper.read_postmaster(home)
        if postmaster is not None and postmaster.ready:
            return postmaster.socket_folder
        time.sleep(_TICK_SECONDS)
    raise EmbeddedServerFailed(f"the server in {home} does not become ready: {last_lines(home)}")


def _ensure_keeper(home: Path) -> None:
    """Start a keeper unless there is one. It comes before the server, which so never is without."""
    keeper_lock = keeper.try_lock(home, "keeper")
    if keeper_lock is None:
        return
    try:
        argv = (sys.executable, "-I", "-S", keeper.__file__, str(home), str(keeper_lock))
        ServerUser().detach(*argv, pass_fds=(keeper_lock,))
    finally:
        os.close(keeper_lock)
