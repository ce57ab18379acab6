"""The grant cache over a real scope table, including during outages."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from proxy.decision.grant import Grant
from proxy.grants.cache import UNKNOWN, GrantCache, ScopeUnavailable, Unknown, connections_used
from proxy.grants.connections import Connection
from proxy.grants.token_bucket import TokenBuckets
from proxy.settings import GrantSettings
from sql.pool import open_connection, open_pool
from tests.database import add_user, add_workspace
from tests.scopes import Clock, owned, until
from tests.wires import Wire, wire_to

KEY = sha256(b"a key").digest()
OTHER = sha256(b"another key").digest()


def key(number: int) -> bytes:
    return sha256(str(number).encode()).digest()


class CountingPool:
    """A pool that counts queries."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.queries = 0
        self._pool = pool

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]:
        self.queries += 1
        return self._pool.acquire(timeout=timeout)


class Harness:
    """A grant cache over the test's database, over a connection that can be cut."""

    def __init__(self, wire: Wire, pool: asyncpg.Pool, settings: GrantSettings, address_budget: int) -> None:
        self.wire = wire
        self.pool = CountingPool(pool)
        self.clock = Clock()
        self.results: Counter[str] = Counter()
        self.grants = GrantCache(
            settings,
            self.pool,
            on_lookup=lambda result: self.results.update([result]),
            budget=TokenBuckets(address_budget, clock=self.clock),
            clock=self.clock,
        )


@pytest.fixture
async def harness(dsn: str, tmp_path: Path) -> AsyncIterator[Harness]:
    settings = GrantSettings(lookup_seconds=10)  # enough for fifty new connections on a busy machine
    async with wire_to(dsn, tmp_path) as wire:
        pool = await open_pool(wire.dsn, maximum=connections_used(settings), role="doors")
        opened = Harness(wire, pool, settings, address_budget=60)
        yield opened
        await opened.grants.close()
        pool.terminate()


