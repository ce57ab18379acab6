"""The client's connection, as the other parts of the relay see it."""

from typing import Protocol

from proxy.relay.exchange import Exchange

# Reasons to stop reading from a client (bits).
JUDGING = 1
"""The decision waits for a lookup."""
CONNECTING = 2
"""The request waits for an upstream connection."""
UPSTREAM_FULL = 4
"""The upstream does not take the request's body as fast as it arrives."""
PIPELINED = 8
"""Enough pipelined requests are waiting."""
CLIENT_FULL = 16
"""The client does not read responses as fast as they arrive."""
YIELDING = 32
"""Other connections have their turn."""

OF_ONE_EXCHANGE = JUDGING | CONNECTING | UPSTREAM_FULL | PIPELINED
"""Reasons that end with the exchange."""
WHILE_PENDING = JUDGING | CONNECTING | YIELDING
"""Reasons for which bytes that have already arrived must wait too."""


class Client(Protocol):
    """What the parts of an exchange may ask of the client's connection."""

    full: bool
    """Whether the client reads more slowly than its response arrives."""
    full_since: float
    """Since when, in seconds of the event loop's clock."""

    @property
    def exchange(self) -> Exchange | None:
        """The open exchange."""

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""

    def write_many(self, buffers: list[bytes]) -> None:
        """Send several buffers to the client."""

    def hold(self, reason: int) -> None:
        """Stop reading from the client for a reason."""

    def release(self, reason: int) -> None:
        """Remove a reason not to read, and continue reading if it was the last one."""

    def exchange_done(self, *, keep_alive: bool, linger: bool = False) -> None:
        """Continue after an exchange that ended cleanly.

        `linger` keeps reading for a moment before the connection closes, so that the client sees the response.
        """

    def exchange_cut(self, *, reset: bool) -> None:
        """Close the connection in the middle of a response."""
