"""Which servers read the body of each request. No I/O.

A server that leaves a body unread takes it for the next request (CL.0). The software behind an address can change, so
what a response says holds for its own connection. A connection without a response yet is trusted only if another
connection to the same address had one within the last second, and nothing since then hints at a new server. No such
connection is trusted once a server of the upstream was seen that leaves bodies unread.
"""

import re

from proxy.http.headers import Fields

_KNOWN_SECONDS = 1.0
"""Long enough for a client that sends only requests with bodies to get a connection that is kept."""
_MOST_ADDRESSES = 64
_IGNORES_BODIES = re.compile(rb"(?i)(?:Base|Simple)HTTP|CherryPy|Cheroot").search
"""The `Server` of software that may leave a body unread: Python's http.server, and Cheroot with chunked bodies."""


class BodyReaders:
    """The addresses of one upstream at which a server lately proved to read bodies."""

    __slots__ = ("_mixed", "_trusted", "_until", "generation")

    def __init__(self, *, trusted: bool) -> None:
        """With `trusted` off, no server is taken to read bodies."""
        self._trusted = trusted
        self._mixed = False  # whether a server of this upstream left bodies unread; another one may too
        self._until: dict[object, float] = {}
        self.generation = 0
        """Grows when everything is forgotten. Connections of an older generation neither teach nor profit."""

    def knows(self, address: object, generation: int, now: float) -> bool:
        """Tell whether a connection without a response yet can be taken to lead to a server that reads bodies."""
        return generation == self.generation and self._until.get(address, 0.0) > now

    def learn(self, address: object, generation: int, fields: Fields, now: float) -> bool:
        """Take note of a response's fields. Return whether the server on this connection reads bodies."""
        if not self._trusted:
            return False
        if any(name.lower() == b"server" and _IGNORES_BODIES(value) for name, value in fields):
            self._mixed = True
            self.forget()
            return False
        if generation == self.generation and not self._mixed:
            if len(self._until) >= _MOST_ADDRESSES:
                self._until.clear()
            self._until[address] = now + _KNOWN_SECONDS
        return True

    def forget(self) -> None:
        """Forget every address: a server may have been replaced."""
        self._until.clear()
        self.generation += 1
