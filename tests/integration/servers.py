"""Helpers for embedded server tests: processes that use a server, its state seen from outside, and full disks."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sql.embedded import keeper
from sql.pool import open_connection
from tests.database import run_aside

AS_ROOT = os.geteuid() == 0
USER = """
import sys
from pathlib import Path
from sql.embedded.server import EmbeddedServer

server = EmbeddedServer.open(Path(sys.argv[1]), {"fsync": "off"})
print(server.dsn, flush=True)
sys.stdin.read()
server.close()
"""


class User:
    """Another process that uses the server in a directory until it leaves or is killed."""

    def __init__(self, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def dsn(self) -> str:
        """Wait until the server runs, and return its DSN."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        self.process.communicate(timeout=60)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A directory for a server. Processes that are left at the end of the test are stopped."""
    folder = tmp_path / "postgres"
    yield folder
    if folder.is_dir():
        keeper.end_server(folder)
        keeper.remove_outside(folder)


def fetch_value(dsn: str, statement: str) -> object:
    """Run a statement, and return its only value."""

    async def fetch() -> object:
        connection = await open_connection(dsn, role="tests")
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return run_aside(fetch())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(home: Path) -> bool:
    return keeper.is_free(home, "server") and keeper.is_free(home, "keeper")


def postmaster(home: Path) -> int:
    found = keeper.read_postmaster(home)
    assert found is not None
    return found.pid


def keeper_of(home: Path) -> int:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if os.fsencode(keeper.__file__) in words and os.fsencode(home) in words:
                return int(process.name)
    raise AssertionError("no keeper is running")


@contextlib.contextmanager
def disk(folder: Path, size: str) -> Iterator["Disk"]:
    """Mount a small file system at a directory, so that it can really become full. `size` is like `32m`."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root, and some containers do not allow it")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


class Disk:
    """A mounted file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Use up all free space."""
        with contextlib.suppress(OSError), (self.folder / "filler").open("ab", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))

    def free(self) -> None:
        """Free the space again."""
        (self.folder / "filler").unlink(missing_ok=True)

    def resize(self, size: str) -> None:
        """Change the size of the file system."""
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True)
