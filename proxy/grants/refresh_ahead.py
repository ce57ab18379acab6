"""Refresh-ahead: grants in use are looked up again before they expire, so that requests do not wait for them."""

import asyncio
from collections import deque
from collections.abc import Callable

from proxy.decision.grant import Grant
from proxy.grants.database_status import DatabaseStatus
from proxy.grants.entries import Entry, GrantEntries, Lifetimes
from proxy.grants.fair_queue import FairQueue
from proxy.grants.single_flight import SingleFlight
from proxy.settings import GrantSettings


class RefreshAhead:
    """Refreshes entries in the background. It has its own `queue`, so other lookups never wait behind refreshes."""

    def __init__(
        self,
        entries: GrantEntries,
        lifetimes: Lifetimes,
        lookups: SingleFlight,
        database: DatabaseStatus,
        settings: GrantSettings,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._entries = entries
        self._lifetimes = lifetimes
        self._lookups = lookups
        self._database = database
        self._clock = clock
        self._retry_seconds = settings.ttl_seconds / 20
        self._max_tasks = concurrent_refreshes(settings)
        self.queue = FairQueue(self._max_tasks, per_party=self._max_tasks)
        self._waiting: deque[bytes] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Whether no refresh is running or waiting."""
        return not self._tasks

    def schedule(self, digest: bytes, entry: Entry[Grant]) -> None:
        """Refresh this entry in the background. Until then it is used as before, so that requests stay cheap."""
        if entry.refreshing or not self._database.keys_worth_asking:
            return
        entry.refreshing = True
        entry.refresh_at = entry.fresh_until
        self._waiting.append(digest)
        # A task that has just ended is still listed, but cannot take more work.
        if sum(not task.done() for task in self._tasks) < self._max_tasks:
            task = asyncio.get_running_loop().create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel all refreshes."""
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self) -> None:
        while self._waiting:
            digest = self._waiting.popleft()
            entry = self._entries.get(digest)
            if entry is None or not entry.refreshing:
                continue  # the entry was dropped or replaced in the meantime
            scheduled_for = entry.fresh_until
            self._lifetimes.extend(entry)
            if entry.fresh_until > scheduled_for and self._clock() < entry.refresh_at:
                entry.refreshing = False  # the feed has confirmed it in the meantime
                continue
            lookup = self._lookups.in_flight(digest)
            if lookup is None and self._database.keys_worth_asking:
                lookup = self._lookups.start(digest, self.queue, digest, None)
            if lookup is not None:
                await asyncio.wait({lookup.task})
            if entry.refreshing:  # the database did not answer, so refresh the entry again a little later
                entry.refreshing = False
                entry.refresh_at = min(self._clock() + self._retry_seconds, entry.fresh_until)


def concurrent_refreshes(settings: GrantSettings) -> int:
    """Return how many refreshes may run at a time, each with a database connection."""
    return max(1, settings.lookups_at_once // 4)
