"""Runs the decision with the grants and site owners that it needs, and records activity and usage.

The front door and `explain` both get their verdicts here, so they cannot disagree. Rechecks of open exchanges call the
same `decide` (proxy/relay/rechecks.py).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from proxy.decision.api_keys import digest
from proxy.decision.claim import Claim
from proxy.decision.decide import decide, refused_site
from proxy.decision.grant import Grant
from proxy.decision.named_sites import Candidate
from proxy.decision.route_table import RouteTable
from proxy.decision.routes import Route
from proxy.decision.verdict import Answers, Lookup, NoGrant, Verdict
from proxy.grants.cache import ScopeUnavailable, TooManyUnknownKeys, Unknown
from proxy.grants.remembered_grants import GrantSource, RememberedGrants
from proxy.http.headers import Head
from proxy.identity_lines import IdentityLines
from proxy.limits.user_limits import UserLimits
from proxy.observe.metrics import Metrics
from proxy.observe.shared_addresses import SharedAddresses
from proxy.refusals import INTERNAL_ERROR, MALFORMED_KEY, SITE_NOT_ALLOWED
from proxy.usage_counts import UsageCounts

_TRIES = 5
"""The maximum number of attempts for a request whose key or sites change during each lookup."""

_log = structlog.get_logger(__name__)


Passed = tuple[Route, Candidate, Grant, bytes]
"""The parts of a verdict on a plain request that passes: its route, the named sites, its grant and identity lines."""


@dataclass(slots=True)
class Pending:
    """A request whose verdict needs `lookup`.

    If that is the client's address, pass it to `Enforcement.judge_from`, otherwise to `judge_slowly`.
    """

    claim: Claim
    lookup: Lookup
    began: float
    """When the decision began (seconds of `time.perf_counter`)."""


class Enforcement:
    """Returns the verdict on a request head: immediately if everything needed is cached, otherwise after lookups."""

    def __init__(
        self,
        table: RouteTable,
        grants: GrantSource,
        metrics: Metrics,
        *,
        on_use: Callable[[str], None],
        usage: UsageCounts | None = None,
        accept_foreign: bool,
        limits: UserLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`on_use` is called with the `Grant.subject` of each request with a known key, passed or refused, and again
        while its exchange is open. `usage` counts the verdicts on the requests of each API user.

        With `accept_foreign`, keys in formats other than Sitelatch's own, such as imported ones, are looked up.
        `limits` takes a token from each request that passes everything else; without it, no API user is limited.
        `clock` is the clock of `grants`; keys expire by `wall_clock`, in seconds since the epoch.
        """
        self.table = table
        self.usage = UsageCounts() if usage is None else usage
        self._grants = grants
        self._on_use = on_use
        self._metrics = metrics
        self._limits = limits
        self._wall_clock = wall_clock
        self._known = RememberedGrants(grants, accept_foreign=accept_foreign, on_lookup=metrics.lookup, clock=clock)
        self._identity = IdentityLines()
        self._shared_addresses = SharedAddresses()

    def pass_plainly(self, route: Route, named: Candidate, key: bytes) -> Passed | None:
        """Return the verdict on a plain request, if it passes and everything needed is cached. Hot.

        This is a shortcut for `judge`. If it returns None, it has had no effect, and `judge` must decide. `route` and
        `named` are the result of `name_plainly`.
        """
        grant = self._known.peek(key)
        if grant is None:
            return None
        if not grant.unconditional and not grant.valid_at(self._wall_clock()):
            return None
        sites = named.sites
        if not grant.sites.issuperset(sites) and not (grant.all_sites and self._owns(grant.workspace, named)):
            return None
        if route.limits is not None and self._limits is not None and not self._limits.take_plainly(grant, route):
            return None
        self._metrics.lookup("hit")
        self._on_use(grant.subject)
        self.usage.users[grant.user_id].passed += 1
        return route, named, grant, self._identity.of(grant, sites)

    def _owns(self, workspace: str, named: Candidate) -> bool:
        """Return whether the cache knows that a workspace owns all named sites, and that these are their ids."""
        if named.every_site or named.others or named.others_every_site:
            return False
        owners = self._grants.peek_sites(named.sites)
        return owners is not None and all(
            owner is not None and owner.workspace == workspace and owner.id == site for site, owner in owners.items()
        )

    def judge(self, head: Head) -> Verdict | Pending:
        """Return the verdict, or what to pass to `judge_slowly` if it needs a lookup. Never raises. Hot."""
        began = time.perf_counter()
        try:
            claim = Claim(self.table, head)
            verdict = decide(claim, self._known, self._wall_clock())
            if not isinstance(verdict, Verdict):
                return Pending(claim, verdict, began)
            self._complete(verdict)
        except Exception:
            _log.exception("the decision failed; the request was refused")
            return Verdict(INTERNAL_ERROR)
        self._metrics.decision(time.perf_counter() - began)
        return verdict

    def judge_from(self, pending: Pending, address: str) -> Verdict | Pending:
        """Return the verdict on a request whose client has this address, as `judge` does. Never raises."""
        claim = pending.claim
        try:
            claim.address = address
            verdict = decide(claim, self._known, self._wall_clock())
            if not isinstance(verdict, Verdict):
                return Pending(claim, verdict, pending.began)
            self._complete(verdict)
        except Exception:
            _log.exception("the decision failed; the request was refused")
            return Verdict(INTERNAL_ERROR, claim)
        self._metrics.decision(time.perf_counter() - pending.began)
        return verdict

    async def judge_slowly(self, pending: Pending, address: str) -> Verdict:
        """Return the verdict after looking up what is not cached. Never raises.

        `address` is the client's: lookups of unknown keys count against its budget.
        """
        try:
            pending.claim.address = address
            verdict = await self._look_up_and_decide(pending.claim, address)
            self._complete(verdict)
            if verdict.grant is not None:
                self._shared_addresses.saw(address, verdict.grant.user_id)
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
                # `Revocation` only watches exchanges that have a verdict, so changes during the lookup are caught here.
                while not self._invalidated(token, key_digest, answers, claim):
                    verdict = decide(claim, answers, self._wall_clock())
                    if isinstance(verdict, Verdict):
                        return verdict
                    await self._look_up(verdict, claim, key_digest, address, answers)
        # The answers changed during every attempt. Respond with 503, as if the database were down. The lookups show
        # that the key's format was accepted, so it is not checked again.
        verdict = decide(claim, Answers(NoGrant.UNAVAILABLE, accept_foreign=True), self._wall_clock())
        assert isinstance(verdict, Verdict)  # noqa: S101 - for the type checker
        verdict.grant = answers.found if isinstance(answers.found, Grant) else None
        return verdict

    def _invalidated(self, token: int, key_digest: bytes, answers: Answers, claim: Claim) -> bool:
        """Return whether an answer has changed since `token` was issued, so that the lookup must be repeated."""
        grant = answers.found
        return isinstance(grant, Grant) and self._grants.invalidated(
            token, key_digest, grant, claim.sites if grant.all_sites else ()
        )

    async def _look_up(self, wanted: Lookup, claim: Claim, key_digest: bytes, address: str, answers: Answers) -> None:
        """Perform the lookup that the decision needs, and store the result in `answers`."""
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
        """Count the use of a known key, passed or refused. Apply limits, and add the identity lines. Hot."""
        grant, claim, refusal = verdict.grant, verdict.claim, verdict.refusal
        if grant is None:
            if refusal is MALFORMED_KEY:  # compare identity, because INVALID_KEY has the same code
                self._metrics.lookup("refused_format")
            elif refusal is not None and claim is not None and claim.key is not None and not claim.passes_by_itself:
                # Refused before its key was checked. Count the use if the key is cached, but look nothing up for it.
                grant = verdict.grant = self._known.cached_grant(claim.key)
        if grant is None:
            return
        self._on_use(grant.subject)
        if refusal is None and claim is not None and (grant.limits is not None or claim.route.limits is not None):
            verdict.refusal = refusal = None if self._limits is None else self._limits.take(grant, claim.route)
        usage = self.usage.users[grant.user_id]
        if refusal is None:
            usage.passed += 1
            verdict.identity = self._identity.of(grant, verdict.sites)
        else:
            usage.refuse(refusal.code)

    def refused_site(self, verdict: Verdict) -> str | None:
        """Return the name of the site for which a request was refused with `site_not_allowed`, or None."""
        claim, grant, refusal = verdict.claim, verdict.grant, verdict.refusal
        if refusal is None or refusal.code != SITE_NOT_ALLOWED.code or claim is None or grant is None:
            return None
        owners = self._known.owners(claim.sites) if grant.all_sites else {}
        return refused_site(claim, grant, owners) if isinstance(owners, Mapping) else None

    def still_used(self, grant: Grant) -> None:
        """Count the use of a key by an exchange that is still open."""
        self._on_use(grant.subject)
