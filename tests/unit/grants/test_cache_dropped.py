"""What is remembered of the scope table, and what the feed of changes makes of it."""

import asyncio
from collections.abc import Callable

import pytest

from proxy.grants.cache import UNKNOWN, Grants
from tests.scopes import until
from tests.unit.grants_door import KEY, OTHER, Door, door, key, known

__all__ = ["door"]


async def test_a_dropped_grant_is_asked_for_anew(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants()
    grant = await grants.fetch(KEY)
    generation = grants.generation
    assert grants.drop(KEY) is grant
    assert grants.generation > generation
    assert grants.peek(KEY) is None
    assert grants.fresh(KEY) < door.clock.now, "nor is it remembered outside"


@pytest.mark.parametrize(
    "drop",
    [
        lambda grants: grants.drop(KEY),
        lambda grants: grants.drop_user("ada"),
        lambda grants: grants.drop_site("shop"),
        lambda grants: grants.drop_all(),
    ],
    ids=["key", "user", "site", "all"],
)
async def test_dropping_tells_those_who_remember_it_outside_also_where_it_is_not_held(
    door: Door, drop: Callable[[Grants], object]
) -> None:
    door.scope.add(KEY, "ada", "shop")
    grants = door.grants()
    generation = grants.generation
    assert not drop(grants)
    assert grants.generation > generation
    await grants.fetch(KEY)
    generation = grants.generation
    drop(grants)
    assert grants.generation > generation


async def test_a_grant_read_at_or_after_the_change_stays(door: Door) -> None:
    door.scope.add(KEY)
    door.scope.position = 7
    grants = door.grants()
    await grants.fetch(KEY)
    assert grants.drop(KEY, position=7) is None
    assert not grants.drop_user("ada", position=7)
    assert known(grants.peek(KEY))
    assert grants.drop(KEY, position=8)


async def test_all_keys_of_a_user_are_dropped_together(door: Door) -> None:
    door.scope.add(KEY, "ada")
    door.scope.add(OTHER, "ada")
    door.scope.add(key(1), "bob")
    grants = door.grants()
    for digest in (KEY, OTHER, key(1)):
        await grants.fetch(digest)
    assert grants.drop_user("ada").keys() == {KEY, OTHER}
    assert grants.peek(KEY) is None
    assert grants.peek(OTHER) is None
    assert known(grants.peek(key(1)))
    assert not grants.drop_user("ada")


@pytest.mark.parametrize(
    "recall",
    [
        lambda grants: grants.drop(KEY),
        lambda grants: grants.drop(KEY, position=1),
        lambda grants: grants.drop_user("ada"),
        lambda grants: grants.drop_user("ada", position=1),
        lambda grants: grants.drop_all(),
    ],
    ids=["key", "key at a position", "user", "user at a position", "all"],
)
async def test_an_answer_from_before_a_revoke_does_not_land_after_it(
    door: Door, recall: Callable[[Grants], object]
) -> None:
    door.scope.add(KEY, "ada")
    door.scope.hold()
    grants = door.grants()
    asking = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: door.scope.under_way == 1)
    del door.scope.grants[KEY]
    recall(grants)
    door.scope.let_go()
    assert await asking is UNKNOWN
    assert door.scope.asked == [KEY, KEY]


async def test_a_refresh_from_before_a_revoke_does_not_bring_the_grant_back(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants()
    await grants.fetch(KEY)
    door.clock.now += 22
    door.scope.hold()
    grants.peek(KEY)
    await until(lambda: door.scope.under_way == 1)
    del door.scope.grants[KEY]
    grants.drop(KEY)
    door.scope.let_go()
    assert await grants.fetch(KEY) is UNKNOWN


async def test_an_unknown_from_before_a_create_does_not_land_after_it(door: Door) -> None:
    grants = door.grants()
    door.scope.hold()
    asking = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: door.scope.under_way == 1)
    door.scope.add(KEY)
    grants.drop(KEY, position=1)
    door.scope.let_go()
    assert known(await asking)


async def test_a_new_key_is_no_longer_unknown(door: Door) -> None:
    grants = door.grants()
    await grants.fetch(KEY)
    await grants.fetch(OTHER)
    grants.drop(KEY, position=1)
    assert (grants.peek(KEY), grants.peek(OTHER)) == (None, UNKNOWN)


async def test_after_everything_was_dropped_no_key_is_unknown_and_no_position_of_the_feed_was_seen(door: Door) -> None:
    """A restore may bring keys, and takes the feed back."""
    grants = door.grants()
    door.scope.position = 7
    await grants.fetch(KEY)
    assert grants.newest_position == 7
    grants.drop_all()
    assert grants.newest_position == 0
    assert grants.peek(KEY) is None


async def test_changes_of_others_and_changes_already_seen_do_not_hold_a_lookup_up(door: Door) -> None:
    door.scope.add(KEY, "ada")
    door.scope.position = 50_000
    door.scope.hold()
    grants = door.grants()
    asking = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: door.scope.under_way == 1)
    for number in range(10_000):
        grants.drop_user(f"user-{number}", position=60_000)
        grants.drop(key(number), position=60_000)
    grants.drop(KEY, position=50_000)
    door.scope.let_go()
    assert known(await asking)
    assert door.scope.asked == [KEY]
