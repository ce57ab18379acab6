"""The slow lane: keys that are checked in batches, because their clients are over their budget of unknown keys."""

import asyncio

import pytest

from proxy.grants.cache import UNKNOWN, GrantCache, ScopeUnavailable, TooManyUnknownKeys
from proxy.grants.token_bucket import TokenBuckets
from tests.scopes import until
from tests.unit.grants.harness import KEY, OTHER, Harness, harness, key, known

__all__ = ["harness"]

ADDRESS, ANOTHER = "192.0.2.1", "192.0.2.2"


def over_budget(harness: Harness, **options: float) -> GrantCache:
    """Return a cache in which both addresses have used up their budget."""
    budget = TokenBuckets(1, clock=harness.clock)
    for address in (ADDRESS, ANOTHER):
        budget.charge(address)
    return harness.grants(budget=budget, **options)  # type: ignore[arg-type]


def batches(harness: Harness) -> list[list[str]]:
    return [asked for asked in harness.scope.queried if isinstance(asked, list)]


async def test_keys_that_arrive_during_a_query_share_the_next_one(harness: Harness) -> None:
    grants = over_budget(harness)
    harness.scope.hold()
    first = asyncio.create_task(grants.fetch(key(0), ADDRESS))
    await until(lambda: harness.scope.under_way == 1)
    others = [asyncio.create_task(grants.fetch(key(number), ADDRESS)) for number in range(1, 100)]
    await asyncio.sleep(0)
    harness.scope.resume()
    assert set(await asyncio.gather(first, *others)) == {UNKNOWN}
    assert [len(batch) for batch in batches(harness)] == [1, 99]


async def test_a_key_that_exists_is_looked_up_after_the_check(harness: Harness) -> None:
    harness.scope.add(KEY, "ada", "shop")
    grants = over_budget(harness)
    answers = await asyncio.gather(*(grants.fetch(KEY, ADDRESS) for _ in range(10)))
    assert {known(answer).user_id for answer in answers} == {"ada"}
    assert harness.scope.queried == [[KEY.hex()], KEY]


async def test_networks_take_turns(harness: Harness) -> None:
    grants = over_budget(harness)
    harness.scope.hold()
    flood = [asyncio.create_task(grants.fetch(key(number), ADDRESS)) for number in range(5_000)]
    await until(lambda: harness.scope.under_way == 1)
    other = asyncio.create_task(grants.fetch(KEY, ANOTHER))
    await asyncio.sleep(0)
    harness.scope.resume()
    assert await other is UNKNOWN
    assert any(KEY.hex() in batch for batch in batches(harness)[:2])
    assert set(await asyncio.gather(*flood)) == {UNKNOWN}


async def test_a_key_created_during_its_check_is_checked_again(harness: Harness) -> None:
    grants = over_budget(harness)
    harness.scope.hold()
    checked = asyncio.create_task(grants.fetch(KEY, ADDRESS))
    await until(lambda: harness.scope.under_way == 1)
    harness.scope.add(KEY)
    grants.drop(KEY, position=1)  # as the change feed does
    harness.scope.resume()
    assert known(await checked)
    assert batches(harness) == [[KEY.hex()]] * 2


async def test_a_key_deleted_after_its_check_is_unknown(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = over_budget(harness)
    harness.scope.hold()
    checked = asyncio.create_task(grants.fetch(KEY, ADDRESS))
    await until(lambda: harness.scope.under_way == 1)
    del harness.scope.grants[KEY]
    harness.scope.resume()
    assert await checked is UNKNOWN


async def test_a_full_lane_refuses_only_further_keys_of_the_same_network(harness: Harness) -> None:
    grants = over_budget(harness, max_waiting_checks=3)
    harness.scope.hold()
    running = asyncio.create_task(grants.fetch(key(0), ADDRESS))
    await until(lambda: harness.scope.under_way == 1)
    waiting = [asyncio.create_task(grants.fetch(key(number), ADDRESS)) for number in (1, 2, 3)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyUnknownKeys):
        await grants.fetch(KEY, ADDRESS)
    other = asyncio.create_task(grants.fetch(OTHER, ANOTHER))
    await asyncio.sleep(0)
    harness.scope.resume()
    assert set(await asyncio.gather(running, *waiting, other)) == {UNKNOWN}


async def test_a_key_that_waited_too_long_is_refused(harness: Harness) -> None:
    grants = over_budget(harness, lookup_seconds=30)
    harness.scope.hold()
    running = asyncio.create_task(grants.fetch(key(0), ADDRESS))
    await until(lambda: harness.scope.under_way == 1)
    late = asyncio.create_task(grants.fetch(KEY, ADDRESS))
    await asyncio.sleep(0)
    harness.clock.now += 31
    harness.scope.resume()
    assert await running is UNKNOWN
    with pytest.raises(TooManyUnknownKeys):
        await late


async def test_an_outage_ends_all_checks_and_they_do_not_probe(harness: Harness) -> None:
    grants = over_budget(harness)
    harness.scope.down = OSError("gone")
    outcomes = await asyncio.gather(*(grants.fetch(key(n), ADDRESS) for n in range(2_000)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ScopeUnavailable}
    assert len(batches(harness)) == 1
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(KEY, ADDRESS)
    assert len(batches(harness)) == 1


async def test_closing_ends_all_checks(harness: Harness) -> None:
    grants = over_budget(harness)
    harness.scope.hold()
    checked = [asyncio.create_task(grants.fetch(key(number), ADDRESS)) for number in range(3)]
    await until(lambda: harness.scope.under_way == 1)
    await grants.close()
    assert {type(each) for each in await asyncio.gather(*checked, return_exceptions=True)} == {ScopeUnavailable}
    assert grants.idle
