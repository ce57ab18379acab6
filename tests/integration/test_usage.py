"""The usage of API users, written to PostgreSQL: exactly once, and kept by hour and by day."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from proxy.grants.connections import Connection
from proxy.settings import ActivitySettings
from proxy.upkeep import DAYS_KEPT, HOURS_KEPT_DAYS, Upkeep
from proxy.usage import Usage
from proxy.usage_counts import UsageCounts
from sql.queries import query
from tests.scopes import Clock

RECORD_USAGE = query("record_usage")
ADA, BOB = "0a000000-0000-4000-8000-000000000001", "0b000000-0000-4000-8000-000000000002"
PROCESS, OTHER_PROCESS = (str(uuid.UUID(int=number)) for number in (1, 2))

Rows = Sequence[tuple[str, str, int, int]]


@pytest.fixture(scope="module")
def database_server(every_database_server: str) -> str:
    return every_database_server


async def record(pool: asyncpg.Pool, sequence: int, rows: Rows, *, age: float = 0.0, process: str = PROCESS) -> Any:
    columns = [[str(row[column]) for row in rows] for column in range(4)]
    return await pool.fetchrow(RECORD_USAGE, process, sequence, age, *columns)


async def recorded(pool: asyncpg.Pool) -> dict[tuple[str, str], tuple[int, int]]:
    """Return the requests and bytes of each user and outcome, in all hours and days."""
    rows = await pool.fetch(
        "SELECT user_id::text, outcome, sum(requests)::bigint AS requests, sum(bytes_out)::bigint AS bytes_out FROM ("
        "SELECT user_id, outcome, requests, bytes_out FROM sitelatch.usage_days"
        " UNION ALL SELECT user_id, outcome, hour.requests, hour.bytes_out FROM sitelatch.usage_hours AS hours"
        ", unnest(hours.requests, hours.bytes_out) AS hour (requests, bytes_out)) AS every GROUP BY user_id, outcome"
    )
    return {(row["user_id"], row["outcome"]): (row["requests"], row["bytes_out"] or 0) for row in rows}


async def test_batches_add_up_by_hour(pool: asyncpg.Pool) -> None:
    now = await pool.fetchval("SELECT now() AT TIME ZONE 'UTC'")
    noon = (now.replace(hour=12, minute=30) - timedelta(days=1), now.replace(hour=9, minute=0) - timedelta(days=1))
    ages = [(now - then).total_seconds() for then in noon]
    await record(pool, 1, [(ADA, "passed", 3, 700), (ADA, "site_not_granted", 2, 0)], age=ages[0])
    await record(pool, 2, [(ADA, "passed", 4, 100), (BOB, "passed", 1, 0)], age=ages[0])
    await record(pool, 3, [(ADA, "passed", 5, 10), (ADA, "site_not_granted", 1, 0)], age=ages[1])
    rows = await pool.fetch(
        "SELECT user_id::text, outcome, day, requests[9] AS nine, requests[12] AS noon, bytes_out[12] AS bytes_out"
        " FROM sitelatch.usage_hours ORDER BY 1, 2"
    )
    yesterday = (now - timedelta(days=1)).date()
    assert [tuple(row) for row in rows] == [
        (ADA, "passed", yesterday, 5, 7, 800),
        (ADA, "site_not_granted", yesterday, 1, 2, None),
        (BOB, "passed", yesterday, None, 1, 0),
    ]


async def test_a_batch_that_is_sent_again_is_skipped(pool: asyncpg.Pool) -> None:
    rows = [(ADA, "passed", 3, 700)]
    for _ in range(3):
        assert (await record(pool, 1, rows))["whole"]
    await record(pool, 2, rows)
    await record(pool, 1, rows)  # it was delayed on the way
    await record(pool, 1, rows, process=OTHER_PROCESS)
    assert await recorded(pool) == {(ADA, "passed"): (9, 2100)}


async def test_a_batch_that_is_sent_again_waits_for_the_commit_of_the_first_attempt(pool: asyncpg.Pool) -> None:
    rows = [(ADA, "passed", 3, 700)]
    columns = [[str(row[column]) for row in rows] for column in range(4)]
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.fetch(RECORD_USAGE, PROCESS, 1, 0.0, *columns)
        again = asyncio.create_task(record(pool, 1, rows))
        await until_blocked(pool)
        await transaction.commit()
        await again
    assert await recorded(pool) == {(ADA, "passed"): (3, 700)}


async def until_blocked(pool: asyncpg.Pool) -> None:
    """Wait until a statement waits for a lock. Raises AssertionError if none does in time."""
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    deadline = time.monotonic() + 10
    while not await pool.fetchval(blocked):
        assert time.monotonic() < deadline, "no statement waits for a lock"
        await asyncio.sleep(0.005)


async def test_nothing_is_written_during_a_restore(pool: asyncpg.Pool) -> None:
    triggers = await pool.fetch("SELECT tgname FROM pg_trigger WHERE tgrelid = 'sitelatch.scope_pending'::regclass")
    for trigger in triggers:
        await pool.execute(f"DROP TRIGGER {trigger['tgname']} ON sitelatch.scope_pending")
    assert not (await record(pool, 1, [(ADA, "passed", 3, 700)]))["whole"]
    assert await recorded(pool) == {}
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.usage_writers") == 0


async def test_a_flush_returns_the_requests_of_the_day_in_all_processes(pool: asyncpg.Pool) -> None:
    await record(pool, 1, [(ADA, "passed", 3, 0), (BOB, "passed", 9, 0)], process=OTHER_PROCESS)
    await record(pool, 2, [(ADA, "passed", 100, 0)], age=2 * 86_400, process=OTHER_PROCESS)
    row = await record(pool, 1, [(ADA, "passed", 4, 0), (ADA, "rate_limited", 50, 0)])
    today = await pool.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date")
    assert (row["day"], row["users"], row["totals"]) == (today, [ADA], ["7"])


STATISTICS = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'usage_hours'"


async def test_updates_are_hot(pool: asyncpg.Pool) -> None:
    users = [str(uuid.uuid4()) for _ in range(200)]
    columns = [users, ["passed"] * 200, ["1"] * 200, ["1000"] * 200]
    since_midnight = await pool.fetchval("SELECT extract(epoch FROM now() AT TIME ZONE 'UTC')::float8") % 86_400
    updated = hot = 0
    async with pool.acquire() as connection:
        for sequence in range(1, 48):
            age = 86_400 + since_midnight - sequence // 2 * 3600  # two batches in each hour of yesterday
            async with connection.transaction():
                [before] = await connection.fetch(STATISTICS)
                await connection.fetch(RECORD_USAGE, PROCESS, sequence, age, *columns)
                [after] = await connection.fetch(STATISTICS)
            updated += after["n_tup_upd"] - before["n_tup_upd"]
            hot += after["n_tup_hot_upd"] - before["n_tup_hot_upd"]
    assert updated == 46 * 200
    # A row grows with each hour, and moves to another page a few times a day. Other transactions may delay the reuse of
    # space.
    assert hot > 0.8 * updated


async def test_old_hours_become_days_and_the_oldest_days_are_deleted(pool: asyncpg.Pool) -> None:
    for sequence, days in enumerate((0, HOURS_KEPT_DAYS, HOURS_KEPT_DAYS + 1, DAYS_KEPT, DAYS_KEPT + 1), start=1):
        await record(pool, sequence, [(ADA, "passed", 2, 30), (ADA, "disabled_key", 1, 0)], age=days * 86_400)
    upkeep = Upkeep(pool, batch_rows=2, pause_seconds=0)
    await upkeep.tidy()
    today = await pool.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date")

    async def days_of(table: str) -> list[int]:
        rows = await pool.fetch(f"SELECT DISTINCT day FROM sitelatch.{table} ORDER BY day DESC")  # noqa: S608 - from this file
        return [(today - row["day"]).days for row in rows]

    assert await days_of("usage_hours") == [0, HOURS_KEPT_DAYS]
    assert await days_of("usage_days") == [HOURS_KEPT_DAYS + 1, DAYS_KEPT]
    # Usage that arrives late is added to the day.
    await record(pool, 9, [(ADA, "passed", 5, 70)], age=(HOURS_KEPT_DAYS + 1) * 86_400)
    await asyncio.gather(*(Upkeep(pool).tidy() for _ in range(3)))
    late = "SELECT requests, bytes_out FROM sitelatch.usage_days WHERE outcome = 'passed' ORDER BY day DESC LIMIT 1"
    assert [tuple(row) for row in await pool.fetch(late)] == [(7, 100)]
    assert await recorded(pool) == {(ADA, "passed"): (13, 190), (ADA, "disabled_key"): (4, 0)}


async def test_processes_that_write_the_same_users_and_tidy_do_not_deadlock(pool: asyncpg.Pool) -> None:
    users = [str(uuid.uuid4()) for _ in range(50)]

    async def write(process: str, order: Sequence[str]) -> None:
        for sequence in range(1, 21):
            await record(
                pool, sequence, [(user, "passed", 1, 10) for user in order], age=sequence % 2 * 864_000, process=process
            )

    async def tidy() -> None:
        for _ in range(20):
            await Upkeep(pool, batch_rows=7, pause_seconds=0).tidy()

    processes = [str(uuid.uuid4()) for _ in range(3)]
    orders = (users, users[::-1], users[25:] + users[:25])
    await asyncio.gather(*(write(*each) for each in zip(processes, orders, strict=True)), tidy(), tidy())
    assert await recorded(pool) == {(user, "passed"): (60, 600) for user in users}


class LosingPool:
    """A pool whose connections lose statements, or the answers to statements that were committed."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.losing = ""
        """What is lost now: `statement`, `answer` or nothing."""

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[Connection]:  # noqa: ASYNC109
        async with self._pool.acquire(timeout=timeout) as connection:
            yield _LosingConnection(self, connection)


