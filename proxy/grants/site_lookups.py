"""Lookups of site owners, in batches."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Literal

import structlog

from proxy.decision.grant import SiteOwner
from proxy.grants.answers import NoAnswer
from proxy.grants.circuit_breaker import CircuitBreaker
from proxy.grants.connections import DATABASE_FAILURES, describe
from proxy.grants.scope_table import ScopeTable

_BATCH = 1_000
"""How many sites one query looks up."""

_NO_SITE = ""
"""Not a valid site id. Looking it up only shows whether the database answers."""

_log = structlog.get_logger()

Owner = SiteOwner | None | Literal[NoAnswer.UNAVAILABLE]
"""The owner of a site, or None if there is no such site."""


class SiteLookups:
    """Runs one query at a time. Sites that are requested while it runs share the next query, which keeps queries few.

    Each answer is passed to `store`, with the time at which it was read.
    """

    def __init__(
        self,
        scope: ScopeTable,
        breaker: CircuitBreaker,
        store: Callable[[str, SiteOwner | None, float], None],
        *,
        seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._scope = scope
        self._breaker = breaker
        self._store = store
        self._seconds = seconds
        self._clock = clock
        self._next: dict[str, asyncio.Future[Owner]] = {}
        self._running: dict[str, asyncio.Future[Owner]] = {}
        self._invalidated: set[str] = set()
        """Sites of the running query whose answer may be out of date."""
        self._task: asyncio.Task[None] | None = None

    def start(self, site: str) -> asyncio.Future[Owner]:
        """Return a future for the owner of this site. Starts a lookup unless one is in flight."""
        future = self._running.get(site) or self._next.get(site)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._next[site] = loop.create_future()
            if self._task is None:
                # The task starts in the next iteration of the event loop, and looks up every site requested until then.
                self._task = loop.create_task(self._run())
        return future

    def invalidate(self, names: Iterable[str]) -> None:
        """Look these sites up again if the running query includes them."""
        self._invalidated.update(name for name in names if name in self._running)

    def invalidate_all(self) -> None:
        """Look up every site of the running query again."""
        self._invalidated.update(self._running)

    def probe(self) -> None:
        """Find out whether the database answers again."""
        self.start(_NO_SITE)

    async def close(self) -> None:
        """Cancel all lookups."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=self._seconds)

    async def _run(self) -> None:
        try:
            while self._next:
                self._running = dict(islice(self._next.items(), _BATCH))
                for site in self._running:
                    del self._next[site]
                read_at = self._clock()
                self._end(await self._ask(list(self._running)), read_at)
        finally:
            self._task = None
            self._end(None, 0)
            self._running = self._next
            self._next = {}
            self._end(None, 0)

    async def _ask(self, sites: list[str]) -> Mapping[str, SiteOwner] | None:
        if not self._breaker.admits():
            return None
        probe = self._breaker.is_open
        try:
            async with asyncio.timeout(self._seconds):
                owners = await self._scope.find_sites(sites)
        except DATABASE_FAILURES as error:
            self._breaker.failed(describe(error))
            return None
        except Exception:
            _log.exception("lookup_failed")
            return None
        finally:
            if probe:
                self._breaker.probe_ended()
        self._breaker.succeeded()
        return owners

    def _end(self, owners: Mapping[str, SiteOwner] | None, read_at: float) -> None:
        """Resolve the futures of the running query's sites. `owners` is None if the query failed."""
        running, self._running = self._running, {}
        invalidated, self._invalidated = self._invalidated, set()
        for site, future in running.items():
            if owners is None:
                future.set_result(NoAnswer.UNAVAILABLE)
            elif site in invalidated:
                self._next[site] = future  # the answer may be older than the change, so look the site up again
            else:
                owner = owners.get(site)
                self._store(site, owner, read_at)
                future.set_result(owner)
