"""Token buckets that limit a party's rate per minute, for example of unknown keys, failed sign-ins or refreshes."""

import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from cachetools import TTLCache

_MAX_BUCKETS = 65_536


class TokenBuckets:
    """A token bucket for each party, all with the same rate. `allow` checks for a token, and `charge` takes one.

    A party is a client address, or any other text. Addresses of one client network share a bucket.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._full = float(per_minute)
        self._per_second = per_minute / 60
        self._clock = clock
        # Every bucket is full again after a minute, so older ones can be dropped. The values are the number of tokens,
        # and when they were counted.
        self._buckets: TTLCache[str, tuple[float, float]] = TTLCache(_MAX_BUCKETS, ttl=60, timer=clock)

    def allow(self, party: str, reserved: int = 0) -> bool:
        """Return whether this party has a token left, in addition to those that are `reserved` for it."""
        return self._tokens(client_network(party)) >= 1 + reserved

    def charge(self, party: str) -> None:
        """Take a token from this party."""
        network = client_network(party)
        self._buckets[network] = (max(self._tokens(network) - 1, 0.0), self._clock())

    def _tokens(self, network: str) -> float:
        bucket = self._buckets.get(network)
        if bucket is None:
            return self._full
        tokens, counted_at = bucket
        return min(tokens + (self._clock() - counted_at) * self._per_second, self._full)


def client_network(address: str) -> str:
    """Return the network that one client controls: an IPv6 client can pick any address of its /64 (RFC 4291 §2.5.4).

    Anything else is returned unchanged, for example the peer of a unix socket.
    """
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    # A dual-stack socket shows IPv4 clients as ::ffff:a.b.c.d. They must not share a bucket.
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