class _LosingConnection:
    def __init__(self, pool: LosingPool, connection: Any) -> None:
        self._losing_pool = pool
        self._connection = connection

    async def fetch(self, query: str, /, *args: object) -> Sequence[Any]:
        if self._losing_pool.losing == "statement":
            raise ConnectionResetError("lost")
        rows: Sequence[Any] = await self._connection.fetch(query, *args)
        if self._losing_pool.losing:
            raise ConnectionResetError("lost")
        return rows

    async def execute(self, query: str, /, *args: object) -> str:
        raise NotImplementedError

    def terminate(self) -> None:
        raise NotImplementedError


async def test_usage_is_counted_once_although_answers_are_lost(pool: asyncpg.Pool) -> None:
    losing = LosingPool(pool)
    results: list[str] = []
    usage = Usage(ActivitySettings(), losing, UsageCounts(), on_flush=results.append)
    for number in range(12):
        losing.losing = ("answer", "statement", "")[number % 3]
        usage.counts.users[ADA].passed += 1
        usage.counts.users[BOB].bytes_out += 10
        usage.counts.users[BOB].refuse("site_not_granted")
        assert await usage.flush() is (number % 3 == 2)
    assert usage.pending == 0
    assert await recorded(pool) == {
        (ADA, "passed"): (12, 0),
        (BOB, "passed"): (0, 120),
        (BOB, "site_not_granted"): (12, 0),
    }
    assert {"ok", "error"} == set(results)


