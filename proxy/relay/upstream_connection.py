"""A connection to an upstream, and the responses that arrive over it."""

import asyncio
import math
from typing import Protocol, cast

from proxy.http.bodies import NO_BODY, Body, ChunkedBody, CloseBody, FramingError, response_body
from proxy.http.body_readers import BodyReaders
from proxy.http.hop_by_hop import ResponseHop, clean_response
from proxy.http.plain_responses import PlainResponses
from proxy.http.response_parser import MAX_HEAD_BYTES, ResponseReader
from proxy.observe.upstream_failures import UpstreamFailures
from proxy.relay.connection_errors import connection_loss
from proxy.relay.exchange import Exchange
from proxy.relay.receiver import PlainReceiver, Receiver
from proxy.relay.socket_options import enable_keepalive
from proxy.relay.turn import LARGE_READ, Turn
from proxy.upstream_errors import Reason, UpstreamError

_CLOSE_SECONDS = 10
"""How long a closing connection may take to send what was written to it."""


class Home(Protocol):
    """The interface of the pool that its connections use."""

    body_readers: BodyReaders
    """The addresses whose servers read each request's body, so that they do not parse it as the next request."""
    plain_responses: PlainResponses
    """Reads plain response heads."""
    failures: UpstreamFailures
    """Why requests to this upstream fail."""
    turn: Turn
    """Collects the bytes that arrive."""

    def opened(self) -> None:
        """Record a new connection."""

    def lost(self, connection: "UpstreamConnection") -> None:
        """Record that a connection has closed."""

    def give_back(self, connection: "UpstreamConnection", idle_seconds: float | None, now: float) -> None:
        """Take back a connection whose exchange ended cleanly. The upstream keeps it open for `idle_seconds`."""


