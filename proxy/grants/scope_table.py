"""The scope table as the doors ask it: what a key may do, whose a site is."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import Enum
from sys import intern
from typing import Any, Final, NamedTuple, Protocol

import asyncpg

from proxy.decision.grant import Grant, SiteOwner
from proxy.decision.site_ids import fold_site, folded_part
from sql.queries import query

_FIND_GRANT = query("find_grant")
_FIND_SITES = query("find_sites")

_CUT_OFF = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
"""What a pooled connection says when it was cut while it lay idle, or is being cut now."""

_TRIES = 10
"""With so many connections, one after the other, that turn out to be cut. The deadline comes first if they are slow."""


class Unknown(Enum):
    """The type of UNKNOWN."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN
"""The answer for a key that the scope table does not have, or whose user is disabled."""


def reason(error: BaseException) -> str:
    """Return what a log line says of a failure: its kind and first line; what follows may quote rows."""
    first_line, _, _ = str(error).partition("\n")
    return f"{type(error).__name__}: {first_line}"


def reason_not_connected(error: BaseException) -> str:
    """Return what a log line says of a failure to connect: what the server said, else the kind alone.

    Texts that are made on this side may quote the URL, and with it the password.
    """
    return reason(error) if isinstance(error, asyncpg.PostgresError) else type(error).__name__


class Connection(Protocol):
    """What the doors use of a database connection."""

    async def fetch(self, query: str, /, *args: object) -> Sequence[Any]:
        """Return all rows."""

    async def execute(self, query: str, /, *args: object) -> str:
        """Return the command's tag."""

    def terminate(self) -> None:
        """Close it without a word."""


class Pool(Protocol):
    """What the doors use of `asyncpg.Pool`."""

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection; getting it and giving it back may take `timeout` seconds each."""


class ScopeNotWhole(Exception):  # noqa: N818 - it says what is
    """The scope table is being restored from a dump: what it does not have may still come."""


class ScopeBehind(Exception):  # noqa: N818 - it says what is
    """Whoever answered knows less than the feed has said: a standby, an old primary, or a database that went back."""


@asynccontextmanager
async def lend(pool: Pool, seconds: float) -> AsyncIterator[Connection]:
    """Lend a connection; getting it and giving it back may take `seconds` each."""
    async with pool.acquire(timeout=seconds) as connection:
        try:
            yield connection
        except (asyncpg.InternalClientError, ScopeBehind):
            # The first is what asyncpg calls a connection that heard the server's good-bye before it saw the end of the
            # stream; the second leads elsewhere. The pool would lend it once more, and before all others.
            connection.terminate()
            raise


class Found(NamedTuple):
    """A grant as the scope table had it when the feed was at `position`."""

    grant: Grant
    position: int


DATABASE_FAILURES = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ScopeNotWhole,
    ScopeBehind,
)
"""What a lookup or a write may fail with. TimeoutError is an OSError."""


class ScopeTable:
    """Asks over a pool, and raises one of DATABASE_FAILURES. Deadlines are the caller's: it cancels."""

    def __init__(self, pool: Pool, seconds: float) -> None:
        self._pool = pool
        self._seconds = seconds
        """How long getting a connection, or giving back one whose query was cancelled, may take."""
        self.newest_position = 0
        """The feed's, in the newest answer: a feed that ends before it is not the one that the answer was read with."""
        self.feed_position = 0
        """How far the feed was followed: an answer from before that is not of the database that the feed is of."""

    async def find_grant(self, digest: bytes) -> Found | None:
        """Return what the key with this digest may do, or None for an unknown key or a disabled user."""
        (row,) = await self._ask(_FIND_GRANT, digest)
        if row["user_id"] is None:
            return None
        grant = Grant(
            user_id=row["user_id"],
            workspace=intern(row["workspace"]),
            all_sites=row["all_sites"],
            # Many grants name the same sites: interned, they share the strings.
            sites=frozenset(map(intern, row["sites"])),
            expires_at=row["expires_at"],
        )
        return Found(grant, row["feed_position"])

    async def find_sites(self, names: Sequence[str]) -> dict[str, SiteOwner]:
        """Return the site that each of these names (site_ids.py) refers to, where there is one."""
        rows = await self._ask(_FIND_SITES, list(names))
        return {
            row["name"]: SiteOwner(row["id"], intern(row["workspace"]))
            for row in rows
            if row["id"] is not None and _refers_to(row["name"], row["id"])
        }

    async def _ask(self, sql: str, *arguments: object) -> Sequence[Any]:
        tries_left = _TRIES
        while True:
            tries_left -= 1
            connected = False
            try:
                async with lend(self._pool, self._seconds) as connection:
                    connected = True
                    return await self._ask_over(connection, sql, *arguments)
            except _CUT_OFF:
                # Where none can be made, that is the answer. One that was there is not: after a restart of the server
                # the pool is full of dead ones.
                if not connected or not tries_left:
                    raise

    async def _ask_over(self, connection: Connection, sql: str, *arguments: object) -> Sequence[Any]:
        followed = self.feed_position
        rows = await connection.fetch(sql, *arguments)
        # Where the feed was given up meanwhile, as after a restore, the answer may well be of what is followed now.
        followed = min(followed, self.feed_position)
        if not all(row["whole"] for row in rows):
            raise ScopeNotWhole("its triggers are missing")
        if any(row["feed_position"] < followed for row in rows):
            raise ScopeBehind("the feed of changes is further")
        self.newest_position = max([self.newest_position, *(row["feed_position"] for row in rows)])
        return rows


def _refers_to(name: str, site_id: str) -> bool:
    """Tell whether the name stands for the site here too.

    The feed names changed sites by id. Where SQL wrote another fold than ours, the change would not reach this name.
    """
    return folded_part(name) in (None, fold_site(site_id))
