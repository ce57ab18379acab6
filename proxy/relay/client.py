"""The interface of a client's connection that the other parts of the relay use."""

from typing import Protocol

from proxy.http.headers import Head
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
"""It is the turn of other connections."""

OF_ONE_EXCHANGE = JUDGING | CONNECTING | UPSTREAM_FULL | PIPELINED
"""The reasons that no longer apply once the exchange has ended."""
WHILE_PENDING = JUDGING | CONNECTING | YIELDING
"""The reasons that also delay bytes that have already arrived."""


class Client(Protocol):
    """The operations of the client's connection that the parts of an exchange may call."""

    full: bool
    """Whether the client reads more slowly than its response arrives."""
    full_since: float
    """When the client became slow, in seconds of the event loop's clock."""

    full_exchange: Exchange | None
    """The open exchange, unless it is a plain one, which the other parts do not see (plain_exchanges.py)."""

    def client_address(self, head: Head) -> str:
        """Return the address of the client: the peer's, or the one that trusted proxies report."""

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
