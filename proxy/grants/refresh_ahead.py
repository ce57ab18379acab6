"""Asks again for grants that are used, before they end, in a lane of its own: a key in use never waits."""

import asyncio
from collections import deque
from collections.abc import Callable

from proxy.decision.grant import Grant
from proxy.grants.circuit_breaker import Breaker
from proxy.grants.entries import Held, HeldGrants, Lifetimes
from proxy.grants.fair_queue import Turns
from proxy.grants.single_flight import Lookups
from proxy.settings import GrantSettings


class Refreshes:
    """Refreshes what is held, so many at once. Their `turns` are their own: strangers never wait behind them."""

    def __init__(
        self,
        held: HeldGrants,
        lifetimes: Lifetimes,
        lookups: Lookups,
        breaker: Breaker,
        settings: GrantSettings,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._held = held
        self._lifetimes = lifetimes
        self._lookups = lookups
        self._breaker = breaker
        self._clock = clock
        self._retry_seconds = settings.ttl_seconds / 20
        self._at_once = refreshes_at_once(settings)
        self.turns = Turns(self._at_once, per_party=self._at_once)
        self._waiting: deque[bytes] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def soon(self, digest: bytes, held: Held[Grant]) -> None:
        """Have this grant, which is held, asked for in the background."""
        if held.refreshing or not self._breaker.worth_asking:
            return
        held.refreshing = True
        self._waiting.append(digest)
        # One that has just ended takes nothing on any more, and is still listed.
        if sum(not task.done() for task in self._tasks) < self._at_once:
            task = asyncio.get_running_loop().create_task(self._refresh())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is under way and what waits."""
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _refresh(self) -> None:
        while self._waiting:
            digest = self._waiting.popleft()
            held = self._held.get(digest)
            if held is None or not held.refreshing:
                continue  # dropped, or asked for anew meanwhile
            self._lifetimes.renew(held)
            if self._clock() < held.soft_until:
                held.refreshing = False
                continue
            flight = self._lookups.under_way(digest)
            if flight is None and self._breaker.worth_asking:
                flight = self._lookups.depart(digest, self.turns, digest, None)
            if flight is not None:
                await asyncio.wait({flight.task})
            # Where an answer came another entry is held now. Else this one is tried again, though not at once.
            held.refreshing = False
            held.soft_until = min(self._clock() + self._retry_seconds, held.fresh_until)


def refreshes_at_once(settings: GrantSettings) -> int:
    """Return how many refreshes may be under way, each with a database connection."""
    return max(1, settings.lookups_at_once // 4)
