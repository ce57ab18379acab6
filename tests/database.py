"""PostgreSQL for the tests: one embedded server per test run, and a new database for each test that needs one.

A database is a copy of a migrated template, so creating one takes milliseconds.
"""

import asyncio
import itertools
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from sql.embedded.binaries import Binaries, find_binaries
from sql.embedded.server import EmbeddedServer
from sql.migrate import migrate
from sql.pool import open_connection, open_pool

Result = TypeVar("Result")

# Test data does not need to survive a crash, so the server skips the writes that durability would need.
UNSAFE: Mapping[str, str] = MappingProxyType(
    {
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "max_wal_size": "256MB",
        "max_connections": "300",
    }
)
# PostgreSQL servers from Debian packages, besides the one in the Python wheel.
SYSTEM_BINARIES = {
    int(folder.name): Binaries(folder, Path(), int(folder.name))
    for folder in Path("/usr/lib/postgresql").glob("1[3-9]")
    if (folder / "bin" / "postgres").is_file()
}

TEMPLATE = "sitelatch_template"

READ_ACTIVITY = """
    SELECT user_id::text, extract(epoch FROM last_used_at)::float8 AS last_used_at
    FROM sitelatch.api_user_activity
    WHERE user_id = ANY ($1::text[]::uuid[])
"""
"""The last activity of these users in seconds since the epoch, or null."""
_numbers = itertools.count(1)


