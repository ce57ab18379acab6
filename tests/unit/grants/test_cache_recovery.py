"""The grant cache when the database is back, and the change feed resumes."""

import asyncio

import pytest

from proxy.grants.cache import UNKNOWN, GrantCache, ScopeUnavailable
from tests.scopes import until
from tests.unit.grants.harness import KEY, OTHER, Harness, harness, key, known, reusable_until

__all__ = ["harness"]


async def outage(harness: Harness, grants: GrantCache, seconds: float) -> None:
    """Simulate an outage of this length. The database answers again, but the feed has not resumed yet."""
    grants.feed_down()
    harness.scope.down = ConnectionRefusedError()
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(key(999))
    harness.clock.now += seconds
    harness.scope.down = None
    assert await grants.fetch(key(998)) is UNKNOWN
    harness.scope.queried.clear()


@pytest.mark.parametrize("seconds", [5, 50, 5000])
async def test_after_an_outage_grants_that_the_feed_does_not_mention_are_still_valid(
    harness: Harness, seconds: float
) -> None:
    grants = harness.grants(ttl_seconds=30, stale_seconds=300)
    for digest in (KEY, OTHER):
        harness.scope.add(digest, digest.hex())
        await grants.fetch(digest)
    await outage(harness, grants, seconds)
    grants.drop(OTHER)
    assert grants.database.sites_cut_off
    grants.feed_resumed(2)
    assert not grants.database.sites_cut_off
    harness.clock.now += 9.9  # 30 × 0.4 = 12 s after the feed was read, which was 2 s ago
    assert known(grants.peek(KEY))
    assert grants.peek(OTHER) is None
    await asyncio.sleep(0)
    assert harness.scope.queried == []


async def test_the_circuit_breakers_close_when_the_feed_resumes(harness: Harness) -> None:
    grants = harness.grants()
    grants.feed_down()
    harness.scope.down = ConnectionRefusedError()
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(key(999))
    with pytest.raises(ScopeUnavailable):
        await grants.fetch_sites(("shop",))
    harness.scope.down = None
    grants.feed_resumed(0)
    answers = await asyncio.gather(*(grants.fetch(key(number)) for number in range(5)))
    assert answers == [UNKNOWN] * 5
    assert await grants.fetch_sites(("shop",)) == {"shop": None}


async def test_the_ttl_of_an_entry_restarts_when_the_feed_resumes(harness: Harness) -> None:
    grants = harness.grants(ttl_seconds=30, stale_seconds=0)
    harness.scope.add(KEY)
    await grants.fetch(KEY)
    await outage(harness, grants, 50)
    grants.feed_resumed(2)
    harness.clock.now += 16  # 30 × 0.6 = 18 s
    assert known(grants.peek(KEY))
    await until(lambda: harness.scope.queried == [KEY])
    harness.clock.now += 30
    assert grants.peek(KEY) is None


async def test_refreshes_are_spread_after_the_feed_resumes(harness: Harness) -> None:
    spread = iter([0.0, 0.0, 0.0, 1.0])
    grants = harness.grants(ttl_seconds=30, jitter=lambda: next(spread))
    for digest in (KEY, OTHER):
        harness.scope.add(digest)
        await grants.fetch(digest)
    await outage(harness, grants, 50)
    grants.feed_resumed(0)
    for digest in (KEY, OTHER):
        assert known(grants.peek(digest))
    now = harness.clock.now
    assert [reusable_until(grants, digest) - now for digest in (KEY, OTHER)] == pytest.approx([12, 24])


async def test_after_an_outage_stale_grants_are_used_for_a_second_until_the_feed_resumes(harness: Harness) -> None:
    grants = harness.grants(ttl_seconds=30, stale_seconds=300)
    harness.scope.add(KEY)
    await grants.fetch(KEY)
    await outage(harness, grants, 50)
    assert grants.database.sites_cut_off
    assert known(grants.peek(KEY))
    assert grants.idle, "no refresh is queued while the feed is expected back"
    await asyncio.sleep(0)
    assert harness.scope.queried == []
    harness.clock.now += 1
    assert not grants.database.sites_cut_off
    assert grants.peek(KEY) is None
    assert known(await grants.fetch(KEY))
    assert harness.scope.queried == [KEY]


async def test_while_only_the_feed_is_down_grants_expire_after_their_ttl(harness: Harness) -> None:
    grants = harness.grants(ttl_seconds=30, stale_seconds=300)
    harness.scope.add(KEY)
    await grants.fetch(KEY)
    grants.feed_down()
    harness.clock.now += 30
    assert not grants.database.sites_cut_off
    assert grants.peek(KEY) is None


async def test_a_queued_refresh_is_skipped_if_the_feed_validates_the_entry(harness: Harness) -> None:
    grants = harness.grants(ttl_seconds=30, lookups_at_once=4)
    for digest in (KEY, OTHER):
        harness.scope.add(digest)
        await grants.fetch(digest)
    harness.scope.queried.clear()
    harness.clock.now += 25
    harness.scope.hold()
    for digest in (KEY, OTHER):
        assert known(grants.peek(digest))
    await until(lambda: harness.scope.queried == [KEY])
    grants.feed_resumed(0)
    harness.scope.resume()
    await until(lambda: reusable_until(grants, KEY) > harness.clock.now)
    assert known(grants.peek(OTHER))
    await until(lambda: not harness.scope.under_way)
    assert harness.scope.queried == [KEY]
    harness.clock.now += 25
    assert known(grants.peek(OTHER))
    await until(lambda: harness.scope.queried == [KEY, OTHER])


async def test_a_queued_refresh_is_skipped_while_the_feed_is_expected_back(harness: Harness) -> None:
    grants = harness.grants(ttl_seconds=30, lookups_at_once=4)
    for digest in (KEY, OTHER):
        harness.scope.add(digest)
        await grants.fetch(digest)
    harness.scope.queried.clear()
    harness.clock.now += 25
    harness.scope.hold()
    for digest in (KEY, OTHER):
        assert known(grants.peek(digest))
    await until(lambda: harness.scope.queried == [KEY])
    grants.feed_down()
    grants.database.key_breaker.failed("no answer")
    grants.answered()
    harness.scope.resume()
    await until(lambda: grants.idle)
    assert harness.scope.queried == [KEY]


async def test_a_refresh_scheduled_just_as_the_last_one_ends_still_runs(harness: Harness) -> None:
    """A task that has just ended takes no more work."""
    grants = harness.grants(ttl_seconds=30, lookups_at_once=4)
    for digest in (KEY, OTHER):
        harness.scope.add(digest)
        await grants.fetch(digest)
    harness.scope.queried.clear()

    def schedule_the_other() -> None:
        harness.clock.now += 25
        grants.peek(OTHER)

    harness.clock.now += 25
    grants.peek(KEY)
    grants.feed_resumed(0)  # so the refresh ends as soon as its task runs, without a query
    asyncio.get_running_loop().call_soon(schedule_the_other)
    await until(lambda: harness.scope.queried == [OTHER])
