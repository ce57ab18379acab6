"""The scope of an API key, and the owner of a site. No I/O."""

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.decision.limits import Limits
from proxy.decision.networks import Network
from proxy.decision.site_ids import fold_site, folded_part


class SiteOwner(NamedTuple):
    """The site that a name refers to: its id in its original spelling, and the workspace that owns it."""

    id: str
    workspace: str


@dataclass(frozen=True, slots=True)
class Grant:
    """The scope of a key, read from the scope table at one moment."""

    user_id: str
    workspace: str
    all_sites: bool
    sites: frozenset[str]
    expires_at: float | None = None
    """When the key or its user expires, in seconds since the epoch."""
    disabled: bool = False
    methods: frozenset[bytes] | None = None
    """The only methods that the key may use. None: all."""
    networks: tuple[Network, ...] | None = None
    """The only networks that the key may be used from. None: any address."""
    limits: Limits | None = None
    """The user's own limits. None: those of the route."""
    subject: str = ""
    """Identifies whose activity is recorded (activity.py): the user, and also the key if the user has several."""
    unconditional: bool = field(init=False, repr=False, compare=False)
    """Whether the key is accepted at any time, from anywhere, with any method and at any rate: only sites count."""
    _by_fold: tuple[str, ...] | None = field(default=None, init=False, repr=False, compare=False)
    """The sites whose ids differ from their folded form, sorted by that form. Built on first use."""

    def __post_init__(self) -> None:
        conditions = (self.expires_at, self.methods, self.networks, self.limits)
        object.__setattr__(self, "unconditional", not self.disabled and conditions == (None, None, None, None))
        if not self.subject:
            object.__setattr__(self, "subject", self.user_id)

    def valid_at(self, now: float) -> bool:
        """Return whether the key has not expired at `now`, and has no other condition than its expiry and its sites."""
        return (
            (self.expires_at is None or now < self.expires_at)
            and not self.disabled
            and (self.methods, self.networks, self.limits) == (None, None, None)
        )

    def site_called(self, name: str) -> str | None:
        """Return the id of the granted site with this name (site_ids.py), or None."""
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
            # A binary search needs no folded ids in memory: it takes 8 bytes per site, and a dict would take 150.
            by_fold = tuple(sorted((site for site in self.sites if fold_site(site) != site), key=fold_site))
            object.__setattr__(self, "_by_fold", by_fold)
        place = bisect_left(by_fold, folded, key=fold_site)
        return by_fold[place] if place < len(by_fold) and fold_site(by_fold[place]) == folded else None
