"""Remembers which servers read the body of each request. No I/O.

A server that leaves a body unread parses it as the next request (CL.0). The software behind an address can change, so a
response is evidence only for its own connection. A connection without a response is trusted only if another connection
to the same address got one within the last second, and nothing since then suggests a new server. Once a response shows
that a server of the upstream may leave bodies unread, no connection without a response is trusted.
"""

import re
from functools import lru_cache

from proxy.http.headers import FOLDED, Fields

_KNOWN_SECONDS = 1.0
"""Long enough that a client that sends only requests with bodies still gets a connection that stays open."""
_MAX_ADDRESSES = 64
_IGNORES_BODIES = re.compile(rb"(?i)(?:Base|Simple)HTTP|CherryPy|Cheroot")
"""Matches the `Server` header of software that may leave a body unread: Python's http.server, and Cheroot for chunked
bodies."""


@lru_cache(maxsize=64)
def _ignores_bodies(server: bytes) -> bool:
    return _IGNORES_BODIES.search(server) is not None


class BodyReaders:
    """The addresses of one upstream at which a server has recently been observed to read bodies."""

    __slots__ = ("_mixed", "_trusted", "_until", "generation")

    def __init__(self, *, trusted: bool) -> None:
        """If `trusted` is False, no server is considered to read bodies."""
        self._trusted = trusted
        self._mixed = False  # whether some server of this upstream may leave bodies unread
        self._until: dict[object, float] = {}
        self.generation = 0
        """Incremented whenever all addresses are forgotten. Connections of an older generation are not trusted."""

    def knows(self, address: object, generation: int, now: float) -> bool:
        """Return whether to trust that the server reads bodies, on a connection without a response."""
        return generation == self.generation and self._until.get(address, 0.0) > now

    def learn(self, address: object, generation: int, fields: Fields, now: float) -> bool:
        """Learn from a response's fields. Return whether the server on this connection reads bodies."""
        if not self._trusted:
            return False
        for name, value in fields:
            if FOLDED[name] == b"server" and _ignores_bodies(value):
                self._mixed = True
                self.forget()
                return False
        if generation == self.generation and not self._mixed:
            if len(self._until) >= _MAX_ADDRESSES:
                self._until.clear()
            self._until[address] = now + _KNOWN_SECONDS
        return True

    def forget(self) -> None:
        """Forget all addresses, because a server may have been replaced."""
        self._until.clear()
        self.generation += 1
