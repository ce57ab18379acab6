"""The database of a config, ready to be asked. An embedded one is started or joined, and migrated."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import structlog

from admin.api.similar_sites import SimilarSites, fill_in_collations, list_similar_sites
from sql.database import resolve
from sql.embedded.server import EmbeddedServer, EmbeddedServerFailed
from sql.migrate import migrate, require_latest
from sql.pool import open_connection
from sql.settings import DatabaseSettings

_LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 4.0
"""After a server that could not be started, beside the look's: a try costs a process."""

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def database_url(settings: DatabaseSettings, directory: Path) -> AsyncIterator[str]:
    """Lend the URL of the database. An embedded server runs at least until this ends, and is migrated."""
    dsn, server = await resolve(settings, directory)
    if server is None:
        yield dsn
        return
    reviving = asyncio.create_task(_revive(server))
    try:
        await migrate_at(dsn)
        yield dsn
    finally:
        reviving.cancel()
        await server.stop()


async def _revive(server: EmbeddedServer) -> None:
    """Start the server again whenever it has died, for as long as we use it: an outage, as another database has it."""
    failing = False
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            if await asyncio.to_thread(server.revive):
                _log.warning("embedded_server_revived")
            failing = False
        except EmbeddedServerFailed as error:
            # On a full disk, say, it fails for a while: once is enough.
            if not failing:
                _log.error("embedded_server_down", reason=str(error))
            failing = True
            await asyncio.sleep(_PAUSE_SECONDS)


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


class Migrated(NamedTuple):
    """The migrations that were applied, and the sites that are reported after each."""

    applied: list[str]
    twins: SimilarSites


async def migrate_at(url: str) -> Migrated:
    """Bring the schema up to date, and fill in what SQL alone cannot."""
    connection = await open_connection(url, role="migrate")
    try:
        applied = await migrate(connection)
        filled = await fill_in_collations(connection)
        twins = await list_similar_sites(connection)
    finally:
        await connection.close()
    for name in applied:
        _log.info("migrated", migration=name)
    if filled:  # not at each start: both sites work
        for oldest, twin in twins.pairs:
            _log.warning("sites_alike", sites=[oldest, twin], more=twins.more)
    return Migrated(applied, twins)
