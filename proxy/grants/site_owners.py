"""The cached owner of each site. Sites are looked up by name: an id, or "/" and a folded id (site_ids.py)."""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping

from cachetools import LRUCache, TTLCache

from proxy.decision.grant import SiteOwner
from proxy.decision.site_ids import names_of
from proxy.grants.answers import NoAnswer
from proxy.grants.database_status import DatabaseStatus
from proxy.grants.entries import Entry, Lifetimes
from proxy.grants.scope_table import ScopeTable
from proxy.grants.site_lookups import Owner, SiteLookups
from proxy.settings import GrantSettings

_MAX_UNKNOWN = 10_000


class SiteOwners:
    """Site owners: cached for `ttl_seconds`, refreshed while in use, and used stale while the database is down.

    `on_lost` is called with the id of a site that a lookup finds deleted, or in another workspace. It must not raise.
    """

    def __init__(
        self,
        settings: GrantSettings,
        scope: ScopeTable,
        database: DatabaseStatus,
        lifetimes: Lifetimes,
        on_lost: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._lifetimes = lifetimes
        self._on_lost = on_lost
        self._clock = clock
        self._seconds = settings.lookup_seconds
        self._known: LRUCache[str, Entry[SiteOwner]] = LRUCache(settings.max_keys)
        # Unknown names have a cache of their own, so that made-up names evict only each other.
        self._unknown: TTLCache[str, None] = TTLCache(_MAX_UNKNOWN, settings.unknown_ttl_seconds, timer=clock)
        self._lookups = SiteLookups(
            scope, database.site_breaker, self._store, seconds=settings.lookup_seconds, clock=clock
        )

    def peek(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None] | None:
        """Return the owners of these sites (None: the site does not exist), or None unless all are cached."""
        now = self._clock()
        stale = self._database.sites_cut_off
        owners: dict[str, SiteOwner | None] = {}
        for site in sites:
            owner = self._usable(site, now, stale=stale)
            if owner is NoAnswer.UNAVAILABLE:
                return None
            owners[site] = owner
        return owners

    async def fetch(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None] | None:
        """Return the owners of these sites, looked up if necessary. None if the database does not answer."""
        now = self._clock()
        stale = self._database.sites_cut_off
        owners = {site: self._usable(site, now, stale=stale) for site in sites}
        lookups = {site: self._lookups.start(site) for site, owner in owners.items() if owner is NoAnswer.UNAVAILABLE}
        if lookups:
            await self._wait_for(lookups.values())
        found: dict[str, SiteOwner | None] = {}
        for site, owner in owners.items():
            if site in lookups:
                lookup = lookups[site]
                owner = lookup.result() if lookup.done() else NoAnswer.UNAVAILABLE
                if owner is NoAnswer.UNAVAILABLE:
                    owner = self._usable(site, self._clock(), stale=True)
            if owner is NoAnswer.UNAVAILABLE:
                return None
            found[site] = owner
        return found

    async def _wait_for(self, lookups: Iterable[asyncio.Future[Owner]]) -> None:
        """Wait until all lookups are done, for `lookup_seconds` at most. One query answers most of them at once."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._seconds
        for lookup in lookups:
            left = deadline - loop.time()
            if not lookup.done() and left > 0:
                # Unlike wait_for(), wait() does not cancel the future when the caller is canceled.
                await asyncio.wait({lookup}, timeout=left)

    def confirmed_until(self, site: str, workspace: str) -> float:
        """Return the time (in the clock's seconds) until which the site is known to belong to this workspace.

        It may be in the past.
        """
        entry = self._known.get(site)
        if entry is None or entry.value.workspace != workspace:
            return -math.inf
        self._lifetimes.extend(entry)
        return entry.fresh_until

    def drop(self, site: str) -> None:
        """Drop the answers for a site that was added or removed, under both its names."""
        names = names_of(site)
        for name in names:
            self._known.pop(name, None)
            self._unknown.pop(name, None)
        self._lookups.invalidate(names)

    def drop_all(self) -> None:
        """Drop all answers."""
        self._known.clear()
        self._unknown.clear()
        self._lookups.invalidate_all()

    def probe(self) -> None:
        """Find out whether the database answers again, if it did not."""
        if self._database.site_breaker.is_open:
            self._lookups.probe()

    async def close(self) -> None:
        """Cancel all lookups."""
        await self._lookups.close()

    def _usable(self, site: str, now: float, *, stale: bool) -> Owner:
        entry = self._known.get(site)
        if entry is not None:
            self._lifetimes.extend(entry)
        if entry is not None and now < (entry.stale_until if stale else entry.fresh_until):
            if now >= entry.refresh_at and self._database.sites_worth_asking:
                self._lookups.start(site)
            return entry.value
        if site in self._unknown or not _storable(site):
            return None
        return NoAnswer.UNAVAILABLE

    def _store(self, site: str, owner: SiteOwner | None, read_at: float) -> None:
        before = self._known.get(site)
        if owner is None:
            self._known.pop(site, None)
            self._unknown[site] = None
        else:
            self._unknown.pop(site, None)
            self._known[site] = self._lifetimes.new_entry(owner, 0, read_at)
        if before is not None and before.value != owner:
            lost = before.value.id
            for name in names_of(lost):
                if name != site:
                    self._known.pop(name, None)  # the answer under the other name is as outdated as the replaced one
            self._on_lost(lost)


def _storable(site: str) -> bool:
    """Return whether PostgreSQL can store this text. A name with a NUL or a lone surrogate cannot refer to a site."""
    try:
        site.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in site
