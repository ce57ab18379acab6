"""The scope table as the doors ask it: what a key may do, whose a site is."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum
from sys import intern
from typing import Any, Final, NamedTuple, Protocol

import asyncpg

from proxy.decision import Grant
from sql.queries import query

_FIND_GRANT = query("find_grant")
_FIND_SITES = query("find_sites")

DATABASE_FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a lookup or a write may fail with. TimeoutError is an OSError."""

_CUT_OFF = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
"""What a pooled connection says when it was cut while it lay idle, or is being cut now."""


class Unknown(Enum):
    """The type of UNKNOWN."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN
"""The answer for a key that the scope table does not have, or whose user is disabled."""


def reason(error: BaseException) -> str:
    """Return what a log line says of a failure: its kind and first line; what follows may quote rows."""
    first_line, _, _ = str(error).partition("\n")
    return f"{type(error).__name__}: {first_line}"


class Connection(Protocol):
    """What the doors use of a database connection."""

    async def fetch(self, query: str, /, *args: object) -> Sequence[Any]:
        """Return all rows."""

    async def execute(self, query: str, /, *args: object) -> str:
        """Return the command's tag."""


class Pool(Protocol):
    """What the doors use of `asyncpg.Pool`."""

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection; getting it and giving it back may take `timeout` seconds each."""


class Found(NamedTuple):
    """A grant as the scope table had it when the feed was at `position`."""

    grant: Grant
    position: int


class ScopeTable:
    """Asks over a pool, and raises one of DATABASE_FAILURES. Deadlines are the caller's: it cancels."""

    def __init__(self, pool: Pool, seconds: float) -> None:
        self._pool = pool
        self._seconds = seconds
        """How long getting a connection, or giving back one whose query was cancelled, may take."""

    async def find_grant(self, digest: bytes) -> Found | None:
        """Return what the key with this digest may do, or None for an unknown key or a disabled user."""
        rows = await self._ask(_FIND_GRANT, digest)
        if not rows:
            return None
        row = rows[0]
        grant = Grant(
            user_id=row["user_id"],
            workspace=intern(row["workspace"]),
            all_sites=row["all_sites"],
            # Many grants name the same sites: interned, they share the strings.
            sites=frozenset(map(intern, row["sites"])),
            expires_at=row["expires_at"],
        )
        return Found(grant, row["feed_position"])

    async def find_sites(self, sites: Sequence[str]) -> dict[str, str]:
        """Return the workspace of each of these sites that exists."""
        return {row["id"]: intern(row["workspace"]) for row in await self._ask(_FIND_SITES, list(sites))}

    async def _ask(self, sql: str, *arguments: object) -> Sequence[Any]:
        try:
            return await self._ask_once(sql, *arguments)
        except _CUT_OFF:
            # After a restart of the server the pool may be full of dead connections; another one may do.
            return await self._ask_once(sql, *arguments)

    async def _ask_once(self, sql: str, *arguments: object) -> Sequence[Any]:
        async with self._pool.acquire(timeout=self._seconds) as connection:
            return await connection.fetch(sql, *arguments)
