"""The queries of the front door, on every PostgreSQL version of this machine."""

import asyncio
import hashlib

import asyncpg
import pytest

from sql.pool import open_connection
from sql.queries import query
from tests.database import READ_ACTIVITY, add_user, add_workspace

FIND_GRANT = query("find_grant")
FIND_KEYS = query("find_keys")
FIND_SITES = query("find_sites")
RECORD_ACTIVITY = query("record_activity")

DIGEST = hashlib.sha256(b"a key").digest()


@pytest.fixture(scope="module")
def database_server(every_database_server: str) -> str:
    return every_database_server


async def find_grant(pool: asyncpg.Pool, digest: bytes = DIGEST) -> asyncpg.Record:
    (row,) = await pool.fetch(FIND_GRANT, digest)
    return row


async def test_a_grant_contains_the_user_workspace_and_sites(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop", "blog", "docs")
    user_id = await add_user(pool, "acme", "shop", "blog", digest=DIGEST)
    assert dict(await find_grant(pool)) == {
        "whole": True,
        "standby": False,
        "user_id": user_id,
        "workspace": "acme",
        "all_sites": False,
        "sites": ["blog", "shop"],
        "expires_at": None,
        "disabled": False,
        "methods": None,
        "networks": None,
        "requests_per_second": None,
        "burst": None,
        "requests_per_day": None,
        "several_keys": False,
        "feed_position": await pool.fetchval("SELECT max(seq) FROM sitelatch.scope_changes"),
    }


async def test_a_grant_for_all_sites_lists_no_sites(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=DIGEST, all_sites=True)
    row = await find_grant(pool)
    assert (row["all_sites"], row["sites"]) == (True, [])


async def test_existing_digests_among_many_are_found(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme")
    user_id = await add_user(pool, "acme", digest=DIGEST)
    await pool.execute(
        "INSERT INTO sitelatch.api_keys (digest, user_id, hint)"
        " SELECT sha256(number::text::bytea), $1::uuid, '' FROM generate_series(1, 3000) AS number",
        user_id,
    )
    await pool.execute("ANALYZE sitelatch.api_keys")
    asked = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(2801, 3301)]
    (row,) = await pool.fetch(FIND_KEYS, [*asked, DIGEST.hex(), DIGEST.hex()])
    assert row["whole"]
    assert row["feed_position"] == await pool.fetchval("SELECT max(seq) FROM sitelatch.scope_changes")
    assert row["existing"] == [*asked[:200], DIGEST.hex(), DIGEST.hex()]
    assert (await pool.fetch(FIND_KEYS, []))[0]["existing"] == []
    plan = "\n".join(row[0] for row in await pool.fetch(f"EXPLAIN {FIND_KEYS}", asked))
    assert "Seq Scan on api_keys" not in plan


async def test_unknown_keys_have_no_user_but_disabled_and_expired_ones_do(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    user_id = await add_user(pool, "acme", "shop", digest=DIGEST)
    assert (await find_grant(pool, bytes(32)))["user_id"] is None
    await pool.execute("UPDATE sitelatch.api_keys SET expires_at = to_timestamp(1700000000.5)")
    assert (await find_grant(pool))["expires_at"] == 1700000000.5
    await pool.execute("UPDATE sitelatch.api_users SET disabled_at = now()")
    row = await find_grant(pool)
    assert (row["user_id"], row["disabled"]) == (user_id, True)


async def test_the_earlier_expiry_of_a_key_and_its_user_counts(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=DIGEST)
    for user, key, earlier in (("20", "NULL", 20), ("20", "10", 10), ("5", "10", 5), ("NULL", "10", 10)):
        for table, at in (("users", user), ("keys", key)):
            await pool.execute(f"UPDATE sitelatch.api_{table} SET expires_at = to_timestamp({at})")  # noqa: S608
        assert (await find_grant(pool))["expires_at"] == earlier


async def test_a_grant_contains_the_conditions_of_its_user(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    user_id = await add_user(pool, "acme", "shop", digest=DIGEST)
    await pool.execute(
        "UPDATE sitelatch.api_users SET methods = '{GET,HEAD}', networks = '{192.0.2.0/24,2001:db8::/32,192.0.2.7}'"
    )
    await pool.execute("INSERT INTO sitelatch.api_keys (digest, user_id, hint) VALUES ($1, $2, '')", bytes(32), user_id)
    row = await find_grant(pool)
    assert row["methods"] == ["GET", "HEAD"]
    assert row["networks"] == ["192.0.2.0/24", "2001:db8::/32", "192.0.2.7/32"]
    assert row["several_keys"]


async def test_a_grant_contains_the_limit_of_its_user(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=DIGEST)
    await pool.execute("UPDATE sitelatch.api_users SET requests_per_second = 0.5, burst = 3, requests_per_day = 9")
    row = await find_grant(pool)
    assert (row["requests_per_second"], row["burst"], row["requests_per_day"]) == (0.5, 3, 9)


@pytest.mark.parametrize(
    "condition",
    [
        "methods = '{}'",
        "methods = '{get}'",
        "methods = '{NULL}'",
        "networks = '{}'",
        "requests_per_second = 0",
        "requests_per_second = 'NaN'",
        "requests_per_second = 'infinity'",
        "requests_per_second = 1, burst = 0",
        "burst = 5",
        "requests_per_day = 0",
    ],
)
async def test_conditions_that_no_request_could_meet_cannot_be_stored(pool: asyncpg.Pool, condition: str) -> None:
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=DIGEST)
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute(f"UPDATE sitelatch.api_users SET {condition}")  # noqa: S608 - one of the above


async def test_a_grant_contains_the_feed_position(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme")
    await add_user(pool, "acme", digest=DIGEST)
    before = (await find_grant(pool))["feed_position"]
    await pool.execute("INSERT INTO sitelatch.scope_changes (what) VALUES ('all'), ('all')")
    assert (await find_grant(pool))["feed_position"] == before + 2


async def test_sites_are_found_with_their_workspaces(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop", "blog")
    await add_workspace(pool, "globex", "wiki")
    rows = await pool.fetch(FIND_SITES, ["shop", "wiki", "nothing"])
    assert {row["name"]: row["workspace"] for row in rows} == {"shop": "acme", "wiki": "globex", "nothing": None}


async def test_sites_are_found_by_folded_id(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "Shop", "blog")
    names = ["/shop", "Shop", "shop", "/Shop", "/blog", "/", "/nothing", ""]
    rows = await pool.fetch(FIND_SITES, names)
    assert [row["name"] for row in rows] == names
    assert {row["name"]: (row["id"], row["workspace"]) for row in rows if row["id"]} == {
        "/shop": ("Shop", "acme"),
        "Shop": ("Shop", "acme"),
        "/blog": ("blog", "acme"),
    }


async def test_sites_are_found_through_indexes(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", *(f"Site-{number}" for number in range(20_000)))
    await pool.execute("ANALYZE sitelatch.sites")
    for names in (["/site-7"], [name for number in range(500) for name in (f"Site-{number}", f"/site-{number}")]):
        plan = [row[0] for row in await pool.fetch(f"EXPLAIN {FIND_SITES}", names)]
        assert not [line for line in plan if "Seq Scan on sites" in line], plan


async def test_activity_keeps_the_latest_time_and_skips_deleted_users(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme")
    used, unused, deleted = [await add_user(pool, "acme") for _ in range(3)]
    await pool.execute("DELETE FROM sitelatch.api_users WHERE id = $1::uuid", deleted)
    now = await pool.fetchval("SELECT extract(epoch FROM now())::float8")
    await pool.execute(RECORD_ACTIVITY, [used, deleted, used], ["50.0", "1.0", "20.0"])
    await pool.execute(RECORD_ACTIVITY, [used], ["3600.0"])
    times = {row["user_id"]: row["last_used_at"] for row in await pool.fetch(READ_ACTIVITY, [used, unused, deleted])}
    assert set(times) == {used, unused}
    assert times[unused] is None
    assert abs(times[used] - (now - 20)) < 10


async def test_recording_activity_skips_and_reports_locked_rows(pool: asyncpg.Pool, dsn: str) -> None:
    await add_workspace(pool, "acme")
    users = sorted([await add_user(pool, "acme") for _ in range(3)])
    holder = await open_connection(dsn, role="tests")
    try:
        async with holder.transaction(), asyncio.timeout(10):
            await holder.execute(RECORD_ACTIVITY, users[1:2], ["9.0"])
            (row,) = await pool.fetch(RECORD_ACTIVITY, users, ["1.0", "2.0", "3.0"])
            assert (row["written"], row["held"]) == (2, users[1:2])
        (row,) = await pool.fetch(RECORD_ACTIVITY, users, ["1.0", "2.0", "3.0"])
        assert (row["written"], row["held"]) == (3, [])
    finally:
        await holder.close()
    ages = await pool.fetch(
        "SELECT extract(epoch FROM now() - last_used_at)::float8 AS age"
        " FROM sitelatch.api_user_activity ORDER BY user_id"
    )
    assert [row["age"] for row in ages] == pytest.approx([1, 2, 3], abs=5)


async def test_a_user_deleted_during_a_write_is_skipped(pool: asyncpg.Pool, dsn: str) -> None:
    await add_workspace(pool, "acme")
    users = sorted([await add_user(pool, "acme") for _ in range(2)])
    deleter = await open_connection(dsn, role="tests")
    try:
        async with deleter.transaction(), asyncio.timeout(10):
            await deleter.execute("DELETE FROM sitelatch.api_users WHERE id = $1::uuid", users[0])
            (row,) = await pool.fetch(RECORD_ACTIVITY, users, ["1.0", "1.0"])
            assert (row["written"], row["held"]) == (1, users[:1])
        (row,) = await pool.fetch(RECORD_ACTIVITY, users[:1], ["1.0"])
        assert (row["written"], row["held"]) == (0, [])
    finally:
        await deleter.close()


READ_KEYS = """
    SELECT digest, round(extract(epoch FROM now() - last_used_at)) AS age
    FROM sitelatch.api_key_activity ORDER BY digest
"""
OLD, NEW = bytes(32), bytes([1] * 32)


async def add_second_key(pool: asyncpg.Pool, age: float | None) -> str:
    """Return a user that was used so many seconds ago, and then got its second key."""
    await add_workspace(pool, "acme")
    user_id = await add_user(pool, "acme", digest=OLD)
    if age is not None:
        await pool.execute(RECORD_ACTIVITY, [user_id], [str(age)])
    await pool.execute("INSERT INTO sitelatch.api_keys (digest, user_id, hint) VALUES ($1, $2, '')", NEW, user_id)
    return user_id


async def test_the_activity_of_each_key_is_recorded_if_a_user_has_several_keys(pool: asyncpg.Pool) -> None:
    user_id = await add_second_key(pool, 3600)
    assert [tuple(row) for row in await pool.fetch(READ_KEYS)] == [(OLD, 3600), (NEW, None)]
    subjects = [f"{user_id}/{OLD.hex()}", f"{user_id}/{NEW.hex()}", user_id, f"{user_id}/{bytes([9] * 32).hex()}"]
    (row,) = await pool.fetch(RECORD_ACTIVITY, subjects, ["200", "100", "300", "400"])
    assert (row["written"], row["held"]) == (1, [])
    assert [row["age"] for row in await pool.fetch(READ_KEYS)] == pytest.approx([200, 100], abs=9)
    (used,) = await pool.fetch(READ_ACTIVITY, [user_id])
    assert used["last_used_at"] == await pool.fetchval(
        "SELECT extract(epoch FROM max(last_used_at))::float8 FROM sitelatch.api_key_activity"
    )


async def test_a_locked_key_is_reported_and_recorded_later(pool: asyncpg.Pool, dsn: str) -> None:
    user_id = await add_second_key(pool, None)
    subjects = [f"{user_id}/{OLD.hex()}", f"{user_id}/{NEW.hex()}"]
    holder = await open_connection(dsn, role="tests")
    try:
        async with holder.transaction(), asyncio.timeout(10):
            await holder.execute("DELETE FROM sitelatch.api_keys WHERE digest = $1", OLD)
            (row,) = await pool.fetch(RECORD_ACTIVITY, subjects, ["1.0", "1.0"])
            assert row["held"] == subjects[:1]
        (row,) = await pool.fetch(RECORD_ACTIVITY, subjects, ["1.0", "1.0"])
        assert row["held"] == []
    finally:
        await holder.close()
    assert [row["digest"] for row in await pool.fetch(READ_KEYS)] == [NEW]


async def test_deleting_a_user_deletes_its_keys_and_their_activity(pool: asyncpg.Pool) -> None:
    await add_second_key(pool, None)
    await pool.execute("DELETE FROM sitelatch.api_users")
    for table in ("api_keys", "api_key_activity"):
        assert await pool.fetchval(f"SELECT count(*) FROM sitelatch.{table}") == 0  # noqa: S608 - one of ours


async def test_activity_updates_of_keys_are_heap_only_tuple_updates(pool: asyncpg.Pool) -> None:
    user_id = await add_second_key(pool, None)
    subjects = [f"{user_id}/{OLD.hex()}", f"{user_id}/{NEW.hex()}"]
    async with pool.acquire() as connection, connection.transaction():
        for age in range(20, 0, -1):
            await connection.execute(RECORD_ACTIVITY, subjects, [str(age), str(age)])
        [counts] = await connection.fetch(COUNT_UPDATES.replace("api_user_activity", "api_key_activity"))
    assert tuple(counts) == (40, 40)


async def test_every_change_of_a_user_counts_its_version_but_activity_does_not(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    user_id = await add_user(pool, "acme", "shop", digest=DIGEST)
    for change in ("name = 'x'", "all_sites = true", "disabled_at = now()", "version = version"):
        before = await pool.fetchval("SELECT version FROM sitelatch.api_users")
        await pool.execute(f"UPDATE sitelatch.api_users SET {change}")  # noqa: S608 - one of the above
        assert await pool.fetchval("SELECT version FROM sitelatch.api_users") == before + 1
    await pool.execute(RECORD_ACTIVITY, [user_id], ["1.0"])
    assert await pool.fetchval("SELECT version FROM sitelatch.api_users") == before + 1


COUNT_UPDATES = """
    SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'api_user_activity'
"""


async def test_activity_updates_within_a_quarter_of_an_hour_are_heap_only_tuple_updates(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme")
    await pool.execute(
        "INSERT INTO sitelatch.api_users (workspace_id, all_sites, authorized_by_name, authorized_by_email)"
        " SELECT id, true, 'Ada', 'ada@example.com' FROM sitelatch.workspaces, generate_series(1, 1000)"
    )
    users = [str(row["user_id"]) for row in await pool.fetch("SELECT user_id FROM sitelatch.api_user_activity")]
    # In the previous quarter of an hour, so that all times of this test are in the same quarter.
    age = await pool.fetchval("SELECT extract(epoch FROM now())::float8::numeric % 900 + 600")
    await pool.execute(RECORD_ACTIVITY, users, [str(age)] * len(users))
    await pool.execute("VACUUM sitelatch.api_user_activity")
    # Only once, because each page has space for one more version of its rows, and other transactions may delay the
    # reuse of that space.
    async with pool.acquire() as connection, connection.transaction():
        (before,) = await connection.fetch(COUNT_UPDATES)
        await connection.execute(RECORD_ACTIVITY, users, [str(age - 300)] * len(users))
        (after,) = await connection.fetch(COUNT_UPDATES)
        assert [after[name] - before[name] for name in ("n_tup_upd", "n_tup_hot_upd")] == [len(users)] * 2
        # Later updates are HOT too, because no index covers the time of the last use.
        indexed = await connection.fetch(
            "SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)"
            " WHERE indrelid = 'sitelatch.api_user_activity'::regclass"
        )
        assert {row["attname"] for row in indexed} == {"user_id", "workspace_id", "created_at", "used_quarter"}


async def test_an_older_activity_time_writes_nothing(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme")
    user_id = await add_user(pool, "acme")
    assert await pool.fetchval(RECORD_ACTIVITY, [user_id], ["10.0"], column=1) == 1
    assert await pool.fetchval(RECORD_ACTIVITY, [user_id], ["3600.0"], column=1) == 0


async def test_a_fast_clock_records_no_future_time(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme")
    user_id = await add_user(pool, "acme")
    await pool.execute(RECORD_ACTIVITY, [user_id], ["-3600.0"])
    assert await pool.fetchval("SELECT last_used_at <= now() FROM sitelatch.api_user_activity")


async def test_processes_report_their_demand_and_get_that_of_the_others(pool: asyncpg.Pool) -> None:
    one, two, three = ("00000000-0000-4000-8000-00000000000" + digit for digit in "123")

    async def report(process: str, demand: dict[str, float]) -> tuple[int, dict[str, float]]:
        [row] = await pool.fetch(query("report_demand"), process, list(demand), list(map(str, demand.values())))
        return row["processes"], dict(zip(demand, map(float, row["others"]), strict=True))

    assert await report(one, {"ada": 1.5, "bob/data": 1e-300}) == (1, {"ada": 0, "bob/data": 0})
    assert await report(two, {"bob/data": 4, "eve": 2.25, "ada": 3}) == (2, {"bob/data": 1e-300, "eve": 0, "ada": 1.5})
    assert await report(three, {}) == (3, {})
    assert await report(three, {"ada": 1}) == (3, {"ada": 4.5})
    assert await report(one, {}) == (3, {})
    assert await report(three, {"ada": 1}) == (3, {"ada": 3})
    await pool.execute("UPDATE sitelatch.rate_demand SET reported_at = reported_at - interval '4 seconds'")
    assert await report(three, {"ada": 1}) == (1, {"ada": 0})
    await pool.execute("UPDATE sitelatch.rate_demand SET reported_at = reported_at - interval '2 minutes'")
    await report(one, {})
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.rate_demand") == 1
