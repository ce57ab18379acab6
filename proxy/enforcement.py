"""The decision joined with what it needs to know: grants, budgets, activity. One for both doors."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from proxy.decision.api_keys import digest, well_formed
from proxy.decision.decide import Claim, Grant, SiteOwner, decide
from proxy.decision.routes import ClaimRefused, RouteTable
from proxy.grants.cache import Grants, ScopeUnavailable, TooManyUnknownKeys, Unknown
from proxy.http.headers import Head
from proxy.observe.metrics import Metrics
from proxy.refusals import INVALID_KEY, MISSING_KEY, SCOPE_UNAVAILABLE, TOO_MANY_UNKNOWN_KEYS, Refusal, Refused

_REMEMBERED = 10_000
_REMEMBERED_SITES = 4  # clients choose how many they name

_TRIES = 5
"""With a key that is changed again whenever it was looked up."""


@dataclass(slots=True)
class Verdict:
    """What was decided: `refusal` is None where the request passes. `claim` is None where no claim could be read."""

    refusal: Refusal | None
    claim: Claim | None = None
    grant: Grant | None = None
    identity: bytes = b""
    """Header lines that tell the upstream who asks."""
    sites: tuple[str, ...] = ()
    """The ids of the named sites, where the request passes."""


class Enforcement:
    """Takes heads, gives verdicts: at once where everything is cached, else with lookups."""

    def __init__(
        self,
        table: RouteTable,
        grants: Grants,
        metrics: Metrics,
        *,
        on_use: Callable[[str], None],
        accept_foreign: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_use` is told the API user of each use of a known key, passed or refused.

        `accept_foreign` looks up keys of other formats than ours too: imported ones. `clock` is that of `grants`.
        """
        self.table = table
        self._grants = grants
        self._on_use = on_use
        self._metrics = metrics
        self._accept_foreign = accept_foreign
        self._clock = clock
        # What was worked out before: 5 µs a request less. Keys for as long as nothing is known to have changed.
        self._generation = grants.generation
        self._known_keys: dict[bytes, tuple[Grant, float]] = {}
        self._identities: dict[tuple[str, str, tuple[str, ...]], bytes] = {}

    def judge(self, head: Head) -> Verdict | Claim:
        """Return the verdict, or the claim where `judge_slowly` has to look something up. Hot."""
        claim: Claim | None = None
        try:
            claim = self.table.read(head)
            return self._judge_cached(claim)
        except ClaimRefused as refused:
            return Verdict(refused.refusal, refused.claim, self._user_of(refused.claim.key))
        except Refused as refused:
            return Verdict(refused.refusal, claim)

    def _judge_cached(self, claim: Claim) -> Verdict | Claim:
        if claim.open:
            return Verdict(None, claim)
        key = claim.key
        if key is None:
            raise Refused(MISSING_KEY)
        grant = self._known(key) or self._peek(key)
        if grant is None:
            return claim
        if not grant.all_sites or not claim.sites:
            return self._conclude(claim, grant, {})
        workspaces = self._grants.peek_sites(claim.sites)
        return claim if workspaces is None else self._conclude(claim, grant, workspaces)

    def _known(self, key: bytes) -> Grant | None:
        """Return the grant remembered for a key, if it still holds."""
        if self._generation != self._grants.generation:
            self._generation = self._grants.generation
            self._known_keys.clear()
            return None
        known = self._known_keys.get(key)
        if known is None or known[1] <= self._clock():
            return None
        self._metrics.lookup("hit")
        return known[0]

    def _peek(self, key: bytes) -> Grant | None:
        """Return the cached grant for a key, or None: look it up. Raises Refused for garbage and unknown keys."""
        if not self._accept_foreign and not well_formed(key):
            self._metrics.lookup("refused_format")
            raise Refused(INVALID_KEY)
        key_digest = digest(key)
        found = self._grants.peek(key_digest)
        if found is None:
            return None
        if isinstance(found, Unknown):
            raise Refused(INVALID_KEY)
        if len(self._known_keys) >= _REMEMBERED:
            self._known_keys.clear()
        self._known_keys[key] = (found, self._grants.fresh(key_digest))
        return found

    def _user_of(self, key: bytes | None) -> Grant | None:
        """Return the grant of the key in a request that nobody may make, and count its use; not looked up for that."""
        if key is None:
            return None
        try:
            grant = self._known(key) or self._peek(key)
        except Refused:
            return None
        if grant is not None:
            self._on_use(grant.user_id)
        return grant

    async def judge_slowly(self, claim: Claim, address: str) -> Verdict:
        """Return the verdict after looking up what the cache does not hold. `address` is the client's, for budgets."""
        grant: Grant | None = None
        try:
            if claim.key is None:
                raise Refused(MISSING_KEY)
            key_digest = digest(claim.key)
            for _ in range(_TRIES):
                grant = None
                with self._grants.watched() as began:
                    found = await self._grants.fetch(key_digest, address)
                    if isinstance(found, Unknown):
                        raise Refused(INVALID_KEY)
                    grant = found
                    workspaces: Mapping[str, SiteOwner | None] = {}
                    if grant.all_sites and claim.sites:
                        workspaces = await self._grants.fetch_sites(claim.sites)
                    # What was revoked while this waited must not pass: whoever ends what is open does not see it yet.
                    if not self._grants.recalled(began, key_digest, grant, claim.sites if grant.all_sites else ()):
                        return self._conclude(claim, grant, workspaces)
            raise ScopeUnavailable
        except Refused as refused:
            return Verdict(refused.refusal, claim, grant)
        except TooManyUnknownKeys:
            return Verdict(TOO_MANY_UNKNOWN_KEYS, claim)
        except ScopeUnavailable:
            if grant is not None:  # it is the sites that nobody could tell
                self._on_use(grant.user_id)
            return Verdict(SCOPE_UNAVAILABLE, claim, grant)

    def _conclude(self, claim: Claim, grant: Grant, workspaces: Mapping[str, SiteOwner | None]) -> Verdict:
        self._on_use(grant.user_id)  # a known key counts, passed or refused
        try:
            sites = decide(claim, grant, workspaces, time.time())
        except Refused as refused:
            return Verdict(refused.refusal, claim, grant)
        return Verdict(None, claim, grant, self._identity(grant, sites), sites)

    def _identity(self, grant: Grant, sites: tuple[str, ...]) -> bytes:
        who = (grant.user_id, grant.workspace, sites)
        lines = self._identities.get(who)
        if lines is None:
            if len(self._identities) >= _REMEMBERED:
                self._identities.clear()
            lines = identity_lines(grant, sites)
            if len(sites) <= _REMEMBERED_SITES:
                self._identities[who] = lines
        return lines

    def still_used(self, user_id: str) -> None:
        """Count an exchange that lasts."""
        self._on_use(user_id)


def identity_lines(grant: Grant, sites: tuple[str, ...]) -> bytes:
    """Return the header lines for the upstream; what is not ASCII is percent-encoded UTF-8."""
    lines = b"X-Api-User-Id: %b\r\nX-Api-Workspace: %b\r\n" % (grant.user_id.encode(), _field_value(grant.workspace))
    if sites:
        lines += b"X-Api-Sites: %b\r\n" % b",".join(map(_field_value, sites))
    return lines


_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def _field_value(text: str) -> bytes:
    return quote(text, safe=_PRINTABLE).encode()
