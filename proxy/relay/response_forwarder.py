"""Forwards responses to the client: heads with framing for this client, body data and WebSocket bytes."""

import asyncio
from collections.abc import Callable

from proxy.http.bodies import Body, Pieces, chunk, last_chunk
from proxy.http.head_writer import CLOSE, KEEP_ALIVE, interim_head, plain_response_head, response_head, switching_head
from proxy.http.headers import Fields
from proxy.http.hop_by_hop import ResponseHop
from proxy.http.trailers import forwarded_trailers
from proxy.http.websocket_frames import Frames
from proxy.http.websocket_handshake import accepts_key
from proxy.relay.client import PIPELINED, Client
from proxy.relay.exchange import Exchange
from proxy.relay.request_forwarder import RequestForwarder
from proxy.upstream_errors import UpstreamError


class ResponseForwarder:
    """Forwards the responses to a client connection's requests (a `receiver.Receiver`).

    One object serves all exchanges of the connection, one after another.
    """

    __slots__ = ("_chunked", "_client", "_clock", "_loop", "_out", "_requests", "frames")

    def __init__(
        self,
        client: Client,
        requests: RequestForwarder,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._requests = requests
        self._loop = loop
        self._clock = clock
        self._out: list[bytes] = []
        """The bytes of the current read from the upstream. They are written together."""
        self._chunked = False
        """Whether the response's body is sent to the client in chunks."""
        self.frames: Frames | None = None
        """The frames from the upstream, if the exchange has become a WebSocket connection."""

    def interim(self, exchange: Exchange, status: int, reason: bytes, fields: Fields) -> None:
        """Forward a 1xx response (RFC 9110 §15.2). HTTP/1.0 does not have them."""
        if exchange.minor == 1:
            self._out.append(interim_head(status, reason, fields))

    def switched(self, exchange: Exchange, reason: bytes, raw: Fields) -> bool:
        """Become a tunnel, if the client requested a WebSocket connection and this 101 opens it."""
        key = exchange.hop.websocket_key
        if key is None or not accepts_key(key, raw):
            return False
        self._begin(exchange, 101)
        exchange.tunnel = True
        exchange.keep_alive = False
        self.frames = Frames()
        self._client.release(PIPELINED)  # bytes that the client has already sent belong to the tunnel
        self._out.append(switching_head(reason, raw))
        return True

    def head(self, exchange: Exchange, status: int, reason: bytes, hop: ResponseHop, body: Body) -> None:
        """Forward the response's head, framed for this client."""
        self._begin(exchange, status)
        if not exchange.body.done:
            exchange.keep_alive = False  # the client may continue to send its request's body, which is no longer read
        minor = exchange.minor
        chunked = False
        if hop.codings and minor == 1 and body.done and status != 204:  # RFC 9112 §6.1: never in a 204
            chunked = True  # a response to HEAD, or a 304, says how the body would be framed
        elif not body.done and not hop.lengths:
            if minor == 1:
                chunked = self._chunked = True
            else:
                exchange.keep_alive = False  # without chunks, a body of unknown length ends with the connection
        connection = b"" if minor == 1 else KEEP_ALIVE
        if not exchange.keep_alive:
            connection = CLOSE
        cors = exchange.route.cors if exchange.route is not None else None
        lines = b""
        if hop.written and (cors is None or not hop.affects_cors):
            if cors is not None:
                lines = cors.plain_response(exchange.head.origin)
            self._out.append(plain_response_head(hop.written, lines, chunked=chunked, connection=connection))
            return
        fields = hop.fields
        if cors is not None:
            fields, lines = cors.response(exchange.head.origin, fields)
        self._out.append(response_head(status, reason, fields, lines, chunked=chunked, connection=connection))

    def _begin(self, exchange: Exchange, status: int) -> None:
        self._chunked = False
        exchange.responded = True
        exchange.status = status
        exchange.upstream_seconds = self._clock() - exchange.sent_at

    def data(self, exchange: Exchange, pieces: Pieces) -> None:
        """Forward body data of the response, or bytes of a WebSocket connection."""
        for piece in pieces:
            exchange.bytes_out += len(piece)
        if not exchange.body.done:
            self._requests.last_progress = self._loop.time()  # no upload timeout while the response makes progress
        if self.frames is not None:
            for piece in pieces:
                self.frames.feed(piece)
        self._out += chunk(pieces) if self._chunked else pieces

    def flush(self) -> None:
        """Write all bytes of one read from the upstream together."""
        out = self._out
        if not out:
            return
        if len(out) == 1:
            self._client.write(out[0])
        else:
            self._client.write_many(out)
        out.clear()

    def end(self, exchange: Exchange, trailers: Fields) -> None:
        """End the response. The upstream connection has been returned to its pool."""
        self._requests.complete()
        if self._chunked:
            self._out.append(last_chunk(forwarded_trailers(trailers)))
        self.flush()
        exchange.ending.complete(exchange)

    def lost(self, exchange: Exchange, cause: UpstreamError, *, may_retry: bool) -> None:
        """Send the request again if that is safe, otherwise end the exchange."""
        self._requests.forget_connection()
        if not (may_retry and self._requests.retry(exchange, self)):
            exchange.ending.lose_upstream(exchange, cause)

    def upstream_full(self, full: bool) -> None:
        """Stop or continue reading the request's body."""
        self._requests.upstream_full(full)

    def reset(self) -> None:
        """Discard bytes that are not written yet."""
        self._out.clear()
