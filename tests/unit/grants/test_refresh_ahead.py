"""Refreshes of grants in use."""

import asyncio

from proxy.grants.cache import UNKNOWN, connections_used
from proxy.settings import GrantSettings
from tests.scopes import until
from tests.unit.grants.harness import KEY, OTHER, Harness, harness, key, known, reusable_until

__all__ = ["harness"]


async def test_a_grant_in_use_is_refreshed_before_it_expires(harness: Harness) -> None:
    harness.scope.add(KEY, "ada", "shop")
    grants = harness.grants(ttl_seconds=30)
    first = await grants.fetch(KEY)
    for _ in range(10):
        harness.clock.now += 22
        harness.scope.queried.clear()
        assert grants.peek(KEY) is first
        assert grants.peek(KEY) is first
        await until(lambda: reusable_until(grants, KEY) > harness.clock.now and grants.idle)
        assert harness.scope.queried == [KEY]
    assert harness.results == {"miss": 1, "hit": 20}
    assert grants.peek(KEY) is first, "an equal grant is not a change: it is still the same object"


async def test_callers_may_use_an_entry_while_and_after_it_is_refreshed(harness: Harness) -> None:
    harness.scope.add(KEY, "ada", "shop")
    grants = harness.grants(ttl_seconds=30)
    await grants.fetch(KEY)
    entry = grants.entry(KEY)
    harness.clock.now += 22
    harness.scope.hold()
    assert known(grants.peek(KEY))
    await until(lambda: harness.scope.under_way == 1)
    assert reusable_until(grants, KEY) == 1030.0
    harness.scope.resume()
    await until(lambda: grants.idle)
    assert reusable_until(grants, KEY) > 1030.0
    assert grants.entry(KEY) is entry, "an equal grant is not a change: its entry is still the same object"


async def test_an_unused_grant_is_not_refreshed(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants(ttl_seconds=30)
    await grants.fetch(KEY)
    harness.clock.now += 25
    await asyncio.sleep(0)
    assert harness.scope.queried == [KEY]


async def test_refreshes_are_spread_over_a_fifth_of_the_ttl(harness: Harness) -> None:
    harness.scope.add(KEY)
    early, late = harness.grants(jitter=lambda: 0.0), harness.grants(jitter=lambda: 1.0)
    await early.fetch(KEY)
    await late.fetch(KEY)
    assert (reusable_until(early, KEY), reusable_until(late, KEY)) == (1018.0, 1024.0)


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
    harness.scope.resume()
    await until(lambda: all(reusable_until(grants, key(number)) > harness.clock.now for number in range(20)))
    await asyncio.gather(*strangers)
    assert harness.scope.most_under_way == 5 < connections_used(GrantSettings(lookups_at_once=4))


async def test_a_grant_is_not_refreshed_twice_at_the_same_time(harness: Harness) -> None:
    grants = harness.grants(lookups_at_once=8)  # two refreshes
    for digest in (KEY, OTHER):
        harness.scope.add(digest)
        await grants.fetch(digest)
    harness.scope.queried.clear()
    harness.clock.now += 22
    harness.scope.hold()
    for _ in range(100):
        assert known(grants.peek(KEY))
    assert known(grants.peek(OTHER))
    await until(lambda: harness.scope.queried == [KEY, OTHER])
    harness.scope.resume()
    await until(lambda: grants.idle)
    assert harness.scope.queried == [KEY, OTHER]


async def test_a_queued_refresh_of_a_dropped_grant_is_skipped(
    harness: Harness,
) -> None:
    grants = harness.grants(lookups_at_once=4)  # one refresh
    digests = [KEY, OTHER, key(1)]
    for digest in digests:
        harness.scope.add(digest, digest.hex())
        await grants.fetch(digest)
    harness.scope.queried.clear()
    harness.clock.now += 22
    harness.scope.hold()
    assert all(known(grants.peek(digest)) for digest in digests)
    await until(lambda: harness.scope.under_way == 1)
    grants.drop(OTHER)
    harness.scope.resume()
    await until(lambda: grants.idle)
    assert harness.scope.queried == [KEY, key(1)]


async def test_a_refresh_joins_the_lookup_of_a_request(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants(ttl_seconds=30)
    await grants.fetch(KEY)
    harness.scope.queried.clear()
    harness.clock.now += 22
    asking = asyncio.create_task(grants.fetch(KEY))
    assert known(grants.peek(KEY))
    harness.clock.now += 10  # before either has started
    assert known(await asking)
    await until(lambda: grants.idle)
    assert harness.scope.queried == [KEY]


async def test_closing_cancels_refreshes_immediately(harness: Harness) -> None:
    grants = harness.grants(lookups_at_once=4)
    for digest in (KEY, OTHER):
        harness.scope.add(digest)
        await grants.fetch(digest)
    harness.scope.queried.clear()
    harness.clock.now += 22
    harness.scope.hold()
    for digest in (KEY, OTHER):
        assert known(grants.peek(digest))
    await until(lambda: harness.scope.under_way == 1)
    async with asyncio.timeout(10):
        await grants.close()
    assert grants.idle
    assert harness.scope.queried == [KEY]
    assert harness.scope.under_way == 0


async def test_a_finished_refresh_leaves_nothing_behind(harness: Harness) -> None:
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
    await until(lambda: grants.database.key_breaker.is_open and reusable_until(grants, KEY) > harness.clock.now)
    harness.scope.down = None
    harness.clock.now += 2
    assert known(grants.peek(KEY))
    await until(lambda: not grants.database.key_breaker.is_open)
    assert reusable_until(grants, KEY) > harness.clock.now


async def test_a_key_that_a_refresh_finds_deleted_is_dropped_and_reported(harness: Harness) -> None:
    harness.scope.add(KEY, "ada", "shop")
    grants = harness.grants()
    grant = known(await grants.fetch(KEY))
    entry = grants.entry(KEY)
    assert entry is not None
    del harness.scope.grants[KEY]
    harness.clock.now += 22
    assert grants.peek(KEY) is grant
    await until(lambda: grants.peek(KEY) is UNKNOWN)
    assert not entry.live
    assert [set(lost.keys) for lost in harness.lost] == [{KEY}]
    assert len(grants) == 0


async def test_a_site_that_a_refresh_finds_removed_is_reported_as_a_loss(harness: Harness) -> None:
    harness.scope.add(KEY, "ada", "shop", "blog")
    grants = harness.grants()
    await grants.fetch(KEY)
    harness.scope.add(KEY, "ada", "shop")
    harness.clock.now += 22
    entry = grants.entry(KEY)
    assert entry is not None
    grants.peek(KEY)
    await until(lambda: not entry.live)
    assert known(grants.peek(KEY)).sites == {"shop"}
    assert [set(lost.keys) for lost in harness.lost] == [{KEY}]


async def test_a_site_that_a_refresh_finds_added_is_not_reported_as_a_loss(harness: Harness) -> None:
    harness.scope.add(KEY, "ada", "shop")
    grants = harness.grants()
    await grants.fetch(KEY)
    harness.scope.add(KEY, "ada", "shop", "blog")
    harness.clock.now += 40
    entry = grants.entry(KEY)
    assert entry is not None
    assert known(await grants.fetch(KEY)).sites == {"shop", "blog"}
    assert not entry.live
    assert not harness.lost
