"""Grants from a real scope table, and what becomes of them when the database goes away."""

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
from proxy.grants.cache import UNKNOWN, Grants, ScopeUnavailable, TooManyUnknownKeys, connections_used
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
    """A pool that counts how often it is asked."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.asked = 0
        self._pool = pool

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]:
        self.asked += 1
        return self._pool.acquire(timeout=timeout)


class Door:
    """Grants over the test's database, by a wire that can be cut."""

    def __init__(self, wire: Wire, pool: asyncpg.Pool, settings: GrantSettings, address_budget: int) -> None:
        self.wire = wire
        self.pool = CountingPool(pool)
        self.clock = Clock()
        self.heard: Counter[str] = Counter()
        self.grants = Grants(
            settings,
            self.pool,
            on_lookup=lambda result: self.heard.update([result]),
            budget=TokenBuckets(address_budget, clock=self.clock),
            clock=self.clock,
        )


@pytest.fixture
async def door(dsn: str, tmp_path: Path) -> AsyncIterator[Door]:
    settings = GrantSettings(lookup_seconds=2)
    async with wire_to(dsn, tmp_path) as wire:
        pool = await open_pool(wire.dsn, maximum=connections_used(settings), role="doors")
        opened = Door(wire, pool, settings, address_budget=60)
        yield opened
        await opened.grants.close()
        pool.terminate()


