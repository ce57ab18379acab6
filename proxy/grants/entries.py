"""Cache entries, how long they may be used, and the cache of grants."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cachetools import LRUCache

from proxy.decision.grant import Grant
from proxy.settings import GrantSettings

Value = TypeVar("Value")

_SITES_PER_WEIGHT = 20
"""The number of sites that take about as much memory as a grant without sites (1 KiB)."""


@dataclass(slots=True)
class Entry(Generic[Value]):
    """A cached answer. Times are in the clock's seconds."""

    value: Value
    position: int
    """The change feed's position when the answer was read."""
    refresh_at: float
    """After this time, using the entry refreshes it in the background."""
    fresh_until: float
    """After this time, requests wait for a lookup, unless the database is down."""
    stale_until: float
    """After this time, the entry must not be used."""
    refreshing: bool = False
    live: bool = True
    """Whether the cache still holds the entry. Callers that keep an entry must check it before each use."""


class Lifetimes:
    """Computes how long entries may be used, counted from the start of the lookup, because the data may be that old."""

    def __init__(self, settings: GrantSettings, jitter: Callable[[], float]) -> None:
        self._ttl = settings.ttl_seconds
        self._stale = settings.stale_seconds
        self._jitter = jitter
        self._validated_at = -math.inf

    def new_entry(self, value: Value, position: int, read_at: float) -> Entry[Value]:
        """Return an entry. Refresh times are spread, so that entries read together are not refreshed together."""
        entry = Entry(value, position, read_at, read_at, read_at)
        self.renew(entry, position, read_at)
        return entry

    def renew(self, entry: Entry[Any], position: int, read_at: float) -> None:
        """Start the lifetime of an entry anew, because a lookup has returned an equal answer."""
        entry.position = position
        entry.refresh_at = read_at + self._ttl * (0.6 + 0.2 * self._jitter())
        entry.fresh_until = read_at + self._ttl
        entry.stale_until = entry.fresh_until + self._stale
        entry.refreshing = False

    def validate_all(self, at: float) -> None:
        """Record that every current entry was still valid at that time; `extend` applies this to an entry."""
        self._validated_at = at

    def extend(self, entry: Entry[Any]) -> None:
        """If an entry was validated after it was read, extend it as if it had been read at that time.

        Refresh times are spread more widely than in `new_entry`, because all entries are validated at the same time.
        """
        fresh_until = self._validated_at + self._ttl
        if entry.fresh_until < fresh_until:
            entry.refresh_at = self._validated_at + self._ttl * (0.4 + 0.4 * self._jitter())
            entry.fresh_until = fresh_until
            entry.stale_until = fresh_until + self._stale


def random_jitter() -> float:
    """Return a random number from 0 to 1, to spread refreshes."""
    return random.random()  # noqa: S311 - not used for security


class GrantEntries(LRUCache[bytes, Entry[Grant]]):
    """An LRU cache of grants, keyed by digest. The limit is a weight: a grant with many sites weighs more."""

    def __init__(self, max_weight: int) -> None:
        super().__init__(
            max_weight, getsizeof=lambda entry: min(1 + len(entry.value.sites) // _SITES_PER_WEIGHT, max_weight)
        )
        self._digests: dict[str, bytes | set[bytes]] = {}
        """The digests of each API user. Most users have one, and a set takes 232 bytes."""

    @property
    def users(self) -> frozenset[str]:
        """The API users that have entries."""
        return frozenset(self._digests)

    def digests_of(self, user_id: str) -> frozenset[bytes]:
        """Return the digests of an API user's entries."""
        digests = self._digests.get(user_id, ())
        return frozenset((digests,) if isinstance(digests, bytes) else digests)

    def __setitem__(self, digest: bytes, entry: Entry[Grant]) -> None:
        self.pop(digest, None)
        super().__setitem__(digest, entry)
        user_id = entry.value.user_id
        digests = self._digests.setdefault(user_id, digest)
        if isinstance(digests, set):
            digests.add(digest)
        elif digests != digest:
            self._digests[user_id] = {digests, digest}

    def __delitem__(self, digest: bytes) -> None:
        # Every removal passes through here, including evictions.
        entry = self[digest]
        entry.live = False
        user_id = entry.value.user_id
        super().__delitem__(digest)
        digests = self._digests[user_id]
        if isinstance(digests, set):
            digests.discard(digest)
        if digests in (digest, set()):
            del self._digests[user_id]

    def clear(self) -> None:
        """Remove all entries."""
        for entry in self.values():
            entry.live = False
        super().clear()
        self._digests.clear()
