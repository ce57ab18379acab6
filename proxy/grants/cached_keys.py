"""Caches the answers for keys: grants, unknown keys, and keys that were known before."""

import math
from collections.abc import Callable, Iterable
from itertools import islice

from proxy.decision.grant import Grant
from proxy.grants.answers import UNKNOWN, Found, Unknown
from proxy.grants.changes import Changes
from proxy.grants.entries import GrantEntries, Lifetimes
from proxy.grants.unknown_keys import UnknownKeys
from proxy.settings import GrantSettings


class CachedKeys:
    """The answers for keys, keyed by digest.

    `on_lost` is called when a grant is gone or covers less.
    """

    def __init__(
        self,
        settings: GrantSettings,
        lifetimes: Lifetimes,
        unknown: UnknownKeys,
        *,
        on_lost: Callable[[Changes], None],
    ) -> None:
        self.grants = GrantEntries(settings.max_keys)
        self.unknown = unknown
        # Keys that were dropped and have not been looked up since. A client that sends one of them is not guessing.
        self._dropped: dict[bytes, None] = {}
        self._max_keys = settings.max_keys
        self._lifetimes = lifetimes
        self._on_lost = on_lost

    def known_before(self, digest: bytes) -> bool:
        """Return whether the key was known when it was last looked up."""
        return digest in self.grants or digest in self._dropped

    def store(self, digest: bytes, found: Found | None, read_at: float) -> Grant | Unknown:
        """Store and return the answer of a lookup."""
        entry = self.grants.get(digest)
        before = None if entry is None else entry.value
        self._dropped.pop(digest, None)
        if found is None:
            self.unknown.add(digest, read_at)
            if before is not None:
                del self.grants[digest]
                self._on_lost(Changes(keys={digest: 0}))
            return UNKNOWN
        self.unknown.discard(digest)
        if entry is not None and entry.value == found.grant:
            # Keep the entry and its grant, so that what callers derived from them stays valid.
            self._lifetimes.renew(entry, found.position, read_at)
            return entry.value
        self.grants[digest] = self._lifetimes.new_entry(found.grant, found.position, read_at)
        if before is not None and narrowed(before, found.grant):
            self._on_lost(Changes(keys={digest: found.position}))
        return found.grant

    def drop(self, digest: bytes, position: int | None) -> Grant | None:
        """Drop the answer for a key and return its grant. An answer from the feed's `position` or later stays."""
        self.unknown.discard(digest)
        entry = self.grants.get(digest)
        if entry is None or (position is not None and entry.position >= position):
            return None
        self._remember_dropped((digest,))
        return self.grants.pop(digest).value

    def drop_user(self, user_id: str, position: int | None) -> dict[bytes, Grant]:
        """Drop the grants of an API user's keys, like `drop`, and return them by digest."""
        dropped = {}
        for digest in self.grants.digests_of(user_id):
            if position is None or self.grants[digest].position < position:
                dropped[digest] = self.grants.pop(digest).value
        self._remember_dropped(dropped)
        return dropped

    def drop_all(self) -> int:
        """Drop all answers, and return how many grants there were."""
        dropped = len(self.grants)
        self._remember_dropped(self.grants)
        self.grants.clear()
        self.unknown.clear()
        return dropped

    def _remember_dropped(self, digests: Iterable[bytes]) -> None:
        """Remember that these keys were known. The limit is the same as for grants."""
        self._dropped.update(dict.fromkeys(digests))
        for digest in list(islice(self._dropped, max(0, len(self._dropped) - self._max_keys))):
            del self._dropped[digest]


def narrowed(before: Grant, after: Grant) -> bool:
    """Return whether `before` may cover a request that `after` does not."""
    if (after.user_id, after.workspace) != (before.user_id, before.workspace):
        return True
    if (after.expires_at or math.inf) < (before.expires_at or math.inf):
        return True
    if (after.disabled, after.methods, after.networks) != (before.disabled, before.methods, before.networks):
        return True  # possibly, and judging an exchange again does not affect it
    if after.all_sites:
        return False
    return before.all_sites or not before.sites <= after.sites
