"""Who passes: the specification (docs/architecture.md). No I/O.

A request's head becomes a claim (routes.py: which route, which key, which sites, in every reading the same); a claim
and the key's grant become a verdict here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.refusals import ALL_SITES_NEEDED, EXPIRED_KEY, INVALID_KEY, SITE_NOT_ALLOWED, Refused
from proxy.routes import Claim

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


def decide(claim: Claim, grant: Grant | None, workspace_of: Mapping[str, str | None], now: float) -> None:
    """Raise Refused unless `grant` (None: the key is unknown) covers all of `claim`.

    `workspace_of` says whose each named site is (None: no such site); it is asked for all-sites grants only.
    `now` is in seconds since the epoch.
    """
    if claim.open:
        return
    if grant is None:
        raise Refused(INVALID_KEY)
    if grant.expires_at is not None and grant.expires_at <= now:
        raise Refused(EXPIRED_KEY)
    # A backend that is asked for everything, and knows nothing of workspaces, answers for the route's whole workspace.
    if claim.every_site and not (grant.all_sites and grant.workspace == claim.route.settings.workspace):
        raise Refused(ALL_SITES_NEEDED)
    for site in claim.sites:
        # The answer is the same whether the site exists or not, so nobody can ask which sites there are.
        allowed = workspace_of.get(site) == grant.workspace if grant.all_sites else site in grant.sites
        if not allowed:
            raise Refused(SITE_NOT_ALLOWED)
