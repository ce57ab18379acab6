"""The grant cache: single flight, lifetimes, refreshes and the results of lookups."""

import asyncio

import pytest

from tests.scopes import until
from tests.unit.grants.harness import KEY, Harness, harness, known

__all__ = ["harness"]


# Single flight.


async def test_concurrent_requests_with_one_cold_key_make_one_query(harness: Harness) -> None:
    harness.scope.add(KEY, "ada", "shop")
    grants = harness.grants()
    assert grants.peek(KEY) is None
    answers = await asyncio.gather(*(grants.fetch(KEY) for _ in range(1000)))
    assert {known(answer).user_id for answer in answers} == {"ada"}
    assert harness.scope.queried == [KEY]
    assert harness.results == {"miss": 1, "hit": 999}


async def test_requests_that_arrive_during_a_lookup_share_it(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants()
    waiting = []
    for _ in range(50):
        waiting.append(asyncio.create_task(grants.fetch(KEY)))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert harness.scope.queried == [KEY]


async def test_a_canceled_caller_does_not_cancel_the_lookup_for_others(harness: Harness) -> None:
    harness.scope.add(KEY)
    harness.scope.hold()
    grants = harness.grants()
    first, second = asyncio.create_task(grants.fetch(KEY)), asyncio.create_task(grants.fetch(KEY))
    await until(lambda: harness.scope.under_way == 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    harness.scope.resume()
    assert known(await second).user_id == "ada"
    assert harness.scope.queried == [KEY]


async def test_an_answer_is_cached_even_if_all_callers_were_canceled(harness: Harness) -> None:
    harness.scope.add(KEY)
    harness.scope.hold()
    grants = harness.grants()
    only = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: harness.scope.under_way == 1)
    only.cancel()
    harness.scope.resume()
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
    assert harness.scope.queried == [KEY, KEY]
    assert harness.results == {"miss": 2, "hit": 1}


async def test_an_expired_key_still_has_a_grant(harness: Harness) -> None:
    harness.scope.add(KEY, expires_at=5.0)
    assert known(await harness.grants().fetch(KEY)).expires_at == 5.0
