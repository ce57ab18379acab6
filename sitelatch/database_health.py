"""The database health check, and a pool that blocks lookups until the schema version is known to be right."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import asyncpg
import structlog

from proxy.grants.connections import DATABASE_FAILURES, Connection, Pool, ScopeIncomplete, describe_connecting
from proxy.grants.database_status import DatabaseStatus, Health
from sitelatch.server_watch import ServerWatch, pause_seconds
from sql.connect import NoMatchingServer
from sql.migrate import WrongSchemaVersion, require_latest
from sql.queries import query

_FIND_GRANT = query("find_grant")
_FIND_SITES = query("find_sites")

_TIMEOUT_SECONDS = 5.0

_log = structlog.get_logger(__name__)


def _ignore() -> None:
    pass


class SchemaNotProven(ConnectionError):  # noqa: N818 - names what happened
    """No health check has found the right schema version yet, so the database must not be queried."""


class NoPrimary(ConnectionError):  # noqa: N818 - names what happened
    """The last health check found a standby. Its answers may be older than the last revocation."""


class HealthCheck:
    """Checks the database once a second, and records the result in `database`.

    Once a check has found the right schema version, the schema stays proven. So a process keeps serving through an
    outage, and while the schema is migrated for a newer version. `on_up` is called when lookups can be answered.
    """

    def __init__(self, watch: ServerWatch, database: DatabaseStatus, *, on_up: Callable[[], None] = _ignore) -> None:
        self._watch = watch
        """It has its own connection, because all connections of the pool may be in use."""
        self._database = database
        self._on_up = on_up
        self._logged: tuple[Health, str] | None = None

    async def run(self) -> None:
        """Check until canceled."""
        while True:
            await self.check()
            await asyncio.sleep(pause_seconds(read_only=self._database.health is Health.READ_ONLY))

    async def check(self) -> None:
        """Check once. A change of the result is logged."""
        database = self._database
        schema = ""
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                connection = await self._watch.connection()
                try:
                    await require_latest(connection)
                except WrongSchemaVersion as error:
                    if not database.schema_proven:
                        raise
                    schema = str(error)
                await _look_up(connection)
                server = await self._watch.look()
        except WrongSchemaVersion as error:
            self._record(Health.WRONG_SCHEMA, str(error))
        except NoMatchingServer as error:  # as if the DSN led to one of these servers
            self._watch.close()
            database.standby = True
            self._record(Health.READ_ONLY, str(error))
        except DATABASE_FAILURES as error:
            self._watch.close()
            database.standby = False
            health = Health.DOWN if database.schema_proven else Health.UNREACHED
            self._record(health, schema or describe_connecting(error))
        else:
            database.standby = server.standby
            if server.fault:
                self._record(Health.READ_ONLY, server.fault)
            else:
                self._record(Health.UP, schema)
            if not server.standby:
                database.schema_proven = True
                self._on_up()

    def _record(self, health: Health, reason: str) -> None:
        self._database.health = health
        if (health, reason) == self._logged:
            return
        self._logged = health, reason
        if health is Health.UP:
            _log.info("database_up", **({"note": reason} if reason else {}))
        elif health is Health.WRONG_SCHEMA:
            _log.error("wrong_schema_version", reason=reason)
        elif health is Health.READ_ONLY:
            _log.warning("database_read_only", reason=reason)
        else:
            _log.warning("database_down", reason=reason)


async def _look_up(connection: asyncpg.Connection) -> None:
    """Run the front door's queries, which also fail if the tables are locked, or the role may not read them."""
    rows = [*await connection.fetch(_FIND_GRANT, b""), *await connection.fetch(_FIND_SITES, [""])]
    if not all(row["whole"] for row in rows):
        raise ScopeIncomplete


class ProvenPool:
    """A pool that hands out connections only after the schema was verified, and not while the server is a standby.

    Otherwise, every lookup fails at once.
    """

    def __init__(self, pool: Pool, database: DatabaseStatus) -> None:
        self._pool = pool
        self._database = database

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]:
        """Hand out a connection, as the pool does. Raises SchemaNotProven and NoPrimary."""
        if not self._database.schema_proven:
            raise SchemaNotProven
        if self._database.standby:
            raise NoPrimary("the server is a standby")
        return self._pool.acquire(timeout=timeout)
