"""Who passes: the specification (docs/architecture.md). No I/O.

A request's head becomes a claim (which route, which sites, which key); a claim and the key's grant become a verdict.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.heads import Fields
from proxy.routes import Route


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key may do, as the scope table said at one moment."""

    user_id: str
    workspace: str
    all_sites: bool
    sites: frozenset[str]
    expires_at: float | None = None
    """When the key itself ends, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request asks for, read alike in every reading, and the head that will be sent on for it."""

    route: Route
    key: bytes | None
    sites: tuple[str, ...]
    """The named sites, each once, in the order they are named."""
    every_site: bool
    """A word that means all sites was named (`idSite=all`), or none was and the route says `all-sites`."""
    open: bool
    """Passes without a key: a public path, or a preflight where the route passes them."""
    target: bytes
    fields: Fields


def decide(claim: Claim, grant: Grant | None, workspace_of: Mapping[str, str | None], now: float) -> None:
    """Raise Refused unless `grant` (None: the key is unknown) covers all of `claim`.

    `workspace_of` says whose each named site is (None: no such site); it is asked for all-sites grants only.
    """
    raise NotImplementedError
