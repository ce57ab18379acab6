"""The interface to which an upstream connection passes a response."""

from typing import Protocol

from proxy.http.bodies import Body, Pieces
from proxy.http.headers import Fields
from proxy.http.hop_by_hop import ResponseHop
from proxy.relay.exchange import Exchange
from proxy.upstream_errors import UpstreamError


class Receiver(Protocol):
    """Receives the response to an exchange's request."""

    def interim(self, exchange: Exchange, status: int, reason: bytes, fields: Fields) -> None:
        """Handle a 1xx response other than 101."""

    def switched(self, exchange: Exchange, reason: bytes, raw: Fields) -> bool:
        """Handle a 101 response. Return whether the request asked for it."""

    def head(self, exchange: Exchange, status: int, reason: bytes, hop: ResponseHop, body: Body) -> None:
        """Handle the response's head."""

    def data(self, exchange: Exchange, pieces: Pieces) -> None:
        """Handle body data, or the bytes of a tunnel."""

    def end(self, exchange: Exchange, trailers: Fields) -> None:
        """Handle the end of the response. The connection no longer serves this exchange."""

    def flush(self) -> None:
        """Handle the end of one read from the upstream, after all of its bytes were passed on."""

    def lost(self, exchange: Exchange, cause: UpstreamError, *, may_retry: bool) -> None:
        """Handle the loss of the connection before the end of the response.

        `may_retry` is True if the connection had served an earlier exchange and no byte of this response arrived.
        """

    def upstream_full(self, full: bool) -> None:
        """Stop or continue sending the request."""


class PlainReceiver(Protocol):
    """Receives the response to a plain request (plain_exchanges.py)."""

    def respond(self, data: bytes) -> None:
        """Handle bytes from the upstream."""

    def unfold(self) -> None:
        """Convert the plain exchange to a full one, with an `Exchange` and a `Receiver`."""
