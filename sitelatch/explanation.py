"""The text of `explain`: numbered steps, the verdict, and hints that the public text of a refusal must leave out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

from proxy.decision.claim import Claim
from proxy.decision.grant import Grant, SiteOwner
from proxy.decision.site_ids import shown_id
from proxy.decision.verdict import Verdict
from proxy.http.headers import Fields
from proxy.refusals import Refusal

_HINTS = {
    "ambiguous_key": "`explain` adds the key itself, so leave it out of --header.",
    "bad_connection_header": "Headers that `Connection` lists are removed, and this one has to be forwarded.",
    "endpoint_refused": "The route's `refuse` lists it.",
    "form_body_not_read": 'Set form_body = "pass" if the backend does not merge form bodies into the query.',
    "invalid_key": "No API user has this key. It was mistyped, or its API user was deleted or disabled.",
    "method_not_allowed": "The route's `methods` lists the methods that are forwarded.",
    "missing_key": "None of the route's key locations holds a key.",
    "no_route": "This path is not below the `path` of any [[proxy.routes]] table.",
    "preflight_refused": "Preflights carry no key. If pages of other origins use this API, list these origins: "
    'cors = { origins = ["https://app.example"] }.',
    "second_resource": 'Set second_resource = "pass" on the route if its backend ignores such headers.',
    "unknown_method": "Methods are case-sensitive, so `get` is not GET. Other methods must be listed in the route's "
    "`methods`.",
    "site_missing": "Name a site by one of the route's rules. If this endpoint shows no site's data, set "
    'without_site = "any-key" instead.',
}
"""Hints for the operator, keyed by refusal code."""


class Outcome(Enum):
    """What `explain` found. The values are the exit codes of the command."""

    PASSES = 0
    REFUSED = 1
    UNDECIDED = 3


@dataclass(frozen=True, slots=True)
class Explained:
    """The outcome, and the whole text."""

    outcome: Outcome
    text: str


class Explanation:
    """Builds the text of an explanation, which ends with the verdict."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._steps = 0

    def add_step(self, title: str, first_line: str, *more_lines: str) -> None:
        """Add a numbered step."""
        self._steps += 1
        self._lines.append(f"{self._steps}. {title}: {first_line}")
        self._lines.extend(f"   {line}" for line in more_lines)

    def refused(self, refusal: Refusal, *reasons: str) -> Explained:
        """End with a refusal. Without `reasons`, a general hint is added. A 503 means that a lookup failed."""
        hint = (_HINTS[refusal.code],) if refusal.code in _HINTS and not reasons else ()
        outcome = Outcome.UNDECIDED if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE else Outcome.REFUSED
        return self._ended(outcome, f"{refusal.status} {refusal.code}. {refusal.detail}", *reasons, *hint)

    def passes(self, reason: str) -> Explained:
        """End with the verdict that the request passes."""
        return self._ended(Outcome.PASSES, reason)

    def undecided(self, reason: str) -> Explained:
        """End without a verdict."""
        return self._ended(Outcome.UNDECIDED, reason)

    def _ended(self, outcome: Outcome, reason: str, *more: str) -> Explained:
        return Explained(outcome, "\n".join([*self._lines, "", f"{outcome.name}: {reason}", *more]))


def describe_head(given: Fields, forwarded: Fields) -> list[str]:
    """Say which of the given header fields are not forwarded."""
    changed = [name for name, value in given if (name, value) not in forwarded]
    removed = [name.decode("latin-1") for name in changed if name.lower() != b"host"]
    dot = ["Host is forwarded without its final dot."] if len(removed) < len(changed) else []
    if not removed:
        return ["well-formed. All of it is forwarded.", *dot]
    why = "hop-by-hop, set by Sitelatch, or never forwarded"
    return [f"well-formed. Not forwarded ({why}): {', '.join(removed)}.", *dot]


def describe_grant(grant: Grant) -> str:
    """Say which API user the key belongs to, and which sites it covers."""
    scope = "all its sites" if grant.all_sites else ", ".join(sorted(grant.sites)) or "no sites"
    return f"API user {grant.user_id} of workspace {grant.workspace}, for {scope}."


def describe_refusal(verdict: Verdict, owners: Mapping[str, SiteOwner]) -> list[str]:
    """Say what the public text must not reveal: whether a site exists, and which workspace owns it."""
    refusal, claim, grant = verdict.refusal, verdict.claim, verdict.grant
    if refusal is None or claim is None or grant is None:
        return []
    if refusal.code == "all_sites_needed":
        return [f"This asks for all sites of workspace {claim.route.settings.workspace}."]
    if refusal.code != "site_not_allowed":
        return []
    reasons = []
    for site in claim.sites:
        owner = owners.get(site)
        if owner is None:
            reasons.append(f"There is no site {shown_id(site)!r}.")
        elif owner.workspace != grant.workspace:
            reasons.append(f"The site {owner.id!r} belongs to workspace {owner.workspace}.")
        elif not grant.all_sites and owner.id not in grant.sites:
            reasons.append(f"The key's scope does not contain the site {owner.id!r}.")
    return reasons


def describe_forwarded(claim: Claim, identity: bytes) -> list[str]:
    """Describe the request as the upstream receives it."""
    line = b"%b %b to %b" % (claim.head.method, claim.target, claim.route.settings.upstream.encode())
    added = [f"with {line}" for line in identity.decode().splitlines()]
    key = "with the key, because forward_key is true" if claim.route.settings.forward_key else "without the key"
    return [line.decode(errors="backslashreplace"), *added, key]


def listed_sites(names: Iterable[str]) -> str:
    """Return the site ids in these names as a list for people. Unprintable ids are escaped."""
    return ", ".join(site if site.isprintable() else repr(site) for site in map(shown_id, names))
