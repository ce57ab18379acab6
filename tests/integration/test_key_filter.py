"""The filter of all keys: a key that exists is never refused, whenever and however it was created."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from proxy.decision.grant import Grant
from proxy.grants.cache import UNKNOWN
from proxy.grants.database_status import FeedMode
from proxy.grants.token_bucket import TokenBuckets
from sql.pool import open_connection
from tests.database import add_user
from tests.integration.feed_harness import (
    KEY,
    OTHER,
    Harness,
    Start,
    acme,
    close_feed_connections,
    doors_pool,
    keys,
    start,
)
from tests.scopes import Clock, until
from tests.wires import wire_to

__all__ = ["acme", "doors_pool", "keys", "start"]

ADDRESS = "192.0.2.1"

ADD_KEYS = """
    INSERT INTO sitelatch.api_keys (digest, user_id, hint)
    SELECT sha256(number::text::bytea), $1::uuid, '' FROM generate_series($2::int, $3::int) AS number
"""


def number(value: int) -> bytes:
    """The digest of a key that ADD_KEYS creates."""
    return sha256(str(value).encode()).digest()


def used_up() -> TokenBuckets:
    """A budget that the address has used up, and that is not refilled."""
    budget = TokenBuckets(1, clock=Clock())
    budget.charge(ADDRESS)
    return budget


async def fetch(harness: Harness, digest: bytes) -> object:
    async with asyncio.timeout(20):
        return await harness.grants.fetch(digest, ADDRESS)


async def load(harness: Harness) -> None:
    """Wait until the filter is in use."""
    await harness.catch_up()
    await fetch(harness, number(-1))
    await until(lambda: harness.grants.filtered_keys > 0)
    harness.lookups.clear()


async def refused(harness: Harness, digest: bytes) -> None:
    """Check that a key is unknown and that the filter is used. On a slow machine, the feed may be interrupted."""
    assert await fetch(harness, digest) is UNKNOWN
    before = harness.lookups["filtered"]
    deadline = time.monotonic() + 20
    while harness.lookups["filtered"] == before:
        assert time.monotonic() < deadline, "the filter is not used"
        assert await fetch(harness, token_bytes(32)) is UNKNOWN


@pytest.fixture
async def harness(start: Start, keys: None) -> Harness:
    """A harness whose filter is in use."""
    started = start(budget=used_up())
    await load(started)
    return started


async def test_unknown_keys_are_refused_without_a_query(harness: Harness) -> None:
    await refused(harness, number(-2))
    before = harness.pool.queries.total()
    answers = await asyncio.gather(*(fetch(harness, number(value)) for value in range(200)))
    assert set(answers) == {UNKNOWN}
    assert harness.pool.queries.total() - before < 10, "on a slow machine, the feed may be interrupted for a moment"
    assert harness.lookups["filtered"] > 100


async def test_keys_that_exist_pass_the_filter(harness: Harness) -> None:
    assert isinstance(await fetch(harness, KEY), Grant)
    assert isinstance(await fetch(harness, OTHER), Grant)


async def test_a_deleted_key_is_unknown(harness: Harness, pool: asyncpg.Pool) -> None:
    assert isinstance(await fetch(harness, KEY), Grant)
    await pool.execute("DELETE FROM sitelatch.api_keys WHERE digest = $1", KEY)
    await harness.catch_up()
    assert await fetch(harness, KEY) is UNKNOWN


async def test_all_keys_of_several_pages_are_loaded(start: Start, keys: None, pool: asyncpg.Pool) -> None:
    user = await add_user(pool, "acme", "shop")
    await pool.execute(ADD_KEYS, user, 1, 20_001)
    harness = start(budget=used_up())
    await load(harness)
    assert harness.grants.filtered_keys == 20_003
    for value in [*range(1, 20_001, 997), 20_001]:
        assert isinstance(await fetch(harness, number(value)), Grant)
    await refused(harness, number(20_002))


# Keys that are created at the wrong moment. The feed is read once an hour, unless something makes it read.


@pytest.fixture
def behind_a_pooler() -> type[asyncpg.Connection]:
    """A connection class that gets no notifications."""

    class Unnotified(asyncpg.Connection):
        def get_server_pid(self) -> int:
            return 4711

    return Unnotified


async def test_a_key_that_was_just_created_passes_without_notifications(
    start: Start, keys: None, pool: asyncpg.Pool, behind_a_pooler: type[asyncpg.Connection]
) -> None:
    harness = start(budget=used_up(), poll_seconds=3600, connections=behind_a_pooler)
    await load(harness)
    assert harness.mode is FeedMode.POLLING
    for value in range(20):
        await refused(harness, number(-value - 2))
        await add_user(pool, "acme", "shop", digest=number(value))
        assert isinstance(await fetch(harness, number(value)), Grant)


async def test_a_key_created_while_the_filter_is_loaded_passes(
    start: Start, keys: None, pool: asyncpg.Pool, behind_a_pooler: type[asyncpg.Connection]
) -> None:
    harness = start(budget=used_up(), poll_seconds=3600, connections=behind_a_pooler)
    await harness.catch_up()
    harness.pool.hold()
    loading = asyncio.create_task(fetch(harness, number(-1)))
    # The first page and a check were read, and their answers are on the way.
    await until(lambda: harness.pool.held_back == 2)
    created = [bytes([first]) * 32 for first in (0, 128, 255)]
    for digest in created:
        await add_user(pool, "acme", "shop", digest=digest)
    harness.pool.resume()
    await loading
    await until(lambda: harness.grants.filtered_keys > 0)
    for digest in created:
        assert isinstance(await fetch(harness, digest), Grant)


async def test_a_key_whose_creation_was_rolled_back_passes_once_it_is_created(harness: Harness, dsn: str) -> None:
    writer = await open_connection(dsn, role="tests")
    try:
        creating = writer.transaction()
        await creating.start()
        await add_user(writer, "acme", "shop", digest=number(1))
        await refused(harness, number(1))
        await creating.rollback()
        await refused(harness, number(1))
        async with writer.transaction():
            await add_user(writer, "acme", "shop", digest=number(1))
            await refused(harness, number(1))
    finally:
        await writer.close()
    assert isinstance(await fetch(harness, number(1)), Grant)


async def test_a_key_with_a_new_digest_passes(harness: Harness, pool: asyncpg.Pool) -> None:
    await pool.execute("UPDATE sitelatch.api_keys SET digest = $1 WHERE digest = $2", number(1), KEY)
    assert isinstance(await fetch(harness, number(1)), Grant)
    assert await fetch(harness, KEY) is UNKNOWN


async def test_a_key_of_a_disabled_user_exists(harness: Harness, pool: asyncpg.Pool) -> None:
    await pool.execute("UPDATE sitelatch.api_users SET disabled_at = now()")
    await harness.catch_up()
    grant = await fetch(harness, KEY)
    assert isinstance(grant, Grant)
    assert grant.disabled


async def test_keys_created_by_many_writers_pass_at_once(harness: Harness, pool: asyncpg.Pool) -> None:
    async def create(first: int) -> None:
        for value in range(first, first + 20):
            await add_user(pool, "acme", "shop", digest=number(value))
            assert isinstance(await fetch(harness, number(value)), Grant)
            assert await fetch(harness, number(-value - 2)) is UNKNOWN

    await asyncio.gather(*(create(100 * writer) for writer in range(5)))


# The feed is away, or was replaced.


async def test_a_key_created_while_the_feed_reconnects_passes(
    tmp_path: Path, dsn: str, doors_pool: asyncpg.Pool, pool: asyncpg.Pool, keys: None
) -> None:
    async with wire_to(dsn, tmp_path) as wire:
        harness = Harness(wire.dsn, doors_pool, budget=used_up())
        try:
            await load(harness)
            await wire.cut()
            await harness.wait_for(FeedMode.DOWN)
            await add_user(pool, "acme", "shop", digest=number(1))
            assert isinstance(await fetch(harness, number(1)), Grant)
            assert await fetch(harness, number(3)) is UNKNOWN
            assert not harness.lookups["filtered"]
            await add_user(pool, "acme", "shop", digest=number(2))
            await wire.restore()
            await harness.wait_until_up()
            assert isinstance(await fetch(harness, number(2)), Grant)
            assert harness.grants.filtered_keys, "the feed was resumed, so the filter is complete"
            await refused(harness, number(4))
        finally:
            await harness.close()


async def test_a_request_that_waits_for_the_feed_when_it_is_cut_passes(
    tmp_path: Path, dsn: str, doors_pool: asyncpg.Pool, pool: asyncpg.Pool, keys: None
) -> None:
    async with wire_to(dsn, tmp_path) as wire:
        harness = Harness(wire.dsn, doors_pool, budget=used_up())
        try:
            await load(harness)
            wire.freeze()
            await add_user(pool, "acme", "shop", digest=number(1))
            assert isinstance(await fetch(harness, number(1)), Grant)
            assert harness.lookups["checked"] == 1
        finally:
            await wire.restore()
            await harness.close()


async def test_closed_feed_connections_refuse_no_key(harness: Harness, pool: asyncpg.Pool) -> None:
    for value in range(4):
        await close_feed_connections(pool)
        await add_user(pool, "acme", "shop", digest=number(value))
        assert isinstance(await fetch(harness, number(value)), Grant)
        await harness.wait_until_up()


async def truncated(pool: asyncpg.Pool) -> None:
    """The table of keys is emptied and filled again."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("CREATE TEMPORARY TABLE saved AS TABLE sitelatch.api_keys")
        await connection.execute("TRUNCATE sitelatch.api_keys CASCADE")
        await connection.execute(
            "INSERT INTO sitelatch.api_keys (digest, user_id, hint) SELECT digest, user_id, hint FROM saved"
        )


