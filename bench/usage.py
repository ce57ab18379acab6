"""Measures the tables of usage: `python -m bench.usage [USERS]` prints rows, sizes and times for docs/scaling.md.

It fills them as if all USERS (default 100,000) had been active every hour for 400 days: the hours with the statement of
the front door, the days as they are moved there. PostgreSQL has its default settings.
"""

import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import asyncpg

from admin.api.usage import Period, export_usage, period, summarize_usage, user_usage
from admin.connections import Connection, Lane
from bench.admin_lists import start_server
from proxy.upkeep import DAYS_KEPT, HOURS_KEPT_DAYS
from sql.migrate import migrate
from sql.pool import open_connection, open_pool
from sql.queries import query

_RECORD_USAGE = query("record_usage")
_ROLL_UP = query("roll_up_usage")
_BATCH = 1000
_ADD_USERS = """
WITH workspace AS (INSERT INTO sitelatch.workspaces (name) VALUES ('acme') RETURNING id)
INSERT INTO sitelatch.api_users (workspace_id, all_sites, name, authorized_by_name, authorized_by_email)
SELECT id, true, 'User ' || n, 'Ada', 'ada@example.com' FROM workspace, generate_series(1, $1::int) n
RETURNING id::text
"""
_ADD_DAY = """
INSERT INTO sitelatch.usage_days (day, user_id, outcome, requests, bytes_out)
SELECT (now() AT TIME ZONE 'UTC')::date - $1::int, id, 'passed', 12345, 12345678 FROM sitelatch.api_users ORDER BY id
"""
_SIZES = """
SELECT relname, reltuples::bigint AS rows, pg_table_size(oid) AS table, pg_indexes_size(oid) AS index
FROM pg_class WHERE relname IN ('usage_hours', 'usage_days') ORDER BY relname
"""


class _Writer:
    """Writes usage as one process does."""

    def __init__(self, connection: asyncpg.Connection, users: Sequence[str]) -> None:
        self._connection = connection
        self._users = users
        self._process = str(uuid.uuid4())
        self._sequence = 0

    async def flush(self, age: float) -> list[float]:
        """Write one request of each user. Return the milliseconds of each batch."""
        times = []
        for start in range(0, len(self._users), _BATCH):
            batch = self._users[start : start + _BATCH]
            self._sequence += 1
            columns = [list(batch), ["passed"] * len(batch), ["123"] * len(batch), ["123456"] * len(batch)]
            begun = time.perf_counter()
            await self._connection.fetch(_RECORD_USAGE, self._process, self._sequence, age, *columns)
            times.append((time.perf_counter() - begun) * 1000)
        return times


async def _measure(name: str, lane: Lane, work: Callable[[Connection], Awaitable[object]]) -> None:
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        async with lane.read() as connection:
            await work(connection)
        times.append((time.perf_counter() - begun) * 1000)
    print(f"{name:42} {statistics.median(times):10.1f} ms, longest {max(times):.1f} ms", flush=True)


async def _export(lane: Lane, when: Period) -> int:
    lines, after = 0, None
    while True:
        async with lane.read() as connection:
            page = await export_usage(connection, when, after=after, limit=2000)
        lines, after = lines + len(page.items), page.next
        if after is None:
            return lines


async def _fill_days(dsn: str) -> None:
    connection: asyncpg.Connection = await open_connection(dsn, role="bench")
    for day in range(DAYS_KEPT, HOURS_KEPT_DAYS, -1):
        await connection.execute(_ADD_DAY, day, timeout=600)
    await connection.close()


async def _fill_hours(dsn: str, users: Sequence[str]) -> None:
    connection: asyncpg.Connection = await open_connection(dsn, role="bench")
    writer = _Writer(connection, users)
    hours = int(await connection.fetchval("SELECT extract(hour FROM now() AT TIME ZONE 'UTC')"))
    for hour in range(HOURS_KEPT_DAYS * 24 + hours, 0, -1):
        await writer.flush(hour * 3600.0)
    await connection.close()


async def _run(dsn: str, count: int) -> None:
    connection: asyncpg.Connection = await open_connection(dsn, role="bench")
    await migrate(connection)
    users = [row["id"] for row in await connection.fetch(_ADD_USERS, count, timeout=600)]
    begun = time.perf_counter()
    await asyncio.gather(_fill_days(dsn), _fill_hours(dsn, users))
    print(f"filled the tables in {time.perf_counter() - begun:.0f} s", flush=True)
    await connection.execute("VACUUM ANALYZE", timeout=3600)
    for row in await connection.fetch(_SIZES):
        table, index = (row[part] / 1e6 for part in ("table", "index"))
        print(f"{row['relname']:12} {row['rows']:12,} rows {table:10,.0f} MB {index:10,.0f} MB of index", flush=True)
    writer = _Writer(connection, users)
    times = [each for _ in range(3) for each in await writer.flush(0.0)]
    print(f"write of {_BATCH} users: {statistics.median(times):.1f} ms, longest {max(times):.1f} ms", flush=True)
    some = [uuid.UUID(user) for user in users[:: max(1, count // 50)][:50]]
    pool = await open_pool(dsn, role="bench")
    lane = Lane(pool, read_seconds=60)
    days, hours, one = period("day", None, None), period("hour", None, None), str(some[3])
    await _measure("chart of one user, 30 days", lane, lambda connection: user_usage(connection, one, days))
    await _measure("chart of one user, 7 days by hour", lane, lambda connection: user_usage(connection, one, hours))
    await _measure("30 days of 50 users", lane, lambda connection: summarize_usage(connection, some))
    begun = time.perf_counter()
    print(f"export of {await _export(lane, days):,} lines: {time.perf_counter() - begun:.1f} s", flush=True)
    await pool.close()
    begun, moved = time.perf_counter(), 0
    while True:
        rows = await connection.fetchval(_ROLL_UP, HOURS_KEPT_DAYS - 1, 2000)
        moved += rows
        if rows < 2000:
            break
    print(f"moved a day of {moved:,} rows in {time.perf_counter() - begun:.1f} s", flush=True)
    await connection.close()


def main(arguments: Sequence[str]) -> None:
    """Fill the tables, and print the figures."""
    count = int(arguments[0]) if arguments else 100_000
    with tempfile.TemporaryDirectory(prefix="sitelatch-bench-") as temporary:
        server = start_server(Path(temporary))
        try:
            asyncio.run(_run(server.dsn, count))
        finally:
            server.close()


if __name__ == "__main__":
    main(sys.argv[1:])
