"""The explanation of a decision: steps, the verdict, and hints that the public text of a refusal must leave out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from http import HTTPStatus
from typing import NamedTuple

from admin.identity.admins import WorkspaceLimit
from proxy.decision.claim import Claim
from proxy.decision.content_types import refuse_form_body
from proxy.decision.grant import Grant, SiteOwner
from proxy.decision.limits import described_limits, limits_that_apply
from proxy.decision.routes import Route
from proxy.decision.site_ids import shown_id
from proxy.decision.verdict import Verdict
from proxy.http.headers import Fields
from proxy.refusals import Refusal, Refused

_HINTS = {
    "ambiguous_key": "`explain` adds the key itself, so leave it out of --header.",
    "bad_connection_header": "Headers that `Connection` lists are removed, and this one has to be forwarded.",
    "endpoint_refused": "The route's `refuse` lists it.",
    "form_body_not_read": 'Set form_body = "pass" if the backend does not merge form bodies into the query.',
    "disabled_key": "`sitelatch users enable ID` enables the API user again.",
    "expired_key": "`sitelatch users edit ID --expires-at TIME` changes when the API user expires.",
    "invalid_key": "No API user has this key. It was mistyped, or its API user was deleted.",
    "method_not_allowed": "The route's `methods` lists the methods that are forwarded.",
    "method_not_granted": "The `methods` of the API user list what its keys may do. Keys that are limited to methods "
    "open no WebSocket connections.",
    "missing_key": "None of the route's key locations holds a key.",
    "network_not_allowed": "The `networks` of the API user do not contain the client's address.",
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


_UNREAD_FORM = (
    "with its form, which Sitelatch does not read. If the API also takes the site from a field of a form, set "
    'form_body = "refuse" (docs/backends.md)'
)


class Outcome(Enum):
    """What `explain` found. The values are the exit codes of the command."""

    PASSES = 0
    REFUSED = 1
    UNDECIDED = 3


class Step(NamedTuple):
    """A step of an explanation."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """The outcome, why, and the steps that led to it."""

    outcome: Outcome
    reason: str
    steps: tuple[Step, ...]
    hints: tuple[str, ...] = ()
    """Further sentences, which the public text of a refusal must leave out."""
    refusal: Refusal | None = None

    @property
    def text(self) -> str:
        """The whole explanation: numbered steps, and then the verdict."""
        steps = [
            f"{number}. {step.title}: " + "\n   ".join(step.lines) for number, step in enumerate(self.steps, start=1)
        ]
        refusal = self.refusal
        reason = self.reason if refusal is None else f"{refusal.status} {refusal.code}. {self.reason}"
        return "\n".join([*steps, "", f"{self.outcome.name}: {reason}", *self.hints])


class Explanation:
    """Collects the steps of an explanation, which ends with the verdict."""

    def __init__(self) -> None:
        self._steps: list[Step] = []

    def add_step(self, title: str, *lines: str) -> None:
        """Add a step."""
        self._steps.append(Step(title, lines))

    def refused(self, refusal: Refusal, *reasons: str) -> Explained:
        """End with a refusal. Without `reasons`, a general hint is added. A 503 means that a lookup failed."""
        hint = (_HINTS[refusal.code],) if refusal.code in _HINTS and not reasons else ()
        outcome = Outcome.UNDECIDED if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE else Outcome.REFUSED
        return Explained(outcome, refusal.detail, tuple(self._steps), (*reasons, *hint), refusal)

    def passes(self, reason: str) -> Explained:
        """End with the verdict that the request passes."""
        return Explained(Outcome.PASSES, reason, tuple(self._steps))

    def undecided(self, reason: str) -> Explained:
        """End without a verdict."""
        return Explained(Outcome.UNDECIDED, reason, tuple(self._steps))


def describe_head(given: Fields, forwarded: Fields) -> list[str]:
    """Say which of the given header fields are not forwarded."""
    changed = [name for name, value in given if (name, value) not in forwarded]
    removed = [name.decode("latin-1") for name in changed if name.lower() != b"host"]
    dot = ["Host is forwarded without its final dot."] if len(removed) < len(changed) else []
    if not removed:
        return ["well-formed. All of it is forwarded.", *dot]
    why = "hop-by-hop, set by Sitelatch, or never forwarded"
    return [f"well-formed. Not forwarded ({why}): {', '.join(removed)}.", *dot]


def describe_limits(grant: Grant, route: Route, within: WorkspaceLimit) -> list[str]:
    """Say which limits the request counts against, if any."""
    limits = limits_that_apply(grant.limits, route.limits)
    if limits is None or is_hidden(grant, within):
        return []
    where = "" if limits == grant.limits else " on this route"
    return [f"{described_limits(limits)}, for this API user{where}. Beyond it, requests get 429 rate_limited."]


def is_hidden(grant: Grant, within: WorkspaceLimit) -> bool:
    """Return whether the grant belongs to a workspace that the admin may not see."""
    return within is not None and grant.workspace not in within


def describe_grant(grant: Grant, within: WorkspaceLimit) -> str:
    """Say which API user the key belongs to, and which sites it covers."""
    if is_hidden(grant, within):
        return "an API user of a workspace that you may not see."
    scope = "all its sites" if grant.all_sites else ", ".join(sorted(grant.sites)) or "no sites"
    return f"API user {grant.user_id} of workspace {grant.workspace}, for {scope}.{_describe_conditions(grant)}"


def _describe_conditions(grant: Grant) -> str:
    """Say when and how the key may be used, if that is limited."""
    conditions = ["It is disabled."] if grant.disabled else []
    if grant.expires_at is not None:
        conditions.append(f"It expires at {_time(grant.expires_at)}.")
    if grant.methods is not None:
        conditions.append(f"Its methods are {', '.join(sorted(method.decode() for method in grant.methods))}.")
    if grant.networks is not None:
        conditions.append(f"Its networks are {', '.join(map(str, grant.networks))}.")
    return "".join(f" {condition}" for condition in conditions)


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError):
        return f"{seconds:g} seconds since 1970"  # PostgreSQL knows times beyond the year 9999, and infinity


def describe_refusal(verdict: Verdict, owners: Mapping[str, SiteOwner], within: WorkspaceLimit) -> list[str]:
    """Say what the public text must not reveal: whether a site exists, and which workspace owns it."""
    refusal, claim, grant = verdict.refusal, verdict.claim, verdict.grant
    if refusal is None or claim is None or grant is None or is_hidden(grant, within):
        return []
    if refusal.code == "all_sites_needed":
        return [f"This asks for all sites of workspace {claim.route.settings.workspace}."] if within is None else []
    if refusal.code != "site_not_allowed":
        return []
    reasons = []
    for site in claim.sites:
        owner = owners.get(site)
        if within is not None and (owner is None or owner.workspace not in within):
            # The same sentence for both, so that limited admins do not learn which sites others have.
            reasons.append(f"There is no site {shown_id(site)!r} in your workspaces.")
        elif owner is None:
            reasons.append(f"There is no site {shown_id(site)!r}.")
        elif owner.workspace != grant.workspace:
            reasons.append(f"The site {owner.id!r} belongs to workspace {owner.workspace}.")
        elif not grant.all_sites and owner.id not in grant.sites:
            reasons.append(f"The key's scope does not contain the site {owner.id!r}.")
    return reasons


def describe_forwarded(claim: Claim, verdict: Verdict, within: WorkspaceLimit) -> list[str]:
    """Describe the request as the upstream receives it. Limited admins do not see where the upstream is."""
    line = b"%b %b" % (claim.head.method, claim.target)
    if within is None:
        line += b" to " + claim.route.settings.upstream.encode()
    if verdict.grant is not None and is_hidden(verdict.grant, within):
        added = ["with the headers that identify the API user"]
    else:
        added = [f"with {line}" for line in verdict.identity.decode().splitlines()]
    key = "without the key"
    if claim.route.in_shadow_mode:
        key = "with the key, because the route is in shadow mode"
    elif claim.route.settings.forward_key:
        key = "with the key, because forward_key is true"
    return [line.decode(errors="backslashreplace"), *added, key, *_describe_form(claim)]


def _describe_form(claim: Claim) -> list[str]:
    """Say that a form is forwarded unread, in which the API may look for the site."""
    if not claim.head.has_body:
        return []
    try:
        refuse_form_body(claim.head.method, claim.fields, "refuse")
    except Refused:
        return [_UNREAD_FORM]
    return []


def listed_sites(names: Iterable[str]) -> str:
    """Return the site ids in these names as a list for people. Unprintable ids are escaped."""
    return ", ".join(site if site.isprintable() else repr(site) for site in map(shown_id, names))
