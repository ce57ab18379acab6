"""A pool of connections to the database that follows the primary."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Self

import asyncpg

from sitelatch.server_watch import ServerWatch
from sql.open_connections import OpenConnections
from sql.pool import open_pool
from sql.servers import Servers


async def _nothing(moved: bool) -> None:
    pass


class WatchedPool:
    """A pool whose connections are replaced when its watch finds another primary.

    `on_renewed` is called after that. Its argument says whether the server has changed.
    """

    def __init__(
        self,
        servers: Servers,
        pool: asyncpg.Pool,
        connections: OpenConnections,
        on_renewed: Callable[[bool], Awaitable[None]],
    ) -> None:
        self.pool = pool
        self.watch = ServerWatch(servers, on_primary=self.renew)
        self._servers = servers
        self._connections = connections
        self._on_renewed = on_renewed

    @classmethod
    async def open(
        cls,
        stack: AsyncExitStack,
        servers: Servers,
        *,
        maximum: int,
        role: str,
        on_renewed: Callable[[bool], Awaitable[None]] = _nothing,
    ) -> Self:
        """Open a pool, which the stack closes."""
        connections = OpenConnections()
        pool = await open_pool(servers, maximum=maximum, role=role, opened=connections)
        stack.callback(pool.terminate)
        stack.callback(servers.drop_abandoned)
        watched = cls(servers, pool, connections, on_renewed)
        stack.callback(watched.watch.close)
        return watched

    async def renew(self, moved: bool) -> None:
        """Replace all connections once they are free."""
        self._servers.drop_abandoned()
        self._connections.renew(moved=moved)
        await self.pool.expire_connections()  # also replaces connections that are being opened
        await self._on_renewed(moved)
