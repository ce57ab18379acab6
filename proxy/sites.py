"""The owner of each named site, as remembered. Asked for in batches, so many new names cost few queries.

Sites are asked for by name: an id, or "/" and a folded id (site_ids.py).
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from itertools import islice

import structlog
from cachetools import LRUCache, TTLCache

from proxy.breaker import Breaker
from proxy.decision import SiteOwner
from proxy.held import Held, Lifetimes
from proxy.scope import DATABASE_FAILURES, ScopeTable, reason
from proxy.settings import GrantSettings
from proxy.site_ids import names_of

_UNKNOWN_HELD = 10_000
"""Names of no site remembered at once. They have a cache of their own: made-up names push out made-up names."""

_ASKED_AT_ONCE = 1_000
"""Sites in one query."""

_NO_SITE = ""
"""No site's id, to ask for where only the answering matters."""

_log = structlog.get_logger()


class _Lost(Enum):
    """How a question ends that brings no answer."""

    UNAVAILABLE = "unavailable"


_Owner = SiteOwner | None | _Lost


class Sites:
    """The owner of each named site, for `ttl_seconds`, refreshed while used, used stale while the database is down.

    `on_lost` hears the id of a site that the database no longer has, or has in another workspace. It must not raise.
    """

    def __init__(
        self,
        settings: GrantSettings,
        scope: ScopeTable,
        keys: Breaker,
        lifetimes: Lifetimes,
        on_lost: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._scope = scope
        self._keys = keys
        self.breaker = Breaker("sites", clock)
        self._lifetimes = lifetimes
        self._on_lost = on_lost
        self._clock = clock
        self._seconds = settings.lookup_seconds
        self._known: LRUCache[str, Held[SiteOwner]] = LRUCache(settings.max_keys)
        self._unknown: TTLCache[str, None] = TTLCache(_UNKNOWN_HELD, settings.unknown_ttl_seconds, timer=clock)
        # Wanted: for the next query. Asked: in the one on its way.
        self._wanted: dict[str, asyncio.Future[_Owner]] = {}
        self._asked: dict[str, asyncio.Future[_Owner]] = {}
        self._recalled: set[str] = set()
        self._asking: asyncio.Task[None] | None = None

    @property
    def cut_off(self) -> bool:
        """Whether sites are used stale: also where it is known of keys alone that the database does not answer."""
        return self.breaker.cut_off or self._keys.cut_off

    def peek(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None] | None:
        """Return whose these sites are (None: nobody's), or None where that is not known of each of them."""
        now = self._clock()
        owners: dict[str, SiteOwner | None] = {}
        for site in sites:
            owner = self._usable(site, now, stale=self.cut_off)
            if owner is _Lost.UNAVAILABLE:
                return None
            owners[site] = owner
        return owners

    async def fetch(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None] | None:
        """Return whose these sites are, from the database where need be; None when it does not say in time."""
        now = self._clock()
        owners = {site: self._usable(site, now, stale=self.cut_off) for site in sites}
        awaited = {site: self._want(site) for site, owner in owners.items() if owner is _Lost.UNAVAILABLE}
        if awaited:
            await self._answered(awaited.values())
        found: dict[str, SiteOwner | None] = {}
        for site, owner in owners.items():
            if site in awaited:
                answer = awaited[site]
                owner = answer.result() if answer.done() else _Lost.UNAVAILABLE
                if owner is _Lost.UNAVAILABLE:
                    owner = self._usable(site, self._clock(), stale=True)
            if owner is _Lost.UNAVAILABLE:
                return None
            found[site] = owner
        return found

    async def _answered(self, awaited: Iterable[asyncio.Future[_Owner]]) -> None:
        """Wait until all are answered, for `lookup_seconds` at most. Most are answered by one query, at once."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._seconds
        for answer in awaited:
            left = deadline - loop.time()
            if not answer.done() and left > 0:
                await asyncio.wait({answer}, timeout=left)  # does not cancel it with the one who waits

    def confirmed_until(self, site: str, workspace: str) -> float:
        """Return until when (the clock's seconds) the site is this workspace's without being asked for; past: ask."""
        held = self._known.get(site)
        if held is None or held.value.workspace != workspace:
            return -math.inf
        self._lifetimes.renew(held)
        return held.fresh_until

    def drop(self, site: str) -> None:
        """Forget a site that was added or removed, by both its names, also what a query on its way will say of it."""
        for name in names_of(site):
            self._known.pop(name, None)
            self._unknown.pop(name, None)
            if name in self._asked:
                self._recalled.add(name)

    def drop_all(self) -> None:
        """Forget all sites."""
        self._known.clear()
        self._unknown.clear()
        self._recalled.update(self._asked)

    def try_again(self) -> None:
        """Find out whether the table is answered for again, where it was not."""
        if self.breaker.down:
            self._want(_NO_SITE)

    async def close(self) -> None:
        """Give up what is on its way."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking}, timeout=self._seconds)

    def _usable(self, site: str, now: float, *, stale: bool) -> _Owner:
        held = self._known.get(site)
        if held is not None:
            self._lifetimes.renew(held)
        if held is not None and now < (held.stale_until if stale else held.fresh_until):
            if now >= held.soft_until and self.breaker.worth_asking:
                self._want(site)
            return held.value
        if site in self._unknown or not _askable(site):
            return None
        return _Lost.UNAVAILABLE

    def _want(self, site: str) -> asyncio.Future[_Owner]:
        """Have this site asked for, unless it is already."""
        future = self._asked.get(site) or self._wanted.get(site)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._wanted[site] = loop.create_future()
            if self._asking is None:
                # It starts when the loop comes round, with everything that was wanted until then.
                self._asking = loop.create_task(self._ask_all())
        return future

    async def _ask_all(self) -> None:
        try:
            while self._wanted:
                self._asked = dict(islice(self._wanted.items(), _ASKED_AT_ONCE))
                for site in self._asked:
                    del self._wanted[site]
                asked_at = self._clock()
                self._land(await self._ask(list(self._asked)), asked_at)
        finally:
            self._asking = None
            self._land(None, 0)
            self._asked = self._wanted
            self._wanted = {}
            self._land(None, 0)

    async def _ask(self, sites: list[str]) -> Mapping[str, SiteOwner] | None:
        if not self.breaker.admits():
            return None
        probe = self.breaker.down
        try:
            async with asyncio.timeout(self._seconds):
                owners = await self._scope.find_sites(sites)
        except DATABASE_FAILURES as error:
            self.breaker.failed(reason(error))
            return None
        except Exception:
            _log.exception("lookup_failed")
            return None
        finally:
            if probe:
                self.breaker.probed()
        self.breaker.worked()
        return owners

    def _land(self, owners: Mapping[str, SiteOwner] | None, asked_at: float) -> None:
        """Take in what the database says of the asked sites; None: nothing."""
        asked, self._asked = self._asked, {}
        recalled, self._recalled = self._recalled, set()
        for site, future in asked.items():
            if owners is None:
                future.set_result(_Lost.UNAVAILABLE)
            elif site in recalled:
                self._wanted[site] = future  # what was read may be older than what was said since: ask again
            else:
                future.set_result(self._remember(site, owners.get(site), asked_at))

    def _remember(self, site: str, owner: SiteOwner | None, asked_at: float) -> SiteOwner | None:
        before = self._known.get(site)
        if owner is None:
            self._known.pop(site, None)
            self._unknown[site] = None
        else:
            self._unknown.pop(site, None)
            self._known[site] = self._lifetimes.hold(owner, 0, asked_at)
        if before is not None and before.value != owner:
            lost = before.value.id
            for name in names_of(lost):
                if name != site:
                    self._known.pop(name, None)  # what its other name says is as old as what was just disproved
            self._on_lost(lost)
        return owner


def _askable(site: str) -> bool:
    """Return whether PostgreSQL can hold this text: no NUL, no lone surrogate. What it cannot hold is no site."""
    try:
        site.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in site
