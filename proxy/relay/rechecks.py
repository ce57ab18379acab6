"""Judges open exchanges again, key by key, and ends those whose key no longer covers the request."""

import asyncio
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from proxy.decision.decide import decide
from proxy.decision.grant import Grant, SiteOwner
from proxy.decision.verdict import Answers, Verdict
from proxy.grants.cache import GrantCache, ScopeUnavailable, Unknown
from proxy.refusals import (
    DISABLED_KEY,
    EXPIRED_KEY,
    FORM_BODY_NOT_READ,
    INVALID_KEY,
    METHOD_NOT_GRANTED,
    NETWORK_NOT_ALLOWED,
    SCOPE_UNAVAILABLE,
    Refusal,
)
from proxy.settings import GrantSettings

_WORKERS = 8
"""The maximum number of keys to recheck at a time. `GrantCache.confirm` limits how many of them query the database."""

_CAUSES: Mapping[Refusal, str] = {
    INVALID_KEY: "key_gone",
    DISABLED_KEY: "key_disabled",
    EXPIRED_KEY: "key_expired",
    NETWORK_NOT_ALLOWED: "network_lost",
    METHOD_NOT_GRANTED: "method_lost",
    FORM_BODY_NOT_READ: "method_lost",
    SCOPE_UNAVAILABLE: "unconfirmed",
}
_OTHER_CAUSE = "site_lost"

_log = structlog.get_logger(__name__)


class OpenExchange(Protocol):
    """An exchange that passed and may still be open."""

    verdict: Verdict | None

    @property
    def done(self) -> bool:
        """Whether it has ended."""

    @property
    def key_digest(self) -> bytes:
        """The digest of its key."""

    @property
    def client_address(self) -> str:
        """The address of its client."""

    def revoke(self, refusal: Refusal) -> None:
        """End it."""


@dataclass(slots=True)
class Recheck:
    """The exchanges of one key that are waiting to be judged again."""

    deadline: float
    """When to end the exchanges unless they are confirmed, in seconds of the clock."""
    changed: bool
    """Whether something about the key is known to have changed.

    If so, the exchanges may wait for a lookup as long as a request would. The time counts from the first attempt,
    because the recheck may be queued first. If not, each sweep decides again whether they need a recheck.
    """
    exchanges: set[OpenExchange] = field(default_factory=set)


