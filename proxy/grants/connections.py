"""The part of asyncpg's pools and connections that the proxy uses, and how their failures are handled."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import asyncpg

from sql.connect import CannotConnect
from sql.wrong_connections import close, is_wrong_connection


class Connection(Protocol):
    """A database connection."""

    async def fetch(self, query: str, /, *args: object) -> Sequence[Any]:
        """Return all rows."""

    async def execute(self, query: str, /, *args: object) -> str:
        """Return the command tag."""

    def terminate(self) -> None:
        """Close the connection without notifying the server."""


class Pool(Protocol):
    """A connection pool."""

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]:
        """Hand out a connection. `timeout` limits acquiring it, and separately releasing it, in seconds."""


class ScopeIncomplete(Exception):  # noqa: N818 - names what happened
    """The scope tables are being restored from a dump, so a row that is missing may still arrive."""


class ScopeOutdated(Exception):  # noqa: N818 - names what happened
    """The answer is older than the change feed: it comes from a standby, an old primary or a restored database."""


DATABASE_FAILURES = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ScopeIncomplete,
    ScopeOutdated,
)
"""The errors that count as no answer from the database. TimeoutError is an OSError."""

DISCONNECTED = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
"""The errors of a pooled connection that was closed while it was idle, or is being closed now."""


@asynccontextmanager
async def acquire(pool: Pool, seconds: float) -> AsyncIterator[Connection]:
    """Acquire a connection, and close it if it turns out to be wrong. `seconds` limits acquiring and releasing it."""
    async with pool.acquire(timeout=seconds) as connection:
        try:
            yield connection
        except BaseException as error:
            # Otherwise, the pool would hand out this connection again, before all others.
            if isinstance(error, ScopeOutdated) or is_wrong_connection(error):
                close(connection)
            raise


def describe(error: BaseException) -> str:
    """Return a failure's type and first line, for the log. Further lines may quote rows."""
    first_line, _, _ = str(error).partition("\n")
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def describe_connecting(error: BaseException) -> str:
    """Return a failure to connect for the log: why no host could be reached, or the server's message.

    Other errors are described by their type only, because their messages may quote values.
    """
    if isinstance(error, CannotConnect):
        return str(error)
    if isinstance(error, asyncpg.InterfaceError) and "closed" in str(error):
        return "the connection was closed"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return describe(error) if isinstance(error, asyncpg.PostgresError) else type(error).__name__
