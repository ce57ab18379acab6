"""Tracks invalidations during lookups, because an answer that was read before a revoke must not be used after it."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

EVERYTHING = b"everything"
"""The name that invalidates every answer. It is neither a digest (32 bytes) nor text."""


class Invalidations:
    """Remembers invalidated names (key digests, API user ids, sites) while lookups that began earlier are in flight."""

    def __init__(self) -> None:
        self._count = 0
        # Tokens in ascending order, which is the order in which they were issued. A sorted list stays fast when
        # thousands of lookups are in flight, as at the start of an outage.
        self._in_flight: list[int] = []
        # name → (number of the invalidation, feed position or None), oldest first.
        self._invalidated: dict[bytes | str, tuple[int, int | None]] = {}

    @property
    def idle(self) -> bool:
        """Whether no lookup is in flight and nothing is remembered."""
        return not self._in_flight and not self._invalidated

    def __len__(self) -> int:
        """Return how many invalidated names are remembered."""
        return len(self._invalidated)

    def begin(self) -> int:
        """Record that a lookup begins. Returns a token for `affects` and `end`."""
        self._in_flight.append(self._count)
        return self._count

    def end(self, token: int) -> None:
        """Record that this lookup has ended, and forget what no other lookup needs."""
        del self._in_flight[bisect_left(self._in_flight, token)]
        if not self._in_flight:
            self._invalidated.clear()
            return
        oldest = self._in_flight[0]
        obsolete = []
        for name, (number, _) in self._invalidated.items():
            if number > oldest:
                break
            obsolete.append(name)
        for name in obsolete:
            del self._invalidated[name]

    @contextmanager
    def watched(self) -> Iterator[int]:
        """Yield a token for `affects`, for callers that await between reading an answer and acting on it."""
        token = self.begin()
        try:
            yield token
        finally:
            self.end(token)

    def add(self, name: bytes | str, position: int | None = None) -> None:
        """Invalidate answers about `name` that were read before the feed's `position`, or all in flight if None."""
        self._count += 1
        if not self._in_flight:
            return
        _, before = self._invalidated.pop(name, (0, 0))
        if position is not None:
            position = None if before is None else max(position, before)
        self._invalidated[name] = (self._count, position)

    def affects(self, token: int, names: Iterable[bytes | str], position: int | None) -> bool:
        """Return whether an answer about `names`, read at the feed's `position`, was invalidated since the token."""
        for name in names:
            invalidated = self._invalidated.get(name)
            if invalidated is None:
                continue
            number, since = invalidated
            if number > token and (since is None or position is None or position < since):
                return True
        return False
