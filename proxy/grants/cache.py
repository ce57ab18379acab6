"""The grant cache: looks up and caches the scope of keys, refreshes it while it is used, and invalidates it.

Keys are identified by their SHA-256 digests. The cache never sees a key itself.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager

from proxy.decision.grant import Grant, SiteOwner
from proxy.decision.site_ids import names_of
from proxy.grants.answers import UNKNOWN, Found, NoAnswer, Unknown
from proxy.grants.cached_keys import CachedKeys
from proxy.grants.changes import Changes
from proxy.grants.connections import Pool
from proxy.grants.database_status import DatabaseStatus
from proxy.grants.entries import Entry, Lifetimes, random_jitter
from proxy.grants.fair_queue import FairQueue, Party
from proxy.grants.feed_reads import FeedReads
from proxy.grants.invalidations import EVERYTHING, Invalidations
from proxy.grants.key_checks import MAX_WAITING, KeyChecks
from proxy.grants.key_filter import KeyFilter
from proxy.grants.over_budget import OverBudget
from proxy.grants.refresh_ahead import RefreshAhead, concurrent_refreshes
from proxy.grants.scope_table import ScopeTable
from proxy.grants.single_flight import SingleFlight
from proxy.grants.site_owners import SiteOwners
from proxy.grants.token_bucket import TokenBuckets, client_network
from proxy.grants.unknown_keys import UnknownKeys
from proxy.settings import GrantSettings

__all__ = ["UNKNOWN", "GrantCache", "ScopeUnavailable", "TooManyUnknownKeys", "Unknown", "connections_used"]

_NO_KEY = b""
"""A dummy digest. Looking it up shows whether the database answers."""

_CHECKS = _FILTER = _SITES = 1
"""How many queries run at a time: key checks for clients over their budget, loads of the filter, and site lookups."""


class ScopeUnavailable(Exception):  # noqa: N818 - names what happened
    """The database did not answer, and no cached answer may be used."""


class TooManyUnknownKeys(Exception):  # noqa: N818 - names what happened
    """The key was not looked up, because too many unknown keys of the client's network are waiting to be checked."""


def _ignore(lost: Changes) -> None:
    pass


