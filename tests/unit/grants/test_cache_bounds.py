"""What look-ups may cost, and whom their bounds hit."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from proxy.grants.cache import UNKNOWN, Grants, TooManyUnknownKeys
from proxy.grants.token_bucket import TokenBuckets
from tests.scopes import until
from tests.unit.grants_door import KEY, OTHER, Door, door, key, known

__all__ = ["door"]


async def test_no_more_lookups_run_at_once_than_allowed(door: Door) -> None:
    grants = door.grants(lookups_at_once=3)
    await asyncio.gather(*(grants.fetch(key(number), f"192.0.2.{number % 7}") for number in range(100)))
    assert door.scope.most_under_way == 3


async def test_one_address_never_holds_all_lookups(door: Door) -> None:
    door.scope.hold()
    grants = door.grants(lookups_at_once=8)
    flood = [asyncio.create_task(grants.fetch(key(number), "192.0.2.1")) for number in range(50)]
    await until(lambda: door.scope.under_way == 4)
    other = asyncio.create_task(grants.fetch(KEY, "192.0.2.2"))
    await until(lambda: door.scope.under_way == 5)
    assert door.scope.asked[-1] == KEY
    door.scope.let_go()
    await asyncio.gather(other, *flood)


async def test_a_flood_of_unknown_keys_costs_the_database_the_addresses_budget_and_others_nothing(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(budget=TokenBuckets(60, clock=door.clock))
    flood = [asyncio.create_task(grants.fetch(key(number), "192.0.2.1")) for number in range(10_000)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert known(await grants.fetch(KEY, "192.0.2.2"))
    assert len(door.scope.asked) < 20, "the known key did not wait for the flood"
    outcomes = Counter(
        type(outcome) if isinstance(outcome, Exception) else outcome
        for outcome in await asyncio.gather(*flood, return_exceptions=True)
    )
    assert outcomes.keys() == {UNKNOWN, TooManyUnknownKeys}
    assert 60 <= outcomes[UNKNOWN] <= 64
    assert len(door.scope.asked) == outcomes[UNKNOWN] + 1


async def test_a_known_key_is_not_refused_for_the_unknown_ones_of_its_address(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(budget=TokenBuckets(2, clock=door.clock), ttl_seconds=30)
    await grants.fetch(KEY, "192.0.2.1")
    door.clock.now += 40
    for number in range(2):
        await grants.fetch(key(number), "192.0.2.1")
    with pytest.raises(TooManyUnknownKeys):
        await grants.fetch(OTHER, "192.0.2.1")
    assert known(await grants.fetch(KEY, "192.0.2.1")), "its time is over, but it is held: nobody guesses"


@pytest.mark.parametrize(
    "drop",
    [lambda grants: grants.drop(KEY), lambda grants: grants.drop_user("ada"), lambda grants: grants.drop_all()],
    ids=["key", "user", "all"],
)
async def test_a_key_that_was_changed_is_not_refused_for_the_unknown_ones_of_its_address(
    door: Door, drop: Callable[[Grants], object]
) -> None:
    door.scope.add(KEY, "ada")
    grants = door.grants(budget=TokenBuckets(2, clock=door.clock))
    await grants.fetch(KEY, "192.0.2.1")
    for number in range(2):
        await grants.fetch(key(number), "192.0.2.1")
    drop(grants)
    assert known(await grants.fetch(KEY, "192.0.2.1"))
    drop(grants)
    del door.scope.grants[KEY]
    assert await grants.fetch(KEY, "192.0.2.1") is UNKNOWN
    door.clock.now += 10
    with pytest.raises(TooManyUnknownKeys):
        await grants.fetch(KEY, "192.0.2.1")


async def test_no_more_keys_are_remembered_to_have_been_known_than_there_can_be_grants(door: Door) -> None:
    grants = door.grants(max_keys=10, budget=TokenBuckets(1, clock=door.clock))
    for number in range(100):
        door.scope.add(key(number))
        await grants.fetch(key(number), "192.0.2.1")
        grants.drop(key(number))
    await grants.fetch(OTHER, "192.0.2.1")  # the budget is used up
    for number in range(90):
        with pytest.raises(TooManyUnknownKeys):
            await grants.fetch(key(number), "192.0.2.1")
    for number in range(90, 100):
        assert known(await grants.fetch(key(number), "192.0.2.1"))


async def test_many_requests_with_one_unknown_key_are_charged_once(door: Door) -> None:
    budget = TokenBuckets(2, clock=door.clock)
    grants = door.grants(budget=budget)
    await asyncio.gather(*(grants.fetch(KEY, "192.0.2.1") for _ in range(100)))
    assert budget.allow("192.0.2.1")


async def test_known_keys_cost_no_budget_however_many_start_cold_behind_one_address(door: Door) -> None:
    for number in range(300):
        door.scope.add(key(number))
    grants = door.grants(budget=TokenBuckets(2, clock=door.clock))
    answers = await asyncio.gather(*(grants.fetch(key(number), "192.0.2.1") for number in range(300)))
    assert all(known(answer) for answer in answers)


async def test_who_has_something_open_joins_a_lookup_under_way_and_pays_for_no_stranger(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(budget=TokenBuckets(1, clock=door.clock), lookups_at_once=1)
    door.scope.hold()
    guesses = [asyncio.create_task(grants.fetch(digest, "192.0.2.1")) for digest in (OTHER, KEY)]
    await until(lambda: door.scope.asked == [OTHER])
    confirming = asyncio.create_task(grants.confirm(KEY))
    await asyncio.sleep(0)
    assert door.scope.asked == [OTHER], "the other is in line, which will be over its budget then"
    door.scope.let_go()
    assert known(await confirming)
    assert [type(outcome) for outcome in await asyncio.gather(*guesses, return_exceptions=True)] == [
        type(UNKNOWN),
        TooManyUnknownKeys,
    ]
    assert door.scope.asked == [OTHER, KEY]


async def test_who_has_something_open_and_a_request_share_one_lookup(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants()
    door.scope.hold()
    asking = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: door.scope.under_way == 1)
    confirming = asyncio.create_task(grants.confirm(KEY))
    await asyncio.sleep(0)
    door.scope.let_go()
    assert known(await confirming) is known(await asking)
    assert door.scope.asked == [KEY]


async def test_who_has_used_up_the_budget_is_refused_at_once_and_waits_in_no_line(door: Door) -> None:
    grants = door.grants(budget=TokenBuckets(1, clock=door.clock), lookups_at_once=1)
    assert await grants.fetch(OTHER, "192.0.2.1") is UNKNOWN
    door.scope.hold()
    another = asyncio.create_task(grants.fetch(key(1), "192.0.2.2"))
    await until(lambda: door.scope.under_way == 1)
    async with asyncio.timeout(10):
        with pytest.raises(TooManyUnknownKeys):
            await grants.fetch(KEY, "192.0.2.1")
    door.scope.let_go()
    await another


async def test_a_refusal_for_one_addresss_budget_is_not_handed_to_another(door: Door) -> None:
    door.scope.add(KEY)
    budget = TokenBuckets(1, clock=door.clock)
    grants = door.grants(budget=budget, lookups_at_once=2)
    door.scope.hold()
    guess = asyncio.create_task(grants.fetch(OTHER, "192.0.2.1"))
    await until(lambda: door.scope.under_way == 1)
    behind = asyncio.create_task(grants.fetch(KEY, "192.0.2.1"))
    await asyncio.sleep(0)
    joined = asyncio.create_task(grants.fetch(KEY, "192.0.2.2"))
    await asyncio.sleep(0)
    door.scope.let_go()
    assert await guess is UNKNOWN
    with pytest.raises(TooManyUnknownKeys):
        await behind
    assert known(await joined)
