"""Lookups of keys on their way to the database: one at a time for each key, bounded in number and in time."""

import asyncio
import time
from collections.abc import Callable
from enum import Enum

import structlog

from proxy.decision.grant import Grant
from proxy.grants.circuit_breaker import Breaker
from proxy.grants.fair_queue import Party, Turns
from proxy.grants.invalidations import EVERYTHING, Recalls
from proxy.grants.scope_table import DATABASE_FAILURES, Found, ScopeTable, Unknown, reason
from proxy.grants.token_bucket import LookupBudget

_log = structlog.get_logger()


class Lost(Enum):
    """How a lookup ends that brings no answer."""

    UNAVAILABLE = "unavailable"
    OVER_BUDGET = "over_budget"


Outcome = Grant | Unknown | Lost


class Flight:
    """One lookup on its way. Whoever wants the same key waits for its outcome."""

    __slots__ = ("asking_since", "digest", "guesser", "outcome", "probe", "task", "timer")

    def __init__(self, digest: bytes, guesser: str | None, outcome: asyncio.Future[Outcome], *, probe: bool) -> None:
        self.digest = digest
        self.guesser = guesser
        """The address whose budget pays if the key is unknown; None where the key is known, so that nobody guesses."""
        self.outcome = outcome
        """Never fails, and is not cancelled by those who wait for it: they shield it."""
        self.probe = probe
        self.asking_since: float | None = None
        """The event loop's time at which the database was asked; None while it waits for its turn."""
        self.task: asyncio.Task[None]
        self.timer: asyncio.TimerHandle


class Lookups:
    """Asks the scope table what keys may do, and hands each answer to `land`, unless it was recalled on its way.

    A lookup takes `seconds` at most, its wait for a turn included; after that its outcome is UNAVAILABLE.
    """

    def __init__(
        self,
        scope: ScopeTable,
        breaker: Breaker,
        recalls: Recalls,
        budget: LookupBudget | None,
        land: Callable[[bytes, Found | None, float], Grant | Unknown],
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scope = scope
        self._breaker = breaker
        self._recalls = recalls
        self._budget = budget
        self._land = land
        self._seconds = seconds
        self._clock = clock
        self._flights: dict[bytes, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def under_way(self, digest: bytes) -> Flight | None:
        """Return the lookup of this key that is on its way, if there is one."""
        return self._flights.get(digest)

    def depart(self, digest: bytes, turns: Turns, party: Party, guesser: str | None) -> Flight | None:
        """Send a lookup on its way, as `party` in line for `turns`; None while the database is known to be down.

        There must be none under way for this key. The one that is admitted then must not wait in line: meanwhile nobody
        else could find out whether it is back.
        """
        if (self._breaker.down and not turns.free_for(party)) or not self._breaker.admits():
            return None
        loop = asyncio.get_running_loop()
        flight = Flight(digest, guesser, loop.create_future(), probe=self._breaker.down)
        self._flights[digest] = flight
        flight.timer = loop.call_later(self._seconds, self._expire, flight)
        flight.task = loop.create_task(self._fly(flight, turns, party))
        self._tasks.add(flight.task)
        flight.task.add_done_callback(self._tasks.discard)
        return flight

    async def close(self) -> None:
        """Give up what is on its way."""
        for flight in list(self._flights.values()):
            self._end(flight, Lost.UNAVAILABLE)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._seconds)

    async def _fly(self, flight: Flight, turns: Turns, party: Party) -> None:
        outcome: Outcome = Lost.UNAVAILABLE
        try:
            await turns.take(party)
            try:
                outcome = await self._ask(flight)
            finally:
                turns.give_back(party)
        except DATABASE_FAILURES as error:
            self._breaker.failed(reason(error))
        except Exception:
            _log.exception("lookup_failed")
        finally:
            self._end(flight, outcome)

    async def _ask(self, flight: Flight) -> Outcome:
        # Asked again now that it is this lookup's turn: those before it may have used up the budget. So a flood costs
        # the database as many queries as the budget has tokens, and at most a party's share of turns more.
        if flight.guesser is not None and self._budget is not None and not self._budget.allow(flight.guesser):
            return Lost.OVER_BUDGET
        recalled = True
        while recalled:
            asked_at = self._clock()
            flight.asking_since = asyncio.get_running_loop().time()
            began = self._recalls.begin()
            try:
                found = await self._scope.find_grant(flight.digest)
                recalled = self._recalled(flight.digest, found, began)
            finally:
                self._recalls.end(began)
            self._breaker.worked()
        if found is None and flight.guesser is not None and self._budget is not None:
            self._budget.charge(flight.guesser)
        return self._land(flight.digest, found, asked_at)

    def _recalled(self, digest: bytes, found: Found | None, began: int) -> bool:
        if found is None:
            return self._recalls.touches(began, (digest, EVERYTHING), None)
        return self._recalls.touches(began, (digest, found.grant.user_id, EVERYTHING), found.position)

    def _expire(self, flight: Flight) -> None:
        since = flight.asking_since
        # A lookup that spent its time in line says nothing about the database.
        if since is not None and asyncio.get_running_loop().time() - since >= self._seconds / 2:
            self._breaker.failed(f"no answer within {self._seconds:g} s")
        self._end(flight, Lost.UNAVAILABLE)
        # Its turn ends when its connection is clean again, which may take as long once more; nobody waits for that.
        flight.task.cancel()

    def _end(self, flight: Flight, outcome: Outcome) -> None:
        if flight.outcome.done():
            return
        flight.outcome.set_result(outcome)
        flight.timer.cancel()
        del self._flights[flight.digest]
        if flight.probe:
            self._breaker.probed()