async def test_a_grant_says_who_whose_and_which_sites(door: Door, pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop", "blog", "docs")
    user_id = await add_user(pool, "acme", "shop", "blog", digest=KEY)
    all_id = await add_user(pool, "acme", digest=OTHER, all_sites=True)
    await pool.execute("UPDATE sitelatch.api_keys SET expires_at = to_timestamp(2000000000.5) WHERE digest = $1", OTHER)
    assert await door.grants.fetch(KEY) == Grant(user_id, "acme", False, frozenset({"shop", "blog"}))
    assert await door.grants.fetch(OTHER) == Grant(all_id, "acme", True, frozenset(), 2000000000.5)
    assert await door.grants.fetch(key(1)) is UNKNOWN
    assert door.heard == {"miss": 3}


async def test_a_disabled_user_and_a_deleted_key_are_unknown(door: Door, pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    user_id = await add_user(pool, "acme", "shop", digest=KEY)
    await door.grants.fetch(KEY)
    await pool.execute("UPDATE sitelatch.api_users SET disabled_at = now() WHERE id = $1", user_id)
    door.clock.now += 40
    assert await door.grants.fetch(KEY) is UNKNOWN
    await pool.execute("UPDATE sitelatch.api_users SET disabled_at = NULL")
    door.clock.now += 5
    assert isinstance(await door.grants.fetch(KEY), Grant)
    await pool.execute("DELETE FROM sitelatch.api_users")
    door.clock.now += 40
    assert await door.grants.fetch(KEY) is UNKNOWN


async def test_each_site_has_its_workspace(door: Door, pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop", "blog.example.com")
    await add_workspace(pool, "globex", "wiki")
    workspaces = {"shop": "acme", "wiki": "globex", "blog.example.com": "acme", "nowhere": None, "Shop": None}
    assert await door.grants.fetch_sites(tuple(workspaces)) == owned(workspaces)
    assert door.pool.asked == 1


async def test_a_burst_with_one_cold_key_makes_one_query(door: Door, pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    answers = await asyncio.gather(*(door.grants.fetch(KEY) for _ in range(1000)))
    assert len(set(map(id, answers))) == 1
    assert door.pool.asked == 1


async def test_ten_thousand_unknown_keys_from_one_address_do_not_slow_a_cold_key_of_another(
    door: Door, pool: asyncpg.Pool
) -> None:
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    flood = [asyncio.create_task(door.grants.fetch(key(number), "192.0.2.1")) for number in range(10_000)]
    await until(lambda: door.pool.asked > 0)
    assert isinstance(await door.grants.fetch(KEY, "192.0.2.2"), Grant)
    outcomes = Counter(type(outcome) for outcome in await asyncio.gather(*flood, return_exceptions=True))
    # As many as the budget has tokens, and those that were under way when the last one went. On a slow machine some end
    # at their deadline, and what brought no answer costs no token.
    unanswered = outcomes[ScopeUnavailable]
    assert door.pool.asked <= 60 + 4 + 1 + unanswered
    assert outcomes[TooManyUnknownKeys] >= 10_000 - 64 - unanswered


async def test_a_cold_start_with_many_known_keys_behind_one_address_refuses_none(
    door: Door, pool: asyncpg.Pool
) -> None:
    await add_workspace(pool, "acme", "shop")
    for number in range(200):
        await add_user(pool, "acme", "shop", digest=key(number))
    answers = await asyncio.gather(*(door.grants.fetch(key(number), "192.0.2.1") for number in range(200)))
    assert all(isinstance(answer, Grant) for answer in answers)


async def test_with_the_database_down_known_keys_pass_and_strangers_get_an_honest_answer_until_it_is_back(
    door: Door, pool: asyncpg.Pool
) -> None:
    await add_workspace(pool, "acme", "shop")
    user_id = await add_user(pool, "acme", "shop", digest=KEY)
    await add_user(pool, "acme", all_sites=True, digest=OTHER)
    await door.grants.fetch(KEY)
    await door.grants.fetch_sites(("shop",))
    await door.wire.cut()
    door.clock.now += 40
    grant = await door.grants.fetch(KEY)
    assert isinstance(grant, Grant)
    assert grant.user_id == user_id
    assert await door.grants.fetch_sites(("shop",)) == owned({"shop": "acme"})
    for _ in range(3):
        with pytest.raises(ScopeUnavailable):
            await door.grants.fetch(OTHER)
        door.clock.now += 1
    assert door.grants.peek(KEY) is grant, "at once, and in the background it looks whether the database is back"
    await door.wire.mend()
    door.clock.now += 1
    await until(lambda: door.grants.database.keys.ready)
    assert isinstance(await door.grants.fetch(OTHER), Grant)
    assert not door.grants.database.keys.is_open


async def test_a_start_without_a_database_recovers_alone(door: Door, pool: asyncpg.Pool) -> None:
    await door.wire.cut()
    with pytest.raises(ScopeUnavailable):
        await door.grants.fetch(KEY)
    assert door.grants.database.keys.is_open
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    await door.wire.mend()
    door.clock.now += 1
    assert isinstance(await door.grants.fetch(KEY), Grant)


async def test_connections_that_were_cut_in_the_pool_are_no_outage(door: Door, pool: asyncpg.Pool, dsn: str) -> None:
    await asyncio.gather(*(door.grants.fetch(key(number), str(number)) for number in range(50)))
    await pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'sitelatch-doors' AND datname = current_database()"
    )
    answers = await asyncio.gather(*(door.grants.fetch(key(number), str(number)) for number in range(50, 100)))
    assert set(answers) == {UNKNOWN}
    assert not door.grants.database.keys.is_open


class Elsewhere(asyncpg.Connection):
    """The first one leads to an old primary, which answers as well as ever."""

    made = 0

    def __init__(self, *args: Any, **rest: Any) -> None:
        super().__init__(*args, **rest)
        Elsewhere.made += 1
        self._old = Elsewhere.made == 1

    async def fetch(self, query: str, *args: Any, **rest: Any) -> list[Any]:
        rows = [dict(row) for row in await super().fetch(query, *args, **rest)]
        return [row | {"feed_position": 0} for row in rows] if self._old else rows


async def test_a_connection_that_leads_to_an_old_primary_is_not_asked_again(dsn: str, pool: asyncpg.Pool) -> None:
    """The pool lends first what it got back last, so it would be for ever, and nobody new would pass."""
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    clock = Clock()
    async with asyncpg.create_pool(dsn, min_size=0, statement_cache_size=0, connection_class=Elsewhere) as lent:
        grants = Grants(GrantSettings(), lent, on_lookup=lambda result: None, clock=clock)
        grants.feed_at(await pool.fetchval("SELECT max(seq) FROM sitelatch.scope_changes"))
        with pytest.raises(ScopeUnavailable):
            await grants.fetch(KEY)
        clock.now += 1
        assert isinstance(await grants.fetch(KEY), Grant)
        await grants.close()


@pytest.mark.parametrize("what", ["frozen", "locked"])
async def test_a_database_that_is_silent_is_not_waited_for_and_its_connections_come_back(
    dsn: str, tmp_path: Path, what: str
) -> None:
    settings = GrantSettings(lookup_seconds=0.3, lookups_at_once=2)
    locker = await open_connection(dsn, role="tests")
    async with wire_to(dsn, tmp_path) as wire:
        pool = await open_pool(wire.dsn, maximum=connections_used(settings), role="doors")
        grants = Grants(settings, pool, on_lookup=lambda result: None)
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
        assert grants.database.keys.is_open
        await lock.rollback()
        await wire.mend()
        await until(lambda: grants.database.keys.ready)
        answers: list[object] = []
        async with asyncio.timeout(30):
            while UNKNOWN not in answers:  # the probe may still wait for a connection that is being cleaned up
                answers += await asyncio.gather(grants.fetch(OTHER), return_exceptions=True)
                await until(lambda: grants.database.keys.ready)
            asking: Sequence[int] = range(100, 140)
            while asking:  # on a slow machine the last in line may wait for more than `lookup_seconds`
                more = await asyncio.gather(*(grants.fetch(key(n), str(n)) for n in asking), return_exceptions=True)
                assert {type(answer) for answer in more} <= {type(UNKNOWN), ScopeUnavailable}
                asking = [n for n, answer in zip(asking, more, strict=True) if answer is not UNKNOWN]
                await until(lambda: grants.database.keys.ready)
        await until(lambda: pool.get_idle_size() == pool.get_size())
        await grants.close()
        pool.terminate()
    await locker.close()
