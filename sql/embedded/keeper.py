"""Stops an embedded server after its last user: a small process beside the server that needs only the standard library.

Every process that uses the server holds a shared lock on `users.lock`. The kernel releases a lock when its process
ends, even after a crash. So the keeper only has to wait for the exclusive lock, without polling or counting. The
server's own processes inherit a lock on `server.lock`. The server runs exactly as long as that lock is held, even if
`postmaster.pid` says otherwise.

sql/embedded/server.py starts it as `python keeper.py HOME KEEPER_LOCK_FD`.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_FAST, _IMMEDIATE = 30.0, 35.0
"""Seconds after which a fast shutdown becomes an immediate one, and after which the server is killed."""


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The contents of `postmaster.pid`."""

    pid: int
    socket_folder: str
    ready: bool


def open_lock(home: Path, name: str) -> int:
    """Open a lock file in a server's home, but never through a link that another user created."""
    lock = os.open(home / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    owner = home.stat().st_uid
    if os.geteuid() == 0 and os.fstat(lock).st_uid != owner:
        os.fchown(lock, owner, -1)
    return lock


def try_lock(home: Path, name: str, kind: int = fcntl.LOCK_EX) -> int | None:
    """Return a descriptor that holds the lock, or None if a conflicting lock is held."""
    lock = open_lock(home, name)
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise
    return lock


def is_free(home: Path, name: str, kind: int = fcntl.LOCK_EX) -> bool:
    """Return whether the lock is free."""
    lock = try_lock(home, name, kind)
    if lock is None:
        return False
    os.close(lock)
    return True


def read_postmaster(home: Path) -> Postmaster | None:
    """Return the server that runs on the home's data, or None if there is none or it has not started yet."""
    data = home / "data"
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        postmaster = Postmaster(int(lines[0]), lines[4], len(lines) > 7 and lines[7].strip() == "ready")
    except (OSError, ValueError, IndexError):
        return None
    return postmaster if _is_alive(postmaster.pid, data) else None


def _is_alive(pid: int, data: Path) -> bool:
    """Return whether this process serves this data. The id may belong to another process by now."""
    try:
        try:
            os.kill(pid, 0)
            # A postmaster's working directory is its data folder. Without /proc, the process id is the only evidence.
            return not os.path.exists("/proc/self/cwd") or os.path.samefile(f"/proc/{pid}/cwd", data)
        except PermissionError:
            # Root in a container may not inspect other users' processes, but can see their owners.
            return os.stat(f"/proc/{pid}").st_uid == data.stat().st_uid
    except OSError:
        return False


def is_server(pid: int) -> bool:
    """Return whether a process is a PostgreSQL server. Without /proc, assume that it is."""
    try:
        program, _, _ = Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")
    except OSError:
        return True
    return b"postgres" in os.path.basename(program) or b"postmaster" in os.path.basename(program)


def find_outside(home: Path) -> Path | None:
    """Return the folder outside the home that its server uses, or None if it uses none."""
    try:
        folder = Path((home / "outside").read_text())
        # Accept only a folder that names this home. The home may belong to another user, who could otherwise make this
        # process remove any folder.
        belongs = folder.lstat().st_uid == os.geteuid() and (folder / "home").read_text() == str(home)
    except OSError:
        return None
    return folder if belongs else None


def remove_outside(home: Path) -> None:
    """Remove the folder outside the home, if there is one."""
    folder = find_outside(home)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    (home / "outside").unlink(missing_ok=True)


def end_server(home: Path) -> None:
    """Stop a home's server and wait until it has ended."""
    began = time.monotonic()
    sent: set[signal.Signals] = set()
    while not is_free(home, "server"):
        waited = time.monotonic() - began
        kind = signal.SIGINT if waited < _FAST else signal.SIGQUIT if waited < _IMMEDIATE else signal.SIGKILL
        postmaster = read_postmaster(home)
        if postmaster is not None and kind not in sent:
            sent.add(kind)
            with contextlib.suppress(ProcessLookupError):
                os.kill(postmaster.pid, kind)
        elif waited > 2 * _IMMEDIATE:
            return
        time.sleep(0.02)


def main(home: Path, keeper_lock: int) -> None:
    """Wait for the last user, then stop the server."""
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, signal.SIG_IGN)
    users = open_lock(home, "users")
    fcntl.flock(users, fcntl.LOCK_EX)
    end_server(home)
    remove_outside(home)
    # Release this lock first: a process that finds it held relies on its holder to wait for the users.
    fcntl.flock(keeper_lock, fcntl.LOCK_UN)
    os.close(users)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
