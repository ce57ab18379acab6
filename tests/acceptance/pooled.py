"""Sitelatch with both of its roles behind PgBouncer, for the pooler tests."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.harness import Keys, Lane, Lanes, Sitelatch
from tests.acceptance.wire import Answering, Wire
from tests.database import as_role
from tests.pooler import PgBouncer, PooledServer, database_name

RECOVERABLE = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


@dataclass
class Pooled:
    """One Sitelatch process behind one pooler. `dsn` connects directly to the database, as superuser."""

    server: PooledServer
    dsn: str
    pooler: PgBouncer
    latch: Sitelatch
    keys: Keys
    lanes: Lanes


@contextmanager
def pooled(
    server: PooledServer, folder: Path, pooler_settings: Mapping[str, object], *, listen: bool = False, **tables: Any
) -> Iterator[Pooled]:
    """Run Sitelatch with a new database and a new pooler. With `listen`, `listen_url` connects directly."""
    dsn = server.create_migrated()
    lanes = Lanes(12, user_limits={"requests_per_second": 1_000_000})
    with server.pooler(**pooler_settings) as pooler:
        database = {"url": pooler.dsn("sitelatch_doors", database_name(dsn))}
        if listen:
            database["listen_url"] = as_role(dsn, "sitelatch_doors")
        latch = Sitelatch(folder, "", lanes.routes(), database=database, **tables)
        admin_url = pooler.dsn("sitelatch_admin", database_name(dsn))
        latch.tables["admin"] = {**latch.tables["admin"], "database_url": admin_url, "recoverable_keys": RECOVERABLE}
        try:
            latch.start()
            yield Pooled(server, dsn, pooler, latch, latch.create_sites_and_users(), lanes)
        finally:
            latch.stop()
            lanes.close()


@asynccontextmanager
async def lane(served: Pooled) -> AsyncIterator[Lane]:
    """Yield a route whose upstream answers every request with 200."""
    lane = served.lanes.next(served.latch, served.keys)
    lane.upstream.handler = Answering()
    async with lane.upstream:
        yield lane


async def send_request(wire: Wire, request: bytes) -> tuple[int, str]:
    """Send a request, and return the status and, for a refusal, its code."""
    await wire.send(request)
    answer = await wire.answer()
    return answer.status, "" if answer.status == 200 else answer.code


def leftovers() -> str:
    """Return a query for the session state that earlier clients left behind in a server connection."""
    return """
        SELECT current_setting('application_name') AS application,
               ARRAY(SELECT name FROM pg_settings WHERE source = 'session') AS settings,
               ARRAY(SELECT * FROM pg_listening_channels()) AS channels,
               ARRAY(SELECT name FROM pg_prepared_statements) AS statements,
               (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory') AS locks
    """
