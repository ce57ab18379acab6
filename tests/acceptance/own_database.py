"""A PostgreSQL server for one test, which the test can stop, kill, freeze, overload and restore.

It listens on loopback and requires passwords. Sitelatch logs in with the roles of sql/roles.sql, as in production.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg

from sql.embedded import keeper
from sql.embedded.binaries import find_binaries
from sql.embedded.server import EmbeddedServer
from sql.migrate import migrate
from sql.pool import open_connection
from tests.acceptance.harness import REPOSITORY
from tests.acceptance.wire import DEADLINE_SECONDS
from tests.database import data_directory, run_aside
from tests.ports import free_port

NAME = "fleet"
"""The name of the database."""

MAX_CONNECTIONS = 40

_HBA = "local all all peer map=sitelatch\nhost all,replication all 127.0.0.1/32 scram-sha-256\n"


class OwnDatabase:
    """One server with its data in a directory, and one database with the tables and roles of Sitelatch."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._port = free_port()
        self._password = secrets.token_hex(16)
        self._uses: list[EmbeddedServer] = []

    @property
    def port(self) -> int:
        return self._port

    def url(self, role: str = "postgres", database: str = NAME, *, port: int | None = None) -> str:
        """Return the DSN of a role: `postgres` (superuser), or `sitelatch_` followed by doors, admin or owner.

        `port` is the port of a relay to the server.
        """
        return f"postgresql://{role}:{self._password}@127.0.0.1:{port or self._port}/{database}"

    def create(self) -> None:
        self.start()
        # Connect as the operating system user with peer authentication, to set the password.
        (self._data / "pg_hba.conf").write_text(_HBA)
        run_aside(self._set_up(self._uses[0].dsn.replace("port=5432", f"port={self._port}")))

    async def _set_up(self, dsn: str) -> None:
        server = await open_connection(dsn, role="tests")
        await server.execute(f"ALTER ROLE postgres PASSWORD '{self._password}'")
        await server.execute("SELECT pg_reload_conf()")
        await server.execute(f"CREATE DATABASE {NAME}")
        await server.close()
        async with self.superuser() as connection:
            await connection.execute((REPOSITORY / "sql" / "roles.sql").read_text())
            for role in ("owner", "admin", "doors"):
                await connection.execute(f"ALTER ROLE sitelatch_{role} PASSWORD '{self._password}'")
        owner = await open_connection(self.url("sitelatch_owner"), role="tests")
        await migrate(owner)
        await owner.close()

    @contextlib.asynccontextmanager
    async def superuser(self, database: str = NAME) -> AsyncIterator[asyncpg.Connection]:
        """Connect as superuser. PostgreSQL reserves some connections for superusers."""
        connection = await open_connection(self.url(database=database), role="tests")
        try:
            yield connection
        finally:
            connection.terminate()

    # The faults. Each method waits until the change is complete.

    def start(self) -> None:
        settings = {
            # The machine itself does not crash, so data does not need to reach the disk. Commits of a killed server
            # survive without fsync.
            "fsync": "off",
            "max_wal_size": "256MB",
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "max_connections": str(MAX_CONNECTIONS),
        }
        self._uses.append(EmbeddedServer.open(self._home, settings))

    def stop(self) -> None:
        self._end(signal.SIGINT, self._postmaster)

    def kill(self) -> None:
        """Kill all processes, as in a crash: the server sends nothing, and the kernel closes the connections."""
        self._end(signal.SIGKILL, *self._processes())

    def _end(self, kind: signal.Signals, *pids: int) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kind)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not keeper.is_free(self._home, "server"):
            assert time.monotonic() < deadline, "the server does not stop"
            time.sleep(0.01)

    def freeze(self) -> None:
        # Stop the postmaster first, so that it starts no new processes.
        os.kill(self._postmaster, signal.SIGSTOP)
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, kind: signal.Signals) -> None:
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kind)

    def dump(self, file: Path) -> None:
        self._run("pg_dump", "--format=custom", f"--file={file}", self.url())

    def restore(self, file: Path, *options: str) -> None:
        """Run pg_restore. With `--single-transaction`, retry after a deadlock, which rolled back everything.

        A restore in place and concurrent readers lock the same tables in different orders, so PostgreSQL may cancel
        either of them.
        """
        arguments = (*options, f"--dbname={self.url()}", str(file))
        while True:
            try:
                return self._run("pg_restore", *arguments)
            except AssertionError as failed:
                if "deadlock detected" not in str(failed) or "--single-transaction" not in options:
                    raise

    def copy_data(self, folder: Path) -> None:
        """Copy the data of the whole server."""
        source = self.url(database="postgres")
        self._run("pg_basebackup", "--checkpoint=fast", "--no-sync", f"--pgdata={folder}", f"--dbname={source}")

    def create_standby(self, home: Path) -> "OwnDatabase":
        """Create and start a streaming standby of this server in a directory. Roles have the same passwords on both."""
        standby = OwnDatabase(home)
        standby._password = self._password
        copy = home / "copy"
        self._run(
            "pg_basebackup",
            "--checkpoint=fast",
            "--no-sync",
            "--write-recovery-conf",
            f"--pgdata={copy}",
            f"--dbname={self.url(database='postgres')}",
        )
        copy.rename(home / "data")
        standby._own_by(self._data.stat())
        standby.start()
        return standby

    async def promote(self) -> None:
        """Make a standby the primary."""
        async with self.superuser() as connection:
            assert await connection.fetchval("SELECT pg_promote()")

    def save_data(self) -> None:
        """Keep a copy of the data. The server must be stopped."""
        shutil.copytree(self._data, self._home / "saved")

    def restore_data(self) -> None:
        """Replace the data with the copy. The server must be stopped."""
        self.replace_data(self._home / "saved")

    def replace_data(self, folder: Path) -> None:
        """Replace the data with a copy. The server must be stopped."""
        found = self._data.stat()
        shutil.rmtree(self._data)
        shutil.copytree(folder, self._data)
        self._own_by(found)

    def _own_by(self, owner: os.stat_result) -> None:
        for path in (self._data, *self._data.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        self._data.chmod(0o700)

    def close(self) -> None:
        with contextlib.suppress(AssertionError):
            self.thaw()
        for use in self._uses:
            use.close()

    @property
    def _data(self) -> Path:
        return self._home / "data"

    @property
    def _postmaster(self) -> int:
        found = keeper.read_postmaster(self._home)
        assert found is not None, "the server does not run"
        return found.pid

    def _processes(self) -> list[int]:
        postmaster = self._postmaster
        return [postmaster, *(pid for pid, parent in _parents() if parent == postmaster)]

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [find_binaries().bin / program, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stderr


def _parents() -> Iterator[tuple[int, int]]:
    """Yield every process of the machine with its parent."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield int(folder.name), int((folder / "stat").read_text().rpartition(")")[2].split()[1])


@contextlib.contextmanager
def own_database(folder: Path) -> Iterator[OwnDatabase]:
    """Run a server with the tables and roles of Sitelatch, and stop it afterwards."""
    database = OwnDatabase(data_directory(folder))
    try:
        database.create()
        yield database
    finally:
        database.close()
