"""The decision together with what it needs: grants, site owners, budgets, and activity.

Every door and `explain` get their verdicts here, so that no two of them can differ.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from proxy.decision.api_keys import digest, well_formed
from proxy.decision.claim import Claim
from proxy.decision.decide import decide
from proxy.decision.grant import Grant, SiteOwner
from proxy.decision.route_table import RouteTable
from proxy.decision.verdict import Answers, Lookup, NoGrant, Owners, Verdict
from proxy.grants.cache import ScopeUnavailable, TooManyUnknownKeys, Unknown
from proxy.http.headers import Head
from proxy.identity_lines import IdentityLines
from proxy.observe.metrics import Metrics
from proxy.refusals import INTERNAL_ERROR, MALFORMED_KEY

_REMEMBERED = 10_000
"""Keys whose grants are remembered in front of the cache."""

_TRIES = 5
"""How often a key is looked up that changes during each lookup."""

_log = structlog.get_logger(__name__)


class GrantSource(Protocol):
    """Where grants and site owners come from; `proxy.grants.cache.Grants` says what each method does."""

    @property
    def generation(self) -> int: ...
    def peek(self, digest: bytes) -> Grant | Unknown | None: ...
    def reusable_until(self, digest: bytes) -> float: ...
    def peek_sites(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None] | None: ...
    async def fetch(self, digest: bytes, address: str = "") -> Grant | Unknown: ...
    async def fetch_sites(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None]: ...
    def watched(self) -> AbstractContextManager[int]: ...
    def invalidated(self, token: int, digest: bytes, grant: Grant, sites: Iterable[str]) -> bool: ...


@dataclass(slots=True)
class Pending:
    """A request whose verdict needs a lookup: pass it to `Enforcement.judge_slowly`."""

    claim: Claim
    began: float
    """When the decision began (seconds of `time.perf_counter`)."""


class RememberedGrants:
    """What is known without waiting (`verdict.Known`): grants by key, remembered in front of the cache.

    That saves hashing the key: 5 µs a request. A grant is remembered for as long as the cache would use it and nothing
    is known to have changed.
    """

    def __init__(
        self,
        grants: GrantSource,
        *,
        accept_foreign: bool,
        on_lookup: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self.accept_foreign = accept_foreign
        self._grants = grants
        self._on_lookup = on_lookup
        self._clock = clock
        self._generation = grants.generation
        self._remembered: dict[bytes, tuple[Grant, float]] = {}

    def __len__(self) -> int:
        """Return how many grants are remembered."""
        return len(self._remembered)

    def remembered(self, key: bytes) -> Grant | None:
        """Return the grant remembered for a key, if it still holds. Hot."""
        if self._generation != self._grants.generation:
            self._generation = self._grants.generation
            self._remembered.clear()
            return None
        known = self._remembered.get(key)
        if known is None or known[1] <= self._clock():
            return None
        self._on_lookup("hit")
        return known[0]

    def grant(self, key: bytes) -> Grant | NoGrant:
        """Return the cached grant of a key, and remember it."""
        key_digest = digest(key)
        found = self._grants.peek(key_digest)
        if found is None:
            return NoGrant.NOT_LOOKED_UP
        if isinstance(found, Unknown):
            return NoGrant.UNKNOWN
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = (found, self._grants.reusable_until(key_digest))
        return found

    def owners(self, sites: tuple[str, ...]) -> Owners | Literal[NoGrant.UNAVAILABLE] | None:
        """Return the cached owners of sites, or None if one of them is not cached."""
        return self._grants.peek_sites(sites)

    def user_of(self, key: bytes) -> Grant | None:
        """Return the grant of a key for whose request no lookup is worth while, if it is cached."""
        grant = self.remembered(key)
        if grant is not None:
            return grant
        if not self.accept_foreign and not well_formed(key):
            self._on_lookup("refused_format")
            return None
        found = self.grant(key)
        return found if isinstance(found, Grant) else None


class Enforcement:
    """Takes heads and returns verdicts: at once if everything needed is cached, otherwise after lookups."""

    def __init__(
        self,
        table: RouteTable,
        grants: GrantSource,
        metrics: Metrics,
        *,
        on_use: Callable[[str], None],
        accept_foreign: bool,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`on_use` is called with the API user of each request with a known key, passed or refused.

        `accept_foreign` looks up keys in other formats than Sitelatch's own, such as imported ones. `clock` is the
        clock of `grants`; keys expire by `wall_clock`, in seconds since the epoch.
        """
        self.table = table
        self._grants = grants
        self._on_use = on_use
        self._metrics = metrics
        self._wall_clock = wall_clock
        self._known = RememberedGrants(grants, accept_foreign=accept_foreign, on_lookup=metrics.lookup, clock=clock)
        self._identity = IdentityLines()

    def judge(self, head: Head) -> Verdict | Pending:
        """Return the verdict, or what to pass to `judge_slowly` if it needs a lookup. Never raises. Hot."""
        began = time.perf_counter()
        try:
            claim = Claim(self.table, head)
            verdict = decide(claim, self._known, self._wall_clock())
            if not isinstance(verdict, Verdict):
                return Pending(claim, began)
            self._complete(verdict)
        except Exception:
            _log.exception("the decision failed; the request was refused")
            return Verdict(INTERNAL_ERROR)
        self._metrics.decision(time.perf_counter() - began)
        return verdict

    async def judge_slowly(self, pending: Pending, address: str) -> Verdict:
        """Return the verdict after looking up what is not cached. Never raises.

        `address` is the client's: lookups of unknown keys count against its budget.
        """
        try:
            verdict = await self._look_up_and_decide(pending.claim, address)
            self._complete(verdict)
        except Exception:
            _log.exception("the decision failed; the request was refused")
            return Verdict(INTERNAL_ERROR, pending.claim)
        self._metrics.decision(time.perf_counter() - pending.began)
        return verdict

    async def _look_up_and_decide(self, claim: Claim, address: str) -> Verdict:
        key_digest = digest(claim.key or b"")
        answers = Answers()
        for _ in range(_TRIES):
            answers = Answers(accept_foreign=self._known.accept_foreign)
            with self._grants.watched() as token:
                # A change that arrives during a lookup counts: whatever ends open exchanges does not see this one yet.
                while not self._invalidated(token, key_digest, answers, claim):
                    verdict = decide(claim, answers, self._wall_clock())
                    if isinstance(verdict, Verdict):
                        return verdict
                    await self._look_up(verdict, claim, key_digest, address, answers)
        verdict = decide(claim, Answers(NoGrant.UNAVAILABLE, accept_foreign=True), self._wall_clock())
        assert isinstance(verdict, Verdict)  # noqa: S101 - for the type checker
        verdict.grant = answers.found if isinstance(answers.found, Grant) else None
        return verdict

    def _invalidated(self, token: int, key_digest: bytes, answers: Answers, claim: Claim) -> bool:
        """Return whether what was looked up has changed since, so that it has to be looked up again."""
        grant = answers.found
        return isinstance(grant, Grant) and self._grants.invalidated(
            token, key_digest, grant, claim.sites if grant.all_sites else ()
        )

    async def _look_up(self, wanted: Lookup, claim: Claim, key_digest: bytes, address: str, answers: Answers) -> None:
        """Look up what the decision wants, into `answers`."""
        if wanted is Lookup.SITE_OWNERS:
            try:
                answers.found_owners = await self._grants.fetch_sites(claim.sites)
            except ScopeUnavailable:
                answers.found_owners = NoGrant.UNAVAILABLE
            return
        try:
            found = await self._grants.fetch(key_digest, address)
        except TooManyUnknownKeys:
            answers.found = NoGrant.OVER_BUDGET
        except ScopeUnavailable:
            answers.found = NoGrant.UNAVAILABLE
        else:
            answers.found = NoGrant.UNKNOWN if isinstance(found, Unknown) else found

    def _complete(self, verdict: Verdict) -> None:
        """Count the use of a known key, passed or refused, and add the identity lines. Hot."""
        grant, claim, refusal = verdict.grant, verdict.claim, verdict.refusal
        if grant is not None:
            self._on_use(grant.user_id)
            if refusal is None:
                verdict.identity = self._identity.of(grant, verdict.sites)
        elif refusal is MALFORMED_KEY:
            self._metrics.lookup("refused_format")
        elif refusal is not None and claim is not None and claim.key is not None and not claim.accepted:
            # Refused before its key mattered: it counts if it is known, but it is not looked up for that.
            verdict.grant = self._known.user_of(claim.key)
            if verdict.grant is not None:
                self._on_use(verdict.grant.user_id)

    def still_used(self, user_id: str) -> None:
        """Count the use of a key by an exchange that is still open."""
        self._on_use(user_id)