async def test_a_grant_has_a_user_a_workspace_and_sites(harness: Harness, pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop", "blog", "docs")
    user_id = await add_user(pool, "acme", "shop", "blog", digest=KEY)
    all_id = await add_user(pool, "acme", digest=OTHER, all_sites=True)
    await pool.execute("UPDATE sitelatch.api_keys SET expires_at = to_timestamp(2000000000.5) WHERE digest = $1", OTHER)
    assert await harness.grants.fetch(KEY) == Grant(user_id, "acme", False, frozenset({"shop", "blog"}))
    assert await harness.grants.fetch(OTHER) == Grant(all_id, "acme", True, frozenset(), 2000000000.5)
    assert await harness.grants.fetch(key(1)) is UNKNOWN
    assert harness.results == {"miss": 3}


async def test_a_disabled_user_is_known_and_a_deleted_key_is_unknown(harness: Harness, pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    user_id = await add_user(pool, "acme", "shop", digest=KEY)
    await harness.grants.fetch(KEY)
    await pool.execute("UPDATE sitelatch.api_users SET disabled_at = now() WHERE id = $1", user_id)
    for disabled in (True, False):
        harness.clock.now += 40
        grant = await harness.grants.fetch(KEY)
        assert isinstance(grant, Grant)
        assert grant.disabled == disabled
        await pool.execute("UPDATE sitelatch.api_users SET disabled_at = NULL")
    await pool.execute("DELETE FROM sitelatch.api_users")
    harness.clock.now += 40
    assert await harness.grants.fetch(KEY) is UNKNOWN


async def test_each_site_has_its_workspace(harness: Harness, pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop", "blog.example.com")
    await add_workspace(pool, "globex", "wiki")
    workspaces = {"shop": "acme", "wiki": "globex", "blog.example.com": "acme", "nowhere": None, "Shop": None}
    assert await harness.grants.fetch_sites(tuple(workspaces)) == owned(workspaces)
    assert harness.pool.queries == 1


async def test_a_burst_with_one_cold_key_makes_one_query(harness: Harness, pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    answers = await asyncio.gather(*(harness.grants.fetch(KEY) for _ in range(1000)))
    assert len(set(map(id, answers))) == 1
    assert harness.pool.queries == 1


async def test_a_flood_of_unknown_keys_does_not_slow_other_addresses(harness: Harness, pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    flood = [asyncio.create_task(harness.grants.fetch(key(number), "192.0.2.1")) for number in range(10_000)]
    await until(lambda: harness.pool.queries > 0)
    assert isinstance(await harness.grants.fetch(KEY, "192.0.2.2"), Grant)
    outcomes = Counter(type(outcome) for outcome in await asyncio.gather(*flood, return_exceptions=True))
    # On a slow machine, some time out.
    unanswered = outcomes[ScopeUnavailable]
    assert outcomes.keys() <= {Unknown, ScopeUnavailable}
    # The budget, the lookups in flight when it was used up, and batches of the others.
    assert harness.pool.queries <= 500 + unanswered


async def test_after_a_cold_start_no_known_key_behind_a_shared_address_is_refused(
    harness: Harness, pool: asyncpg.Pool
) -> None:
    await add_workspace(pool, "acme", "shop")
    for number in range(200):
        await add_user(pool, "acme", "shop", digest=key(number))
    answers = await asyncio.gather(*(harness.grants.fetch(key(number), "192.0.2.1") for number in range(200)))
    assert all(isinstance(answer, Grant) for answer in answers)


async def test_during_an_outage_cached_keys_work_and_others_are_unavailable(
    harness: Harness, pool: asyncpg.Pool
) -> None:
    await add_workspace(pool, "acme", "shop")
    user_id = await add_user(pool, "acme", "shop", digest=KEY)
    await add_user(pool, "acme", all_sites=True, digest=OTHER)
    await harness.grants.fetch(KEY)
    await harness.grants.fetch_sites(("shop",))
    await harness.wire.cut()
    harness.clock.now += 40
    grant = await harness.grants.fetch(KEY)
    assert isinstance(grant, Grant)
    assert grant.user_id == user_id
    assert await harness.grants.fetch_sites(("shop",)) == owned({"shop": "acme"})
    for _ in range(3):
        with pytest.raises(ScopeUnavailable):
            await harness.grants.fetch(OTHER)
        harness.clock.now += 1
    assert harness.grants.peek(KEY) is grant, "immediately, while a probe runs in the background"
    await harness.wire.restore()
    harness.clock.now += 1
    await until(lambda: harness.grants.database.key_breaker.ready)
    assert isinstance(await harness.grants.fetch(OTHER), Grant)
    assert not harness.grants.database.key_breaker.is_open


async def test_a_start_without_a_database_recovers(harness: Harness, pool: asyncpg.Pool) -> None:
    await harness.wire.cut()
    with pytest.raises(ScopeUnavailable):
        await harness.grants.fetch(KEY)
    assert harness.grants.database.key_breaker.is_open
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    await harness.wire.restore()
    harness.clock.now += 1
    assert isinstance(await harness.grants.fetch(KEY), Grant)


async def test_closed_connections_in_the_pool_are_not_an_outage(harness: Harness, pool: asyncpg.Pool, dsn: str) -> None:
    await asyncio.gather(*(harness.grants.fetch(key(number), str(number)) for number in range(50)))
    await pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'sitelatch-doors' AND datname = current_database()"
    )
    answers = await asyncio.gather(*(harness.grants.fetch(key(number), str(number)) for number in range(50, 100)))
    assert set(answers) == {UNKNOWN}
    assert not harness.grants.database.key_breaker.is_open


class FirstToOldPrimary(asyncpg.Connection):
    """A connection class whose first instance leads to an old primary that still answers."""

    made = 0

    def __init__(self, *args: Any, **rest: Any) -> None:
        super().__init__(*args, **rest)
        FirstToOldPrimary.made += 1
        self._old = FirstToOldPrimary.made == 1

    async def fetch(self, query: str, *args: Any, **rest: Any) -> list[Any]:
        rows = [dict(row) for row in await super().fetch(query, *args, **rest)]
        return [row | {"feed_position": 0} for row in rows] if self._old else rows


async def test_a_connection_to_an_old_primary_is_not_reused(dsn: str, pool: asyncpg.Pool) -> None:
    """The pool hands out the most recently released connection, so otherwise the old one would be used forever."""
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    clock = Clock()
    async with asyncpg.create_pool(dsn, min_size=0, statement_cache_size=0, connection_class=FirstToOldPrimary) as lent:
        grants = GrantCache(GrantSettings(), lent, on_lookup=lambda result: None, clock=clock)
        grants.feed_at(await pool.fetchval("SELECT max(seq) FROM sitelatch.scope_changes"))
        with pytest.raises(ScopeUnavailable):
            await grants.fetch(KEY)
        clock.now += 1
        assert isinstance(await grants.fetch(KEY), Grant)
        await grants.close()


@pytest.mark.parametrize("what", ["frozen", "locked"])
async def test_lookups_of_an_unresponsive_database_time_out_and_release_their_connections(
    dsn: str, tmp_path: Path, what: str
) -> None:
    settings = GrantSettings(lookup_seconds=0.3, lookups_at_once=2)
    locker = await open_connection(dsn, role="tests")
    async with wire_to(dsn, tmp_path) as wire:
        pool = await open_pool(wire.dsn, maximum=connections_used(settings), role="doors")
        grants = GrantCache(settings, pool, on_lookup=lambda result: None)
        assert await grants.fetch(KEY, "192.0.2.1") is UNKNOWN
        lock = locker.transaction()
        await lock.start()
        if what == "frozen":
            wire.freeze()
        else:
            await locker.execute("LOCK TABLE sitelatch.api_keys")
        outcomes = await asyncio.gather(
            *(grants.fetch(key(number), str(number)) for number in range(20)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {ScopeUnavailable}
        assert grants.database.key_breaker.is_open
        await lock.rollback()
        await wire.restore()
        await until(lambda: grants.database.key_breaker.ready)
        answers: list[object] = []
        async with asyncio.timeout(30):
            while UNKNOWN not in answers:  # the probe may still wait for a connection that is being released
                answers += await asyncio.gather(grants.fetch(OTHER), return_exceptions=True)
                await until(lambda: grants.database.key_breaker.ready)
            asking: Sequence[int] = range(100, 140)
            while asking:  # on a slow machine the last in the queue may wait longer than `lookup_seconds`
                more = await asyncio.gather(*(grants.fetch(key(n), str(n)) for n in asking), return_exceptions=True)
                assert {type(answer) for answer in more} <= {type(UNKNOWN), ScopeUnavailable}
                asking = [n for n, answer in zip(asking, more, strict=True) if answer is not UNKNOWN]
                await until(lambda: grants.database.key_breaker.ready)
        await until(lambda: pool.get_idle_size() == pool.get_size())
        await grants.close()
        pool.terminate()
    await locker.close()
