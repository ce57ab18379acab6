"""The token bucket of one API user, or of one API user on one route. No I/O."""

from proxy.decision.limits import Rate

_ALMOST = 1e-6
"""A token may be missing by this much, because a sum of many fractions is inexact."""


class Bucket:
    """A token bucket of `limit`, of which this process has a share. It counts the requests that asked for a token."""

    __slots__ = ("_counted_at", "_tokens", "asked", "limit", "party", "share")

    def __init__(self, party: str, limit: Rate, share: float, now: float) -> None:
        """It begins full. `share` is the part of the limit that this process may use, from 0 to 1."""
        self.party = party
        self.limit = limit
        self.share = share
        self.asked = 0
        self._counted_at = now
        self._tokens = self.size

    @property
    def size(self) -> float:
        """How many tokens it holds at most. It is never less than one, or no request could pass."""
        return max(self.limit.burst * self.share, 1.0)

    def take(self, now: float) -> float:
        """Take a token and return 0, or return how many seconds it takes until there is one."""
        self.asked += 1
        if self.has_token(now):
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / (self.limit.per_second * max(self.share, _ALMOST))

    def has_token(self, now: float) -> bool:
        """Return whether `take` would take a token."""
        self._count(now)
        return self._tokens >= 1 - _ALMOST

    def change(self, limit: Rate, share: float, now: float) -> None:
        """Use another limit or share from now on. Tokens that do not fit are lost."""
        self._count(now)
        self.limit, self.share = limit, share
        self._tokens = min(self._tokens, self.size)

    def is_like_new(self, share: float, now: float) -> bool:
        """Return whether it holds at least as many tokens as a new bucket with this share, and can be forgotten."""
        self._count(now)
        return self._tokens >= max(self.limit.burst * share, 1.0) - _ALMOST

    def _count(self, now: float) -> None:
        """Add the tokens that were gained since the last time."""
        if now > self._counted_at:
            gained = (now - self._counted_at) * self.limit.per_second * self.share
            self._tokens = min(self._tokens + gained, self.size)
            self._counted_at = now
