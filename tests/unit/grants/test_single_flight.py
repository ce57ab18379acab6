"""Lookups in line, and what their time-out says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.grants.circuit_breaker import Breaker
from proxy.grants.fair_queue import Turns
from proxy.grants.invalidations import EVERYTHING, Recalls
from proxy.grants.scope_table import UNKNOWN, Found, ScopeTable, Unknown
from proxy.grants.single_flight import Lookups, Lost
from proxy.grants.token_bucket import LookupBudget
from tests.scopes import Clock, MemoryScope, VirtualLoop, until

KEY = bytes(32)


def lookups_over(scope: MemoryScope, *, seconds: float, breaker: Breaker | None = None) -> Lookups:
    """Lookups that find nobody known."""

    def land(digest: bytes, found: Found | None, asked_at: float) -> Unknown:
        return UNKNOWN

    clock = Clock()
    table, breaker = ScopeTable(scope, 1), breaker or Breaker("keys", clock)
    return Lookups(table, breaker, Recalls(), LookupBudget(1), land, seconds=seconds, clock=clock)


async def test_the_wait_for_a_turn_counts_and_says_nothing_about_the_database() -> None:
    scope, turns, breaker = MemoryScope(), Turns(1, 1), Breaker("keys", Clock())
    lookups = lookups_over(scope, seconds=0.05, breaker=breaker)
    await turns.take("another")
    flight = lookups.depart(KEY, turns, "party", None)
    assert flight is not None
    assert await asyncio.shield(flight.outcome) is Lost.UNAVAILABLE
    assert scope.asked == []
    assert not breaker.down
    await lookups.close()
    turns.give_back("another")
    await turns.take("yet another")


class SlowToClean(MemoryScope):
    """Getting back a connection whose query was cancelled takes time."""

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[MemoryScope]:  # noqa: ASYNC109
        try:
            yield self
        finally:
            await asyncio.sleep(30)


@pytest.mark.parametrize(("had_its_turn_after", "down"), [(4, True), (6, False)])
def test_a_lookup_that_spent_most_of_its_time_in_line_says_nothing_about_the_database(
    had_its_turn_after: float, down: bool
) -> None:
    async def play() -> None:
        scope, turns, breaker = MemoryScope(), Turns(1, 1), Breaker("keys", Clock())
        lookups = lookups_over(scope, seconds=10, breaker=breaker)
        scope.hold()
        await turns.take("another")
        flight = lookups.depart(KEY, turns, "party", None)
        assert flight is not None
        await asyncio.sleep(had_its_turn_after)
        turns.give_back("another")
        assert await asyncio.shield(flight.outcome) is Lost.UNAVAILABLE
        assert scope.asked == [KEY]
        assert breaker.down is down

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


def test_a_lookup_whose_time_is_over_is_waited_for_no_longer_and_its_turn_ends_when_its_connection_is_clean() -> None:
    async def play() -> None:
        scope, turns, loop = SlowToClean(), Turns(1, 1), asyncio.get_running_loop()
        lookups, began = lookups_over(scope, seconds=10), loop.time()
        scope.hold()
        flight = lookups.depart(KEY, turns, "party", None)
        assert flight is not None
        assert await asyncio.shield(flight.outcome) is Lost.UNAVAILABLE
        assert loop.time() == began + 10
        assert lookups.under_way(KEY) is None, "another may be sent"
        async with asyncio.timeout(1000):
            await turns.take("another")
        assert loop.time() == began + 40
        await asyncio.wait({flight.task})
        assert flight.task.cancelled()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


async def test_nothing_is_kept_of_a_lookup_that_has_ended() -> None:
    lookups = lookups_over(MemoryScope(), seconds=30)
    flight = lookups.depart(KEY, Turns(1, 1), "party", None)
    assert flight is not None
    assert await asyncio.shield(flight.outcome) is UNKNOWN
    assert lookups.under_way(KEY) is None
    await until(lambda: not lookups._tasks)


async def test_closing_answers_also_who_asked_in_the_same_moment() -> None:
    """A task that is cancelled before it has begun says nothing."""
    lookups = lookups_over(MemoryScope(), seconds=30)
    flight = lookups.depart(KEY, Turns(1, 1), "party", None)
    assert flight is not None
    await lookups.close()
    assert flight.outcome.done()
    assert flight.outcome.result() is Lost.UNAVAILABLE


def test_closing_waits_for_a_connection_to_come_clean_as_long_as_for_an_answer_and_no_longer() -> None:
    async def play() -> None:
        scope, loop = SlowToClean(), asyncio.get_running_loop()
        lookups, began = lookups_over(scope, seconds=10), loop.time()
        scope.hold()
        assert lookups.depart(KEY, Turns(1, 1), "party", None) is not None
        await until(lambda: scope.under_way == 1)
        await lookups.close()
        assert began + 10 <= loop.time() < began + 11

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


def test_a_recall_is_forgotten_when_no_lookup_from_before_it_is_in_the_air() -> None:
    recalls = Recalls()
    first = recalls.begin()
    recalls.recall(KEY)
    second = recalls.begin()
    recalls.recall("ada", 5)
    assert recalls.touches(first, (KEY,), None)
    assert not recalls.touches(second, (KEY, EVERYTHING), None)
    recalls.end(first)
    assert not recalls.touches(first, (KEY,), None), "forgotten"
    assert recalls.touches(second, ("ada",), 4)
    assert not recalls.touches(second, ("ada",), 5)
    recalls.end(second)
    assert not recalls._recalled, "nobody is left who needs to know"
    recalls.recall("eve")
    assert not recalls._recalled
    third = recalls.begin()
    assert not recalls.touches(third, (KEY, "ada"), None)


def test_of_two_recalls_of_one_name_the_later_position_counts_and_no_position_counts_most() -> None:
    recalls = Recalls()
    began = recalls.begin()
    recalls.recall("ada", 5)
    recalls.recall("ada", 3)
    assert recalls.touches(began, ("ada",), 4)
    recalls.recall("ada")
    recalls.recall("ada", 3)
    assert recalls.touches(began, ("ada",), 100)
