"""Limits on lookups, and the clients that they affect."""

import asyncio
from collections.abc import Callable

import pytest

from proxy.grants.cache import UNKNOWN, GrantCache, ScopeUnavailable
from proxy.grants.token_bucket import TokenBuckets
from tests.scopes import Clock, until
from tests.unit.grants.harness import KEY, OTHER, Harness, harness, key, known

__all__ = ["harness"]


async def test_the_number_of_concurrent_lookups_is_limited(harness: Harness) -> None:
    grants = harness.grants(lookups_at_once=3)
    await asyncio.gather(*(grants.fetch(key(number), f"192.0.2.{number % 7}") for number in range(100)))
    assert harness.scope.most_under_way == 3


async def test_one_address_never_uses_all_lookup_slots(harness: Harness) -> None:
    harness.scope.hold()
    grants = harness.grants(lookups_at_once=8)
    flood = [asyncio.create_task(grants.fetch(key(number), "192.0.2.1")) for number in range(50)]
    await until(lambda: harness.scope.under_way == 4)
    other = asyncio.create_task(grants.fetch(KEY, "192.0.2.2"))
    await until(lambda: harness.scope.under_way == 5)
    assert harness.scope.queried[-1] == KEY
    harness.scope.resume()
    await asyncio.gather(other, *flood)


