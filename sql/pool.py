"""Pools and connections to PostgreSQL that work behind a pooler and have timeouts."""

from typing import Any

import asyncpg

from sql.connect import connect
from sql.dsn.dsn import Dsn, read_dsn


async def _skip_reset(connection: asyncpg.Connection) -> None:
    """Replace the query with which asyncpg resets a session on release, because no query here changes the session.

    For that reason, no statement may use arrays other than text[]. asyncpg looks up the types of other arrays on each
    new connection, and sets `jit` in the session while it does; behind a pooler, the next client would get that
    session.
    """


async def open_pool(dsn: Dsn | str, *, minimum: int = 0, maximum: int = 8, role: str) -> asyncpg.Pool:
    """Return a pool that connects on first use, so it can be opened while the server is down.

    `role` names the pool's connections in the server's statistics: `sitelatch-<role>`. Raises BadDatabaseUrl.
    """
    target = read_dsn(dsn) if isinstance(dsn, str) else dsn

    async def connect_pooled(*_: object, **__: object) -> asyncpg.Connection:
        return await connect(target, role)

    connect_callback: Any = connect_pooled  # the type stubs require the driver's own arguments
    return await asyncpg.create_pool(connect=connect_callback, min_size=minimum, max_size=maximum, reset=_skip_reset)


async def open_connection(dsn: Dsn | str, *, role: str) -> asyncpg.Connection:
    """Return a single connection. Raises BadDatabaseUrl, CannotConnect, and the errors that the server reports."""
    return await connect(read_dsn(dsn) if isinstance(dsn, str) else dsn, role)