async def restored(pool: asyncpg.Pool) -> None:
    """An older dump replaces the feed."""
    await pool.execute("UPDATE sitelatch.scope_changes SET at = at - interval '1 second'")


async def pruned(pool: asyncpg.Pool) -> None:
    """The feed no longer reaches back to what this process has read."""
    await pool.execute("DELETE FROM sitelatch.scope_changes")


async def renamed(pool: asyncpg.Pool) -> None:
    """A change that affects too many keys to list."""
    await pool.execute("UPDATE sitelatch.workspaces SET name = 'emca'")
    await pool.execute("UPDATE sitelatch.workspaces SET name = 'acme'")


@pytest.mark.parametrize("fault", [truncated, restored, pruned, renamed])
async def test_after_a_fault_the_filter_is_loaded_again(
    harness: Harness, pool: asyncpg.Pool, fault: Callable[[asyncpg.Pool], Awaitable[None]]
) -> None:
    await add_user(pool, "acme", "shop", digest=number(1))
    await fault(pool)
    await add_user(pool, "acme", "shop", digest=number(2))
    for digest in (KEY, OTHER, number(1), number(2)):
        assert isinstance(await fetch(harness, digest), Grant)
    await load(harness)
    assert harness.grants.filtered_keys >= 4
    await refused(harness, number(3))