class GrantCache:
    """Grants, keyed by digest: cached for `ttl_seconds`, refreshed in use, and used stale while the database is down.

    `on_lookup` is called with the result of each request's lookup: `hit`, `stale`, `miss` (the request waited for the
    database; requests that joined its lookup count as hits), `unknown_hit`, `filtered` and `checked` (the client
    was over its budget), `error`.
    `on_lost` is called when a lookup finds that a key is gone or covers less, or that a site is gone or has another
    owner. It must not raise.
    """

    def __init__(
        self,
        settings: GrantSettings,
        pool: Pool,
        *,
        on_lookup: Callable[[str], None],
        budget: TokenBuckets | None = None,
        on_lost: Callable[[Changes], None] = _ignore,
        database: DatabaseStatus | None = None,
        max_waiting_checks: int = MAX_WAITING,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random_jitter,
    ) -> None:
        self.max_keys = settings.max_keys
        """The maximum number of cached grants."""
        self.database = database or DatabaseStatus(clock)
        self._clock = clock
        self._on_lookup = on_lookup
        self._on_lost = on_lost
        self._budget = budget
        self._lifetimes = Lifetimes(settings, jitter)
        self._scope = ScopeTable(pool, settings.lookup_seconds)
        self._unknown = UnknownKeys(settings, self.database, clock)
        self._keys = CachedKeys(settings, self._lifetimes, self._unknown, on_lost=on_lost)
        self._entries = self._keys.grants
        self._sites = SiteOwners(settings, self._scope, self.database, self._lifetimes, self._lost_site, clock)
        self._invalidations = Invalidations()
        self._lookups = SingleFlight(
            self._scope,
            self.database.key_breaker,
            self._invalidations,
            budget,
            self._store,
            seconds=settings.lookup_seconds,
            clock=clock,
        )
        self._filter = KeyFilter(self._scope, self.database, clock)
        self.feed_reads = FeedReads()
        self._checks = KeyChecks(
            self._scope,
            self.database.key_breaker,
            self._invalidations,
            self._keys.store,
            max_waiting=max_waiting_checks,
            seconds=settings.lookup_seconds,
            clock=clock,
        )
        self._over_budget = OverBudget(self._filter, self.feed_reads, self._checks, on_lookup)
        self._queue = FairQueue(settings.lookups_at_once, per_party=max(1, settings.lookups_at_once // 2))
        self._refreshes = RefreshAhead(
            self._entries, self._lifetimes, self._lookups, self.database, settings, clock=clock
        )

    def __len__(self) -> int:
        """Return how many grants are cached."""
        return len(self._entries)

    @property
    def idle(self) -> bool:
        """Whether there are no lookups, refreshes and remembered invalidations."""
        return (
            self._lookups.idle
            and self._refreshes.idle
            and self._checks.idle
            and self._filter.idle
            and self._invalidations.idle
        )

    @property
    def filtered_keys(self) -> int:
        """How many keys the filter for clients over their budget contains, or 0 while it is not used."""
        return len(self._filter)

    @property
    def newest_position(self) -> int:
        """The feed position of the newest answer that was read since everything was last dropped."""
        return self._scope.newest_position

    # For requests.

    def peek(self, digest: bytes) -> Grant | Unknown | None:
        """Return the cached answer, or None if the caller must `fetch` it. Hot."""
        entry = self._entries.get(digest)
        if entry is None:
            if digest in self._unknown:
                self._on_lookup("unknown_hit")
                return UNKNOWN
            return None
        now = self._clock()
        if now < entry.refresh_at:
            self._on_lookup("hit")
            return entry.value
        self._lifetimes.extend(entry)  # the feed may have confirmed it since it was read
        if now < entry.fresh_until:
            self._on_lookup("hit")
        elif self.database.keys_cut_off and now < entry.stale_until:
            self._on_lookup("stale")
        else:
            return None
        if now >= entry.refresh_at:
            self._refreshes.schedule(digest, entry)
        return entry.value

    def entry(self, digest: bytes) -> Entry[Grant] | None:
        """Return the cache's entry for a key, if it has one.

        The caller may keep the entry, and use its grant while the entry is `live` and before its `refresh_at`. After
        that, the caller must `peek` again, which refreshes the entry.
        """
        return self._entries.get(digest)

    async def fetch(self, digest: bytes, address: str = "") -> Grant | Unknown:
        """Return the database's answer, or a stale grant if the database does not answer. Callers share lookups.

        `address` is the client's: new unknown keys count against its budget, and its lookups take turns with those of
        other clients. Over the budget, a new key is looked up only if it exists (over_budget.py). Raises
        TooManyUnknownKeys, and ScopeUnavailable after at most `lookup_seconds`, or three times as long over the budget.
        """
        answer = self.peek(digest)  # an answer may have arrived since the caller called `peek`
        if answer is not None:
            return answer
        # A key that was known before is a party of its own and is not charged. The party of any other key is the
        # client's network, which is charged for each key that it tries for the first time.
        party: Party = digest
        charged: str | None = None
        if self._lookups.in_flight(digest) is None and not self._keys.known_before(digest):
            party = network = client_network(address)
            # Each lookup in flight has reserved a token, so a flood causes at most as many as there are tokens.
            reserved = self._lookups.charged_in_flight(network)
            if self._budget is not None and not self._budget.allow(network, reserved):
                check = await self._over_budget.check(digest, network)
                if check is NoAnswer.OVER_BUDGET:
                    raise TooManyUnknownKeys
                if check is NoAnswer.UNAVAILABLE:
                    return self._stale(digest)
                if check is UNKNOWN:
                    return UNKNOWN
                party = digest
            elif not self._unknown.remembered(digest):
                charged = network
        lookup = self._lookups.in_flight(digest)
        started = lookup is None
        if lookup is None:
            lookup = self._lookups.start(digest, self._queue, party, charged)
            if lookup is None:  # the circuit breaker is open
                return self._stale(digest)
        # The shield keeps a caller that is canceled from canceling the lookup for the others.
        outcome = await asyncio.shield(lookup.outcome)
        if outcome is NoAnswer.UNAVAILABLE:
            return self._stale(digest)
        self._on_lookup("miss" if started else "hit")
        return outcome

    def peek_sites(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None] | None:
        """Return the owner of each site (None: no such site), or None if the caller must `fetch_sites`. Hot."""
        return self._sites.peek(sites)

    async def fetch_sites(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None]:
        """Return the owner of each site (None: no such site). Raises ScopeUnavailable."""
        owners = await self._sites.fetch(sites)
        if owners is None:
            raise ScopeUnavailable
        return owners

    def watched(self) -> AbstractContextManager[int]:
        """Yield a token for `invalidated()`, for callers that await between reading a grant and acting on it.

        A revoke may arrive while they wait, even between the arrival of an answer and the moment they resume.
        """
        return self._invalidations.watched()

    def invalidated(self, token: int, digest: bytes, grant: Grant, sites: Iterable[str]) -> bool:
        """Return whether the grant or the owner of one of the sites was invalidated since the token."""
        entry = self._entries.get(digest)
        # Compare identity: an equal grant may have been read at another position.
        position = entry.position if entry is not None and entry.value is grant else None
        return self._invalidations.affects(
            token, (digest, grant.user_id, EVERYTHING), position
        ) or self._invalidations.affects(token, map(_site_name, sites), None)

    # For open exchanges.

    async def confirm(self, digest: bytes) -> Grant | Unknown:
        """Return the current answer for a key with open exchanges. A stale grant does not count.

        Raises ScopeUnavailable. The lookup uses the queue for refreshes, and no client's budget is charged.
        """
        entry = self._entries.get(digest)
        if entry is not None and self._clock() < self.confirmed_until(digest, entry.value):
            return entry.value
        if digest in self._unknown:
            return UNKNOWN
        lookup = self._lookups.in_flight(digest) or self._lookups.start(digest, self._refreshes.queue, digest, None)
        outcome = NoAnswer.UNAVAILABLE if lookup is None else await asyncio.shield(lookup.outcome)
        if outcome is NoAnswer.UNAVAILABLE:
            raise ScopeUnavailable
        return outcome

    def confirmed_until(self, digest: bytes, grant: Grant, sites: Iterable[str] = ()) -> float:
        """Return the time (in the clock's seconds) until which this grant is known to be valid and to cover the sites.

        If it is in the past, the caller must `confirm` the grant.
        """
        entry = self._entries.get(digest)
        if entry is None or entry.value != grant:  # compare values: an equal answer confirms the grant
            return -math.inf
        self._lifetimes.extend(entry)
        if not grant.all_sites:
            return entry.fresh_until
        return min([entry.fresh_until, *(self._sites.confirmed_until(site, grant.workspace) for site in sites)])

    # For the change feed. Answers that were read at the feed's `position` or later are kept.

    def drop(self, digest: bytes, position: int | None = None) -> Grant | None:
        """Drop the answer for a key, including the answer of a lookup in flight. Returns the grant that was cached."""
        self._invalidations.add(digest, position)
        self._filter.add(digest)
        return self._keys.drop(digest, position)

    def drop_user(self, user_id: str, position: int | None = None) -> dict[bytes, Grant]:
        """Drop the grants of all keys of an API user, and return them by digest."""
        self._invalidations.add(user_id, position)
        return self._keys.drop_user(user_id, position)

    def drop_site(self, site: str) -> None:
        """Drop the owner of a site, under both its names (site_ids.py)."""
        for name in names_of(site):
            self._invalidations.add(_site_name(name))
        self._sites.drop(site)

    def drop_all(self) -> int:
        """Drop everything, and return how many grants were cached."""
        self._invalidations.add(EVERYTHING)
        dropped = self._keys.drop_all()
        self._filter.drop()
        self._sites.drop_all()
        self._scope.newest_position = 0  # earlier answers may belong to another feed
        return dropped

    def feed_at(self, position: int) -> None:
        """Record the position up to which the feed was read, or 0 if unknown. Older answers are discarded."""
        self._scope.feed_position = position

    def feed_down(self) -> None:
        """Record that the feed cannot be read for now. The changes that it has reported stay valid."""
        self.database.feed_up = False
        self.feed_reads.failed()

    def feed_resumed(self, age_seconds: float) -> None:
        """Record that the feed was resumed at its old position and read to its end `age_seconds` ago.

        Every entry that is still cached was valid at that time, and need not be looked up again.
        """
        self.database.answered()
        self.database.feed_up = True
        self._lifetimes.validate_all(self._clock() - age_seconds)

    def answered(self) -> None:
        """Record that the database answers, so that lookups need no probe."""
        self.database.answered()

    def probe(self) -> None:
        """Probe a database that was down, so that its recovery is detected without traffic.

        Otherwise the first request would be the probe, and requests that arrive together with it would be refused.
        """
        if self.database.key_breaker.is_open and self._lookups.in_flight(_NO_KEY) is None:
            self._lookups.start(_NO_KEY, self._refreshes.queue, _NO_KEY, None)
        self._sites.probe()

    async def close(self) -> None:
        """Cancel all lookups."""
        await self._refreshes.close()
        await self._lookups.close()
        self.feed_reads.failed()
        await self._checks.close()
        await self._filter.close()
        await self._sites.close()

    def _store(self, digest: bytes, found: Found | None, read_at: float) -> Grant | Unknown:
        if found is not None:
            self._filter.expect(digest, found.position)
        return self._keys.store(digest, found, read_at)

    def _stale(self, digest: bytes) -> Grant:
        """Return the stale grant of a key whose lookup failed. Raises ScopeUnavailable if there is none."""
        entry = self._entries.get(digest)
        if entry is not None and self._clock() < entry.stale_until:
            self._on_lookup("stale")
            return entry.value
        self._on_lookup("error")
        raise ScopeUnavailable

    def _lost_site(self, site: str) -> None:
        self._on_lost(Changes(sites={site}))


def connections_used(settings: GrantSettings) -> int:
    """Return how many database connections lookups can use at a time."""
    return settings.lookups_at_once + concurrent_refreshes(settings) + _CHECKS + _FILTER + _SITES


def _site_name(site: str) -> str:
    """Return the name under which a site is invalidated. It cannot equal the id of an API user."""
    return f"site {site}"
