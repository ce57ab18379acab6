"""Lookups in line, and what their time-out says."""

import asyncio

from proxy.breaker import Breaker
from proxy.budget import LookupBudget
from proxy.lookups import Lookups, Lost
from proxy.recalls import EVERYTHING, Recalls
from proxy.scope import UNKNOWN, Found, ScopeTable, Unknown
from proxy.turns import Turns
from tests.scopes import Clock, MemoryScope

KEY = bytes(32)


async def test_the_wait_for_a_turn_counts_and_says_nothing_about_the_database() -> None:
    clock, scope, turns = Clock(), MemoryScope(), Turns(1, 1)
    breaker = Breaker("keys", clock)

    def land(digest: bytes, found: Found | None, asked_at: float) -> Unknown:
        return UNKNOWN

    lookups = Lookups(ScopeTable(scope, 1), breaker, Recalls(), LookupBudget(1), land, seconds=0.05, clock=clock)
    await turns.take("another")
    flight = lookups.depart(KEY, turns, "party", None)
    assert flight is not None
    assert await asyncio.shield(flight.outcome) is Lost.UNAVAILABLE
    assert scope.asked == []
    assert not breaker.down
    await lookups.close()
    turns.give_back("another")
    await turns.take("yet another")


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
