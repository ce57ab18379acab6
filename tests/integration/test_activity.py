"""Last activity in a real database, during outages, concurrent writes and stops."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest
import structlog

from proxy.activity import Activity
from proxy.settings import ActivitySettings
from sql.pool import open_pool
from tests.database import READ_ACTIVITY, add_user, add_workspace
from tests.scopes import Clock, until
from tests.wires import Wire, wire_to

SETTINGS = ActivitySettings(flush_seconds=5, resolution_seconds=60)

CREATE_USERS = """
    INSERT INTO sitelatch.api_users (workspace_id, all_sites, authorized_by_name, authorized_by_email)
    SELECT workspaces.id, true, 'Ada', 'ada@example.com' FROM sitelatch.workspaces, generate_series(1, $1)
    RETURNING id::text
"""


@pytest.fixture
async def wire(dsn: str, tmp_path: Path) -> AsyncIterator[Wire]:
    async with wire_to(dsn, tmp_path) as laid:
        yield laid


@pytest.fixture
async def doors(wire: Wire) -> AsyncIterator[asyncpg.Pool]:
    """The front door's pool, over a connection that can be cut."""
    opened = await open_pool(wire.dsn, role="doors")
    yield opened
    opened.terminate()


@pytest.fixture
async def users(pool: asyncpg.Pool) -> list[str]:
    await add_workspace(pool, "acme")
    return [await add_user(pool, "acme") for _ in range(20)]


async def seconds_since_use(pool: asyncpg.Pool, *users: str) -> list[float | None]:
    """Return how long ago each user was last active, by the database's clock. None: never."""
    rows = {row["user_id"]: row["last_used_at"] for row in await pool.fetch(READ_ACTIVITY, users)}
    now = await pool.fetchval("SELECT extract(epoch FROM now())::float8")
    return [None if rows[user] is None else now - rows[user] for user in users]


async def until_true(pool: asyncpg.Pool, condition: str) -> None:
    """Wait for a condition in the database. Raises AssertionError if it does not become true in time."""
    deadline = time.monotonic() + 10
    while not await pool.fetchval(condition):
        assert time.monotonic() < deadline, "the condition did not become true in time"
        await asyncio.sleep(0.01)


def about(seconds: float) -> object:
    """Match this age, allowing for the time that the test itself takes."""
    return pytest.approx(seconds, abs=30)


async def test_the_time_of_a_use_is_computed_from_its_age_regardless_of_clock_differences(
    pool: asyncpg.Pool, users: list[str]
) -> None:
    clock = Clock()
    activity = Activity(SETTINGS, pool, clock=clock)
    ada, bob, cy = users[:3]
    activity.touch(ada)
    clock.now += 100
    activity.touch(bob)
    assert await activity.flush()
    assert await seconds_since_use(pool, ada, bob, cy) == [about(100), about(0), None]


async def test_an_older_use_never_replaces_a_later_one(pool: asyncpg.Pool, users: list[str]) -> None:
    clock = Clock()
    late, early = Activity(SETTINGS, pool, clock=clock), Activity(SETTINGS, pool, clock=clock)
    early.touch(users[0])
    clock.now += 100
    late.touch(users[0])
    await late.flush()
    await early.flush()
    assert await seconds_since_use(pool, users[0]) == [about(0)]


async def test_deleted_users_are_skipped(pool: asyncpg.Pool, users: list[str]) -> None:
    activity = Activity(SETTINGS, pool)
    for user in users[:3]:
        activity.touch(user)
    await pool.execute("DELETE FROM sitelatch.api_users WHERE id = $1::uuid", users[1])
    assert await activity.flush()
    assert activity.pending == 0
    assert await seconds_since_use(pool, users[0], users[2]) == [about(0), about(0)]


async def test_replicas_that_write_the_same_users_do_not_deadlock(pool: asyncpg.Pool, users: list[str]) -> None:
    results: list[str] = []
    settings = ActivitySettings(resolution_seconds=0)
    replicas = [
        Activity(settings, pool, on_flush=lambda result, seconds: results.append(result), clock=clock)
        for clock in (Clock(), Clock(), Clock())
    ]
    for _ in range(30):
        for replica in replicas:
            for user in random.sample(users, len(users)):
                replica.touch(user)
        await asyncio.gather(*(replica.flush() for replica in replicas))
    assert results == ["ok"] * 90


async def test_a_locked_row_does_not_delay_other_users(pool: asyncpg.Pool, users: list[str]) -> None:
    """An admin's uncommitted delete locks a row like this. The use is written when the row is unlocked."""
    activity = Activity(SETTINGS, pool)
    for user in users:
        activity.touch(user)
    async with pool.acquire() as admin:
        deleting = admin.transaction()
        await deleting.start()
        await admin.execute("DELETE FROM sitelatch.api_users WHERE id = $1", users[0])
        assert not await activity.flush()
        assert activity.pending == 1
        assert await seconds_since_use(pool, *users) == [None] + [about(0)] * (len(users) - 1)
        activity.touch(users[0])
        activity.touch(users[1])
        assert not await activity.flush()
        assert activity.pending == 2, "one user's row is locked, and one user is throttled"
        await deleting.rollback()
    assert await activity.flush()
    assert activity.pending == 1
    assert await seconds_since_use(pool, users[0]) == [about(0)]
    assert await activity.drain(2)
    assert activity.pending == 0


