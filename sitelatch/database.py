"""Opens the database of a config. An embedded database is started or joined, and then migrated."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import structlog

from admin.api.similar_sites import SimilarSites, fill_in_collations, list_similar_sites
from sql.database import resolve
from sql.dsn.dsn import Dsn
from sql.embedded.server import EmbeddedServer, EmbeddedServerFailed
from sql.migrate import migrate, require_latest
from sql.pool import connected
from sql.settings import DatabaseSettings

_CHECK_SECONDS = 1.0
_PAUSE_SECONDS = 4.0
"""An additional pause after a failed restart, because each attempt starts a process."""

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def opened_database(settings: DatabaseSettings, directory: Path) -> AsyncIterator[Dsn]:
    """Yield where the database is. An embedded server is migrated, and runs at least until this context ends."""
    dsn, server = await resolve(settings, directory)
    if server is None:
        yield dsn
        return
    restarting = asyncio.create_task(_keep_alive(server))
    try:
        await migrate_at(dsn)
        yield dsn
    finally:
        restarting.cancel()
        await server.stop()


async def _keep_alive(server: EmbeddedServer) -> None:
    """Restart the server whenever it dies. While it is down, clients see an ordinary database outage."""
    failing = False
    while True:
        await asyncio.sleep(_CHECK_SECONDS)
        try:
            if await asyncio.to_thread(server.restart_if_dead):
                _log.warning("embedded_server_restarted")
            failing = False
        except EmbeddedServerFailed as error:
            # On a full disk, for example, this fails for a while. Log it once.
            if not failing:
                _log.error("embedded_server_down", reason=str(error))
            failing = True
            await asyncio.sleep(_PAUSE_SECONDS)


@asynccontextmanager
async def connection_to(settings: DatabaseSettings, directory: Path) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection for a command. Raises WrongSchemaVersion, and the errors of asyncpg and the system."""
    async with opened_database(settings, directory) as dsn, connected(dsn, role="command") as connection:
        await require_latest(connection)
        yield connection


class Migrated(NamedTuple):
    """The migrations that were applied, and the sites that some data services treat as the same."""

    applied: list[str]
    twins: SimilarSites


async def migrate_at(dsn: Dsn) -> Migrated:
    """Migrate the schema, and fill in the collated ids, which SQL cannot compute."""
    async with connected(dsn, role="migrate") as connection:
        applied = await migrate(connection)
        filled = await fill_in_collations(connection)
        twins = await list_similar_sites(connection)
    for name in applied:
        _log.info("migrated", migration=name)
    if filled:  # report similar sites only once, because both work
        for oldest, twin in twins.pairs:
            _log.warning("sites_alike", sites=[oldest, twin], more=twins.more)
    return Migrated(applied, twins)