async def test_over_the_budget_of_its_address_a_flood_of_unknown_keys_is_checked_in_batches(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants(budget=TokenBuckets(60, clock=harness.clock))
    flood = [asyncio.create_task(grants.fetch(key(number), "192.0.2.1")) for number in range(10_000)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert known(await grants.fetch(KEY, "192.0.2.2"))
    assert len(harness.scope.queried) < 20, "the known key did not wait for the flood"
    assert set(await asyncio.gather(*flood)) == {UNKNOWN}
    single = [digest for digest in harness.scope.queried if isinstance(digest, bytes)]
    assert len(single) - 1 == 60, "as many as the budget"
    assert len(harness.scope.queried) < 500


async def test_a_valid_key_is_accepted_even_if_its_address_has_used_up_its_budget(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants(budget=TokenBuckets(2, clock=harness.clock))
    for number in range(5):
        assert await grants.fetch(key(number), "192.0.2.1") is UNKNOWN
    assert known(await grants.fetch(KEY, "192.0.2.1"))


async def test_a_known_key_is_not_checked_even_if_its_address_has_used_up_its_budget(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants(budget=TokenBuckets(2, clock=harness.clock), ttl_seconds=30)
    await grants.fetch(KEY, "192.0.2.1")
    harness.clock.now += 40
    for number in range(5):
        await grants.fetch(key(number), "192.0.2.1")
    assert known(await grants.fetch(KEY, "192.0.2.1")), "the entry has expired but is still cached"
    assert harness.scope.queried[-1] == KEY
    assert harness.results["checked"] == 3


@pytest.mark.parametrize(
    "drop",
    [lambda grants: grants.drop(KEY), lambda grants: grants.drop_user("ada"), lambda grants: grants.drop_all()],
    ids=["key", "user", "all"],
)
async def test_a_changed_key_is_not_checked_even_if_its_address_has_used_up_its_budget(
    harness: Harness, drop: Callable[[GrantCache], object]
) -> None:
    harness.scope.add(KEY, "ada")
    grants = harness.grants(budget=TokenBuckets(2, clock=harness.clock))
    await grants.fetch(KEY, "192.0.2.1")
    for number in range(2):
        await grants.fetch(key(number), "192.0.2.1")
    drop(grants)
    assert known(await grants.fetch(KEY, "192.0.2.1"))
    drop(grants)
    del harness.scope.grants[KEY]
    assert await grants.fetch(KEY, "192.0.2.1") is UNKNOWN
    assert harness.results["checked"] == 0
    harness.clock.now += 10
    assert await grants.fetch(KEY, "192.0.2.1") is UNKNOWN
    assert harness.results["checked"] == 1, "it is now a key that did not exist when it was last looked up"


async def test_the_number_of_remembered_dropped_keys_is_limited(harness: Harness) -> None:
    grants = harness.grants(max_keys=10, budget=TokenBuckets(1, clock=harness.clock))
    for number in range(100):
        harness.scope.add(key(number))
        await grants.fetch(key(number), "192.0.2.1")
        grants.drop(key(number))
    await grants.fetch(OTHER, "192.0.2.1")  # the budget is used up
    for number in range(100):
        assert known(await grants.fetch(key(number), "192.0.2.1"))
        assert harness.results["checked"] == min(number + 1, 90)


async def test_an_unknown_key_that_is_retried_is_charged_once(harness: Harness) -> None:
    budget = TokenBuckets(2, clock=Clock())  # its clock stands still, so it is not refilled
    grants = harness.grants(budget=budget, unknown_ttl_seconds=5)
    for _ in range(10):
        assert await grants.fetch(KEY, "192.0.2.1") is UNKNOWN
        harness.clock.now += 6
    assert harness.results == {"miss": 10}
    assert budget.allow("192.0.2.1")


async def test_many_requests_with_one_unknown_key_are_charged_once(harness: Harness) -> None:
    budget = TokenBuckets(2, clock=harness.clock)
    grants = harness.grants(budget=budget)
    await asyncio.gather(*(grants.fetch(KEY, "192.0.2.1") for _ in range(100)))
    assert budget.allow("192.0.2.1")


async def test_known_keys_behind_one_address_use_no_budget(harness: Harness) -> None:
    for number in range(300):
        harness.scope.add(key(number))
    grants = harness.grants(budget=TokenBuckets(2, clock=harness.clock))
    answers = await asyncio.gather(*(grants.fetch(key(number), "192.0.2.1") for number in range(300)))
    assert all(known(answer) for answer in answers)


async def test_a_request_and_an_open_exchange_share_one_lookup(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants()
    harness.scope.hold()
    asking = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: harness.scope.under_way == 1)
    confirming = asyncio.create_task(grants.confirm(KEY))
    await asyncio.sleep(0)
    harness.scope.resume()
    assert known(await confirming) is known(await asking)
    assert harness.scope.queried == [KEY]


async def test_checks_over_the_budget_do_not_wait_for_lookups(harness: Harness) -> None:
    grants = harness.grants(budget=TokenBuckets(1, clock=harness.clock), lookups_at_once=1)
    assert await grants.fetch(OTHER, "192.0.2.1") is UNKNOWN
    harness.scope.hold()
    another = asyncio.create_task(grants.fetch(key(1), "192.0.2.2"))
    await until(lambda: harness.scope.under_way == 1)
    checked = asyncio.create_task(grants.fetch(KEY, "192.0.2.1"))
    await until(lambda: harness.scope.under_way == 2)
    assert harness.scope.queried[-1] == [KEY.hex()]
    harness.scope.resume()
    assert await checked is UNKNOWN
    await another


async def test_lookups_in_flight_use_the_budget_so_that_no_key_waits_behind_a_flood(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants(budget=TokenBuckets(3, clock=harness.clock), lookups_at_once=2)
    harness.scope.hold()
    flood = [asyncio.create_task(grants.fetch(key(number), "192.0.2.1")) for number in range(3)]
    await until(lambda: harness.scope.under_way == 1)
    valid = asyncio.create_task(grants.fetch(KEY, "192.0.2.1"))
    other = asyncio.create_task(grants.fetch(OTHER, "192.0.2.2"))
    await until(lambda: harness.scope.under_way == 3)
    assert harness.scope.queried[1:] in ([[KEY.hex()], OTHER], [OTHER, [KEY.hex()]])
    harness.scope.resume()
    assert known(await valid)
    assert set(await asyncio.gather(*flood, other)) == {UNKNOWN}


async def test_a_lookup_without_an_answer_uses_no_budget(harness: Harness) -> None:
    grants = harness.grants(budget=TokenBuckets(1, clock=harness.clock))
    harness.scope.failures = [OSError("gone")]
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(KEY, "192.0.2.1")
    harness.clock.now += 1
    assert await grants.fetch(OTHER, "192.0.2.1") is UNKNOWN
    assert harness.results["checked"] == 0