_MEMORY = Path("/dev/shm")  # noqa: S108 - the directories in it are private
_MEMORY_BYTES = 4 << 30
"""The free memory that the shared servers need to keep their data in memory."""
_DATA_VARIABLE = "PYTEST_SITELATCH_DATA"
_data_directory = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Choose a directory in memory for the data of the shared servers, if there is enough memory.

    Creating a database takes 9 ms there, but 68 ms on a disk, and much longer on a busy disk.
    """
    if "PYTEST_XDIST_WORKER" in os.environ or _free_memory() < _MEMORY_BYTES:
        return
    _remove_abandoned_data()
    folder = _MEMORY / f"sitelatch-tests-{os.getpid()}"
    folder.mkdir(mode=0o755)
    config.stash[_data_directory] = folder
    os.environ[_DATA_VARIABLE] = str(folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the data from memory. By now, all pytest workers have closed their servers."""
    folder = config.stash.get(_data_directory, None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.pop(_DATA_VARIABLE, None)


def _free_memory() -> int:
    """Return the number of bytes that can be stored in memory, or 0 if this system has no /dev/shm."""
    try:
        [available] = re.findall(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
        return min(shutil.disk_usage(_MEMORY).free, int(available) * 1024)
    except (OSError, ValueError):
        return 0


def _remove_abandoned_data() -> None:
    """Remove the data of test runs that were killed."""
    for folder in _MEMORY.glob("sitelatch-tests-*"):
        pid = folder.name.rpartition("-")[2]
        if pid == str(os.getpid()) or not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


def data_directory(otherwise: Path) -> Path:
    """Return a new directory in memory for the data of a server, or `otherwise` if there is too little memory."""
    if _DATA_VARIABLE not in os.environ:
        return otherwise
    folder = Path(tempfile.mkdtemp(dir=os.environ[_DATA_VARIABLE]))
    folder.chmod(0o755)  # root starts servers as another user
    return folder


def on_database(dsn: str, name: str) -> str:
    """Return the DSN of another database on the same server."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


def as_role(dsn: str, role: str) -> str:
    """Return the DSN of another role for the same database. The embedded server requires no password."""
    return urlunsplit(urlsplit(dsn)._replace(netloc=f"{role}@"))


def run_aside(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in a new event loop on another thread, for fixtures that outlive the loop of a test."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def execute(dsn: str, *statements: str) -> None:
    """Run SQL statements on a connection of their own."""

    async def run() -> None:
        connection = await open_connection(dsn, role="tests")
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    run_aside(run())


async def make_template(server_dsn: str) -> None:
    """Create the migrated template database, unless another pytest worker has created it."""
    server = await open_connection(server_dsn, role="tests")
    try:
        # The lock is released when the connection closes.
        await server.execute("SELECT pg_advisory_lock(1)")
        if await server.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", TEMPLATE):
            return
        unfinished = f"{TEMPLATE}_{os.getpid()}"
        await server.execute(f"CREATE DATABASE {unfinished}")
        connection = await open_connection(on_database(server_dsn, unfinished), role="tests")
        try:
            await migrate(connection)
        finally:
            await connection.close()
        await server.execute(f"ALTER DATABASE {unfinished} RENAME TO {TEMPLATE}")
    finally:
        await server.close()


async def create_database(server_dsn: str, template: str) -> str:
    """Return the DSN of a new database, a copy of `template`."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    server = await open_connection(server_dsn, role="tests")
    try:
        await server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    finally:
        await server.close()
    return on_database(server_dsn, name)


async def drop_database(server_dsn: str, dsn: str) -> None:
    """Drop a database, even if clients are still connected to it."""
    server = await open_connection(server_dsn, role="tests")
    try:
        await server.execute(f"DROP DATABASE IF EXISTS {urlsplit(dsn).path[1:]} WITH (FORCE)")
    finally:
        await server.close()


@contextmanager
def temporary_database(server_dsn: str, template: str = TEMPLATE) -> Iterator[str]:
    """Yield the DSN of a new database, for fixtures that outlive the loop of a test. Drop the database afterwards."""
    dsn = run_aside(create_database(server_dsn, template))
    yield dsn
    run_aside(drop_database(server_dsn, dsn))


def serve(tmp_path_factory: pytest.TempPathFactory, name: str, binaries: Binaries) -> Iterator[str]:
    """Run a server that all pytest workers share, and yield its DSN."""
    if _DATA_VARIABLE in os.environ:
        folder = Path(os.environ[_DATA_VARIABLE])
    elif "PYTEST_XDIST_WORKER" in os.environ:
        folder = tmp_path_factory.getbasetemp().parent
    else:
        folder = tmp_path_factory.getbasetemp()
    server = EmbeddedServer.open(folder / name, UNSAFE, binaries)
    try:
        run_aside(make_template(server.dsn))
        yield server.dsn
    finally:
        server.close()


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of the shared server: its `postgres` database, as superuser."""
    yield from serve(tmp_path_factory, "postgres", find_binaries())


@pytest.fixture(scope="session", params=[None, *sorted(SYSTEM_BINARIES)], ids=lambda version: f"pg{version or 18}")
def every_database_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Like `database_server`, but parametrized over all PostgreSQL versions on this machine.

    A module can override `database_server` with this fixture to run its tests on each version.
    """
    if request.param is None:
        yield from serve(tmp_path_factory, "postgres", find_binaries())
    else:
        yield from serve(tmp_path_factory, f"postgres-{request.param}", SYSTEM_BINARIES[request.param])


@pytest.fixture
async def dsn(database_server: str) -> AsyncIterator[str]:
    """The DSN of a migrated, empty database for the test, as superuser."""
    fresh = await create_database(database_server, TEMPLATE)
    yield fresh
    await drop_database(database_server, fresh)


@pytest.fixture
async def bare_dsn(database_server: str) -> AsyncIterator[str]:
    """The DSN of a database without any tables for the test, as superuser."""
    fresh = await create_database(database_server, "template0")
    yield fresh
    await drop_database(database_server, fresh)


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """A connection pool for the database of the test."""
    async with await open_pool(dsn, role="tests") as opened:
        yield opened


async def add_workspace(connection: asyncpg.Connection | asyncpg.Pool, name: str, *sites: str) -> int:
    """Add a workspace and its sites, and return the ID of the workspace."""
    number = await connection.fetchval("INSERT INTO sitelatch.workspaces (name) VALUES ($1) RETURNING id", name)
    await connection.execute(
        "INSERT INTO sitelatch.sites (id, folded, workspace_id, display_name)"
        " SELECT site, lower(site), $1, site FROM unnest($2::text[]) AS site",
        number,
        sites,
    )
    return int(number)


async def add_user(
    connection: asyncpg.Connection | asyncpg.Pool,
    workspace: str,
    *sites: str,
    digest: bytes | None = None,
    all_sites: bool = False,
) -> str:
    """Add an API user to a workspace, with a key if `digest` is given, and return the ID of the user."""
    user_id = await connection.fetchval(
        "INSERT INTO sitelatch.api_users (workspace_id, all_sites, authorized_by_name, authorized_by_email)"
        " SELECT id, $2, 'Ada Admin', 'ada@example.com' FROM sitelatch.workspaces WHERE name = $1 RETURNING id",
        workspace,
        all_sites,
    )
    await connection.execute(
        "INSERT INTO sitelatch.api_user_sites (user_id, site_id) SELECT $1, site FROM unnest($2::text[]) AS site",
        user_id,
        sites,
    )
    if digest is not None:
        await connection.execute(
            "INSERT INTO sitelatch.api_keys (digest, user_id, hint) VALUES ($1, $2, 'slk_ab12…wxyz')", digest, user_id
        )
    return str(user_id)
