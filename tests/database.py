"""A real PostgreSQL for the tests: one embedded server for the whole run, one fresh database a test.

A database is a copy of a migrated template, so it costs milliseconds.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
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

# Nothing of a test outlives it, so nothing needs to survive a power cut.
UNSAFE: Mapping[str, str] = MappingProxyType(
    {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}
)
# What the machine has beside the wheel, as Debian lays it out.
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
"""When these users were last active, in seconds since the epoch; null: never."""
_numbers = itertools.count(1)


def on_database(dsn: str, name: str) -> str:
    """Return the DSN of another database of the same server."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


def as_role(dsn: str, role: str) -> str:
    """Return the DSN of another role for the same database of the embedded server, which asks for no password."""
    return urlunsplit(urlsplit(dsn)._replace(netloc=f"{role}@"))


def run_aside(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on a loop of its own, for fixtures that outlive the loop of a test."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def make_template(server_dsn: str) -> None:
    """Make the migrated database that every test's is copied from, unless another worker already has."""
    server = await open_connection(server_dsn, role="tests")
    try:
        # Ends with the connection.
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
    """Drop a database, whoever is still connected to it."""
    server = await open_connection(server_dsn, role="tests")
    try:
        await server.execute(f"DROP DATABASE IF EXISTS {urlsplit(dsn).path[1:]} WITH (FORCE)")
    finally:
        await server.close()


def serve(tmp_path_factory: pytest.TempPathFactory, name: str, binaries: Binaries) -> Iterator[str]:
    """Run a server for the whole run and all of its workers; yield its DSN."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    server = EmbeddedServer.open(folder / name, UNSAFE, binaries)
    try:
        run_aside(make_template(server.dsn))
        yield server.dsn
    finally:
        server.close()


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DSN of the run's server: its `postgres` database, as its superuser."""
    yield from serve(tmp_path_factory, "postgres", find_binaries())


@pytest.fixture(scope="session", params=[None, *sorted(SYSTEM_BINARIES)], ids=lambda version: f"pg{version or 18}")
def every_database_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As `database_server`, once for each PostgreSQL on this machine: the wheel's and the system's.

    A module whose tests are to run on each overrides `database_server` with this.
    """
    if request.param is None:
        yield from serve(tmp_path_factory, "postgres", find_binaries())
    else:
        yield from serve(tmp_path_factory, f"postgres-{request.param}", SYSTEM_BINARIES[request.param])


@pytest.fixture
async def dsn(database_server: str) -> AsyncIterator[str]:
    """The DSN of a migrated, empty database of the test's own, as superuser."""
    fresh = await create_database(database_server, TEMPLATE)
    yield fresh
    await drop_database(database_server, fresh)


@pytest.fixture
async def bare_dsn(database_server: str) -> AsyncIterator[str]:
    """The DSN of a database of the test's own that holds nothing, as superuser."""
    fresh = await create_database(database_server, "template0")
    yield fresh
    await drop_database(database_server, fresh)


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on the test's database."""
    async with await open_pool(dsn, role="tests") as opened:
        yield opened


async def add_workspace(connection: asyncpg.Connection | asyncpg.Pool, name: str, *sites: str) -> int:
    """Add a workspace and its sites; return its number."""
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
    """Add an API user of a workspace, with a key where its digest is given; return its id."""
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