async def test_usage_gathered_in_an_outage_keeps_its_hours(pool: asyncpg.Pool) -> None:
    clock, losing = Clock(), LosingPool(pool)
    wall = datetime.now(UTC).replace(minute=0, second=0) - timedelta(hours=4)
    began = clock.now
    usage = Usage(
        ActivitySettings(),
        losing,
        UsageCounts(),
        clock=clock,
        wall=lambda: wall.timestamp() + clock.now - began,
    )
    losing.losing = "statement"
    for _ in range(8):  # four hours
        clock.now += 1790
        usage.counts.users[ADA].passed += 1
        await usage.flush()
    losing.losing = ""
    clock.now = began + (datetime.now(UTC) - wall).total_seconds()
    assert await usage.flush()
    rows = await pool.fetch("SELECT hour FROM sitelatch.usage_hours, unnest(requests) AS hour ORDER BY day")
    assert [row["hour"] for row in rows] == [2, 2, 2, 2]


async def test_the_day_and_its_totals_are_reported(pool: asyncpg.Pool) -> None:
    reported: list[tuple[date, Mapping[str, int]]] = []
    usage = Usage(
        ActivitySettings(), pool, UsageCounts(), on_totals=lambda day, totals: reported.append((day, dict(totals)))
    )
    for _ in range(2):
        usage.counts.users[ADA].passed += 2
        usage.counts.users[BOB].refuse("expired_key")
        await usage.flush()
    today = await pool.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date")
    assert reported == [(today, {ADA: 2}), (today, {ADA: 4})]
