"""The database health check, and a pool that blocks lookups until the schema version is known to be right."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import asyncpg
import structlog

from proxy.grants.connections import DATABASE_FAILURES, Connection, Pool, ScopeIncomplete, describe_connecting
from proxy.grants.database_status import DatabaseStatus, Health
from sql.dsn.dsn import Dsn
from sql.migrate import WrongSchemaVersion, require_latest
from sql.pool import open_connection
from sql.queries import query

_FIND_GRANT = query("find_grant")
_FIND_SITES = query("find_sites")

_INTERVAL_SECONDS = 1.0
_TIMEOUT_SECONDS = 5.0

_log = structlog.get_logger(__name__)


def _ignore() -> None:
    pass


class SchemaNotProven(ConnectionError):  # noqa: N818 - names what happened
    """No health check has found the right schema version yet, so the database must not be queried."""


class HealthCheck:
    """Checks the database once a second, and records the result in `database`.

    Once a check has found the right schema version, the schema stays proven. So a process keeps serving through an
    outage, and while the schema is migrated for a newer version. `on_up` is called after each successful check.
    """

    def __init__(self, dsn: Dsn, database: DatabaseStatus, *, on_up: Callable[[], None] = _ignore) -> None:
        self._dsn = dsn
        self._database = database
        self._on_up = on_up
        self._connection: asyncpg.Connection | None = None
        """A separate connection, because all connections of the pool may be in use."""
        self._logged: tuple[Health, str] | None = None

    async def run(self) -> None:
        """Check until canceled."""
        while True:
            await self.check()
            await asyncio.sleep(_INTERVAL_SECONDS)

    async def check(self) -> None:
        """Check once. A change of the result is logged."""
        database = self._database
        schema = ""
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                if self._connection is None:
                    self._connection = await open_connection(self._dsn, role="watch")
                try:
                    await require_latest(self._connection)
                except WrongSchemaVersion as error:
                    if not database.schema_proven:
                        raise
                    schema = str(error)
                await _look_up(self._connection)
        except WrongSchemaVersion as error:
            self._record(Health.WRONG_SCHEMA, str(error))
        except DATABASE_FAILURES as error:
            self.close()
            health = Health.DOWN if database.schema_proven else Health.UNREACHED
            self._record(health, schema or describe_connecting(error))
        else:
            database.schema_proven = True
            self._record(Health.UP, schema)
            self._on_up()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _record(self, health: Health, reason: str) -> None:
        self._database.health = health
        if (health, reason) == self._logged:
            return
        self._logged = health, reason
        if health is Health.UP:
            _log.info("database_up", **({"note": reason} if reason else {}))
        elif health is Health.WRONG_SCHEMA:
            _log.error("wrong_schema_version", reason=reason)
        else:
            _log.warning("database_down", reason=reason)


async def _look_up(connection: asyncpg.Connection) -> None:
    """Run the front door's queries, which also fail if the tables are locked, or the role may not read them."""
    rows = [*await connection.fetch(_FIND_GRANT, b""), *await connection.fetch(_FIND_SITES, [""])]
    if not all(row["whole"] for row in rows):
        raise ScopeIncomplete


class ProvenPool:
    """A pool that hands out connections only after the schema has been verified. Until then, every lookup fails."""

    def __init__(self, pool: Pool, database: DatabaseStatus) -> None:
        self._pool = pool
        self._database = database

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]:
        """Hand out a connection, as the pool does. Raises SchemaNotProven."""
        if not self._database.schema_proven:
            raise SchemaNotProven
        return self._pool.acquire(timeout=timeout)
