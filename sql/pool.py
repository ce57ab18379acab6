"""Pools and connections to PostgreSQL that work behind a pooler and have timeouts."""

from typing import Any

import asyncpg

from sql.connect import connect
from sql.dsn.dsn import Dsn, read_dsn
from sql.open_connections import OpenConnections


async def open_pool(
    dsn: Dsn | str, *, minimum: int = 0, maximum: int = 8, role: str, opened: OpenConnections | None = None
) -> asyncpg.Pool:
    """Return a pool that connects on first use, so it can be opened while the server is down.

    `role` names the pool's connections in the server's statistics: `sitelatch-<role>`. `opened` gets the pool's
    connections. Raises BadDatabaseUrl.
    """
    connections = OpenConnections() if opened is None else opened
    target = read_dsn(dsn) if isinstance(dsn, str) else dsn

    async def connect_pooled(*_: object, **__: object) -> asyncpg.Connection:
        connection = await connect(target, role)
        connections.opened(connection)
        return connection

    connect_callback: Any = connect_pooled  # the type stubs require the driver's own arguments
    return await asyncpg.create_pool(
        connect=connect_callback,
        min_size=minimum,
        max_size=maximum,
        setup=connections.acquired,
        # This replaces the query with which asyncpg resets a session on release, because no query here changes the
        # session. For that reason, no statement may use arrays other than text[]. asyncpg looks up the types of other
        # arrays on each new connection, and sets `jit` in the session while it does; behind a pooler, the next client
        # would get that session.
        reset=connections.released,
    )


async def open_connection(dsn: Dsn | str, *, role: str) -> asyncpg.Connection:
    """Return a single connection. Raises BadDatabaseUrl, CannotConnect, and the errors that the server reports."""
    return await connect(read_dsn(dsn) if isinstance(dsn, str) else dsn, role)
