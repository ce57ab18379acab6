"""What keys may do, as remembered: how long an answer is used, when the next is asked for, what makes it void.

Digests are SHA-256 of API keys; a key itself never comes here.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from itertools import islice

from cachetools import TTLCache

from proxy.decision.grant import Grant, SiteOwner
from proxy.decision.site_ids import names_of
from proxy.grants.changes import Changes
from proxy.grants.circuit_breaker import Breaker
from proxy.grants.entries import HeldGrants, Lifetimes, jitter
from proxy.grants.fair_queue import Party, Turns
from proxy.grants.invalidations import EVERYTHING, Recalls
from proxy.grants.refresh_ahead import Refreshes, refreshes_at_once
from proxy.grants.scope_table import UNKNOWN, Found, Pool, ScopeTable, Unknown
from proxy.grants.single_flight import Lookups, Lost
from proxy.grants.site_owners import Sites
from proxy.grants.token_bucket import LookupBudget, network
from proxy.settings import GrantSettings

__all__ = ["UNKNOWN", "Grants", "ScopeUnavailable", "TooManyUnknownKeys", "Unknown", "connections_used"]

_UNKNOWN_HELD = 10_000
"""Unknown keys remembered at once. They have a cache of their own: garbage pushes out garbage."""

_NOBODYS = b""
"""The digest of no key, to ask for where only the answering matters."""


class ScopeUnavailable(Exception):  # noqa: N818 - it says what is, as Refused does
    """The database did not say what a key may do, and nothing that may still be used is held."""


class TooManyUnknownKeys(Exception):  # noqa: N818 - it says what is, as Refused does
    """The client's network has tried too many unknown keys, so this one was not looked up."""


def _no_one(lost: Changes) -> None:
    """Hear of a loss, and do nothing."""


