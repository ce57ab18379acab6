"""Whether the database is there, has the right schema and answers: what readiness and the doors go by."""

import asyncio
import enum
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import asyncpg
import structlog

from proxy.grants.scope_table import DATABASE_FAILURES, Connection, Pool, ScopeNotWhole, reason_not_connected
from sql.migrate import WrongSchemaVersion, require_latest
from sql.pool import open_connection
from sql.queries import query

_FIND_GRANT = query("find_grant")
_FIND_SITES = query("find_sites")

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
LOOK_TIMEOUT_SECONDS = 5.0


def _no_one() -> None:
    """Hear of a look, and do nothing."""


class DatabaseState(enum.Enum):
    """What the last look at the database found."""

    UNREACHED = "not reached yet"
    WRONG_SCHEMA = "wrong schema version"
    UP = "up"
    DOWN = "down"


class SchemaNotProven(ConnectionError):  # noqa: N818 - it says what it is
    """The database was not yet seen with the right schema, so what it would say is not asked."""


class DatabaseWatch:
    """Looks at the database again and again. Once it was seen with the right schema it stays `proven`.

    So an instance that runs keeps serving while the schema is migrated for its successor, and through an outage.
    `on_up` is told at each look that found it up.
    """

    def __init__(self, url: str, *, on_up: Callable[[], None] = _no_one) -> None:
        self.state = DatabaseState.UNREACHED
        self.proven = False
        self._url = url
        self._on_up = on_up
        self._connection: asyncpg.Connection | None = None
        """A connection of its own, for those of the pool may all be at work."""
        self._said: tuple[DatabaseState, str] | None = None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once; a change of what is found is one log line."""
        schema = ""
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_SECONDS):
                if self._connection is None:
                    self._connection = await open_connection(self._url, role="watch")
                try:
                    await require_latest(self._connection)
                except WrongSchemaVersion as error:
                    if not self.proven:
                        raise
                    schema = str(error)
                await _ask_as_doors(self._connection)
        except WrongSchemaVersion as error:
            self._found(DatabaseState.WRONG_SCHEMA, str(error))
        except DATABASE_FAILURES as error:
            self.close()
            self._found(
                DatabaseState.DOWN if self.proven else DatabaseState.UNREACHED, schema or reason_not_connected(error)
            )
        else:
            self.proven = True
            self._found(DatabaseState.UP, schema)
            self._on_up()

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _found(self, state: DatabaseState, reason: str) -> None:
        self.state = state
        if (state, reason) == self._said:
            return
        self._said = state, reason
        if state is DatabaseState.UP:
            _log.info("database_up", **({"note": reason} if reason else {}))
        elif state is DatabaseState.WRONG_SCHEMA:
            _log.error("wrong_schema_version", reason=reason)
        else:
            _log.warning("database_down", reason=reason)


async def _ask_as_doors(connection: asyncpg.Connection) -> None:
    """Ask what the doors ask: tables that are there, and may not be read or are locked, are of no use to them."""
    rows = [*await connection.fetch(_FIND_GRANT, b""), *await connection.fetch(_FIND_SITES, [""])]
    if not all(row["whole"] for row in rows):
        raise ScopeNotWhole


class ProvenPool:
    """A pool that lends nothing until the watch has proven the schema: until then every lookup is a failure."""

    def __init__(self, pool: Pool, watch: DatabaseWatch) -> None:
        self._pool = pool
        self._watch = watch

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection as the pool does. Raises SchemaNotProven."""
        if not self._watch.proven:
            raise SchemaNotProven
        return self._pool.acquire(timeout=timeout)
