"""What the doors ask and write, on a real database."""

import hashlib

import asyncpg

from sql.queries import query
from tests.database import add_user, add_workspace

FIND_GRANT = query("find_grant")
FIND_SITES = query("find_sites")
RECORD_ACTIVITY = query("record_activity")
READ_ACTIVITY = query("read_activity")

DIGEST = hashlib.sha256(b"a key").digest()


async def find_grant(pool: asyncpg.Pool) -> asyncpg.Record:
    row = await pool.fetchrow(FIND_GRANT, DIGEST)
    assert row is not None
    return row


async def test_a_grant_names_the_user_the_workspace_and_the_sites(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop", "blog", "docs")
    user_id = await add_user(pool, "acme", "shop", "blog", digest=DIGEST)
    assert dict(await find_grant(pool)) == {
        "user_id": user_id,
        "workspace": "acme",
        "all_sites": False,
        "sites": ["blog", "shop"],
        "expires_at": None,
        "feed_position": 0,
    }


async def test_a_grant_for_all_sites_lists_none(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=DIGEST, all_sites=True)
    row = await find_grant(pool)
    assert (row["all_sites"], row["sites"]) == (True, [])


async def test_an_unknown_key_and_a_disabled_users_key_have_no_row_but_an_expired_one_has(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=DIGEST)
    assert await pool.fetchrow(FIND_GRANT, bytes(32)) is None
    await pool.execute("UPDATE sitelatch.api_keys SET expires_at = to_timestamp(1700000000.5)")
    assert (await find_grant(pool))["expires_at"] == 1700000000.5
    await pool.execute("UPDATE sitelatch.api_users SET disabled_at = now()")
    assert await pool.fetchrow(FIND_GRANT, DIGEST) is None


async def test_a_grant_says_how_far_the_feed_had_come(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme")
    await add_user(pool, "acme", digest=DIGEST)
    await pool.execute("INSERT INTO sitelatch.scope_changes (what) VALUES ('all'), ('all')")
    assert (await find_grant(pool))["feed_position"] == 2


async def test_sites_are_found_with_their_workspace_and_unknown_ones_are_not(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop", "blog")
    await add_workspace(pool, "globex", "wiki")
    rows = await pool.fetch(FIND_SITES, ["shop", "wiki", "nothing"])
    assert {row["id"]: row["workspace"] for row in rows} == {"shop": "acme", "wiki": "globex"}


async def test_activity_keeps_the_latest_time_and_skips_deleted_users(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme")
    used, unused, deleted = [await add_user(pool, "acme") for _ in range(3)]
    await pool.execute("DELETE FROM sitelatch.api_users WHERE id = $1::uuid", deleted)
    now = await pool.fetchval("SELECT extract(epoch FROM now())::float8")
    await pool.execute(RECORD_ACTIVITY, [used, deleted, used], [50.0, 1.0, 20.0])
    await pool.execute(RECORD_ACTIVITY, [used], [3600.0])
    times = {row["user_id"]: row["last_used_at"] for row in await pool.fetch(READ_ACTIVITY, [used, unused, deleted])}
    assert set(times) == {used, unused}
    assert times[unused] is None
    assert abs(times[used] - (now - 20)) < 10
