"""Remembers grants, keyed by API key, in front of the cache, to make decisions on cache hits faster."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from proxy.decision.api_keys import digest, well_formed
from proxy.decision.grant import Grant, SiteOwner
from proxy.decision.verdict import NoGrant, Owners
from proxy.grants.answers import Unknown

_REMEMBERED = 10_000
"""The maximum number of remembered grants."""


class GrantSource(Protocol):
    """Where grants and site owners come from; `proxy.grants.cache.GrantCache` documents each method."""

    @property
    def generation(self) -> int: ...
    def peek(self, digest: bytes) -> Grant | Unknown | None: ...
    def reusable_until(self, digest: bytes) -> float: ...
    def peek_sites(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None] | None: ...
    async def fetch(self, digest: bytes, address: str = "") -> Grant | Unknown: ...
    async def fetch_sites(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None]: ...
    def watched(self) -> AbstractContextManager[int]: ...
    def invalidated(self, token: int, digest: bytes, grant: Grant, sites: Iterable[str]) -> bool: ...


class RememberedGrants:
    """Returns what is known without waiting (`verdict.Known`), and remembers grants by key in front of the cache.

    Remembering saves hashing the key, which takes 5 µs per request. A grant is remembered until the cache would refresh
    it, or until the cache may have changed.
    """

    def __init__(
        self,
        grants: GrantSource,
        *,
        accept_foreign: bool,
        on_lookup: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self.accept_foreign = accept_foreign
        self._grants = grants
        self._on_lookup = on_lookup
        self._clock = clock
        self._generation = grants.generation
        self._remembered: dict[bytes, tuple[Grant, float]] = {}

    def __len__(self) -> int:
        """Return how many grants are remembered."""
        return len(self._remembered)

    def remembered(self, key: bytes) -> Grant | None:
        """Return the remembered grant of a key if it is still valid, otherwise None. Hot."""
        if self._generation != self._grants.generation:
            self._generation = self._grants.generation
            self._remembered.clear()
            return None
        known = self._remembered.get(key)
        if known is None or known[1] <= self._clock():
            return None
        self._on_lookup("hit")
        return known[0]

    def grant(self, key: bytes) -> Grant | NoGrant:
        """Return the cached grant of a key, and remember it."""
        key_digest = digest(key)
        found = self._grants.peek(key_digest)
        if found is None:
            return NoGrant.NOT_LOOKED_UP
        if isinstance(found, Unknown):
            return NoGrant.UNKNOWN
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = (found, self._grants.reusable_until(key_digest))
        return found

    def owners(self, sites: tuple[str, ...]) -> Owners | Literal[NoGrant.UNAVAILABLE] | None:
        """Return the cached owners of sites, or None if one of them is not cached."""
        return self._grants.peek_sites(sites)

    def cached_grant(self, key: bytes) -> Grant | None:
        """Return the cached grant of a key, or None. Nothing is looked up: the request is refused anyway."""
        grant = self.remembered(key)
        if grant is not None:
            return grant
        if not self.accept_foreign and not well_formed(key):
            self._on_lookup("refused_format")
            return None
        found = self.grant(key)
        return found if isinstance(found, Grant) else None