async def test_an_outage_loses_no_activity(
    pool: asyncpg.Pool, doors: asyncpg.Pool, wire: Wire, users: list[str]
) -> None:
    clock = Clock()
    activity = Activity(SETTINGS, doors, clock=clock)
    activity.touch(users[0])
    assert await activity.flush()
    await wire.cut()
    for user in users[1:]:
        clock.now += 100
        activity.touch(user)
        assert not await activity.flush()
    assert activity.pending == len(users) - 1
    await wire.restore()
    assert await activity.flush()
    ages = await seconds_since_use(pool, *users[1:])
    assert ages == [about(100 * number) for number in reversed(range(len(users) - 1))]


async def test_a_connection_closed_during_a_statement_loses_nothing(
    pool: asyncpg.Pool, doors: asyncpg.Pool, wire: Wire, users: list[str]
) -> None:
    activity = Activity(SETTINGS, doors)
    activity.touch(users[0])
    async with pool.acquire() as rival:
        lock = rival.transaction()
        await lock.start()
        await rival.execute("LOCK TABLE sitelatch.api_user_activity")
        flushing = asyncio.create_task(activity.flush())
        await until_true(
            pool,
            "SELECT count(*) > 0 FROM pg_stat_activity"
            " WHERE application_name = 'sitelatch-doors' AND wait_event_type = 'Lock'",
        )
        wire.cut_connections()
        assert not await flushing
        activity.touch(users[1])
        await lock.rollback()
    assert await activity.flush()
    assert await seconds_since_use(pool, users[0], users[1]) == [about(0), about(0)]


async def test_a_use_during_a_restore_is_kept_until_its_row_exists(
    pool: asyncpg.Pool, doors: asyncpg.Pool, users: list[str]
) -> None:
    activity = Activity(SETTINGS, doors)
    activity.touch(users[0])
    # A restore creates the tables, then the rows, and then the triggers.
    definition = await pool.fetchval("SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'publish_changes'")
    await pool.execute("DROP TRIGGER publish_changes ON sitelatch.scope_pending")
    await pool.execute("DELETE FROM sitelatch.api_user_activity")
    assert not await activity.flush()
    await pool.execute("INSERT INTO sitelatch.api_user_activity SELECT id FROM sitelatch.api_users")
    await pool.execute(definition)
    assert await activity.flush()
    assert await seconds_since_use(pool, users[0]) == [about(0)]


async def test_a_graceful_stop_loses_no_activity(pool: asyncpg.Pool, users: list[str]) -> None:
    activity = Activity(SETTINGS, pool)
    running = asyncio.create_task(activity.run())
    for user in users[:10]:
        activity.touch(user)
    await activity.flush()
    activity.write_through()
    for user in users:
        activity.touch(user)
        await asyncio.sleep(0)
    running.cancel()
    draining = asyncio.create_task(activity.drain(2))
    await asyncio.sleep(0)
    activity.touch(users[-1])
    assert await draining
    await until(lambda: activity.pending == 0)
    assert await seconds_since_use(pool, *users) == [about(0)] * len(users)


async def test_a_stop_with_a_slow_database_writes_more_than_one_statement_could(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme")
    users = [str(row[0]) for row in await pool.fetch(CREATE_USERS, 1_200)]
    await pool.execute(
        "CREATE FUNCTION sitelatch.slow() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END'"
    )
    await pool.execute(
        "CREATE TRIGGER slow BEFORE UPDATE ON sitelatch.api_user_activity"
        " FOR EACH ROW EXECUTE FUNCTION sitelatch.slow()"
    )
    # A statement for all users takes more than 1.2 s.
    activity = Activity(SETTINGS, pool, write_seconds=0.5)
    for user in users:
        activity.touch(user)
    assert await activity.drain(60)
    assert await seconds_since_use(pool, *users) == [about(0)] * len(users)


@pytest.mark.slow
async def test_a_stop_writes_the_activity_of_122_000_among_a_million_users(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme")
    users = [str(row[0]) for row in await pool.fetch(CREATE_USERS, 1_000_000, timeout=900)]
    await pool.execute("CHECKPOINT", timeout=300)
    activity = Activity(SETTINGS, pool)
    used = random.sample(users, 122_000)
    for user in used:
        activity.touch(user)
    began = time.monotonic()
    assert await activity.drain(30)
    print(f"122,000 uses were written in {time.monotonic() - began:.1f} s")  # noqa: T201 - for the report
    assert await pool.fetchval("SELECT count(last_used_at) FROM sitelatch.api_user_activity", timeout=60) == 122_000


@pytest.mark.parametrize("what", ["down", "frozen"])
async def test_a_drain_without_a_database_ends_in_time_and_logs_all_uses(
    doors: asyncpg.Pool, wire: Wire, users: list[str], what: str
) -> None:
    activity = Activity(SETTINGS, doors)
    activity.touch(users[0])
    await activity.flush()
    for user in users[:3]:
        activity.touch(user)
    if what == "down":
        await wire.cut()
    else:
        wire.freeze()
    with structlog.testing.capture_logs() as lines:
        assert not await asyncio.wait_for(activity.drain(2), 10)
    (line,) = (line for line in lines if line["event"] == "activity_not_written")
    assert line["pending"].keys() == set(users[:3])
    for used_at in line["pending"].values():
        assert datetime.fromisoformat(used_at).timestamp() == about(time.time())
    await wire.restore()
    assert await activity.drain(2)


async def test_a_busy_user_creates_one_row_version_per_resolution_interval(
    pool: asyncpg.Pool, users: list[str]
) -> None:
    clock = Clock()
    activity = Activity(SETTINGS, pool, clock=clock)
    versions = set()
    for _ in range(60):
        for _ in range(10):
            activity.touch(users[0])
        clock.now += 5
        await activity.flush()
        versions.add(
            await pool.fetchval("SELECT xmin::text FROM sitelatch.api_user_activity WHERE user_id = $1::uuid", users[0])
        )
    assert len(versions) == 5
