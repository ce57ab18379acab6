"""Database connections for admin requests, and the errors that count as an outage."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
import structlog

from admin.problems import Busy, DatabaseDown, Problem
from sql.connect import CannotConnect
from sql.queries import query
from sql.wrong_connections import close, is_wrong_connection

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

CONNECTION_SECONDS: Final = 5.0
"""How long a request waits for its turn, and then for a connection."""
READ_SECONDS: Final = 10.0
"""How long a query that only reads may take."""
LANE_SIZE: Final = 2
"""How many connections each lane has."""

_LIMIT_READS = query("limit_reads")
_LIMIT_LOCK_WAITS = query("limit_lock_waits")

DATABASE_DOWN = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
)
"""asyncpg's errors while the database is unreachable, stopping, full or busy, or read-only after a failover."""
WRONG_SCHEMA = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError)

log = structlog.get_logger("sitelatch.admin")


class Lane:
    """Two connections of a pool, for one kind of request. Other lanes cannot use them up."""

    def __init__(
        self, pool: asyncpg.Pool, *, wait_seconds: float = CONNECTION_SECONDS, read_seconds: float = READ_SECONDS
    ) -> None:
        self._pool = pool
        self._wait_seconds = wait_seconds
        self._read_milliseconds = str(round(read_seconds * 1000))
        self._free = asyncio.Semaphore(LANE_SIZE)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[asyncpg.Pool]:
        """Wait for a turn, and yield the pool, for work that acquires one connection at a time.

        Raises Busy if others use the lane for too long.
        """
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            log.warning("admin_busy")
            raise Busy("Other requests keep the database busy. Try again soon.") from None
        try:
            yield self._pool
        finally:
            self._free.release()

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[Connection]:
        """Borrow a connection. Raises Busy if others use the lane for too long, and DatabaseDown.

        A connection that turns out to be wrong is closed. If it is read-only, the others are replaced too: after a
        failover they lead to the same server.
        """
        async with self.turn() as pool, _connection(pool) as connection:
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """Borrow a connection for queries that see one state of the database. Slow ones are canceled."""
        async with self.borrow() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(_LIMIT_READS, self._read_milliseconds)
            yield connection


class Lanes:
    """The connections of the admin API. Changes never wait for slow lists; user deletions never wait for either."""

    COUNT: Final = 6

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.lists = Lane(pool)
        self.counts = Lane(pool)
        self.lookups = Lane(pool)
        self.changes = Lane(pool)
        self.deletions = Lane(pool)
        self.sessions = Lane(pool)


@asynccontextmanager
async def _connection(pool: asyncpg.Pool) -> AsyncIterator[Connection]:
    try:
        connection = await pool.acquire(timeout=CONNECTION_SECONDS)
    except (asyncpg.PostgresError, *DATABASE_DOWN) as error:
        raise database_problem(error) from None
    try:
        yield connection
    except BaseException as error:
        if is_wrong_connection(error):
            close(connection)
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            await pool.expire_connections()
        raise
    finally:
        await pool.release(connection)


async def limit_lock_waits(connection: Connection) -> None:
    """Let the statements of this transaction wait at most two seconds for a lock, and then fail as busy."""
    await connection.execute(_LIMIT_LOCK_WAITS)


def database_problem(error: BaseException) -> Problem:
    """Log the type of an error, and why no connection was possible. Returns the problem for it."""
    match error:
        case asyncpg.QueryCanceledError():
            problem: Problem = Busy("The database took too long for this and was stopped. Nothing was changed.")
        case asyncpg.LockNotAvailableError() | asyncpg.DeadlockDetectedError() | asyncpg.SerializationError():
            problem = Busy("Other changes keep the database busy. Nothing was changed. Try again soon.")
        case asyncpg.TooManyConnectionsError():
            problem = Busy("The database accepts no more connections. Nothing was changed. Try again soon.")
        case _:
            problem = _database_down(error)
    reason = {"reason": str(error)} if isinstance(error, CannotConnect) else {}
    log.warning(_event(error, problem), error=type(error).__name__, **reason)
    return problem


def _event(error: BaseException, problem: Problem) -> str:
    if isinstance(problem, Busy):
        return "admin_busy"
    return "admin_change_refused" if isinstance(error, asyncpg.ReadOnlySQLTransactionError) else "admin_database_down"


def _database_down(error: BaseException) -> DatabaseDown:
    if isinstance(error, asyncpg.DiskFullError):
        return DatabaseDown("The database's disk is full. Nothing was changed.")
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        return DatabaseDown("The database is temporarily read-only. Nothing was changed. Try again soon.")
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return DatabaseDown(
            "The database role lacks the privileges for this. Set admin.database_url to a URL with the admin role."
        )
    return DatabaseDown("The database is unavailable. Try again soon.")
