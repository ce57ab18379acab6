"""Who passes: the specification (docs/architecture.md). No I/O.

A request's head becomes a claim (routes.py: which route, which key, which sites, in every reading the same); a claim
and the key's grant become a verdict here.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.decision.routes import Candidate, Claim
from proxy.decision.site_ids import fold_site, folded_part
from proxy.refusals import ALL_SITES_NEEDED, AMBIGUOUS_REQUEST, EXPIRED_KEY, INVALID_KEY, SITE_NOT_ALLOWED, Refused

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

    def site_called(self, name: str) -> str | None:
        """Return the id of the granted site of this name (site_ids.py), or None."""
        folded = folded_part(name)
        if folded is not None:
            return self.site_by_fold(folded)
        return name if name in self.sites else None

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


def decide(claim: Claim, grant: Grant | None, owners: Mapping[str, SiteOwner | None], now: float) -> tuple[str, ...]:
    """Return the ids of the named sites, or raise Refused unless `grant` (None: the key is unknown) covers the claim.

    A claim that can be read in two ways is narrowed to the one that the grant covers.

    `owners` says whose each of the claim's sites is (None: no such site); it is asked for all-sites grants only.
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
        return _covered(claim.named, grant, workspace, owners)
    # A `+` that may be a space. Which sites exist must not decide, for then anybody could ask for that; the grant may.
    covered: list[tuple[Candidate, tuple[str, ...]]] = []
    refusal: Refused | None = None
    for candidate in (claim.named, claim.form):
        try:
            covered.append((candidate, _covered(candidate, grant, workspace, owners)))
        except Refused as refused:
            refusal = refused
    if not covered and refusal is not None:
        raise refusal
    if len(covered) > 1:
        raise Refused(_PLUS)
    # What it was let in for is what it may go on with, whatever its scope becomes.
    [(claim.named, sites)] = covered
    claim.form = None
    return sites


def _covered(
    named: Candidate, grant: Grant, workspace: str | None, owners: Mapping[str, SiteOwner | None]
) -> tuple[str, ...]:
    """Return the ids of the named sites. Raises Refused unless the grant covers all that is named."""
    # A backend that is asked for everything, and knows nothing of workspaces, answers for the route's whole workspace.
    if (named.every_site or named.others_every_site) and not (grant.all_sites and grant.workspace == workspace):
        raise Refused(ALL_SITES_NEEDED)
    sites = named.sites
    if not grant.all_sites and not named.others and grant.sites.issuperset(sites):
        return sites
    for site in named.others:
        _granted(site, grant, owners)
    return tuple(dict.fromkeys([_granted(site, grant, owners) for site in sites]))


def _granted(site: str, grant: Grant, owners: Mapping[str, SiteOwner | None]) -> str:
    """Return the id of a named site. Raises Refused unless it is granted.

    The answer is the same whether the site exists or not, so nobody can ask which sites there are.
    """
    if grant.all_sites:
        owner = owners.get(site)
        if owner is not None and owner.workspace == grant.workspace:
            return owner.id
    elif (granted := grant.site_called(site)) is not None:
        return granted
    raise Refused(SITE_NOT_ALLOWED)


_PLUS = AMBIGUOUS_REQUEST.because(
    "A site is named with a `+`, which servers read as a plus or as a space, and this API key covers both sites. Send "
    "%2B for a plus and %20 for a space."
)
