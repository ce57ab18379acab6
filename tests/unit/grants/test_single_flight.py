"""Lookups in the queue, and their timeouts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.grants.answers import UNKNOWN, Found, NoAnswer, Unknown
from proxy.grants.circuit_breaker import CircuitBreaker
from proxy.grants.fair_queue import FairQueue
from proxy.grants.invalidations import Invalidations
from proxy.grants.scope_table import ScopeTable
from proxy.grants.single_flight import SingleFlight
from proxy.grants.token_bucket import TokenBuckets
from tests.scopes import Clock, MemoryScope, VirtualLoop, until

KEY = bytes(32)


def lookups_over(scope: MemoryScope, *, seconds: float, breaker: CircuitBreaker | None = None) -> SingleFlight:
    """Return a SingleFlight for which every key is unknown."""

    def store(digest: bytes, found: Found | None, read_at: float) -> Unknown:
        return UNKNOWN

    clock = Clock()
    table, breaker = ScopeTable(scope, 1), breaker or CircuitBreaker("keys", clock)
    return SingleFlight(table, breaker, Invalidations(), TokenBuckets(1), store, seconds=seconds, clock=clock)


async def test_a_lookup_that_times_out_in_the_queue_does_not_open_the_breaker() -> None:
    scope, queue, breaker = MemoryScope(), FairQueue(1, 1), CircuitBreaker("keys", Clock())
    lookups = lookups_over(scope, seconds=0.05, breaker=breaker)
    await queue.acquire("another")
    lookup = lookups.start(KEY, queue, "party", None)
    assert lookup is not None
    assert await asyncio.shield(lookup.outcome) is NoAnswer.UNAVAILABLE
    assert scope.queried == []
    assert not breaker.is_open
    await lookups.close()
    queue.release("another")
    await queue.acquire("yet another")


class SlowToRelease(MemoryScope):
    """A pool that needs time to take back a connection whose query was canceled."""

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[MemoryScope]:  # noqa: ASYNC109
        try:
            yield self
        finally:
            await asyncio.sleep(30)


@pytest.mark.parametrize(("queued_for", "down"), [(4, True), (6, False)])
def test_a_lookup_that_spent_most_of_its_time_queued_does_not_open_the_breaker(queued_for: float, down: bool) -> None:
    async def scenario() -> None:
        scope, queue, breaker = MemoryScope(), FairQueue(1, 1), CircuitBreaker("keys", Clock())
        lookups = lookups_over(scope, seconds=10, breaker=breaker)
        scope.hold()
        await queue.acquire("another")
        lookup = lookups.start(KEY, queue, "party", None)
        assert lookup is not None
        await asyncio.sleep(queued_for)
        queue.release("another")
        assert await asyncio.shield(lookup.outcome) is NoAnswer.UNAVAILABLE
        assert scope.queried == [KEY]
        assert breaker.is_open is down

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())


def test_a_timed_out_lookup_keeps_its_slot_until_its_connection_is_released() -> None:
    async def scenario() -> None:
        scope, queue, loop = SlowToRelease(), FairQueue(1, 1), asyncio.get_running_loop()
        lookups, began = lookups_over(scope, seconds=10), loop.time()
        scope.hold()
        lookup = lookups.start(KEY, queue, "party", None)
        assert lookup is not None
        assert await asyncio.shield(lookup.outcome) is NoAnswer.UNAVAILABLE
        assert loop.time() == began + 10
        assert lookups.in_flight(KEY) is None, "another lookup may start"
        async with asyncio.timeout(1000):
            await queue.acquire("another")
        assert loop.time() == began + 40
        await asyncio.wait({lookup.task})
        assert lookup.task.cancelled()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())


async def test_a_finished_lookup_leaves_nothing_behind() -> None:
    lookups = lookups_over(MemoryScope(), seconds=30)
    lookup = lookups.start(KEY, FairQueue(1, 1), "party", None)
    assert lookup is not None
    assert await asyncio.shield(lookup.outcome) is UNKNOWN
    assert lookups.in_flight(KEY) is None
    await until(lambda: lookups.idle)


async def test_closing_answers_a_lookup_that_has_not_begun() -> None:
    """A task that is canceled before it starts runs no code."""
    lookups = lookups_over(MemoryScope(), seconds=30)
    lookup = lookups.start(KEY, FairQueue(1, 1), "party", None)
    assert lookup is not None
    await lookups.close()
    assert lookup.outcome.done()
    assert lookup.outcome.result() is NoAnswer.UNAVAILABLE


def test_closing_waits_for_connections_at_most_as_long_as_for_an_answer() -> None:
    async def scenario() -> None:
        scope, loop = SlowToRelease(), asyncio.get_running_loop()
        lookups, began = lookups_over(scope, seconds=10), loop.time()
        scope.hold()
        assert lookups.start(KEY, FairQueue(1, 1), "party", None) is not None
        await until(lambda: scope.under_way == 1)
        await lookups.close()
        assert began + 10 <= loop.time() < began + 11

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())
