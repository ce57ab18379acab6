"""Who passes: the specification (docs/architecture.md). No I/O.

A request's head becomes a claim (routes.py: which route, which key, which sites, in every reading the same); a claim
and the key's grant become a verdict here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.refusals import ALL_SITES_NEEDED, AMBIGUOUS_REQUEST, EXPIRED_KEY, INVALID_KEY, SITE_NOT_ALLOWED, Refused
from proxy.routes import Candidate, Claim

__all__ = ["Claim", "Grant", "decide"]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key may do, as the scope table said at one moment."""

    user_id: str
    workspace: str
    all_sites: bool
    sites: frozenset[str]
    expires_at: float | None = None
    """When the key itself ends, in seconds since the epoch."""


def decide(claim: Claim, grant: Grant | None, workspace_of: Mapping[str, str | None], now: float) -> tuple[str, ...]:
    """Return the ids of the named sites, or raise Refused unless `grant` (None: the key is unknown) covers the claim.

    `workspace_of` says whose each of the claim's sites is (None: no such site); it is asked for all-sites grants only.
    `now` is in seconds since the epoch.
    """
    if claim.open:
        return ()
    if grant is None:
        raise Refused(INVALID_KEY)
    if grant.expires_at is not None and grant.expires_at <= now:
        raise Refused(EXPIRED_KEY)
    workspace = claim.route.settings.workspace
    if claim.form is None:
        return _covered(claim.named, grant, workspace, workspace_of)
    # A `+` that may be a space. Which sites exist must not decide, for then anybody could ask for that; the grant may.
    covered = []
    refusal: Refused | None = None
    for candidate in (claim.named, claim.form):
        try:
            covered.append(_covered(candidate, grant, workspace, workspace_of))
        except Refused as refused:
            refusal = refused
    if not covered and refusal is not None:
        raise refusal
    if len(covered) > 1:
        raise Refused(_PLUS)
    return covered[0]


def _covered(
    named: Candidate, grant: Grant, workspace: str | None, workspace_of: Mapping[str, str | None]
) -> tuple[str, ...]:
    """Return the ids of the named sites. Raises Refused unless the grant covers all that is named."""
    # A backend that is asked for everything, and knows nothing of workspaces, answers for the route's whole workspace.
    if (named.every_site or named.others_every_site) and not (grant.all_sites and grant.workspace == workspace):
        raise Refused(ALL_SITES_NEEDED)
    sites = named.sites
    if not grant.all_sites and not named.others and grant.sites.issuperset(sites):
        return sites
    for site in named.others:
        _granted(site, grant, workspace_of)
    return tuple(dict.fromkeys([_granted(site, grant, workspace_of) for site in sites]))


def _granted(site: str, grant: Grant, workspace_of: Mapping[str, str | None]) -> str:
    """Return the id of a named site. Raises Refused unless it is granted.

    The answer is the same whether the site exists or not, so nobody can ask which sites there are.
    """
    if grant.all_sites:
        if workspace_of.get(site) == grant.workspace:
            return site
    elif site in grant.sites:
        return site
    elif site.startswith("/"):
        found = next((each for each in grant.sites if each.casefold() == site[1:]), None)
        if found is not None:
            return found
    raise Refused(SITE_NOT_ALLOWED)


_PLUS = AMBIGUOUS_REQUEST.because(
    "A site is named with a `+`, which servers read as a plus or as a space, and this API key covers both sites. Send "
    "%2B for a plus and %20 for a space."
)
