"""The effects of the change feed on the grant cache and on lookups in flight."""

import asyncio
import time
from hashlib import sha256
from pathlib import Path

import asyncpg
import pytest

from proxy.decision.grant import Grant, SiteOwner
from proxy.grants.cache import UNKNOWN
from proxy.grants.database_status import FeedMode
from tests.database import add_user
from tests.integration.feed_harness import (
    KEY,
    OTHER,
    SETTINGS,
    Harness,
    Start,
    acme,
    doors_pool,
    harness,
    keys,
    over_a_wire,
    start,
)
from tests.scopes import owned, until

__all__ = ["acme", "doors_pool", "harness", "keys", "start"]

ADD_DOCS = "INSERT INTO sitelatch.sites SELECT $1, 'docs', workspace_id, '' FROM sitelatch.sites WHERE id = 'shop'"


# Only what changed is looked up again.


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("DELETE FROM sitelatch.api_keys WHERE digest = $1", "key"),
        ("UPDATE sitelatch.api_keys SET expires_at = now() WHERE digest = $1", "key"),
        ("DELETE FROM sitelatch.api_users WHERE id = ({user})", None),
        ("UPDATE sitelatch.api_users SET disabled_at = now() WHERE id = ({user})", "user"),
        ("DELETE FROM sitelatch.api_user_sites WHERE user_id = ({user})", "user"),
    ],
)
async def test_a_change_drops_only_the_affected_grant(
    harness: Harness, keys: None, pool: asyncpg.Pool, change: str, cause: str | None
) -> None:
    await harness.catch_up()
    for digest in (KEY, OTHER):
        await harness.grant(digest)
    harness.dropped.clear()
    await pool.execute(change.format(user="SELECT user_id FROM sitelatch.api_keys WHERE digest = $1"), KEY)
    await harness.wait_until_dropped(KEY)
    assert harness.grants.peek(OTHER) is not None
    assert +harness.dropped in ([{cause: 1}] if cause else [{"key": 1}, {"user": 1}])


async def test_a_notification_wakes_the_feed(start: Start, pool: asyncpg.Pool) -> None:
    harness = start(poll_seconds=60)
    await harness.wait_for(FeedMode.WOKEN)
    for _ in range(20):
        await add_user(pool, "acme", "shop", digest=KEY)
        await harness.wait_until_dropped(KEY)
        await harness.grant(KEY)
        await pool.execute("DELETE FROM sitelatch.api_users")
        await harness.wait_until_dropped(KEY)
        assert await harness.grants.fetch(KEY) is UNKNOWN


async def test_a_new_key_that_was_tried_before_works_immediately(harness: Harness, pool: asyncpg.Pool) -> None:
    assert await harness.grants.fetch(KEY) is UNKNOWN
    assert await harness.grants.fetch(OTHER) is UNKNOWN
    user_id = await add_user(pool, "acme", "shop", digest=KEY)
    await harness.wait_until_dropped(KEY)
    assert (await harness.grant(KEY)).user_id == user_id
    assert harness.grants.peek(OTHER) is UNKNOWN


async def test_a_reenabled_user_works_immediately(harness: Harness, keys: None, pool: asyncpg.Pool) -> None:
    await pool.execute("UPDATE sitelatch.api_users SET disabled_at = now()")
    await harness.catch_up()
    assert (await harness.grant(KEY)).disabled
    await pool.execute("UPDATE sitelatch.api_users SET disabled_at = NULL")
    await harness.catch_up()
    assert not (await harness.grant(KEY)).disabled


async def test_added_and_removed_sites_take_effect_immediately(harness: Harness, pool: asyncpg.Pool) -> None:
    assert await harness.grants.fetch_sites(("shop", "docs")) == owned({"shop": "acme", "docs": None})
    await pool.execute(ADD_DOCS, "docs")
    await pool.execute("DELETE FROM sitelatch.sites WHERE id = 'shop'")
    await harness.catch_up()
    assert await harness.grants.fetch_sites(("shop", "docs")) == owned({"shop": None, "docs": "acme"})


async def test_changed_sites_take_effect_immediately_by_folded_id(harness: Harness, pool: asyncpg.Pool) -> None:
    before = {"/shop": SiteOwner("shop", "acme"), "/docs": None}
    assert await harness.grants.fetch_sites(("/shop", "/docs")) == before
    await pool.execute(ADD_DOCS, "Docs")
    await pool.execute("DELETE FROM sitelatch.sites WHERE id = 'shop'")
    await harness.catch_up()
    assert harness.grants.peek_sites(("/shop",)) is harness.grants.peek_sites(("/docs",)) is None
    after = {"/shop": None, "/docs": SiteOwner("Docs", "acme")}
    assert await harness.grants.fetch_sites(("/shop", "/docs")) == after
    await pool.execute("DELETE FROM sitelatch.sites WHERE id = 'Docs'")
    await harness.catch_up()
    assert await harness.grants.fetch_sites(("/docs",)) == {"/docs": None}


@pytest.mark.parametrize(
    "change",
    [
        "TRUNCATE sitelatch.api_keys CASCADE",
        "UPDATE sitelatch.workspaces SET name = 'Acme'",
        "TRUNCATE sitelatch.scope_changes",
    ],
)
async def test_a_change_to_many_keys_drops_everything(
    harness: Harness, keys: None, pool: asyncpg.Pool, change: str
) -> None:
    await harness.grant(KEY)
    await harness.grants.fetch_sites(("shop",))
    await pool.execute(change)
    await pool.execute("INSERT INTO sitelatch.sites SELECT 'x', 'x', id, '' FROM sitelatch.workspaces")
    await harness.wait_until_dropped(KEY)
    assert harness.grants.peek_sites(("shop",)) is None
    assert harness.changes[-1].everything or harness.changes[-2].everything


