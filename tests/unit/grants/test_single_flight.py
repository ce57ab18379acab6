"""SingleFlight in line, and what their time-out says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.grants.answers import UNKNOWN, Found, NoAnswer, Unknown
from proxy.grants.circuit_breaker import CircuitBreaker
from proxy.grants.fair_queue import FairQueue
from proxy.grants.invalidations import EVERYTHING, Invalidations
from proxy.grants.scope_table import ScopeTable
from proxy.grants.single_flight import SingleFlight
from proxy.grants.token_bucket import TokenBuckets
from tests.scopes import Clock, MemoryScope, VirtualLoop, until

KEY = bytes(32)


def lookups_over(scope: MemoryScope, *, seconds: float, breaker: CircuitBreaker | None = None) -> SingleFlight:
    """SingleFlight that find nobody known."""

    def land(digest: bytes, found: Found | None, asked_at: float) -> Unknown:
        return UNKNOWN

    clock = Clock()
    table, breaker = ScopeTable(scope, 1), breaker or CircuitBreaker("keys", clock)
    return SingleFlight(table, breaker, Invalidations(), TokenBuckets(1), land, seconds=seconds, clock=clock)


async def test_the_wait_for_a_turn_counts_and_says_nothing_about_the_database() -> None:
    scope, turns, breaker = MemoryScope(), FairQueue(1, 1), CircuitBreaker("keys", Clock())
    lookups = lookups_over(scope, seconds=0.05, breaker=breaker)
    await turns.acquire("another")
    flight = lookups.start(KEY, turns, "party", None)
    assert flight is not None
    assert await asyncio.shield(flight.outcome) is NoAnswer.UNAVAILABLE
    assert scope.asked == []
    assert not breaker.is_open
    await lookups.close()
    turns.release("another")
    await turns.acquire("yet another")


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
        scope, turns, breaker = MemoryScope(), FairQueue(1, 1), CircuitBreaker("keys", Clock())
        lookups = lookups_over(scope, seconds=10, breaker=breaker)
        scope.hold()
        await turns.acquire("another")
        flight = lookups.start(KEY, turns, "party", None)
        assert flight is not None
        await asyncio.sleep(had_its_turn_after)
        turns.release("another")
        assert await asyncio.shield(flight.outcome) is NoAnswer.UNAVAILABLE
        assert scope.asked == [KEY]
        assert breaker.is_open is down

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


def test_a_lookup_whose_time_is_over_is_waited_for_no_longer_and_its_turn_ends_when_its_connection_is_clean() -> None:
    async def play() -> None:
        scope, turns, loop = SlowToClean(), FairQueue(1, 1), asyncio.get_running_loop()
        lookups, began = lookups_over(scope, seconds=10), loop.time()
        scope.hold()
        flight = lookups.start(KEY, turns, "party", None)
        assert flight is not None
        assert await asyncio.shield(flight.outcome) is NoAnswer.UNAVAILABLE
        assert loop.time() == began + 10
        assert lookups.in_flight(KEY) is None, "another may be sent"
        async with asyncio.timeout(1000):
            await turns.acquire("another")
        assert loop.time() == began + 40
        await asyncio.wait({flight.task})
        assert flight.task.cancelled()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


async def test_nothing_is_kept_of_a_lookup_that_has_ended() -> None:
    lookups = lookups_over(MemoryScope(), seconds=30)
    flight = lookups.start(KEY, FairQueue(1, 1), "party", None)
    assert flight is not None
    assert await asyncio.shield(flight.outcome) is UNKNOWN
    assert lookups.in_flight(KEY) is None
    await until(lambda: lookups.idle)


async def test_closing_answers_also_who_asked_in_the_same_moment() -> None:
    """A task that is cancelled before it has begun says nothing."""
    lookups = lookups_over(MemoryScope(), seconds=30)
    flight = lookups.start(KEY, FairQueue(1, 1), "party", None)
    assert flight is not None
    await lookups.close()
    assert flight.outcome.done()
    assert flight.outcome.result() is NoAnswer.UNAVAILABLE


def test_closing_waits_for_a_connection_to_come_clean_as_long_as_for_an_answer_and_no_longer() -> None:
    async def play() -> None:
        scope, loop = SlowToClean(), asyncio.get_running_loop()
        lookups, began = lookups_over(scope, seconds=10), loop.time()
        scope.hold()
        assert lookups.start(KEY, FairQueue(1, 1), "party", None) is not None
        await until(lambda: scope.under_way == 1)
        await lookups.close()
        assert began + 10 <= loop.time() < began + 11

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


def test_a_recall_is_forgotten_when_no_lookup_from_before_it_is_in_the_air() -> None:
    invalidations = Invalidations()
    first = invalidations.begin()
    invalidations.add(KEY)
    second = invalidations.begin()
    invalidations.add("ada", 5)
    assert invalidations.affects(first, (KEY,), None)
    assert not invalidations.affects(second, (KEY, EVERYTHING), None)
    invalidations.end(first)
    assert not invalidations.affects(first, (KEY,), None), "forgotten"
    assert invalidations.affects(second, ("ada",), 4)
    assert not invalidations.affects(second, ("ada",), 5)
    invalidations.end(second)
    assert not len(invalidations), "nobody is left who needs to know"
    invalidations.add("eve")
    assert not len(invalidations)
    third = invalidations.begin()
    assert not invalidations.affects(third, (KEY, "ada"), None)


def test_of_two_invalidations_of_one_name_the_later_position_counts_and_no_position_counts_most() -> None:
    invalidations = Invalidations()
    began = invalidations.begin()
    invalidations.add("ada", 5)
    invalidations.add("ada", 3)
    assert invalidations.affects(began, ("ada",), 4)
    invalidations.add("ada")
    invalidations.add("ada", 3)
    assert invalidations.affects(began, ("ada",), 100)
