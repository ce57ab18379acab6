"""The grant cache: single flight, lifetimes, refreshes and the results of lookups."""

import asyncio

import pytest

from proxy.decision.grant import Grant
from proxy.grants.cache import UNKNOWN, connections_used
from proxy.grants.cached_keys import narrowed
from proxy.settings import GrantSettings
from tests.scopes import until
from tests.unit.grants.harness import KEY, OTHER, Harness, harness, key, known

__all__ = ["harness"]


# Single flight.


async def test_concurrent_requests_with_one_cold_key_make_one_query(harness: Harness) -> None:
    harness.scope.add(KEY, "ada", "shop")
    grants = harness.grants()
    assert grants.peek(KEY) is None
    answers = await asyncio.gather(*(grants.fetch(KEY) for _ in range(1000)))
    assert {known(answer).user_id for answer in answers} == {"ada"}
    assert harness.scope.asked == [KEY]
    assert harness.results == {"miss": 1, "hit": 999}


async def test_requests_that_arrive_during_a_lookup_share_it(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants()
    waiting = []
    for _ in range(50):
        waiting.append(asyncio.create_task(grants.fetch(KEY)))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert harness.scope.asked == [KEY]


async def test_a_canceled_caller_does_not_cancel_the_lookup_for_others(harness: Harness) -> None:
    harness.scope.add(KEY)
    harness.scope.hold()
    grants = harness.grants()
    first, second = asyncio.create_task(grants.fetch(KEY)), asyncio.create_task(grants.fetch(KEY))
    await until(lambda: harness.scope.under_way == 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    harness.scope.let_go()
    assert known(await second).user_id == "ada"
    assert harness.scope.asked == [KEY]


async def test_an_answer_is_cached_even_if_all_callers_were_canceled(harness: Harness) -> None:
    harness.scope.add(KEY)
    harness.scope.hold()
    grants = harness.grants()
    only = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: harness.scope.under_way == 1)
    only.cancel()
    harness.scope.let_go()
    await until(lambda: grants.peek(KEY) is not None)


# Lifetimes and refreshes.


async def test_a_grant_is_cached_for_its_ttl_and_then_looked_up_again(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants(ttl_seconds=30)
    await grants.fetch(KEY)
    harness.clock.now += 17
    assert known(grants.peek(KEY)).user_id == "ada"
    harness.clock.now += 13
    assert grants.peek(KEY) is None
    await grants.fetch(KEY)
    assert harness.scope.asked == [KEY, KEY]
    assert harness.results == {"miss": 2, "hit": 1}


async def test_a_grant_in_use_is_refreshed_before_it_expires(harness: Harness) -> None:
    harness.scope.add(KEY, "ada", "shop")
    grants = harness.grants(ttl_seconds=30)
    first = await grants.fetch(KEY)
    generation = grants.generation
    for _ in range(10):
        harness.clock.now += 22
        asked = len(harness.scope.asked)
        assert grants.peek(KEY) is first
        assert grants.peek(KEY) is first
        await until(lambda asked=asked: grants.fresh(KEY) > harness.clock.now and len(harness.scope.asked) == asked + 1)  # type: ignore[misc]
    assert harness.results == {"miss": 1, "hit": 20}
    assert grants.generation == generation, "an equal grant is not a change"
    assert grants.peek(KEY) is first, "it is still the same object"


async def test_an_unused_grant_is_not_refreshed(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants(ttl_seconds=30)
    await grants.fetch(KEY)
    harness.clock.now += 25
    await asyncio.sleep(0)
    assert harness.scope.asked == [KEY]


async def test_refreshes_are_spread_over_a_fifth_of_the_ttl(harness: Harness) -> None:
    harness.scope.add(KEY)
    early, late = harness.grants(jitter=lambda: 0.0), harness.grants(jitter=lambda: 1.0)
    await early.fetch(KEY)
    await late.fetch(KEY)
    assert (early.fresh(KEY), late.fresh(KEY)) == (1018.0, 1024.0)


async def test_refreshes_do_not_wait_behind_other_lookups(harness: Harness) -> None:
    for number in range(20):
        harness.scope.add(key(number))
    grants = harness.grants(lookups_at_once=4)
    await asyncio.gather(*(grants.fetch(key(number)) for number in range(20)))
    harness.scope.hold()
    strangers = [asyncio.create_task(grants.fetch(key(number), str(number))) for number in range(100, 120)]
    await until(lambda: harness.scope.under_way == 4)
    harness.clock.now += 22
    for number in range(20):
        assert known(grants.peek(key(number)))
    await until(lambda: harness.scope.under_way == 5)
    harness.scope.let_go()
    await until(lambda: all(grants.fresh(key(number)) > harness.clock.now for number in range(20)))
    await asyncio.gather(*strangers)
    assert harness.scope.most_under_way == 5 < connections_used(GrantSettings(lookups_at_once=4))


async def test_a_grant_is_not_refreshed_twice_at_the_same_time(harness: Harness) -> None:
    grants = harness.grants(lookups_at_once=8)  # two refreshes
    for digest in (KEY, OTHER):
        harness.scope.add(digest)
        await grants.fetch(digest)
    harness.scope.asked.clear()
    harness.clock.now += 22
    harness.scope.hold()
    for _ in range(100):
        assert known(grants.peek(KEY))
    assert known(grants.peek(OTHER))
    await until(lambda: harness.scope.asked == [KEY, OTHER])
    harness.scope.let_go()
    await until(lambda: grants.idle)
    assert harness.scope.asked == [KEY, OTHER]


async def test_a_queued_refresh_of_a_dropped_grant_is_skipped(
    harness: Harness,
) -> None:
    grants = harness.grants(lookups_at_once=4)  # one refresh
    digests = [KEY, OTHER, key(1)]
    for digest in digests:
        harness.scope.add(digest, digest.hex())
        await grants.fetch(digest)
    harness.scope.asked.clear()
    harness.clock.now += 22
    harness.scope.hold()
    assert all(known(grants.peek(digest)) for digest in digests)
    await until(lambda: harness.scope.under_way == 1)
    grants.drop(OTHER)
    harness.scope.let_go()
    await until(lambda: grants.fresh(key(1)) > harness.clock.now)
    assert harness.scope.asked == [KEY, key(1)]


async def test_a_refresh_joins_the_lookup_of_a_request(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants(ttl_seconds=30)
    await grants.fetch(KEY)
    harness.scope.asked.clear()
    harness.clock.now += 22
    asking = asyncio.create_task(grants.fetch(KEY))
    assert known(grants.peek(KEY))
    harness.clock.now += 10  # before either has started
    assert known(await asking)
    await until(lambda: grants.idle)
    assert harness.scope.asked == [KEY]


async def test_closing_cancels_refreshes_immediately(harness: Harness) -> None:
    grants = harness.grants(lookups_at_once=4)
    for digest in (KEY, OTHER):
        harness.scope.add(digest)
        await grants.fetch(digest)
    harness.scope.asked.clear()
    harness.clock.now += 22
    harness.scope.hold()
    for digest in (KEY, OTHER):
        assert known(grants.peek(digest))
    await until(lambda: harness.scope.under_way == 1)
    async with asyncio.timeout(10):
        await grants.close()
    assert grants.idle
    assert harness.scope.asked == [KEY]
    assert harness.scope.under_way == 0


async def test_an_ended_refresh_leaves_nothing_behind(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants()
    await grants.fetch(KEY)
    harness.clock.now += 22
    assert known(grants.peek(KEY))
    assert not grants.idle
    await until(lambda: grants.idle)


async def test_a_failed_refresh_keeps_the_grant_and_is_retried(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants(ttl_seconds=30)
    await grants.fetch(KEY)
    harness.clock.now += 22
    harness.scope.down = ConnectionRefusedError()
    assert known(grants.peek(KEY))
    await until(lambda: grants.database.keys.is_open and grants.fresh(KEY) > harness.clock.now)
    harness.scope.down = None
    harness.clock.now += 2
    assert known(grants.peek(KEY))
    await until(lambda: not grants.database.keys.is_open)
    assert grants.fresh(KEY) > harness.clock.now


# Changes that a lookup finds.


async def test_a_key_that_a_refresh_finds_deleted_is_dropped_and_reported(harness: Harness) -> None:
    harness.scope.add(KEY, "ada", "shop")
    grants = harness.grants()
    grant = known(await grants.fetch(KEY))
    generation = grants.generation
    del harness.scope.grants[KEY]
    harness.clock.now += 22
    assert grants.peek(KEY) is grant
    await until(lambda: grants.peek(KEY) is UNKNOWN)
    assert grants.generation > generation
    assert [set(lost.keys) for lost in harness.lost] == [{KEY}]
    assert len(grants) == 0


async def test_a_site_that_a_refresh_finds_removed_is_reported_as_a_loss(harness: Harness) -> None:
    harness.scope.add(KEY, "ada", "shop", "blog")
    grants = harness.grants()
    await grants.fetch(KEY)
    harness.scope.add(KEY, "ada", "shop")
    harness.clock.now += 22
    generation = grants.generation
    grants.peek(KEY)
    await until(lambda: grants.generation > generation)
    assert known(grants.peek(KEY)).sites == {"shop"}
    assert [set(lost.keys) for lost in harness.lost] == [{KEY}]


async def test_a_site_that_a_refresh_finds_added_is_not_reported_as_a_loss(harness: Harness) -> None:
    harness.scope.add(KEY, "ada", "shop")
    grants = harness.grants()
    await grants.fetch(KEY)
    harness.scope.add(KEY, "ada", "shop", "blog")
    harness.clock.now += 40
    generation = grants.generation
    assert known(await grants.fetch(KEY)).sites == {"shop", "blog"}
    assert grants.generation > generation
    assert not harness.lost


ALL = Grant("ada", "acme", True, frozenset())
TWO = Grant("ada", "acme", False, frozenset({"shop", "blog"}))
ONE = Grant("ada", "acme", False, frozenset({"shop"}))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (ONE, ONE, False),
        (ONE, TWO, False),
        (TWO, ONE, True),
        (ONE, ALL, False),
        (ALL, TWO, True),
        (ALL, Grant("ada", "globex", True, frozenset()), True),
        (ONE, Grant("bob", "acme", False, frozenset({"shop"})), True),
        (ONE, Grant("ada", "acme", False, frozenset({"shop"}), 5.0), True),
        (Grant("ada", "acme", True, frozenset(), 5.0), ALL, False),
        (Grant("ada", "acme", True, frozenset(), 5.0), Grant("ada", "acme", True, frozenset(), 6.0), False),
        (Grant("ada", "acme", True, frozenset(), 5.0), Grant("ada", "acme", True, frozenset(), 4.0), True),
    ],
)
def test_a_grant_is_narrowed_if_it_covers_less_than_before(before: Grant, after: Grant, expected: bool) -> None:
    assert narrowed(before, after) is expected


async def test_an_expired_key_still_has_a_grant(harness: Harness) -> None:
    harness.scope.add(KEY, expires_at=5.0)
    assert known(await harness.grants().fetch(KEY)).expires_at == 5.0


# Unknown keys.


async def test_an_unknown_key_is_cached_only_briefly(harness: Harness) -> None:
    grants = harness.grants(unknown_ttl_seconds=5)
    assert await grants.fetch(KEY) is UNKNOWN
    assert grants.peek(KEY) is UNKNOWN
    harness.scope.add(KEY)
    harness.clock.now += 5
    assert grants.peek(KEY) is None
    assert known(await grants.fetch(KEY))
    assert harness.results == {"miss": 2, "unknown_hit": 1}


async def test_a_flood_of_unknown_keys_evicts_no_grants(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants(max_keys=1)
    await grants.fetch(KEY)
    for number in range(300):
        await grants.fetch(key(number))
    assert known(grants.peek(KEY))
    assert len(grants) == 1


async def test_the_cache_is_limited_by_weight_and_evicts_the_least_recently_used(harness: Harness) -> None:
    sites = [f"site-{number}" for number in range(5000)]
    grants = harness.grants(max_keys=600)
    for number in range(3):
        harness.scope.add(key(number), f"user-{number}", *sites)
        harness.scope.add(key(number + 10), f"small-{number}")
        await grants.fetch(key(number))
        await grants.fetch(key(number + 10))
    assert grants.peek(key(0)) is None
    assert all(known(grants.peek(key(number))) for number in (1, 2, 11, 12))


async def test_a_grant_heavier_than_the_limit_is_cached_alone(harness: Harness) -> None:
    harness.scope.add(KEY, "ada", *(f"site-{number}" for number in range(500)))
    harness.scope.add(OTHER)
    grants = harness.grants(max_keys=10)
    await grants.fetch(OTHER)
    await grants.fetch(KEY)
    assert known(grants.peek(KEY))
    assert len(grants) == 1
