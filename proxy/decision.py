"""Who passes: the specification (docs/architecture.md). No I/O.

A request's head becomes a claim (routes.py: which route, which key, which sites, in every reading the same); a claim
and the key's grant become a verdict here.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.refusals import ALL_SITES_NEEDED, EXPIRED_KEY, INVALID_KEY, SITE_NOT_ALLOWED, Refused
from proxy.routes import Claim
from proxy.site_ids import fold_site, folded_part

__all__ = ["Claim", "Grant", "SiteOwner", "decide"]


class SiteOwner(NamedTuple):
    """A site that a name refers to: its id as it is spelled, and the workspace that owns it."""

    id: str
    workspace: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key may do, as the scope table said at one moment."""

    user_id: str
    workspace: str
    all_sites: bool
    sites: frozenset[str]
    expires_at: float | None = None
    """When the key itself ends, in seconds since the epoch."""
    _by_fold: tuple[str, ...] | None = field(default=None, init=False, repr=False, compare=False)
    """The sites whose ids are not folded, in the order of their folds. Made when first needed."""

    def covers(self, name: str) -> bool:
        """Tell whether the site of this name (site_ids.py) is among the granted ones."""
        folded = folded_part(name)
        return name in self.sites if folded is None else self.site_by_fold(folded) is not None

    def site_by_fold(self, folded: str) -> str | None:
        """Return the granted site whose folded id is `folded`, or None."""
        if folded in self.sites:
            return folded
        by_fold = self._by_fold
        if by_fold is None:
            # A search by halves needs no folds in memory: 8 bytes a site, where a dict needs 150.
            by_fold = tuple(sorted((site for site in self.sites if fold_site(site) != site), key=fold_site))
            object.__setattr__(self, "_by_fold", by_fold)
        place = bisect_left(by_fold, folded, key=fold_site)
        return by_fold[place] if place < len(by_fold) and fold_site(by_fold[place]) == folded else None


def decide(claim: Claim, grant: Grant | None, owners: Mapping[str, SiteOwner | None], now: float) -> None:
    """Raise Refused unless `grant` (None: the key is unknown) covers all of `claim`.

    `owners` says whose each named site is (None: no such site); it is asked for all-sites grants only.
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
        if grant.all_sites:
            owner = owners.get(site)
            allowed = owner is not None and owner.workspace == grant.workspace
        else:
            allowed = site in grant.sites or grant.covers(site)
        if not allowed:
            raise Refused(SITE_NOT_ALLOWED)