class Grants:
    """Grants by key digest: held for `ttl_seconds`, refreshed while used, served stale while the database is down.

    `on_lookup` hears how each request's look-up went: `hit`, `stale`, `miss` (the database was asked while the
    request waited; requests that joined it are hits), `unknown_hit`, `error`. `on_lost` hears, as
    of a change, that the database no longer has a key or gives it less, or that a site is nobody's or another's; what
    holds now can be peeked then. It must not raise.
    """

    def __init__(
        self,
        settings: GrantSettings,
        pool: Pool,
        *,
        on_lookup: Callable[[str], None],
        budget: LookupBudget | None = None,
        on_lost: Callable[[Changes], None] = _no_one,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = jitter,
    ) -> None:
        self.generation = 0
        """Grows whenever an answer given before may no longer hold: whoever remembers answers outside checks it."""
        self.breaker = Breaker("keys", clock)
        self._clock = clock
        self._on_lookup = on_lookup
        self._on_lost = on_lost
        self._budget = budget
        self._lifetimes = Lifetimes(settings, jitter)
        self._held = HeldGrants(settings.max_keys)
        self._max_keys = settings.max_keys
        # Keys that were dropped and not looked up since: whoever comes with one guesses nothing.
        self._once_known: dict[bytes, None] = {}
        self._unknown: TTLCache[bytes, None] = TTLCache(_UNKNOWN_HELD, settings.unknown_ttl_seconds, timer=clock)
        self._scope = ScopeTable(pool, settings.lookup_seconds)
        self._sites = Sites(settings, self._scope, self.breaker, self._lifetimes, self._lost_site, clock)
        self._recalls = Recalls()
        self._lookups = Lookups(
            self._scope, self.breaker, self._recalls, budget, self._land, seconds=settings.lookup_seconds, clock=clock
        )
        self._turns = Turns(settings.lookups_at_once, per_party=max(1, settings.lookups_at_once // 2))
        self._refreshes = Refreshes(self._held, self._lifetimes, self._lookups, self.breaker, settings, clock=clock)

    def __len__(self) -> int:
        """Return how many grants are held."""
        return len(self._held)

    @property
    def cut_off(self) -> bool:
        """Whether stale grants or sites are used."""
        return self._sites.cut_off

    @property
    def newest_position(self) -> int:
        """How far the feed had come in the newest answer since everything was dropped."""
        return self._scope.newest_position

    # What a request asks.

    def peek(self, digest: bytes) -> Grant | Unknown | None:
        """Return the answer that may be used at once, or None: `fetch` it. Hot."""
        held = self._held.get(digest)
        if held is None:
            if digest in self._unknown:
                self._on_lookup("unknown_hit")
                return UNKNOWN
            return None
        now = self._clock()
        if now < held.soft_until:
            self._on_lookup("hit")
            return held.value
        self._lifetimes.renew(held)
        if now < held.fresh_until:
            self._on_lookup("hit")
        elif self.breaker.cut_off and now < held.stale_until:
            self._on_lookup("stale")
        else:
            return None
        if now >= held.soft_until:
            self._refreshes.soon(digest, held)
        return held.value

    def fresh(self, digest: bytes) -> float:
        """Return until when (the clock's seconds) what `peek` answered may be remembered outside; past: it may not.

        From then on uses must come here, to have it refreshed. `generation` must be checked besides.
        """
        held = self._held.get(digest)
        return -math.inf if held is None else held.soft_until

    async def fetch(self, digest: bytes, address: str = "") -> Grant | Unknown:
        """Return what the database says, as one lookup for all who ask at once, or a stale grant if it says nothing.

        `address` is the client's: unknown keys count against its budget (TooManyUnknownKeys), and its lookups take
        turns with those of others. Raises ScopeUnavailable after `lookup_seconds` at the latest.
        """
        answer = self.peek(digest)  # it may have landed since the caller peeked
        if answer is not None:
            return answer
        flight = self._lookups.under_way(digest)
        leads = flight is None
        if flight is None:
            party: Party = digest
            guesser = None
            if digest not in self._held and digest not in self._once_known:
                party = guesser = network(address)
                if self._budget is not None and not self._budget.allow(guesser):
                    raise TooManyUnknownKeys
            flight = self._lookups.depart(digest, self._turns, party, guesser)
            if flight is None:
                return self._make_do(digest)
        # The shield lets a caller leave without taking the lookup away from the others.
        outcome = await asyncio.shield(flight.outcome)
        if outcome is Lost.UNAVAILABLE:
            return self._make_do(digest)
        if outcome is Lost.OVER_BUDGET:
            if flight.guesser == network(address):
                raise TooManyUnknownKeys
            return await self.fetch(digest, address)  # somebody else's budget is no concern of ours
        self._on_lookup("miss" if leads else "hit")
        return outcome

    async def confirm(self, digest: bytes) -> Grant | Unknown:
        """Return what holds now, for somebody who has something open by it: asked for anew unless it is fresh.

        That takes no stranger's turn, and nobody is charged. Raises ScopeUnavailable: a stale grant confirms nothing.
        """
        while True:
            held = self._held.get(digest)
            if held is not None and self._clock() < self.confirmed_until(digest, held.value):
                return held.value
            if digest in self._unknown:
                return UNKNOWN
            flight = self._lookups.under_way(digest) or self._lookups.depart(
                digest, self._refreshes.turns, digest, None
            )
            outcome = Lost.UNAVAILABLE if flight is None else await asyncio.shield(flight.outcome)
            if outcome is Lost.UNAVAILABLE:
                raise ScopeUnavailable
            if outcome is not Lost.OVER_BUDGET:  # that is the stranger's who asked first
                return outcome

    def confirmed_until(self, digest: bytes, grant: Grant, sites: Iterable[str] = ()) -> float:
        """Return until when (the clock's seconds) this grant, and that it covers these sites, needs not be asked for.

        Past: it has to be, or something else is known by now.
        """
        held = self._held.get(digest)
        if held is None or held.value != grant:
            return -math.inf
        self._lifetimes.renew(held)
        if not grant.all_sites:
            return held.fresh_until
        return min([held.fresh_until, *(self._sites.confirmed_until(site, grant.workspace) for site in sites)])

    def peek_sites(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None] | None:
        """Return the owner of each named site (None: no such site), or None where one of them must be fetched. Hot."""
        return self._sites.peek(sites)

    async def fetch_sites(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None]:
        """Return the owner of each named site (None: no such site). Raises ScopeUnavailable."""
        owners = await self._sites.fetch(sites)
        if owners is None:
            raise ScopeUnavailable
        return owners

    def watched(self) -> AbstractContextManager[int]:
        """Lend what `recalled` wants to hear, to somebody who decides on answers and waits between the first and that.

        Also between an answer's arrival and the moment at which who waits for it goes on, a revoke may come.
        """
        return self._recalls.watched()

    def recalled(self, began: int, digest: bytes, grant: Grant, sites: Iterable[str]) -> bool:
        """Return whether a grant, or whose `sites` are, was recalled since `began`: then it must be asked for anew."""
        held = self._held.get(digest)
        position = held.position if held is not None and held.value is grant else None
        return self._recalls.touches(began, (digest, grant.user_id, EVERYTHING), position) or self._recalls.touches(
            began, map(_site_name, sites), None
        )

    # What the change feed says. `position` is the feed's: an answer that was read there or later stays.

    def drop(self, digest: bytes, position: int | None = None) -> Grant | None:
        """Forget what a key may do, or that it is unknown, and what a lookup on its way will say of it.

        Returns the grant that was held.
        """
        self._recalls.recall(digest, position)
        self._unknown.pop(digest, None)
        self.generation += 1  # whatever is held: what is remembered outside may be older
        held = self._held.get(digest)
        if held is None or (position is not None and held.position >= position):
            return None
        self._once_knew((digest,))
        return self._held.pop(digest).value

    def drop_user(self, user_id: str, position: int | None = None) -> dict[bytes, Grant]:
        """Forget what all keys of an API user may do; returns the grants that were held, by digest."""
        self._recalls.recall(user_id, position)
        self.generation += 1
        dropped = {}
        for digest in self._held.digests_of(user_id):
            if position is None or self._held[digest].position < position:
                dropped[digest] = self._held.pop(digest).value
        self._once_knew(dropped)
        return dropped

    def drop_site(self, site: str) -> None:
        """Forget who owns a site, by both its names (site_ids.py)."""
        for name in names_of(site):
            self._recalls.recall(_site_name(name))
        self._sites.drop(site)
        self.generation += 1

    def drop_all(self) -> int:
        """Forget everything; returns how many grants were held."""
        dropped = len(self._held)
        self._once_knew(self._held)
        self._recalls.recall(EVERYTHING)
        self._held.clear()
        self._unknown.clear()
        self._sites.drop_all()
        self._scope.newest_position = 0
        self.generation += 1
        return dropped

    def feed_at(self, position: int) -> None:
        """Note how far the feed is followed: an answer from before that does not land; 0: nobody can tell."""
        self._scope.feed_position = position

    def feed_left(self) -> None:
        """Note that the feed cannot be read for now. What it has said, it has."""
        self.breaker.feed_away = self._sites.breaker.feed_away = True

    def feed_back(self, age_seconds: float) -> None:
        """Note that the feed goes on where it was left, and that all it had to say was said so long ago.

        So whatever is still held held then: it is as good as asked for, and need not be.
        """
        self.answered()
        self.breaker.feed_away = self._sites.breaker.feed_away = False
        self._lifetimes.vouch(self._clock() - age_seconds)

    def answered(self) -> None:
        """Note that the database answers: what is not held need not wait for a probe."""
        self.breaker.worked()
        self._sites.breaker.worked()

    def try_again(self) -> None:
        """Find out whether lookups are answered again, where nobody has come since who would have found out.

        Else the first to come would, and whoever comes beside him would be refused.
        """
        if self.breaker.down and self._lookups.under_way(_NOBODYS) is None:
            self._lookups.depart(_NOBODYS, self._refreshes.turns, _NOBODYS, None)
        self._sites.try_again()

    async def close(self) -> None:
        """Give up all lookups."""
        await self._refreshes.close()
        await self._lookups.close()
        await self._sites.close()

    # What comes of it.

    def _land(self, digest: bytes, found: Found | None, asked_at: float) -> Grant | Unknown:
        held = self._held.get(digest)
        before = None if held is None else held.value
        self._once_known.pop(digest, None)
        if found is None:
            self._unknown[digest] = None
            if before is not None:
                del self._held[digest]
                self._changed()
                self._on_lost(Changes(keys={digest: 0}))
            return UNKNOWN
        self._unknown.pop(digest, None)
        # An equal grant stays the same object, so that what was made of it outside stays good.
        grant = before if before is not None and before == found.grant else found.grant
        self._held[digest] = self._lifetimes.hold(grant, found.position, asked_at)
        if before is not None and before is not grant:
            self._changed()
            if narrowed(before, grant):
                self._on_lost(Changes(keys={digest: found.position}))
        return grant

    def _lost_site(self, site: str) -> None:
        self._changed()
        self._on_lost(Changes(sites={site}))

    def _once_knew(self, digests: Iterable[bytes]) -> None:
        """Note that these were known, as many as there can be grants."""
        self._once_known.update(dict.fromkeys(digests))
        for digest in list(islice(self._once_known, max(0, len(self._once_known) - self._max_keys))):
            del self._once_known[digest]

    def _changed(self) -> None:
        self.generation += 1

    def _make_do(self, digest: bytes) -> Grant:
        """Return the stale grant, the database having said nothing."""
        held = self._held.get(digest)
        if held is not None and self._clock() < held.stale_until:
            self._on_lookup("stale")
            return held.value
        self._on_lookup("error")
        raise ScopeUnavailable


def narrowed(before: Grant, after: Grant) -> bool:
    """Return whether some request that `before` covers is not covered by `after`."""
    if (after.user_id, after.workspace) != (before.user_id, before.workspace):
        return True
    if (after.expires_at or math.inf) < (before.expires_at or math.inf):
        return True
    if after.all_sites:
        return False
    return before.all_sites or not before.sites <= after.sites


def connections_used(settings: GrantSettings) -> int:
    """Return how many database connections all lookups can hold at once: keys, their refreshes, sites."""
    return settings.lookups_at_once + refreshes_at_once(settings) + 1


def _site_name(site: str) -> str:
    """Return the name under which a site is recalled; no API user's id looks like it."""
    return f"site {site}"
