"""Ends open exchanges whose key was revoked, so that a long stream does not outlive the right to it.

Exchanges are judged again when the change feed, a lookup or the clock indicates that something about their key may have
changed. A recheck does not disturb exchanges that may continue.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from proxy.decision.claim import Claim
from proxy.decision.grant import Grant
from proxy.decision.site_ids import names_of
from proxy.grants.cache import GrantCache
from proxy.grants.changes import Changes
from proxy.relay.rechecks import OpenExchange, Rechecks, has_expired
from proxy.settings import GrantSettings

_SWEEP_SECONDS = 0.5


class _Passed(NamedTuple):
    """The claim of an open exchange, and the grant with which it passed."""

    claim: Claim
    grant: Grant


class Revocation:
    """Decides which open exchanges are judged again, and when."""

    def __init__(
        self,
        exchanges: Callable[[], Iterable[OpenExchange]],
        grants: GrantCache,
        settings: GrantSettings,
        *,
        read_at: Callable[[], float],
        on_ended: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`read_at` returns the time up to which the change feed has been read, in seconds of `clock`.

        `on_ended` is called with the cause of each end: `key_gone` (the key was deleted or replaced), `key_disabled`,
        `key_expired`, `site_lost` (the site was removed, or removed from the scope), `method_lost` and `network_lost`
        (the key was limited to others), or `unconfirmed` (the database did not answer in time after a change, or was
        down for too long).
        """
        self._exchanges = exchanges
        self._grants = grants
        self._settings = settings
        self._read_at = read_at
        self._clock = clock
        self._wall_clock = wall_clock
        self.rechecks = Rechecks(grants, settings, on_ended=on_ended, clock=clock, wall_clock=wall_clock)

    def changed(self, changes: Changes) -> None:
        """Judge again the exchanges that these changes affect."""
        sites = {name for site in changes.sites for name in names_of(site)}
        for exchange, passed in self._open():
            if (
                changes.everything
                or passed.grant.user_id in changes.users
                or (changes.keys and exchange.key_digest in changes.keys)
                or (sites and not sites.isdisjoint(passed.claim.sites))
            ):
                self.rechecks.add(exchange)
        self.rechecks.start()

    async def run(self) -> None:
        """Sweep until canceled."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self.sweep()

    def sweep(self) -> None:
        """Recheck expired keys, keys for which the database did not answer, and keys that the feed cannot confirm."""
        now, settings, database = self._clock(), self._settings, self._grants.database
        rechecks = self.rechecks
        rechecks.add_undecided()
        # Until this time, everything that the feed did not report is unchanged.
        confirmed_by_feed = self._read_at() + settings.ttl_seconds
        wall = self._wall_clock()
        may_ask = database.keys_worth_asking
        for exchange, passed in self._open():
            if has_expired(passed.grant, wall):
                rechecks.add(exchange)
            elif confirmed_by_feed < now and exchange.key_digest not in rechecks.in_progress:
                confirmed_until = max(
                    confirmed_by_feed,
                    self._grants.confirmed_until(exchange.key_digest, passed.grant, passed.claim.sites),
                )
                deadline = confirmed_until + settings.stale_seconds  # as for cached grants in an outage
                if deadline <= now or (confirmed_until <= now and may_ask):
                    rechecks.add(exchange, deadline, changed=False)
                    may_ask = not database.key_breaker.is_open  # while it is open, one recheck probes the database
        rechecks.start()

    async def close(self) -> None:
        """Stop judging."""
        await self.rechecks.close()

    def _open(self) -> Iterator[tuple[OpenExchange, _Passed]]:
        for exchange in self._exchanges():
            verdict = exchange.verdict
            if verdict is not None and verdict.refusal is None and verdict.grant is not None and not exchange.done:
                assert verdict.claim is not None  # noqa: S101 - a verdict with a grant has a claim
                if not verdict.claim.route.in_shadow_mode:
                    yield exchange, _Passed(verdict.claim, verdict.grant)
