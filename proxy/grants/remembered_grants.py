"""Remembers grants, keyed by API key, in front of the cache, to make decisions on cache hits faster."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from proxy.decision.api_keys import digest, well_formed
from proxy.decision.grant import Grant, SiteOwner
from proxy.decision.verdict import NoGrant, Owners
from proxy.grants.answers import Unknown
from proxy.grants.entries import Entry


class GrantSource(Protocol):
    """Where grants and site owners come from; `proxy.grants.cache.GrantCache` documents each method."""

    @property
    def max_keys(self) -> int: ...
    def peek(self, digest: bytes) -> Grant | Unknown | None: ...
    def entry(self, digest: bytes) -> Entry[Grant] | None: ...
    def peek_sites(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None] | None: ...
    async def fetch(self, digest: bytes, address: str = "") -> Grant | Unknown: ...
    async def fetch_sites(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None]: ...
    def watched(self) -> AbstractContextManager[int]: ...
    def invalidated(self, token: int, digest: bytes, grant: Grant, sites: Iterable[str]) -> bool: ...


class RememberedGrants:
    """Returns what is known without waiting (`verdict.Known`), and remembers grants by key in front of the cache.

    Remembering saves hashing the key and searching the cache. A remembered grant is the cache's own entry, so it is
    used until the cache would refresh the entry, or until the cache drops or replaces this entry.
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
        self._remembered: dict[bytes, Entry[Grant]] = {}

    def __len__(self) -> int:
        """Return how many grants are remembered."""
        return len(self._remembered)

    def remembered(self, key: bytes) -> Grant | None:
        """Return the remembered grant of a key if it is still valid, otherwise None. Hot."""
        grant = self.peek(key)
        if grant is not None:
            self._on_lookup("hit")
        return grant

    def peek(self, key: bytes) -> Grant | None:
        """Return what `remembered` returns, without counting a lookup. Hot."""
        entry = self._remembered.get(key)
        if entry is None or not entry.live or entry.refresh_at <= self._clock():
            return None
        return entry.value

    def grant(self, key: bytes) -> Grant | NoGrant:
        """Return the cached grant of a key, and remember it."""
        key_digest = digest(key)
        found = self._grants.peek(key_digest)
        if found is None:
            return NoGrant.NOT_LOOKED_UP
        if isinstance(found, Unknown):
            return NoGrant.UNKNOWN
        entry = self._grants.entry(key_digest)
        if entry is not None:
            self._remember(key, entry)
        return found

    def _remember(self, key: bytes, entry: Entry[Grant]) -> None:
        max_keys = self._grants.max_keys
        if len(self._remembered) > max_keys + max_keys // 4 and key not in self._remembered:
            # At least a fifth of them are not live, because the cache has at most `max_keys` entries.
            self._remembered = {key: entry for key, entry in self._remembered.items() if entry.live}
        self._remembered[key] = entry

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
