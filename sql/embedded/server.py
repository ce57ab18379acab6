"""An embedded PostgreSQL server in a folder, for demos and tests: `database.url = "embedded:DIR"`.

Several processes may use a folder at the same time. The first one starts the server, and sql/embedded/keeper.py stops
it after the last one. If the server dies, the first process that notices restarts it. It listens only on a unix socket
in a private folder, and accepts only the user that started it (peer authentication).
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
"""How long a start may take, including another process's initdb or a recovery after a crash."""
_STOP_SECONDS = 90.0
_TICK_SECONDS = 0.02
_OURS = {"data", "start.lock"}
"""Every folder in which a server was started contains at least one of these."""
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


class EmbeddedServer:
    """A process's use of the server in a folder. The server runs at least until this process calls `close`."""

    def __init__(
        self, home: Path, users_lock: int, socket_folder: str, settings: Mapping[str, str], binaries: Binaries
    ) -> None:
        host = quote(socket_folder, safe="/")
        self.dsn = f"postgresql://{SUPERUSER}@/postgres?host={host}&port={PORT}"
        """The URL for asyncpg and libpq. It contains no secret: the kernel tells the server which user connects."""
        self._home = home
        self._users_lock: int | None = users_lock
        self._settings = settings
        self._binaries = binaries
        self._one_at_a_time = threading.Lock()

    @classmethod
    def open(
        cls, directory: Path, settings: Mapping[str, str] = _NO_SETTINGS, binaries: Binaries | None = None
    ) -> Self:
        """Start the server in `directory`, or join its other users. Returns when it accepts connections.

        `settings` are the server's, such as `{"fsync": "off"}`. They are ignored if the server is already running.
        Raises ServerBinariesMissing and EmbeddedServerFailed.
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

    def restart_if_dead(self) -> bool:
        """Restart the server if it has died, and return whether it was restarted. Raises EmbeddedServerFailed.

        The URL stays the same. A keeper that was killed is replaced.
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
        """Stop using the server. If this was its last user, returns when the server has ended."""
        with self._one_at_a_time:
            if self._users_lock is None:
                return
            users_lock, self._users_lock = self._users_lock, None
        # If the folder was removed, PostgreSQL notices and stops by itself, within a minute.
        with contextlib.suppress(FileNotFoundError):
            try:
                # The keeper stops the server. Replace it if it was killed.
                _ensure_keeper(self._home)
            finally:
                os.close(users_lock)
            self._wait_for_the_end()

    def _wait_for_the_end(self) -> None:
        """Wait until the server has ended, or another process is found to be using it."""
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline:
            if keeper.is_free(self._home, "keeper"):
                if keeper.is_free(self._home, "server"):
                    return
                # The keeper was being killed.
                _ensure_keeper(self._home)
            # The lock is held, but not exclusively, so it is held by users and not by the keeper.
            if not keeper.is_free(self._home, "users") and keeper.is_free(self._home, "users", fcntl.LOCK_SH):
                return
            time.sleep(_TICK_SECONDS)

    @classmethod
    async def start(cls, directory: Path, settings: Mapping[str, str] = _NO_SETTINGS) -> Self:
        """Like `open`, without blocking the event loop."""
        return await asyncio.to_thread(cls.open, directory, settings)

    async def stop(self) -> None:
        """Like `close`, without blocking the event loop."""
        await asyncio.to_thread(self.close)


def _unusable(home: Path, error: OSError) -> EmbeddedServerFailed:
    return EmbeddedServerFailed(f"the folder {home} cannot be used: {error.strerror}")


def _prepare_home(home: Path) -> None:
    """Create the folder. Others may enter it only if we are root, because the server is another user then."""
    if not home.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    elif (there := set(os.listdir(home))) and there.isdisjoint(_OURS):
        # The files below are recognized by their names alone, so another program's files could be overwritten.
        raise EmbeddedServerFailed(f"the folder {home} is neither empty nor a database: choose a new one")


def _take(home: Path, name: str, kind: int = fcntl.LOCK_EX) -> int:
    """Wait for one of the home's locks, and return its descriptor."""
    deadline = time.monotonic() + _START_SECONDS
    while (lock := keeper.try_lock(home, name, kind)) is None:
        if time.monotonic() > deadline:
            raise EmbeddedServerFailed(f"timed out while another process was starting or stopping the server in {home}")
        time.sleep(_TICK_SECONDS)
    return lock


def _ensure_running(home: Path, settings: Mapping[str, str], binaries: Binaries) -> str:
    """Make sure that a server accepts connections and has a keeper. Returns the folder of its socket."""
    _ensure_keeper(home)
    launched = False
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        server_lock = keeper.try_lock(home, "server")
        if server_lock is not None:
            try:
                if launched:
                    raise EmbeddedServerFailed(f"the server in {home} exited immediately: {last_lines(home)}")
                Launch(home, binaries, settings).run(server_lock)
                launched = True
            finally:
                os.close(server_lock)
        postmaster = keeper.read_postmaster(home)
        if postmaster is not None and postmaster.ready:
            return postmaster.socket_folder
        time.sleep(_TICK_SECONDS)
    raise EmbeddedServerFailed(f"the server in {home} did not become ready in time: {last_lines(home)}")


def _ensure_keeper(home: Path) -> None:
    """Start a keeper unless there is one. It is started before the server, which therefore always has one."""
    keeper_lock = keeper.try_lock(home, "keeper")
    if keeper_lock is None:
        return
    try:
        argv = (sys.executable, "-I", "-S", keeper.__file__, str(home), str(keeper_lock))
        ServerUser().detach(*argv, pass_fds=(keeper_lock,))
    finally:
        os.close(keeper_lock)
