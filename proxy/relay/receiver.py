"""The receiver of a response, as an upstream connection sees it."""

from typing import Protocol

from proxy.http.bodies import Body, Pieces
from proxy.http.headers import Fields
from proxy.http.hop_by_hop import ResponseHop
from proxy.relay.exchange import Exchange


class Receiver(Protocol):
    """Takes the response to an exchange's request."""

    def interim(self, exchange: Exchange, status: int, reason: bytes, fields: Fields) -> None:
        """Take a 1xx response other than 101."""

    def switched(self, exchange: Exchange, reason: bytes, raw: Fields) -> bool:
        """Take a 101; return whether the request asked for it."""

    def head(self, exchange: Exchange, status: int, reason: bytes, hop: ResponseHop, body: Body) -> None:
        """Take the response's head."""

    def data(self, exchange: Exchange, pieces: Pieces) -> None:
        """Take body data, or the bytes of a tunnel."""

    def end(self, exchange: Exchange, trailers: Fields) -> None:
        """Take the end of the response. The connection no longer serves this exchange."""

    def flush(self) -> None:
        """Everything that one read from the upstream brought has been passed on."""

    def lost(self, exchange: Exchange, *, may_retry: bool) -> None:
        """The connection was lost before the end of the response.

        `may_retry`: it had served an earlier exchange, and not a byte of this response arrived.
        """

    def upstream_full(self, full: bool) -> None:
        """Stop or continue sending the request."""
