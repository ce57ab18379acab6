"""Connections to the database, and what it means when there is none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import structlog

from admin.problems import DatabaseDown

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

CONNECTION_SECONDS = 5

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
)
"""What asyncpg raises where the database is away, stopping, full, or read-only after a hand-over."""
WRONG_SCHEMA = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError)

log = structlog.get_logger("sitelatch.admin")


@asynccontextmanager
async def borrow(pool: asyncpg.Pool) -> AsyncIterator[Connection]:
    """Lend a connection of the pool. Raises DatabaseDown where there is none to be had."""
    try:
        connection = await pool.acquire(timeout=CONNECTION_SECONDS)
    except (asyncpg.PostgresError, *DATABASE_DOWN) as error:
        raise database_down(error) from None
    try:
        yield connection
    finally:
        await pool.release(connection)


def database_down(error: BaseException) -> DatabaseDown:
    """Return the problem for what asyncpg raised; the log gets its kind."""
    log.warning("the database does not answer the admin API", error=type(error).__name__)
    if isinstance(error, asyncpg.DiskFullError):
        return DatabaseDown("The database's disk is full, so it takes no changes: nothing was changed.")
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        return DatabaseDown("The database is read-only for now: nothing was changed. Try again soon.")
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return DatabaseDown("The role of the database URL may not do this: set admin.database_url to the admin's role.")
    return DatabaseDown("The database does not answer. Try again soon.")
