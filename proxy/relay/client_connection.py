"""A client's connection: its requests are judged one by one and answered in order."""

import asyncio
from typing import cast

from proxy.http.cors import readable_parts
from proxy.http.head_writer import preflight_response, refusal_response
from proxy.http.headers import Head
from proxy.http.hop_by_hop import Hop
from proxy.refusals import HEAD_TIMEOUT, HEAD_TOO_LARGE, TARGET_TOO_LONG, TOO_MANY_EXCHANGES, Refusal
from proxy.relay.admission import Admission
from proxy.relay.client import CLIENT_FULL, OF_ONE_EXCHANGE
from proxy.relay.client_input import ClientInput
from proxy.relay.exchange import Exchange
from proxy.relay.exchange_ending import PREFLIGHT_ANSWERED, ExchangeEnding
from proxy.relay.peer import Peer
from proxy.relay.plain_exchanges import PlainExchanges
from proxy.relay.request_forwarder import RequestForwarder
from proxy.relay.response_forwarder import ResponseForwarder
from proxy.relay.services import Services
from proxy.relay.socket_options import enable_keepalive, reset_connection
from proxy.relay.turn import LARGE_READ
from proxy.relay.upstream_connection import UpstreamConnection

_OVER_LIMITS = (HEAD_TOO_LARGE, TARGET_TOO_LONG)
"""The refusals of heads that exceed a limit."""
_LINGER_SECONDS = 2.0
"""How long to read and discard a refused client's remaining bytes, so that the client sees the response."""