class Rechecks:
    """The queue of rechecks and the tasks that work on it. `Revocation` decides what is rechecked."""

    def __init__(
        self,
        grants: GrantCache,
        settings: GrantSettings,
        *,
        on_ended: Callable[[str], None],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._grants = grants
        self._settings = settings
        self._on_ended = on_ended
        self._clock = clock
        self._wall_clock = wall_clock
        self._queue: dict[bytes, Recheck] = {}
        """The waiting rechecks, keyed by the key's digest."""
        self._in_progress: set[bytes] = set()
        self._undecided: list[Recheck] = []
        """Rechecks for which the database did not answer."""
        self._workers: set[asyncio.Task[None]] = set()

    @property
    def queued(self) -> Collection[bytes]:
        """The digests of the keys that wait for a recheck."""
        return self._queue.keys()

    @property
    def in_progress(self) -> Collection[bytes]:
        """The digests of the keys that are being rechecked."""
        return self._in_progress

    @property
    def workers(self) -> int:
        """How many tasks are working."""
        return len(self._workers)

    def add(self, exchange: OpenExchange, deadline: float = math.inf, *, changed: bool = True) -> None:
        """Queue an exchange. The caller must call `start` afterwards."""
        recheck = self._queue.get(exchange.key_digest)
        if recheck is None:
            recheck = self._queue[exchange.key_digest] = Recheck(deadline, changed)
        recheck.deadline = min(recheck.deadline, deadline)
        recheck.changed |= changed
        recheck.exchanges.add(exchange)

    def add_undecided(self) -> None:
        """Queue again the rechecks for which the database did not answer."""
        undecided, self._undecided = self._undecided, []
        for recheck in undecided:
            for exchange in recheck.exchanges:
                self.add(exchange, recheck.deadline)

    def start(self) -> None:
        """Start tasks for the queued rechecks."""
        # A task that has just ended is still listed, but takes nothing more from the queue.
        working = sum(not worker.done() for worker in self._workers)
        for _ in range(working, min(_WORKERS, len(self._queue))):
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def close(self) -> None:
        """Stop, without ending any exchange."""
        for worker in self._workers:
            worker.cancel()
        if self._workers:
            await asyncio.wait(self._workers)

    async def _work(self) -> None:
        while self._queue:
            # Newest first, so that a revocation does not wait for thousands of other rechecks. Changes from here on are
            # queued as new rechecks.
            key_digest, recheck = self._queue.popitem()
            if recheck.changed:
                recheck.deadline = min(recheck.deadline, self._clock() + self._settings.lookup_seconds)
            self._in_progress.add(key_digest)
            try:
                grant = await self._grants.confirm(key_digest)
                # Exchanges that need no further lookup come first, so that a failing lookup does not end them.
                for exchange in sorted(recheck.exchanges, key=lambda open_: self._owners(open_, grant) is None):
                    await self._judge(exchange, grant)
                    recheck.exchanges.discard(exchange)
            except ScopeUnavailable:
                self._end_expired(recheck)
                self._postpone(recheck)
            except Exception:
                _log.exception("rechecking open exchanges failed; they were ended")
                for exchange in recheck.exchanges:
                    self._end(exchange, SCOPE_UNAVAILABLE)
            finally:
                self._in_progress.discard(key_digest)
            await asyncio.sleep(0)  # without it, thousands of cached keys would be rechecked in one go

    async def _judge(self, exchange: OpenExchange, grant: Grant | Unknown) -> None:
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
        if grant.networks is not None and claim.address is None:
            claim.address = exchange.client_address
        judged = decide(claim, Answers(grant, owners), self._wall_clock())
        assert isinstance(judged, Verdict)  # noqa: S101 - everything that the decision needs is in Answers
        if judged.refusal is None:
            verdict.grant = grant
        else:
            self._end(exchange, judged.refusal)

    def _owners(self, exchange: OpenExchange, grant: Grant | Unknown) -> Mapping[str, SiteOwner | None] | None:
        """Return the owners of the sites if the decision needs them, or None if a lookup is needed."""
        claim = exchange.verdict.claim if exchange.verdict is not None else None
        if isinstance(grant, Unknown) or not grant.all_sites or claim is None or not claim.sites:
            return {}
        return self._grants.peek_sites(claim.sites)

    def _end_expired(self, recheck: Recheck) -> None:
        """End exchanges whose key has expired according to the last lookup. New requests are refused then too."""
        wall = self._wall_clock()
        for exchange in recheck.exchanges:
            verdict = exchange.verdict
            if verdict is not None and verdict.grant is not None and has_expired(verdict.grant, wall):
                self._end(exchange, EXPIRED_KEY)

    def _postpone(self, recheck: Recheck) -> None:
        """Try again at the next sweep, unless the deadline has passed."""
        if self._clock() >= recheck.deadline:
            for exchange in recheck.exchanges:
                self._end(exchange, SCOPE_UNAVAILABLE)
        elif recheck.changed:
            recheck.exchanges = {exchange for exchange in recheck.exchanges if not exchange.done}
            self._undecided.append(recheck)

    def _end(self, exchange: OpenExchange, refusal: Refusal) -> None:
        if not exchange.done:
            exchange.revoke(refusal)
            self._on_ended(_CAUSES.get(refusal, _OTHER_CAUSE))


def has_expired(grant: Grant, wall: float) -> bool:
    """Return whether a key has expired. `wall` is the time in seconds since the epoch."""
    return grant.expires_at is not None and grant.expires_at <= wall