class UpstreamConnection:
    """One connection to the upstream (an asyncio protocol). It serves one exchange at a time."""

    __slots__ = (
        "_address",
        "_body",
        "_exchange",
        "_generation",
        "_hop",
        "_pool",
        "_reader",
        "_reads_bodies",
        "_receiver",
        "_saw_end",
        "_tunnel",
        "_turn",
        "answered",
        "connected",
        "expires_at",
        "idle_until",
        "knows_bodies",
        "plain",
        "reused",
        "transport",
    )

    def __init__(self, pool: Home) -> None:
        self._pool = pool
        self._turn = pool.turn
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._exchange: Exchange | None = None
        self._receiver: Receiver = cast(Receiver, None)
        """Set together with `_exchange`, and meaningless without it."""
        self.plain: PlainReceiver | None = None
        """The receiver of the response to a plain request, instead of `_exchange` and `_receiver`."""
        self.reused = False
        self.answered = False
        """Whether a byte has arrived since the request was sent."""
        self.idle_until = 0.0
        self.expires_at = math.inf
        """When the connection is too old for another request, in seconds of the event loop's clock."""
        self.connected = False
        self._saw_end = False
        self._tunnel = False
        self._address: object = None
        self._generation = pool.body_readers.generation
        self._reads_bodies: bool | None = None  # None until a response on this connection has shown it
        self.knows_bodies = False
        """Whether a response on this connection has shown whether the server reads bodies."""
        self._body: Body | None = None
        self._hop: ResponseHop | None = None
        self._reader = ResponseReader()

    # Called by the exchange.

    @property
    def reads_bodies(self) -> bool:
        """Whether the server is known to read a request's body to its end."""
        if self._reads_bodies is not None:
            return self._reads_bodies
        now = asyncio.get_running_loop().time()
        return self._pool.body_readers.knows(self._address, self._generation, now)

    def serve(self, exchange: Exchange, receiver: Receiver) -> None:
        """Pass the response to this exchange's request to the receiver."""
        self._exchange = exchange
        self._receiver = receiver
        self.answered = False

    def send(self, exchange: Exchange, receiver: Receiver, head: bytes) -> None:
        """Begin an exchange with the head of its request."""
        self.serve(exchange, receiver)
        if not self.transport.is_closing():
            self.transport.write(head)

    def write(self, buffers: list[bytes]) -> None:
        """Send more, unless the connection is closing. In that case, `connection_lost` reports the loss."""
        if not self.transport.is_closing():
            self.transport.writelines(buffers)

    def drop(self) -> None:
        """Close the connection in the middle of its exchange."""
        self._exchange = None
        self.transport.abort()

    def close(self) -> None:
        """Close the connection once everything written to it was sent, or after a while."""
        self._exchange = None
        self.transport.close()
        asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self.transport.abort)

    def give_up(self) -> None:
        """Close a connection that was only just made, for which uvloop does not call `connection_lost`."""
        self.transport.abort()
        self.connection_lost(None)

    # Events of the transport.

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.connected = True
        self._address = transport.get_extra_info("peername")
        enable_keepalive(transport)
        self._pool.opened()

    def connection_lost(self, exc: Exception | None) -> None:
        self._turn.end()
        if not self.connected:
            return  # `give_up` was called first
        self._unfold()
        self.connected = False
        self._pool.lost(self)
        exchange, self._exchange = self._exchange, None
        if exc is not None or (self._saw_end and (exchange is None or exchange.may_reuse)):
            self._pool.body_readers.forget()  # unexpectedly closed by the server, so a new server may replace it
        if exchange is None:
            return
        # RFC 9112 §9.8: over TLS, an attacker may have caused an end that the server did not announce.
        if isinstance(self._body, CloseBody) and exc is None and self._saw_end:
            if self._pool.failures.lasting:
                self._pool.failures.succeeded()
            self._receiver.end(exchange, [])
        else:
            self._receiver.lost(exchange, connection_loss(exc), may_retry=self.reused and not self.answered)

    def eof_received(self) -> bool:
        self._turn.end()  # the end must not overtake what arrived before it
        self._saw_end = True  # over TLS, uvloop calls this only after a close_notify
        return False

    def pause_writing(self) -> None:
        self._unfold()
        if self._exchange is not None:
            self._receiver.upstream_full(True)

    def resume_writing(self) -> None:
        self._unfold()
        if self._exchange is not None:
            self._receiver.upstream_full(False)

    def _unfold(self) -> None:
        if self.plain is not None:
            self.plain.unfold()

    def data_received(self, data: bytes) -> None:
        if self.plain is None and self._exchange is None:
            # No request is open, so these bytes must not become the response to the next request.
            self.transport.abort()
            return
        turn = self._turn
        turn.from_upstreams.append((self, data))
        if len(data) >= LARGE_READ:
            turn.end()
        elif not turn.scheduled:
            turn.schedule()

    def handle(self, data: bytes) -> None:
        """Handle bytes from the upstream."""
        if self.plain is not None:
            self.plain.respond(data)
            return
        exchange = self._exchange
        if exchange is None:  # it ended after these bytes had arrived
            self.transport.abort()
            return
        self.answered = True
        receiver = self._receiver
        if self._tunnel:
            receiver.data(exchange, [data])
            receiver.flush()
            return
        try:
            self._read(exchange, receiver, data)
        except FramingError as error:
            self.drop()
            receiver.lost(exchange, UpstreamError(error.reason, str(error)), may_retry=False)

    def _read(self, exchange: Exchange, receiver: Receiver, data: bytes) -> None:
        if self._body is None and not self._reader.partial:
            plain = self._pool.plain_responses.read(data)
            if plain is not None:
                hop, data = plain
                self._learn(exchange, hop)
                if hop.lengths and exchange.method != b"HEAD" and int(hop.lengths[0]) == len(data):
                    # The whole response has arrived, so its body needs no object that knows where it ends.
                    self._begin(exchange, receiver, hop.status, hop.reason, hop, NO_BODY)
                    if data:
                        receiver.data(exchange, [data])
                    self._end(exchange, receiver, NO_BODY, unsolicited=False)
                    return
                self._begin(exchange, receiver, hop.status, hop.reason, hop, _body(exchange, hop.status, hop, 1))
        while data or (self._body is not None and self._body.done):
            body = self._body
            if body is None:
                data = self._read_head(exchange, receiver, data)
                if self._tunnel:
                    if data:
                        receiver.data(exchange, [data])
                    break
                continue
            pieces, data = body.feed(data)
            if pieces:
                receiver.data(exchange, pieces)
            if body.done:
                self._end(exchange, receiver, body, unsolicited=bool(data))
                return
        receiver.flush()

    def _read_head(self, exchange: Exchange, receiver: Receiver, data: bytes) -> bytes:
        """Read more of a head. Return the bytes after its end."""
        head, rest = self._reader.read(data)
        if head is None:
            return b""
        status = head.status
        if status == 101:
            if not receiver.switched(exchange, head.reason, head.fields):
                raise FramingError(
                    "the response switches protocols although the request did not ask for it",
                    Reason.UNEXPECTED_UPGRADE,
                )
            self._tunnel = True
            return rest
        hop = clean_response(head.minor, head.fields)
        if status < 200:
            receiver.interim(exchange, status, head.reason, hop.fields)
            bodiless = True
        else:
            self._learn(exchange, hop)
            body = _body(exchange, status, hop, head.minor)
            self._begin(exchange, receiver, status, head.reason, hop, body)
            bodiless = body is NO_BODY and exchange.method != b"HEAD"
        if not bodiless or hop.lengths or hop.codings or not hop.keep_alive:
            self._reader.renew()
        return rest

    def _begin(
        self, exchange: Exchange, receiver: Receiver, status: int, reason: bytes, hop: ResponseHop, body: Body
    ) -> None:
        """Begin the response after its head."""
        self._hop = hop
        self._body = body
        receiver.head(exchange, status, reason, hop, body)

    def _learn(self, exchange: Exchange, hop: ResponseHop) -> None:
        """Learn from a response whether the server reads bodies, and whether it is stopping."""
        readers = self._pool.body_readers
        if exchange.has_body or self._reads_bodies is None:
            now = asyncio.get_running_loop().time()
            self._reads_bodies = readers.learn(self._address, self._generation, hop.servers, now)
            self.knows_bodies = True
        if not hop.keep_alive and exchange.may_reuse:
            readers.forget()  # the server closes the connection on its own, perhaps because it is being replaced

    def _end(self, exchange: Exchange, receiver: Receiver, body: Body, *, unsolicited: bool) -> None:
        hop, self._hop, self._body, self._exchange = self._hop, None, None, None
        if self._pool.failures.lasting:
            self._pool.failures.succeeded()
        # The upstream would parse the rest of an unread body as its next request.
        unread = exchange.has_body and not (exchange.may_reuse and self._reads_bodies)
        if not exchange.body.done or self.transport.get_write_buffer_size():
            # The server may have stopped reading. Then the connection would not close cleanly, and would not report
            # again that it is full.
            self.transport.abort()
        elif hop is None or not hop.keep_alive or unsolicited or unread:
            self.transport.close()
        else:
            self._pool.give_back(self, hop.idle_seconds, asyncio.get_running_loop().time())
        receiver.end(exchange, body.trailers if isinstance(body, ChunkedBody) else [])


def _body(exchange: Exchange, status: int, hop: ResponseHop, minor: int) -> Body:
    """Return the body of a response. Raises FramingError if its end is uncertain."""
    return response_body(exchange.method, status, hop.lengths, hop.codings, minor, trailer_bytes=MAX_HEAD_BYTES)
