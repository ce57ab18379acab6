"""Changes in the database's change feed, for tests of what the triggers publish."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from sql.pool import open_connection
from sql.queries import query
from tests.database import add_user, add_workspace

KEY = bytes(32)


OTHER = bytes(31) + b"\x01"


@pytest.fixture
async def acme(pool: asyncpg.Pool) -> str:
    """The id of an API user of acme with the sites shop and blog and the key KEY."""
    await add_workspace(pool, "acme", "shop", "blog", "docs")
    return await add_user(pool, "acme", "shop", "blog", digest=KEY)


@asynccontextmanager
async def another(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await open_connection(dsn, role="tests")
    try:
        yield connection
    finally:
        connection.terminate()


async def head(connection: asyncpg.Connection | asyncpg.Pool) -> int:
    (row,) = await connection.fetch(query("feed_head"))
    return int(row["seq"])


async def published(connection: asyncpg.Connection | asyncpg.Pool, after: int) -> list[tuple[str, str | None]]:
    """Return the changes after a position, sorted."""
    rows = await connection.fetch(query("read_feed"), after, 1_000_000)
    return sorted((row["what"], row["subject"]) for row in rows if row["seq"] > after)