# A lookup that begins before a change and ends after it.


async def delayed_lookup(harness: Harness, kind: str) -> "asyncio.Task[Grant | object]":
    """Look up KEY, and hold the answer back after it was read."""
    if kind == "refresh":
        await harness.grant(KEY)
        harness.clock.now += 0.9 * SETTINGS.ttl_seconds
    harness.pool.hold()
    if kind == "refresh":
        assert harness.grants.peek(KEY) is not None
        task: asyncio.Task[Grant | object] = asyncio.create_task(asyncio.sleep(0))
    else:
        task = asyncio.create_task(harness.grants.fetch(KEY))
    await until(lambda: harness.pool.held_back == 1)
    return task


@pytest.mark.parametrize("kind", ["cold", "refresh"])
async def test_an_answer_from_before_a_delete_is_not_used_after_it(
    harness: Harness, keys: None, pool: asyncpg.Pool, kind: str
) -> None:
    await harness.catch_up()
    task = await delayed_lookup(harness, kind)
    await pool.execute("DELETE FROM sitelatch.api_users")
    await harness.catch_up()
    assert harness.grants.peek(KEY) is None
    harness.pool.resume()
    answer = await task
    if kind == "cold":
        assert answer is UNKNOWN
    assert await harness.grants.fetch(KEY) is UNKNOWN


async def test_a_not_found_result_from_before_a_create_is_not_used_after_it(
    harness: Harness, pool: asyncpg.Pool
) -> None:
    task = await delayed_lookup(harness, "cold")
    user_id = await add_user(pool, "acme", "shop", digest=KEY)
    await harness.catch_up()
    harness.pool.resume()
    answer = await task
    assert isinstance(answer, Grant)
    assert answer.user_id == user_id
    assert harness.grants.peek(KEY) == answer


async def test_a_site_lookup_from_before_a_removal_is_not_used_after_it(harness: Harness, pool: asyncpg.Pool) -> None:
    harness.pool.hold()
    task = asyncio.create_task(harness.grants.fetch_sites(("shop",)))
    await until(lambda: harness.pool.held_back == 1)
    await pool.execute("DELETE FROM sitelatch.sites WHERE id = 'shop'")
    await harness.catch_up()
    harness.pool.resume()
    assert await task == {"shop": None}


async def test_a_grant_read_after_a_change_survives_the_late_notification_of_the_change(
    dsn: str, tmp_path: Path, doors_pool: asyncpg.Pool, pool: asyncpg.Pool, acme: None
) -> None:
    await add_user(pool, "acme", "shop", "blog", digest=KEY)
    async with over_a_wire(tmp_path, dsn, doors_pool) as (harness, wire):
        wire.freeze()
        await pool.execute("DELETE FROM sitelatch.api_user_sites WHERE site_id = 'blog'")
        grant = await harness.grant(KEY)
        assert grant.sites == {"shop"}
        await wire.restore()
        await until(lambda: bool(harness.changes[-1].users))
        assert harness.grants.peek(KEY) is grant
        assert harness.pool.queries[KEY] == 1


# Many changes.


async def test_a_hundred_thousand_changes_delay_no_cold_lookup_and_drop_no_other_grant(
    harness: Harness, pool: asyncpg.Pool
) -> None:
    await pool.execute(
        "WITH users AS (INSERT INTO sitelatch.api_users"
        " (workspace_id, all_sites, authorized_by_name, authorized_by_email)"
        " SELECT id, true, '', '' FROM sitelatch.workspaces, generate_series(1, 20000) RETURNING id)"
        " INSERT INTO sitelatch.api_keys SELECT sha256((id::text || key)::bytea), id, ''"
        " FROM users, generate_series(1, 5) AS key",
        timeout=300,
    )
    digests = [sha256(str(number).encode()).digest() for number in range(500)]
    for digest in digests:
        await add_user(pool, "acme", digest=digest)
    await harness.catch_up()
    cached, cold = digests[:100], digests[100:]
    for digest in cached:
        await harness.grant(digest)
    harness.dropped.clear()
    done = asyncio.Event()
    longest_block = 0.0

    async def watch_the_event_loop() -> None:
        nonlocal longest_block
        while not done.is_set():
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            longest_block = max(longest_block, time.perf_counter() - began)

    async def change() -> None:
        """Change all other keys. A transaction with more than 10,000 changes would drop everything."""
        for _ in range(20):
            await pool.execute(
                "UPDATE sitelatch.api_keys SET expires_at = now() + interval '1 day' WHERE digest IN"
                " (SELECT digest FROM sitelatch.api_keys WHERE hint = '' AND expires_at IS NULL LIMIT 5000)",
                timeout=300,
            )
        await harness.catch_up()

    watcher = asyncio.create_task(watch_the_event_loop())
    slowest = 0.0
    began_changing = time.perf_counter()
    changing = asyncio.create_task(change())
    while cold and not changing.done():
        began = time.perf_counter()
        await harness.grant(cold.pop())
        slowest = max(slowest, time.perf_counter() - began)
        await asyncio.sleep(0.01)
    await changing
    took = time.perf_counter() - began_changing
    done.set()
    await watcher
    print(f"{took=:.3f} {slowest=:.3f} {longest_block=:.3f}, cold keys left {len(cold)}")  # noqa: T201 - for the record
    assert slowest < max(1, took / 4)
    assert len(cold) < 400 - 10, "too few lookups were answered in the meantime"
    assert not +harness.dropped
    assert all(harness.grants.peek(digest) for digest in cached)
