"""What is remembered of the scope table: for how long, and what a look-up finds."""

import asyncio

import pytest

from proxy.decision.grant import Grant
from proxy.grants.cache import UNKNOWN, connections_used
from proxy.grants.cached_keys import narrowed
from proxy.settings import GrantSettings
from tests.scopes import until
from tests.unit.grants_door import KEY, OTHER, Door, door, key, known

__all__ = ["door"]


# One lookup for all who ask.


async def test_a_burst_of_requests_with_one_cold_key_makes_one_query(door: Door) -> None:
    door.scope.add(KEY, "ada", "shop")
    grants = door.grants()
    assert grants.peek(KEY) is None
    answers = await asyncio.gather(*(grants.fetch(KEY) for _ in range(1000)))
    assert {known(answer).user_id for answer in answers} == {"ada"}
    assert door.scope.asked == [KEY]
    assert door.heard == {"miss": 1, "hit": 999}


async def test_a_burst_that_trickles_in_while_the_answer_lands_makes_one_query(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants()
    waiting = []
    for _ in range(50):
        waiting.append(asyncio.create_task(grants.fetch(KEY)))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert door.scope.asked == [KEY]


async def test_a_caller_that_leaves_does_not_take_the_lookup_from_the_others(door: Door) -> None:
    door.scope.add(KEY)
    door.scope.hold()
    grants = door.grants()
    first, second = asyncio.create_task(grants.fetch(KEY)), asyncio.create_task(grants.fetch(KEY))
    await until(lambda: door.scope.under_way == 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    door.scope.let_go()
    assert known(await second).user_id == "ada"
    assert door.scope.asked == [KEY]


async def test_an_answer_lands_even_if_everyone_who_asked_has_left(door: Door) -> None:
    door.scope.add(KEY)
    door.scope.hold()
    grants = door.grants()
    only = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: door.scope.under_way == 1)
    only.cancel()
    door.scope.let_go()
    await until(lambda: grants.peek(KEY) is not None)


# For how long.


async def test_a_grant_is_held_for_its_time_and_asked_for_again_after_it(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(ttl_seconds=30)
    await grants.fetch(KEY)
    door.clock.now += 17
    assert known(grants.peek(KEY)).user_id == "ada"
    door.clock.now += 13
    assert grants.peek(KEY) is None
    await grants.fetch(KEY)
    assert door.scope.asked == [KEY, KEY]
    assert door.heard == {"miss": 2, "hit": 1}


async def test_a_used_grant_is_refreshed_in_the_background_before_it_ends(door: Door) -> None:
    door.scope.add(KEY, "ada", "shop")
    grants = door.grants(ttl_seconds=30)
    first = await grants.fetch(KEY)
    generation = grants.generation
    for _ in range(10):
        door.clock.now += 22
        asked = len(door.scope.asked)
        assert grants.peek(KEY) is first
        assert grants.peek(KEY) is first
        await until(lambda asked=asked: grants.fresh(KEY) > door.clock.now and len(door.scope.asked) == asked + 1)  # type: ignore[misc]
    assert door.heard == {"miss": 1, "hit": 20}
    assert grants.generation == generation, "an equal grant is no change"
    assert grants.peek(KEY) is first, "what was made of the grant outside stays good"


async def test_an_unused_grant_is_not_refreshed(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(ttl_seconds=30)
    await grants.fetch(KEY)
    door.clock.now += 25
    await asyncio.sleep(0)
    assert door.scope.asked == [KEY]


async def test_refreshes_are_spread_over_a_fifth_of_the_time(door: Door) -> None:
    door.scope.add(KEY)
    early, late = door.grants(jitter=lambda: 0.0), door.grants(jitter=lambda: 1.0)
    await early.fetch(KEY)
    await late.fetch(KEY)
    assert (early.fresh(KEY), late.fresh(KEY)) == (1018.0, 1024.0)


async def test_refreshes_have_a_lane_of_their_own(door: Door) -> None:
    for number in range(20):
        door.scope.add(key(number))
    grants = door.grants(lookups_at_once=4)
    await asyncio.gather(*(grants.fetch(key(number)) for number in range(20)))
    door.scope.hold()
    strangers = [asyncio.create_task(grants.fetch(key(number), str(number))) for number in range(100, 120)]
    await until(lambda: door.scope.under_way == 4)
    door.clock.now += 22
    for number in range(20):
        assert known(grants.peek(key(number)))
    await until(lambda: door.scope.under_way == 5)
    door.scope.let_go()
    await until(lambda: all(grants.fresh(key(number)) > door.clock.now for number in range(20)))
    await asyncio.gather(*strangers)
    assert door.scope.most_under_way == 5 < connections_used(GrantSettings(lookups_at_once=4))


async def test_a_grant_that_is_being_refreshed_takes_no_second_place_in_line(door: Door) -> None:
    grants = door.grants(lookups_at_once=8)  # two refreshes
    for digest in (KEY, OTHER):
        door.scope.add(digest)
        await grants.fetch(digest)
    door.scope.asked.clear()
    door.clock.now += 22
    door.scope.hold()
    for _ in range(100):
        assert known(grants.peek(KEY))
    assert known(grants.peek(OTHER))
    await until(lambda: door.scope.asked == [KEY, OTHER])
    door.scope.let_go()
    await until(lambda: grants.idle)
    assert door.scope.asked == [KEY, OTHER]


async def test_what_is_dropped_in_line_to_be_refreshed_is_not_asked_for_and_holds_up_nothing_behind_it(
    door: Door,
) -> None:
    grants = door.grants(lookups_at_once=4)  # one refresh
    digests = [KEY, OTHER, key(1)]
    for digest in digests:
        door.scope.add(digest, digest.hex())
        await grants.fetch(digest)
    door.scope.asked.clear()
    door.clock.now += 22
    door.scope.hold()
    assert all(known(grants.peek(digest)) for digest in digests)
    await until(lambda: door.scope.under_way == 1)
    grants.drop(OTHER)
    door.scope.let_go()
    await until(lambda: grants.fresh(key(1)) > door.clock.now)
    assert door.scope.asked == [KEY, key(1)]


async def test_a_refresh_joins_the_lookup_of_a_request_that_could_not_wait_for_it(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(ttl_seconds=30)
    await grants.fetch(KEY)
    door.scope.asked.clear()
    door.clock.now += 22
    asking = asyncio.create_task(grants.fetch(KEY))
    assert known(grants.peek(KEY))
    door.clock.now += 10  # before either of them has begun
    assert known(await asking)
    await until(lambda: grants.idle)
    assert door.scope.asked == [KEY]


async def test_closing_gives_up_refreshes_at_once(door: Door) -> None:
    grants = door.grants(lookups_at_once=4)
    for digest in (KEY, OTHER):
        door.scope.add(digest)
        await grants.fetch(digest)
    door.scope.asked.clear()
    door.clock.now += 22
    door.scope.hold()
    for digest in (KEY, OTHER):
        assert known(grants.peek(digest))
    await until(lambda: door.scope.under_way == 1)
    async with asyncio.timeout(10):
        await grants.close()
    assert grants.idle
    assert door.scope.asked == [KEY]
    assert door.scope.under_way == 0


async def test_nothing_is_kept_of_a_refresh_that_has_ended(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants()
    await grants.fetch(KEY)
    door.clock.now += 22
    assert known(grants.peek(KEY))
    assert not grants.idle
    await until(lambda: grants.idle)


async def test_a_refresh_that_fails_leaves_the_grant_and_is_tried_again_later(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(ttl_seconds=30)
    await grants.fetch(KEY)
    door.clock.now += 22
    door.scope.down = ConnectionRefusedError()
    assert known(grants.peek(KEY))
    await until(lambda: grants.database.keys.is_open and grants.fresh(KEY) > door.clock.now)
    door.scope.down = None
    door.clock.now += 2
    assert known(grants.peek(KEY))
    await until(lambda: not grants.database.keys.is_open)
    assert grants.fresh(KEY) > door.clock.now


# What a lookup finds to have changed.


async def test_a_key_that_a_refresh_finds_gone_is_dropped_and_told(door: Door) -> None:
    door.scope.add(KEY, "ada", "shop")
    grants = door.grants()
    grant = known(await grants.fetch(KEY))
    generation = grants.generation
    del door.scope.grants[KEY]
    door.clock.now += 22
    assert grants.peek(KEY) is grant
    await until(lambda: grants.peek(KEY) is UNKNOWN)
    assert grants.generation > generation
    assert [set(lost.keys) for lost in door.lost] == [{KEY}]
    assert len(grants) == 0


async def test_a_site_that_a_refresh_finds_taken_is_told(door: Door) -> None:
    door.scope.add(KEY, "ada", "shop", "blog")
    grants = door.grants()
    await grants.fetch(KEY)
    door.scope.add(KEY, "ada", "shop")
    door.clock.now += 22
    generation = grants.generation
    grants.peek(KEY)
    await until(lambda: grants.generation > generation)
    assert known(grants.peek(KEY)).sites == {"shop"}
    assert [set(lost.keys) for lost in door.lost] == [{KEY}]


async def test_a_site_that_a_refresh_finds_added_is_a_change_and_no_loss(door: Door) -> None:
    door.scope.add(KEY, "ada", "shop")
    grants = door.grants()
    await grants.fetch(KEY)
    door.scope.add(KEY, "ada", "shop", "blog")
    door.clock.now += 40
    generation = grants.generation
    assert known(await grants.fetch(KEY)).sites == {"shop", "blog"}
    assert grants.generation > generation
    assert not door.lost


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
def test_a_grant_is_narrowed_where_something_it_covered_is_covered_no_more(
    before: Grant, after: Grant, expected: bool
) -> None:
    assert narrowed(before, after) is expected


async def test_an_expired_key_keeps_its_grant_for_the_decision_to_refuse(door: Door) -> None:
    door.scope.add(KEY, expires_at=5.0)
    assert known(await door.grants().fetch(KEY)).expires_at == 5.0


# Unknown keys.


async def test_an_unknown_key_is_remembered_shortly_so_that_a_new_key_works_soon(door: Door) -> None:
    grants = door.grants(unknown_ttl_seconds=5)
    assert await grants.fetch(KEY) is UNKNOWN
    assert grants.peek(KEY) is UNKNOWN
    door.scope.add(KEY)
    door.clock.now += 5
    assert grants.peek(KEY) is None
    assert known(await grants.fetch(KEY))
    assert door.heard == {"miss": 2, "unknown_hit": 1}


async def test_a_flood_of_unknown_keys_pushes_out_no_grant(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(max_keys=1)
    await grants.fetch(KEY)
    for number in range(300):
        await grants.fetch(key(number))
    assert known(grants.peek(KEY))
    assert len(grants) == 1


async def test_grants_are_bounded_by_weight_and_the_least_used_goes_first(door: Door) -> None:
    sites = [f"site-{number}" for number in range(5000)]
    grants = door.grants(max_keys=600)
    for number in range(3):
        door.scope.add(key(number), f"user-{number}", *sites)
        door.scope.add(key(number + 10), f"small-{number}")
        await grants.fetch(key(number))
        await grants.fetch(key(number + 10))
    assert grants.peek(key(0)) is None
    assert all(known(grants.peek(key(number))) for number in (1, 2, 11, 12))


async def test_a_grant_heavier_than_all_together_may_be_is_held_alone(door: Door) -> None:
    door.scope.add(KEY, "ada", *(f"site-{number}" for number in range(500)))
    door.scope.add(OTHER)
    grants = door.grants(max_keys=10)
    await grants.fetch(OTHER)
    await grants.fetch(KEY)
    assert known(grants.peek(KEY))
    assert len(grants) == 1