async def test_a_page_from_an_older_server_is_not_used(
    start: Start, keys: None, pool: asyncpg.Pool, doors_pool: asyncpg.Pool
) -> None:
    """The feed leads to the new primary, and the pool to a standby that lags behind."""
    harness = start(budget=used_up())
    await harness.catch_up()
    lagging = 1
    fetch_from = harness.pool.fetch

    async def lag(query: str, /, *args: Any) -> Any:
        nonlocal lagging
        rows = await fetch_from(query, *args)
        if "LIMIT $3" in query and lagging:
            lagging -= 1
            return [dict(row) | {"feed_position": row["feed_position"] - 1, "prefixes": None} for row in rows]
        return rows

    harness.pool.fetch = lag  # type: ignore[method-assign]
    await load(harness)
    assert not lagging
    assert isinstance(await fetch(harness, KEY), Grant)
    assert harness.grants.filtered_keys == 2


# Keys that the feed does not report.


async def test_a_key_created_with_disabled_triggers_is_found_by_a_lookup_within_the_budget(
    harness: Harness, pool: asyncpg.Pool
) -> None:
    await pool.execute("ALTER TABLE sitelatch.api_keys DISABLE TRIGGER ALL")
    await add_user(pool, "acme", "shop", digest=number(1))
    await add_user(pool, "acme", "shop", digest=number(2))
    await harness.catch_up()
    await refused(harness, number(1))  # the documented exception
    with capture_logs() as lines:
        assert isinstance(await harness.grants.fetch(number(2), "192.0.2.9"), Grant)
    assert [line["event"] for line in lines] == ["key_filter_incomplete"]
    assert isinstance(await fetch(harness, number(1)), Grant)


async def test_the_filter_is_loaded_again_when_it_is_old(harness: Harness, pool: asyncpg.Pool) -> None:
    await pool.execute("ALTER TABLE sitelatch.api_keys DISABLE TRIGGER ALL")
    await add_user(pool, "acme", "shop", digest=number(1))
    harness.clock.now += 601
    assert isinstance(await fetch(harness, number(1)), Grant)


@pytest.mark.parametrize("seconds", [3600, -3600])
async def test_a_clock_jump_refuses_no_key(harness: Harness, pool: asyncpg.Pool, seconds: float) -> None:
    harness.clock.now += seconds
    await add_user(pool, "acme", "shop", digest=number(1))
    assert isinstance(await fetch(harness, number(1)), Grant)
    assert await fetch(harness, number(2)) is UNKNOWN
