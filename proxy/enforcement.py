"""The decision joined with what it needs to know: grants, budgets, activity. One for both doors."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from proxy.activity import Activity
from proxy.budget import LookupBudget
from proxy.credentials import digest, well_formed
from proxy.decision import Claim, Grant, decide
from proxy.grants import UNKNOWN, Grants, ScopeUnavailable, Unknown
from proxy.heads import Head
from proxy.metrics import Metrics
from proxy.refusals import INVALID_KEY, LOOKUP_BUDGET, MISSING_KEY, SCOPE_UNAVAILABLE, Refusal, Refused
from proxy.routes import RouteTable


@dataclass(slots=True)
class Verdict:
    """What was decided: `refusal` is None where the request passes. `claim` is None where no claim could be read."""

    refusal: Refusal | None
    claim: Claim | None = None
    grant: Grant | None = None
    identity: bytes = b""
    """Header lines that tell the upstream who asks."""


class Enforcement:
    """Takes heads, gives verdicts: at once where everything is cached, else with lookups."""

    def __init__(
        self,
        table: RouteTable,
        grants: Grants,
        budget: LookupBudget,
        activity: Activity,
        metrics: Metrics,
        *,
        accept_foreign: bool,
    ) -> None:
        self.table = table
        self.judged = table.judged_names
        self._grants = grants
        self._budget = budget
        self._activity = activity
        self._metrics = metrics
        self._accept_foreign = accept_foreign

    def judge(self, head: Head) -> Verdict | Claim:
        """Return the verdict, or the claim where `judge_slowly` has to look something up."""
        claim: Claim | None = None
        try:
            claim = self.table.read(head)
            return self._judge_cached(claim)
        except Refused as refused:
            return Verdict(refused.refusal, claim)

    def _judge_cached(self, claim: Claim) -> Verdict | Claim:
        if claim.open:
            return Verdict(None, claim)
        key = claim.key
        if key is None:
            raise Refused(MISSING_KEY)
        if not self._accept_foreign and not well_formed(key):
            self._metrics.lookup("refused_format")
            raise Refused(INVALID_KEY)
        grant = self._grants.peek(digest(key))
        if grant is None:
            return claim
        if isinstance(grant, Unknown):
            raise Refused(INVALID_KEY)
        workspaces: Mapping[str, str | None] | None = {}
        if grant.all_sites and claim.sites:
            workspaces = self._grants.peek_sites(claim.sites)
            if workspaces is None:
                return claim
        return self._conclude(claim, grant, workspaces)

    async def judge_slowly(self, claim: Claim, address: str) -> Verdict:
        """Return the verdict after looking up what the cache does not hold. `address` is the client's, for budgets."""
        grant: Grant | None = None
        try:
            if claim.key is None:
                raise Refused(MISSING_KEY)
            key_digest = digest(claim.key)
            found = self._grants.peek(key_digest)
            if found is None:
                if not self._budget.allow(address):
                    raise Refused(LOOKUP_BUDGET)
                found = await self._grants.fetch(key_digest)
                if found is UNKNOWN:
                    self._budget.charge(address)
            if isinstance(found, Unknown):
                raise Refused(INVALID_KEY)
            grant = found
            workspaces: Mapping[str, str | None] = {}
            if grant.all_sites and claim.sites:
                workspaces = await self._grants.fetch_sites(claim.sites)
            return self._conclude(claim, grant, workspaces)
        except Refused as refused:
            return Verdict(refused.refusal, claim, grant)
        except ScopeUnavailable:
            return Verdict(SCOPE_UNAVAILABLE, claim, grant)

    def _conclude(self, claim: Claim, grant: Grant, workspaces: Mapping[str, str | None]) -> Verdict:
        self._activity.touch(grant.user_id)  # a known key counts, passed or refused
        try:
            decide(claim, grant, workspaces, time.time())
        except Refused as refused:
            return Verdict(refused.refusal, claim, grant)
        return Verdict(None, claim, grant, identity_lines(grant, claim.sites))

    def still_used(self, user_id: str) -> None:
        """Count an exchange that lasts."""
        self._activity.touch(user_id)


def identity_lines(grant: Grant, sites: tuple[str, ...]) -> bytes:
    """Return the header lines for the upstream; what is not ASCII is percent-encoded UTF-8."""
    lines = b"X-Api-User-Id: %b\r\nX-Api-Workspace: %b\r\n" % (grant.user_id.encode(), _field_value(grant.workspace))
    if sites:
        lines += b"X-Api-Sites: %b\r\n" % b",".join(map(_field_value, sites))
    return lines


_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def _field_value(text: str) -> bytes:
    return quote(text, safe=_PRINTABLE).encode()
