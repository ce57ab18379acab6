"""The open connections of a pool, which are replaced when they are old, or when the address leads to another server."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import asyncpg

MAX_AGE_SECONDS = 300.0

_GRACE_SECONDS = 1.0
"""How long a connection to another server may stay in use after `renew`. A server that is gone would never answer."""


def _random_age() -> float:
    return random.uniform(0.8, 1.0) * MAX_AGE_SECONDS  # noqa: S311 - only spreads load, not used for security


class PooledConnection(asyncpg.Connection):
    """A connection that knows whether it is in use."""

    in_use = False

    def mark(self, *, in_use: bool) -> None:
        """Record whether it is in use. The pool's proxy of a connection forwards calls, but not assignments."""
        self.in_use = in_use


class OpenConnections:
    """Knows when each connection of a pool should be replaced.

    `age` returns the age, in seconds, that a connection may reach. It is random, so that
    connections that were opened together are not replaced together.
    """

    def __init__(self, *, age: Callable[[], float] = _random_age, clock: Callable[[], float] = time.monotonic) -> None:
        self._age = age
        self._clock = clock
        self._expire_at: WeakKeyDictionary[PooledConnection, float] = WeakKeyDictionary()

    def opened(self, connection: PooledConnection) -> None:
        """Add a new connection."""
        self._expire_at[connection] = self._clock() + self._age()

    async def acquired(self, connection: Any) -> None:
        """Record that a connection is in use. The pool calls this with its proxy of the connection."""
        connection.mark(in_use=True)

    async def released(self, connection: Any) -> None:
        """Record that a connection is no longer in use, and close it if it should be replaced."""
        connection.mark(in_use=False)
        if self._clock() >= self._expire_at.get(connection, 0):
            connection.terminate()

    def renew(self, *, moved: bool) -> None:
        """Replace all connections: idle ones now, others when they are released.

        `moved` means that they lead to a different server than new connections do. Those in use are then closed after a
        second.
        """
        in_use: WeakSet[PooledConnection] = WeakSet()
        for connection in list(self._expire_at):
            if connection.in_use:
                self._expire_at[connection] = 0
                in_use.add(connection)
            else:
                connection.terminate()
        if moved:
            asyncio.get_running_loop().call_later(_GRACE_SECONDS, _terminate, in_use)


def _terminate(connections: WeakSet[PooledConnection]) -> None:
    for connection in list(connections):
        connection.terminate()
