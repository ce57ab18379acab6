"""Ends what is open when the right to it is lost: a stream outlives the request that was judged, a revoke cannot wait.

Exchanges are judged again when the feed, a look-up or the clock says that something about their key may have changed;
those that still have the right never notice.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from proxy.decision.decide import decide
from proxy.decision.grant import Grant, SiteOwner
from proxy.decision.routes import Claim
from proxy.decision.site_ids import names_of
from proxy.decision.verdict import Answers, Verdict
from proxy.grants.cache import Grants, ScopeUnavailable, Unknown
from proxy.grants.changes import Changes
from proxy.refusals import EXPIRED_KEY, INVALID_KEY, SCOPE_UNAVAILABLE, Refusal
from proxy.relay.exchange import Exchange
from proxy.settings import GrantSettings

_SWEEP_SECONDS = 0.5

_AT_ONCE = 8
"""Keys that are looked into at one time. How many of them ask the database, `Grants.confirm` says."""

_CAUSES: Mapping[Refusal, str] = {
    INVALID_KEY: "key_gone",
    EXPIRED_KEY: "key_expired",
    SCOPE_UNAVAILABLE: "unconfirmed",
}
_OTHER_CAUSE = "site_lost"

_log = structlog.get_logger(__name__)


class _Right(NamedTuple):
    """By what an open exchange passed."""

    claim: Claim
    grant: Grant


@dataclass(slots=True)
class _Doubt:
    """Exchanges of one key that are to be judged again, and until when (the clock's seconds) they may wait for it."""

    until: float
    heard: bool
    """Whether something is known to have changed. Else each sweep finds out anew that nobody vouches for it.

    What was heard of may wait for as long as a request would, from when it is first looked into: there may be a line.
    """
    exchanges: set[Exchange] = field(default_factory=set)


class Revokes:
    """Judges open exchanges again, and ends those that have lost their right.

    `read_at` says up to when (the clock's seconds) the feed is known. `on_ended` hears each end's cause: `key_gone`
    (deleted, disabled, rotated away), `key_expired`, `site_lost` (taken from the scope, or removed), `unconfirmed`
    (nobody knows: the database does not say what became of a change that was heard of, or was out for too long).
    """

    def __init__(
        self,
        exchanges: Callable[[], Iterable[Exchange]],
        grants: Grants,
        settings: GrantSettings,
        *,
        read_at: Callable[[], float],
        on_ended: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exchanges = exchanges
        self._grants = grants
        self._settings = settings
        self._read_at = read_at
        self._on_ended = on_ended
        self._clock = clock
        # By the key's digest: what waits to be looked into, and what is. And what the database did not settle, so that
        # the next sweep tries again.
        self._doubts: dict[bytes, _Doubt] = {}
        self._asking: set[bytes] = set()
        self._unsettled: list[_Doubt] = []
        self._settlers: set[asyncio.Task[None]] = set()

    def changed(self, changes: Changes) -> None:
        """Judge again what these changes touch."""
        sites = {name for site in changes.sites for name in names_of(site)}
        for exchange, right in self._open():
            if (
                changes.everything
                or right.grant.user_id in changes.users
                or (changes.keys and exchange.key_digest in changes.keys)
                or (sites and not sites.isdisjoint(right.claim.sites))
            ):
                self._doubt(exchange)
        self._start()

    async def run(self) -> None:
        """Sweep for ever: expired keys, what could not be settled, and all that no feed vouches for."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self.sweep()

    def sweep(self) -> None:
        """Do once what `run` does again and again."""
        now, settings = self._clock(), self._settings
        unsettled, self._unsettled = self._unsettled, []
        for doubt in unsettled:
            for exchange in doubt.exchanges:
                self._doubt(exchange, doubt.until)
        # While the feed is read, what it did not mention still holds, for however long it has been open.
        vouched_until = self._read_at() + settings.ttl_seconds
        wall = time.time()
        ask = self._grants.database.keys_worth_asking
        for exchange, right in self._open():
            if _expired(right.grant, wall):
                self._doubt(exchange)
            elif vouched_until < now and exchange.key_digest not in self._asking:
                asked_until = self._grants.confirmed_until(exchange.key_digest, right.grant, right.claim.sites)
                confirmed_until = max(vouched_until, asked_until)
                until = confirmed_until + settings.stale_seconds  # as stale grants are served
                if until <= now or (confirmed_until <= now and ask):
                    self._doubt(exchange, until, heard=False)
                    ask = not self._grants.database.keys.is_open  # one of them finds out whether it still is
        self._start()

    async def close(self) -> None:
        """Judge nothing any more."""
        for settler in self._settlers:
            settler.cancel()
        if self._settlers:
            await asyncio.wait(self._settlers)

    def _open(self) -> Iterator[tuple[Exchange, _Right]]:
        for exchange in self._exchanges():
            verdict = exchange.verdict
            if verdict is not None and verdict.refusal is None and verdict.grant is not None and not exchange.done:
                assert verdict.claim is not None  # noqa: S101 - what has a grant was read
                yield exchange, _Right(verdict.claim, verdict.grant)

    def _doubt(self, exchange: Exchange, until: float = math.inf, *, heard: bool = True) -> None:
        doubt = self._doubts.get(exchange.key_digest)
        if doubt is None:
            doubt = self._doubts[exchange.key_digest] = _Doubt(until, heard)
        doubt.until = min(doubt.until, until)
        doubt.heard |= heard
        doubt.exchanges.add(exchange)

    def _start(self) -> None:
        """Have what is in doubt looked into."""
        # One that has just ended takes nothing on any more, and is still listed.
        settling = sum(not settler.done() for settler in self._settlers)
        for _ in range(settling, min(_AT_ONCE, len(self._doubts))):
            settler = asyncio.get_running_loop().create_task(self._settle())
            self._settlers.add(settler)
            settler.add_done_callback(self._settlers.discard)

    async def _settle(self) -> None:
        while self._doubts:
            # The newest first: a revoke does not wait for thousands of others. What changes from here on is a doubt of
            # its own.
            key_digest, doubt = self._doubts.popitem()
            if doubt.heard:
                doubt.until = min(doubt.until, self._clock() + self._settings.lookup_seconds)
            self._asking.add(key_digest)
            try:
                grant = await self._grants.confirm(key_digest)
                # First what nothing more has to be asked for, so that it does not share the fate of the rest.
                for exchange in sorted(doubt.exchanges, key=lambda open_: self._owners(open_, grant) is None):
                    await self._judge(exchange, grant)
                    doubt.exchanges.discard(exchange)
            except ScopeUnavailable:
                self._end_expired(doubt)
                self._leave(doubt)
            except Exception:
                _log.exception("open exchanges could not be judged again; they are ended")
                for exchange in doubt.exchanges:
                    self._end(exchange, SCOPE_UNAVAILABLE)
            finally:
                self._asking.discard(key_digest)
            await asyncio.sleep(0)  # where nothing has to be asked, thousands are not settled in one go

    async def _judge(self, exchange: Exchange, grant: Grant | Unknown) -> None:
        verdict = exchange.verdict
        if exchange.done or verdict is None or verdict.claim is None:
            return
        if isinstance(grant, Unknown):
            self._end(exchange, INVALID_KEY)
            return
        claim = verdict.claim
        owners = self._owners(exchange, grant)
        if owners is None:
            owners = await self._grants.fetch_sites(claim.sites)
        judged = decide(claim, Answers(grant, owners), time.time())
        assert isinstance(judged, Verdict)  # noqa: S101 - everything that it needs is known
        if judged.refusal is None:
            verdict.grant = grant
        else:
            self._end(exchange, judged.refusal)

    def _owners(self, exchange: Exchange, grant: Grant | Unknown) -> Mapping[str, SiteOwner | None] | None:
        """Return whose the sites are as far as it matters, or None where that has to be asked."""
        claim = exchange.verdict.claim if exchange.verdict is not None else None
        if isinstance(grant, Unknown) or not grant.all_sites or claim is None or not claim.sites:
            return {}
        return self._grants.peek_sites(claim.sites)

    def _end_expired(self, doubt: _Doubt) -> None:
        """End what is over by what was last known of it, as a request is refused then: nobody says it was prolonged."""
        wall = time.time()
        for exchange in doubt.exchanges:
            verdict = exchange.verdict
            if verdict is not None and verdict.grant is not None and _expired(verdict.grant, wall):
                self._end(exchange, EXPIRED_KEY)

    def _leave(self, doubt: _Doubt) -> None:
        """Try again at the next sweep, while there is time."""
        if self._clock() >= doubt.until:
            for exchange in doubt.exchanges:
                self._end(exchange, SCOPE_UNAVAILABLE)
        elif doubt.heard:
            doubt.exchanges = {exchange for exchange in doubt.exchanges if not exchange.done}
            self._unsettled.append(doubt)

    def _end(self, exchange: Exchange, refusal: Refusal) -> None:
        if not exchange.done:
            exchange.revoke(refusal)
            self._on_ended(_CAUSES.get(refusal, _OTHER_CAUSE))


def _expired(grant: Grant, wall: float) -> bool:
    return grant.expires_at is not None and grant.expires_at <= wall
