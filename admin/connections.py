"""Database connections for admin requests, and the errors that count as an outage."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import structlog

from admin.problems import DatabaseDown
from sql.wrong_connections import close, is_wrong_connection

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
"""The errors that asyncpg raises while the database is unreachable, stopping, full, or read-only after a failover."""
WRONG_SCHEMA = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError)

log = structlog.get_logger("sitelatch.admin")


@asynccontextmanager
async def borrow(pool: asyncpg.Pool) -> AsyncIterator[Connection]:
    """Borrow a connection from the pool. Raises DatabaseDown if none can be acquired.

    A connection that turns out to be wrong is closed. If it is read-only, the others are replaced too: after a failover
    they lead to the same server.
    """
    try:
        connection = await pool.acquire(timeout=CONNECTION_SECONDS)
    except (asyncpg.PostgresError, *DATABASE_DOWN) as error:
        raise database_down(error) from None
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


def database_down(error: BaseException) -> DatabaseDown:
    """Log the type of an asyncpg error and return the problem for it."""
    log.warning("admin_database_down", error=type(error).__name__)
    if isinstance(error, asyncpg.DiskFullError):
        return DatabaseDown("The database's disk is full. Nothing was changed.")
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        return DatabaseDown("The database is temporarily read-only. Nothing was changed. Try again soon.")
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return DatabaseDown(
            "The database role lacks the privileges for this. Set admin.database_url to a URL with the admin role."
        )
    return DatabaseDown("The database is unavailable. Try again soon.")
