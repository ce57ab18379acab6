"""How many unknown keys one client address may try: guessing must cost the guesser, nobody else."""

import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from cachetools import TTLCache

_ADDRESSES_HELD = 65_536


class LookupBudget:
    """A token bucket for each client's network. Only keys that the database does not know take a token."""

    def __init__(self, unknown_per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._full = float(unknown_per_minute)
        self._per_second = unknown_per_minute / 60
        self._clock = clock
        # An empty bucket is full again after a minute, so whoever was not charged for that long needs no entry.
        # Held are (tokens, when they were counted).
        self._buckets: TTLCache[str, tuple[float, float]] = TTLCache(_ADDRESSES_HELD, ttl=60, timer=clock)

    def allow(self, address: str) -> bool:
        """Return whether this address may have another key looked up that nobody knows yet."""
        return self._tokens(network(address)) >= 1

    def charge(self, address: str) -> None:
        """Take a token: a key from this address was looked up, and is unknown."""
        name = network(address)
        self._buckets[name] = (max(self._tokens(name) - 1, 0.0), self._clock())

    def _tokens(self, name: str) -> float:
        bucket = self._buckets.get(name)
        if bucket is None:
            return self._full
        tokens, counted_at = bucket
        return min(tokens + (self._clock() - counted_at) * self._per_second, self._full)


def network(address: str) -> str:
    """Return whom an address stands for: an IPv6 client can pick any address of its /64 (RFC 4291 §2.5.4).

    What is no IP address (a unix socket's peer) stands for itself.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    # A dual-stack socket shows IPv4 clients as ::ffff:a.b.c.d; they must not share one bucket.
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
