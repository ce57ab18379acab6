"""The invalidation of cached answers and lookups in flight by the change feed."""

import asyncio
from collections.abc import Callable

import pytest

from proxy.grants.cache import UNKNOWN, GrantCache
from tests.scopes import until
from tests.unit.grants.harness import KEY, OTHER, Harness, harness, key, known, reusable_until

__all__ = ["harness"]


async def test_a_dropped_grant_is_looked_up_again(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants()
    grant = await grants.fetch(KEY)
    entry = grants.entry(KEY)
    assert grants.drop(KEY) is grant
    assert entry is not None
    assert not entry.live, "callers may not keep the grant either"
    assert grants.peek(KEY) is None
    assert grants.entry(KEY) is None


@pytest.mark.parametrize(
    "drop",
    [
        lambda grants: grants.drop(KEY),
        lambda grants: grants.drop_user("ada"),
        lambda grants: grants.drop_all(),
    ],
    ids=["key", "user", "all"],
)
async def test_every_drop_invalidates_answers_kept_by_callers(
    harness: Harness, drop: Callable[[GrantCache], object]
) -> None:
    harness.scope.add(KEY, "ada", "shop")
    grants = harness.grants()
    await grants.fetch(KEY)
    entry = grants.entry(KEY)
    assert entry is not None
    assert entry.live
    drop(grants)
    assert not entry.live


async def test_a_grant_read_at_or_after_the_change_is_kept(harness: Harness) -> None:
    harness.scope.add(KEY)
    harness.scope.position = 7
    grants = harness.grants()
    await grants.fetch(KEY)
    assert grants.drop(KEY, position=7) is None
    assert not grants.drop_user("ada", position=7)
    assert known(grants.peek(KEY))
    assert grants.drop(KEY, position=8)


async def test_all_keys_of_a_user_are_dropped_together(harness: Harness) -> None:
    harness.scope.add(KEY, "ada")
    harness.scope.add(OTHER, "ada")
    harness.scope.add(key(1), "bob")
    grants = harness.grants()
    for digest in (KEY, OTHER, key(1)):
        await grants.fetch(digest)
    assert grants.drop_user("ada").keys() == {KEY, OTHER}
    assert grants.peek(KEY) is None
    assert grants.peek(OTHER) is None
    assert known(grants.peek(key(1)))
    assert not grants.drop_user("ada")


@pytest.mark.parametrize(
    "invalidate",
    [
        lambda grants: grants.drop(KEY),
        lambda grants: grants.drop(KEY, position=1),
        lambda grants: grants.drop_user("ada"),
        lambda grants: grants.drop_user("ada", position=1),
        lambda grants: grants.drop_all(),
    ],
    ids=["key", "key at a position", "user", "user at a position", "all"],
)
async def test_an_answer_from_before_a_revoke_is_not_used_after_it(
    harness: Harness, invalidate: Callable[[GrantCache], object]
) -> None:
    harness.scope.add(KEY, "ada")
    harness.scope.hold()
    grants = harness.grants()
    asking = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: harness.scope.under_way == 1)
    del harness.scope.grants[KEY]
    invalidate(grants)
    harness.scope.resume()
    assert await asking is UNKNOWN
    assert harness.scope.queried == [KEY, KEY]


async def test_a_refresh_from_before_a_revoke_does_not_restore_the_grant(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants()
    await grants.fetch(KEY)
    harness.clock.now += 22
    harness.scope.hold()
    grants.peek(KEY)
    await until(lambda: harness.scope.under_way == 1)
    del harness.scope.grants[KEY]
    grants.drop(KEY)
    harness.scope.resume()
    assert await grants.fetch(KEY) is UNKNOWN


async def test_a_not_found_result_from_before_a_create_is_not_used_after_it(harness: Harness) -> None:
    grants = harness.grants()
    harness.scope.hold()
    asking = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: harness.scope.under_way == 1)
    harness.scope.add(KEY)
    grants.drop(KEY, position=1)
    harness.scope.resume()
    assert known(await asking)


async def test_a_new_key_is_no_longer_unknown(harness: Harness) -> None:
    grants = harness.grants()
    await grants.fetch(KEY)
    await grants.fetch(OTHER)
    grants.drop(KEY, position=1)
    assert (grants.peek(KEY), grants.peek(OTHER)) == (None, UNKNOWN)


async def test_dropping_everything_also_forgets_unknown_keys_and_the_feed_position(harness: Harness) -> None:
    """A restore may add keys, and resets the feed."""
    grants = harness.grants()
    harness.scope.position = 7
    await grants.fetch(KEY)
    assert grants.newest_position == 7
    grants.drop_all()
    assert grants.newest_position == 0
    assert grants.peek(KEY) is None


async def test_unrelated_and_already_seen_changes_do_not_repeat_a_lookup(harness: Harness) -> None:
    harness.scope.add(KEY, "ada")
    harness.scope.position = 50_000
    harness.scope.hold()
    grants = harness.grants()
    asking = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: harness.scope.under_way == 1)
    for number in range(10_000):
        grants.drop_user(f"user-{number}", position=60_000)
        grants.drop(key(number), position=60_000)
    grants.drop(KEY, position=50_000)
    harness.scope.resume()
    assert known(await asking)
    assert harness.scope.queried == [KEY]


async def test_an_entry_that_is_evicted_or_replaced_is_not_live(harness: Harness) -> None:
    grants = harness.grants(max_keys=1)
    for digest in (KEY, OTHER):
        harness.scope.add(digest, "ada", "shop")
    await grants.fetch(KEY)
    evicted = grants.entry(KEY)
    await grants.fetch(OTHER)
    replaced = grants.entry(OTHER)
    harness.scope.add(OTHER, "ada", "blog")
    harness.clock.now += 40
    await grants.fetch(OTHER)
    assert evicted is not None
    assert replaced is not None
    assert not evicted.live
    assert not replaced.live
    assert reusable_until(grants, OTHER) > harness.clock.now


async def test_a_refresh_that_fails_late_does_not_revive_a_dropped_entry(harness: Harness) -> None:
    harness.scope.add(KEY, "ada", "shop")
    grants = harness.grants()
    await grants.fetch(KEY)
    entry = grants.entry(KEY)
    assert entry is not None
    harness.clock.now += 25
    harness.scope.hold()
    grants.peek(KEY)
    await until(lambda: harness.scope.under_way == 1)
    grants.drop(KEY)
    harness.scope.resume()
    await until(lambda: grants.idle)
    assert not entry.live
