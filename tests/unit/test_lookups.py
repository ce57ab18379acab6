"""Lookups in line, and what their time-out says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.breaker import Breaker
from proxy.budget import LookupBudget
from proxy.lookups import Lookups, Lost
from proxy.recalls import EVERYTHING, Recalls
from proxy.scope import UNKNOWN, Found, ScopeTable, Unknown
from proxy.turns import Turns
from tests.scopes import Clock, MemoryScope, until

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


async def test_closing_does_not_wait_for_ever_for_a_connection_that_does_not_come_clean() -> None:
    class Unclean(MemoryScope):
        @asynccontextmanager
        async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[MemoryScope]:  # noqa: ASYNC109
            try:
                yield self
            finally:
                await asyncio.Event().wait()

    scope = Unclean()
    scope.hold()
    lookups = lookups_over(scope, seconds=0.05)
    assert lookups.depart(KEY, Turns(1, 1), "party", None) is not None
    await until(lambda: scope.under_way == 1)
    async with asyncio.timeout(10):
        await lookups.close()


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
