"""Pools and connections to PostgreSQL that work behind a pooler and have timeouts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from sql.dsn.dsn import Dsn, read_dsn
from sql.open_connections import OpenConnections
from sql.servers import Servers

_CLOSE_SECONDS = 1.0


async def open_pool(
    target: Servers | Dsn | str, *, minimum: int = 0, maximum: int = 8, role: str, opened: OpenConnections | None = None
) -> asyncpg.Pool:
    """Return a pool that connects on first use, so it can be opened while the server is down.

    `role` names the pool's connections in the server's statistics: `sitelatch-<role>`. `opened` gets the pool's
    connections. Raises BadDatabaseUrl.
    """
    connections = OpenConnections() if opened is None else opened
    servers = _servers(target)

    async def connect_pooled(*_: object, **__: object) -> asyncpg.Connection:
        connection = await servers.connect(role)
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


async def open_connection(target: Servers | Dsn | str, *, role: str) -> asyncpg.Connection:
    """Return a single connection. Raises BadDatabaseUrl, CannotConnect, and the errors that the server reports."""
    servers = _servers(target)
    try:
        return await servers.connect(role)
    except asyncio.CancelledError:
        if servers is not target:  # no later caller could take over the attempt
            servers.drop_abandoned()
        raise


def _servers(target: Servers | Dsn | str) -> Servers:
    if isinstance(target, Servers):
        return target
    return Servers(read_dsn(target) if isinstance(target, str) else target)


@asynccontextmanager
async def connected(dsn: Dsn | str, *, role: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection for a short time. Raises the errors of `open_connection`.

    An error while it is closed is ignored: it says nothing new, and would hide the error for which it is closed.
    """
    connection = await open_connection(dsn, role=role)
    try:
        yield connection
    finally:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            await connection.close(timeout=_CLOSE_SECONDS)