class ClientConnection:
    """One client's connection (an asyncio protocol).

    It lives as long as its socket, and so do its parts: the input, the admission, both forwarders and the ending. They
    serve one exchange after another.
    """

    __slots__ = (
        "_admission",
        "_ending",
        "_input",
        "_loop",
        "_peer",
        "_plain",
        "_request_forwarder",
        "_response_forwarder",
        "_services",
        "_turn",
        "deadline",
        "full",
        "full_exchange",
        "full_since",
        "handle",
        "transport",
    )

    def __init__(self, services: Services, loop: asyncio.AbstractEventLoop) -> None:
        self._services = services
        self._turn = services.turn
        self._loop = loop
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.full_exchange: Exchange | None = None
        """The open exchange, unless it is a plain one (plain_exchanges.py)."""
        self.full = False
        """Whether the client reads more slowly than its response arrives."""
        self.full_since = 0.0
        self.deadline = 0.0
        """When `sweep` times out an incomplete head, closes the idle connection, or aborts the closing one."""
        clock = services.clock
        self._request_forwarder = requests = RequestForwarder(self, loop, clock)
        self._response_forwarder = responses = ResponseForwarder(self, requests, loop, clock)
        self._ending = ExchangeEnding(self, requests, responses, services.enforcement, services.limits)
        self._input = ClientInput(self, requests, services, loop)
        self._plain = plain = PlainExchanges(self, self._input, requests, responses, self._ending, services)
        self.handle = plain.handle if services.relays_plainly else self._input.feed
        """Handles bytes from the client. It is an attribute because a method would cost another call."""
        # Set in connection_made.
        self._admission: Admission
        self._peer: Peer

    @property
    def exchange(self) -> Exchange | None:
        """The open exchange. A plain exchange is converted to a full one first."""
        if self._plain.is_open:
            self._plain.unfold()
        return self.full_exchange

    @property
    def paused(self) -> bool:
        """Whether reading from the client is paused."""
        return self._input.paused

    @property
    def upstream(self) -> UpstreamConnection | None:
        """The upstream connection that serves the open exchange."""
        self._plain.unfold()
        return self._request_forwarder.connection

    def client_address(self, head: Head) -> str:
        """Return the address of the client: the peer's, or the one that trusted proxies report."""
        return self._peer.client_address(head)

    # Events of the transport.

    def connection_made(self, transport: asyncio.Transport) -> None:
        services = self._services
        self.transport = transport
        self._peer = peer = Peer(transport, services.is_trusted)
        self._input.connect(transport, trusted=peer.trusted)
        self._plain.connect(transport, peer)
        self._admission = Admission(
            self, peer, self._request_forwarder, self._response_forwarder, self._ending, services, self._loop
        )
        self.await_head()
        enable_keepalive(transport)
        services.metrics.downstream_open += 1
        if not services.connections.add(self, peer.address, exempt=peer.trusted or peer.is_local):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        turn = self._turn
        turn.from_clients.append((self, data))
        if len(data) >= LARGE_READ:
            turn.end()
        elif not turn.scheduled:
            turn.schedule()

    def connection_lost(self, exc: Exception | None) -> None:
        self._turn.end()
        services = self._services
        services.connections.discard(self)
        services.metrics.downstream_open -= 1
        if services.draining and not services.connections:
            services.drained.set()
        self._input.close()
        exchange, self.full_exchange = self.exchange, None
        if exchange is not None:
            self._ending.abandon(exchange)
            self._record(exchange)

    def eof_received(self) -> bool:
        # Like nginx and Go, treat a client that closes its sending side as gone. The two cases look the same on the
        # wire, and an upstream must not continue to work for a client that is gone.
        self._turn.end()  # the loop closes the connection, which must not overtake what the client has sent
        return False

    def pause_writing(self) -> None:
        self._plain.unfold()
        self.full = True
        self.full_since = self._loop.time()
        self._request_forwarder.client_full(True)

    def resume_writing(self) -> None:
        self.full = False
        self._request_forwarder.client_full(False)
        self._input.release(CLIENT_FULL)  # set if another request is waiting

    # Called by the input (client_input.RequestTaker).

    def await_head(self) -> None:
        """Start the time limit for a complete head."""
        self.deadline = self._loop.time() + self._services.limits.head_seconds

    def begin(self, head: Head, hop: Hop) -> None:
        """Begin an exchange."""
        services = self._services
        exchange = Exchange(head, hop, services.next_request_id(), services.clock(), self._ending)
        if services.draining:
            exchange.keep_alive = False
        self.full_exchange = exchange
        services.metrics.exchanges_open += 1  # Record.exchange decrements it
        if services.metrics.exchanges_open > services.limits.open_exchanges:
            exchange.refuse(TOO_MANY_EXCHANGES)
            return
        self._admission.judge(exchange)

    def refuse_head(self, refusal: Refusal, raw: Head | None = None, received: bytes = b"") -> None:
        """Refuse bytes that are not a request. Close the connection, because the next request cannot be found.

        `raw` is the head, or None if it could not be parsed. `received` begins with its bytes.
        """
        request_id = self._services.next_request_id()
        head_only = raw is not None and raw.method == b"HEAD"
        table = self._services.enforcement.table
        head = (raw or readable_parts(received)) if table.has_cors else None
        permission = table.answer_to_preflight(head) if head is not None and refusal in _OVER_LIMITS else None
        if permission is not None:
            # The browser then sends the request itself, so that its page can read the refusal.
            outcome, status = PREFLIGHT_ANSWERED, 204
            response = preflight_response(request_id, permission, close=True)
        else:
            outcome, status = refusal.code, refusal.status
            lines = table.lines_of(refusal, head) if head is not None else b""
            response = refusal_response(refusal, request_id, lines, close=True, head_only=head_only)
        self._services.record.lone_head(
            outcome, status, raw, request_id=request_id, client=self._peer.address, bytes_out=len(response)
        )
        self.write(response)
        self._finish(linger=True)

    # Called by the parts of an exchange (client.Client).

    def write(self, data: bytes) -> None:
        """Send bytes to the client, unless the connection is closing."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def write_many(self, buffers: list[bytes]) -> None:
        """Send several buffers to the client, unless the connection is closing."""
        if not self.transport.is_closing():
            self.transport.writelines(buffers)

    def hold(self, reason: int) -> None:
        """Stop reading from the client for a reason."""
        self._input.hold(reason)

    def release(self, reason: int) -> None:
        """Remove a reason not to read."""
        self._input.release(reason)

    def exchange_done(self, *, keep_alive: bool, linger: bool = False) -> None:
        """Continue after an exchange that ended cleanly."""
        exchange = self._take_exchange()
        if not keep_alive:
            self._finish(linger=linger or not exchange.body.done)
            return
        self.deadline = self._loop.time() + self._services.limits.keepalive_seconds
        self._input.release(OF_ONE_EXCHANGE)  # this may begin the next exchange
        if self._services.draining and self.exchange is None:
            self._finish(linger=False)

    def exchange_cut(self, *, reset: bool) -> None:
        """Close the connection in the middle of a response.

        With `reset`, it ends with RST, because a FIN would look like the end of the response. It also ends with RST if
        the client does not read, because a FIN could not be sent.
        """
        self._take_exchange()
        self._input.closed = True
        self.deadline = self._loop.time() + self._services.limits.upload_idle_seconds
        if reset or self.full:
            reset_connection(self.transport)
        else:
            self.transport.close()

    def _take_exchange(self) -> Exchange:
        exchange, self.full_exchange = self.full_exchange, None
        assert exchange is not None  # noqa: S101 - only an open exchange ends
        self._record(exchange)
        return exchange

    # The end of the connection.

    def _finish(self, *, linger: bool) -> None:
        """Close once everything is written. `linger` keeps reading, because a reset would lose the response."""
        self._input.close()
        now = self._loop.time()
        if not linger:
            self.deadline = now + self._services.limits.upload_idle_seconds  # time to write the remaining bytes
            self.transport.close()
            return
        if not self.transport.get_write_buffer_size():
            self.deadline = now + _LINGER_SECONDS
        else:  # a long response ended before the whole request had arrived
            self.deadline = now + self._services.limits.upload_idle_seconds
        if self.transport.is_closing():
            return
        self._input.resume_for_good()
        if self.transport.can_write_eof():  # not with TLS, where the deadline ends the connection
            self.transport.write_eof()

    def _record(self, exchange: Exchange) -> None:
        self._services.record.exchange(exchange, self._peer.client_address(exchange.head))

    def sweep(self, now: float) -> None:
        """Check the timeouts, and count what was sent. `now` is the event loop's time in seconds."""
        self._turn.end()  # a connection that has just received something is not idle
        exchange = self.exchange
        if exchange is not None:
            self._services.record.count_bytes(exchange)
            self._ending.sweep(exchange, now)
        elif self.full and now - self.full_since > self._services.limits.upload_idle_seconds:
            self.transport.abort()
        elif now >= self.deadline:
            if self._input.closed:
                self.transport.abort()
            elif self._input.in_head:
                self.refuse_head(HEAD_TIMEOUT, received=self._input.reader.partial)
            else:
                self._finish(linger=False)

    def drain(self) -> None:
        """Close now if idle, otherwise after the open exchange."""
        self._turn.end()  # a connection that has just received something is not idle
        if self.exchange is not None:
            self.exchange.keep_alive = False
        elif self._input.empty and not self._input.closed:
            self._finish(linger=False)

    def abort(self) -> None:
        """Close at once, even if an exchange is open."""
        self.transport.abort()
