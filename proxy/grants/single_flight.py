"""Looks up keys: one lookup at a time per key, with limits on their number and time."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Literal

import structlog

from proxy.decision.grant import Grant
from proxy.grants.answers import Found, NoAnswer, Unknown
from proxy.grants.circuit_breaker import CircuitBreaker
from proxy.grants.connections import DATABASE_FAILURES, describe
from proxy.grants.fair_queue import FairQueue, Party
from proxy.grants.invalidations import EVERYTHING, Invalidations
from proxy.grants.scope_table import ScopeTable
from proxy.grants.token_bucket import TokenBuckets

_log = structlog.get_logger()

Outcome = Grant | Unknown | Literal[NoAnswer.UNAVAILABLE]


class Lookup:
    """A lookup in flight. All callers that need the same key wait for its outcome."""

    __slots__ = ("asked_at", "charged", "digest", "outcome", "probe", "task", "timer")

    def __init__(self, digest: bytes, charged: str | None, outcome: asyncio.Future[Outcome], *, probe: bool) -> None:
        self.digest = digest
        self.charged = charged
        """The client network that is charged if the key is unknown. None if the key was known before."""
        self.outcome = outcome
        """A future that never gets an exception. Callers shield it, so they cannot cancel it."""
        self.probe = probe
        self.asked_at: float | None = None
        """When the query was started, in the event loop's time. None while the lookup is queued."""
        self.task: asyncio.Task[None]
        self.timer: asyncio.TimerHandle


class SingleFlight:
    """Looks up keys in the scope table and passes each answer to `store`, unless it was invalidated in the meantime.

    A lookup takes at most `seconds`, including its time in the queue. After that its outcome is UNAVAILABLE.
    """

    def __init__(
        self,
        scope: ScopeTable,
        breaker: CircuitBreaker,
        invalidations: Invalidations,
        budget: TokenBuckets | None,
        store: Callable[[bytes, Found | None, float], Grant | Unknown],
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scope = scope
        self._breaker = breaker
        self._invalidations = invalidations
        self._budget = budget
        self._store = store
        self._seconds = seconds
        self._clock = clock
        self._lookups: dict[bytes, Lookup] = {}
        self._charged: Counter[str | None] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Whether no lookup is in flight, and the connections of earlier ones were released."""
        return not self._tasks

    def charged_in_flight(self, network: str) -> int:
        """Return how many lookups in flight are charged to this client network if their keys are unknown."""
        return self._charged[network]

    def in_flight(self, digest: bytes) -> Lookup | None:
        """Return the lookup of this key that is in flight, if any."""
        return self._lookups.get(digest)

    def start(self, digest: bytes, queue: FairQueue, party: Party, charged: str | None) -> Lookup | None:
        """Start a lookup of a key that is not being looked up. Returns None while the circuit breaker is open.

        A probe is never queued, because no other lookup could detect the database's recovery while it waits.
        """
        if (self._breaker.is_open and not queue.has_slot_for(party)) or not self._breaker.admits():
            return None
        loop = asyncio.get_running_loop()
        lookup = Lookup(digest, charged, loop.create_future(), probe=self._breaker.is_open)
        self._lookups[digest] = lookup
        self._charged[charged] += 1
        lookup.timer = loop.call_later(self._seconds, self._time_out, lookup)
        lookup.task = loop.create_task(self._run(lookup, queue, party))
        self._tasks.add(lookup.task)
        lookup.task.add_done_callback(self._tasks.discard)
        return lookup

    async def close(self) -> None:
        """Cancel all lookups."""
        for lookup in list(self._lookups.values()):
            self._end(lookup, NoAnswer.UNAVAILABLE)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._seconds)

    async def _run(self, lookup: Lookup, queue: FairQueue, party: Party) -> None:
        outcome: Outcome = NoAnswer.UNAVAILABLE
        try:
            await queue.acquire(party)
            try:
                outcome = await self._ask(lookup)
            finally:
                queue.release(party)
        except DATABASE_FAILURES as error:
            self._breaker.failed(describe(error))
        except Exception:
            _log.exception("lookup_failed")
        finally:
            self._end(lookup, outcome)

    async def _ask(self, lookup: Lookup) -> Outcome:
        invalidated = True
        while invalidated:
            read_at = self._clock()
            lookup.asked_at = asyncio.get_running_loop().time()
            token = self._invalidations.begin()
            try:
                found = await self._scope.find_grant(lookup.digest)
                invalidated = self._invalidated(lookup.digest, found, token)
            finally:
                self._invalidations.end(token)
            self._breaker.succeeded()
        if found is None and lookup.charged is not None and self._budget is not None:
            self._budget.charge(lookup.charged)
        return self._store(lookup.digest, found, read_at)

    def _invalidated(self, digest: bytes, found: Found | None, token: int) -> bool:
        if found is None:
            return self._invalidations.affects(token, (digest, EVERYTHING), None)
        return self._invalidations.affects(token, (digest, found.grant.user_id, EVERYTHING), found.position)

    def _time_out(self, lookup: Lookup) -> None:
        asked_at = lookup.asked_at
        # A lookup that spent most of its time in the queue does not show that the database is slow.
        if asked_at is not None and asyncio.get_running_loop().time() - asked_at >= self._seconds / 2:
            self._breaker.failed(f"no answer within {self._seconds:g} s")
        self._end(lookup, NoAnswer.UNAVAILABLE)
        # The task keeps its slot until its connection is released, which may take up to `seconds` again. Callers do not
        # wait for that.
        lookup.task.cancel()

    def _end(self, lookup: Lookup, outcome: Outcome) -> None:
        if lookup.outcome.done():
            return
        lookup.outcome.set_result(outcome)
        lookup.timer.cancel()
        del self._lookups[lookup.digest]
        self._charged[lookup.charged] -= 1
        if not self._charged[lookup.charged]:
            del self._charged[lookup.charged]
        if lookup.probe:
            self._breaker.probe_ended()
