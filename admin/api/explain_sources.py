"""Grants for `explain` (`remembered_grants.GrantSource`)."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext

from proxy.decision.grant import Grant, SiteOwner
from proxy.grants.cache import GrantCache, ScopeUnavailable, Unknown
from proxy.grants.entries import Entry


class NothingCached:
    """An empty cache without a database. A request that needs a lookup stays pending."""

    max_keys = 0

    def peek(self, digest: bytes) -> Grant | Unknown | None:
        return None

    def entry(self, digest: bytes) -> Entry[Grant] | None:
        return None

    def peek_sites(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None] | None:
        return None

    async def fetch(self, digest: bytes, address: str = "") -> Grant | Unknown:
        raise ScopeUnavailable

    async def fetch_sites(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None]:
        raise ScopeUnavailable

    def watched(self) -> AbstractContextManager[int]:
        return nullcontext(0)

    def invalidated(self, token: int, digest: bytes, grant: Grant, sites: Iterable[str]) -> bool:
        return False


class UserScope(NothingCached):
    """Returns the scope of one API user for every key, because the user's own key is not known."""

    def __init__(self, grants: GrantCache, grant: Grant | Unknown) -> None:
        self._grants = grants
        self._grant = grant

    def peek(self, digest: bytes) -> Grant | Unknown | None:
        return self._grant

    def peek_sites(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None] | None:
        return self._grants.peek_sites(sites)

    async def fetch(self, digest: bytes, address: str = "") -> Grant | Unknown:
        return self._grant

    async def fetch_sites(self, sites: Iterable[str]) -> Mapping[str, SiteOwner | None]:
        return await self._grants.fetch_sites(sites)
