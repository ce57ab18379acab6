"""Remembers which keys do not exist, so that a client that retries one causes no lookup."""

from collections.abc import Callable

from cachetools import LRUCache

from proxy.grants.database_status import DatabaseStatus
from proxy.settings import GrantSettings

_REMEMBERED = 10_000
"""The maximum number of keys, about 2 MB. They are separate from the grants, so that a flood of them evicts none."""


class UnknownKeys:
    """The digests of keys that were looked up and not found. The least recently used ones are forgotten.

    While the change feed is read, such an answer is valid for as long as a grant, because the feed reports new keys.
    Without the feed, it is valid for `unknown_ttl_seconds`.
    """

    def __init__(self, settings: GrantSettings, database: DatabaseStatus, clock: Callable[[], float]) -> None:
        self._seconds = settings.unknown_ttl_seconds
        self._seconds_with_feed = max(settings.ttl_seconds, settings.unknown_ttl_seconds)
        self._database = database
        self._clock = clock
        self._read_at: LRUCache[bytes, float] = LRUCache(_REMEMBERED)

    def __contains__(self, digest: bytes) -> bool:
        """Return whether the key is known not to exist."""
        read_at = self._read_at.get(digest)
        if read_at is None:
            return False
        seconds = self._seconds_with_feed if self._database.feed_up else self._seconds
        return self._clock() < read_at + seconds

    def remembered(self, digest: bytes) -> bool:
        """Return whether the key was not found when it was last looked up, so that it is not a new key."""
        return digest in self._read_at

    def add(self, digest: bytes, read_at: float) -> None:
        """Remember that the key did not exist at `read_at`, in the clock's seconds."""
        self._read_at[digest] = read_at

    def discard(self, digest: bytes) -> None:
        """Forget the key, because it may exist now."""
        self._read_at.pop(digest, None)

    def clear(self) -> None:
        """Forget all keys."""
        self._read_at.clear()
