"""The database of a config, ready to be asked. An embedded one is started or joined, and migrated."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import structlog

from sql.database import resolve
from sql.migrate import migrate, require_latest
from sql.pool import open_connection
from sql.settings import DatabaseSettings

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def database_url(settings: DatabaseSettings, directory: Path) -> AsyncIterator[str]:
    """Lend the URL of the database. An embedded server runs at least until this ends, and is migrated."""
    database = await resolve(settings, directory)
    try:
        if database.server is not None:
            await migrate_at(database.dsn)
        yield database.dsn
    finally:
        if database.server is not None:
            await database.server.stop()


@asynccontextmanager
async def connection_to(settings: DatabaseSettings, directory: Path) -> AsyncIterator[asyncpg.Connection]:
    """Lend a connection for a command. Raises WrongSchemaVersion, and what asyncpg and the system raise."""
    async with database_url(settings, directory) as url:
        connection = await open_connection(url, role="command")
        try:
            await require_latest(connection)
            yield connection
        finally:
            await connection.close()


async def migrate_at(url: str) -> list[str]:
    """Bring the schema up to date; return the names of the migrations that it took."""
    connection = await open_connection(url, role="migrate")
    try:
        applied = await migrate(connection)
    finally:
        await connection.close()
    for name in applied:
        _log.info("migrated", migration=name)
    return applied
