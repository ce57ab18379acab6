"""The results of the decision (a verdict or a lookup to perform), and the answers that it needs. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, Protocol

from proxy.decision.claim import Claim
from proxy.decision.grant import Grant, SiteOwner
from proxy.refusals import Refusal

PASSED: Final = "passed"
UNDECIDED: Final = "undecided"


@dataclass(slots=True)
class Verdict:
    """The outcome for one request. If it passes, `refusal` is None. If no route was found, `claim` is None."""

    refusal: Refusal | None
    claim: Claim | None = None
    grant: Grant | None = None
    sites: tuple[str, ...] = ()
    """The ids of the named sites, if the request passes."""
    identity: bytes = b""
    """Header lines that identify the API user to the upstream, if the request passes."""

    @property
    def result(self) -> str:
        """What shadow mode reports: the code of the refusal, PASSED, or UNDECIDED if a lookup was needed."""
        if self.refusal is not None:
            return self.refusal.code
        return PASSED if self.grant is not None or (self.claim is not None and self.claim.open) else UNDECIDED


class Lookup(Enum):
    """What the decision needs before it can continue."""

    GRANT = "grant"
    """The grant of the claim's key."""
    SITE_OWNERS = "site owners"
    """The owner of each of the claim's sites."""
    CLIENT_ADDRESS = "client address"
    """The claim's `address`, because the key is limited to networks."""


class NoGrant(Enum):
    """Why there is no grant for a key."""

    NOT_LOOKED_UP = "not looked up"
    UNKNOWN = "unknown"
    """The key does not exist."""
    OVER_BUDGET = "over budget"
    """The client's network has tried too many unknown keys, so this one was not looked up."""
    UNAVAILABLE = "unavailable"
    """The database did not answer, and no cached grant may still be used."""


Owners = Mapping[str, SiteOwner | None]
"""The owner of each named site, or None if there is no such site."""


class Known(Protocol):
    """The answers that the decision can get without waiting."""

    @property
    def accept_foreign(self) -> bool:
        """Whether keys in formats other than Sitelatch's own are looked up."""

    def remembered(self, key: bytes) -> Grant | None:
        """Return the grant of a key whose format was checked before, or None."""

    def grant(self, key: bytes) -> Grant | NoGrant:
        """Return the grant of a key, or why there is none."""

    def owners(self, sites: tuple[str, ...]) -> Owners | Literal[NoGrant.UNAVAILABLE] | None:
        """Return the owners of these sites, or None if a lookup is needed."""


@dataclass(slots=True)
class Answers:
    """The results of the lookups for one request. It implements `Known`."""

    found: Grant | NoGrant = NoGrant.NOT_LOOKED_UP
    found_owners: Owners | Literal[NoGrant.UNAVAILABLE] | None = None
    accept_foreign: bool = False

    def remembered(self, key: bytes) -> Grant | None:
        return self.found if isinstance(self.found, Grant) else None

    def grant(self, key: bytes) -> Grant | NoGrant:
        return self.found

    def owners(self, sites: tuple[str, ...]) -> Owners | Literal[NoGrant.UNAVAILABLE] | None:
        return self.found_owners
