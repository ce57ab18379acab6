"""A client's connection: its requests are judged one by one and answered in order."""

import asyncio
from typing import cast

import structlog

from proxy.decision.routes import Claim
from proxy.enforcement import Pending, Verdict
from proxy.http.head_writer import refusal_response, request_head
from proxy.http.headers import Fields, Head
from proxy.http.hop_by_hop import RequestHop, client_address, forwarding_lines
from proxy.http.request_parser import RawHead
from proxy.refusals import HEAD_TIMEOUT, INTERNAL_ERROR, TOO_MANY_EXCHANGES, Refusal
from proxy.relay.client import CLIENT_FULL, CONNECTING, JUDGING, PIPELINED, UPSTREAM_FULL
from proxy.relay.client_input import ClientInput
from proxy.relay.exchange import Exchange
from proxy.relay.exchange_ending import ExchangeEnding
from proxy.relay.request_forwarder import RequestForwarder
from proxy.relay.response_forwarder import ResponseForwarder
from proxy.relay.services import Services
from proxy.relay.socket_options import peer_name, probe_peer, reset_connection
from proxy.relay.upstream_connection import UpstreamConnection
from proxy.relay.upstream_pool import UpstreamPool

_log = structlog.get_logger(__name__)

_LINGER_SECONDS = 2.0
"""For how long the rest of a refused client's bytes is read and discarded, so that the client sees the response."""


class ClientConnection:
    """One client's connection (an asyncio protocol).

    It lives as long as its socket, and so do its parts: the input, both forwarders, and the ending. They serve one
    exchange after another. `exchange` is the open one.
    """

    __slots__ = (
        "_deadline",
        "_ending",
        "_input",
        "_loop",
        "_peer",
        "_requests",
        "_responses",
        "_scheme",
        "_services",
        "_trusted",
        "exchange",
        "full",
        "full_since",
        "transport",
    )

    def __init__(self, services: Services, loop: asyncio.AbstractEventLoop) -> None:
        self._services = services
        self._loop = loop
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.exchange: Exchange | None = None
        self.full = False
        self.full_since = 0.0
        clock = services.clock
        self._requests = requests = RequestForwarder(self, loop, clock)
        self._responses = responses = ResponseForwarder(self, requests, loop, clock)
        self._ending = ExchangeEnding(self, requests, responses, services.enforcement, services.limits)
        self._input = ClientInput(self, requests, services, loop)

    @property
    def paused(self) -> bool:
        """Whether the client is not read from."""
        return self._input.paused

    @property
    def upstream(self) -> UpstreamConnection | None:
        """The upstream connection that serves the open exchange."""
        return self._requests.connection

    # Events of the transport.

    def connection_made(self, transport: asyncio.Transport) -> None:
        services = self._services
        self.transport = self._input.transport = transport
        self._peer = peer_name(transport)
        self._trusted = self._input.trusted = services.is_trusted(self._peer)
        self._scheme = b"https" if transport.get_extra_info("ssl_object") is not None else b"http"
        self.head_begun()
        probe_peer(transport)
        services.connections.add(self)
        services.metrics.downstream_open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        services = self._services
        services.connections.discard(self)
        services.metrics.downstream_open -= 1
        if services.draining and not services.connections:
            services.drained.set()
        self._input.close()
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            self._ending.abandon(exchange)
            self._record(exchange)

    def eof_received(self) -> bool:
        # A client that closes its side is taken to have left, as nginx and Go do. The two look alike on the wire, and
        # an upstream must not continue to work for a client that has left.
        return False

    def pause_writing(self) -> None:
        self.full = True
        self.full_since = self._loop.time()
        self._requests.client_full(True)

    def resume_writing(self) -> None:
        self.full = False
        self._requests.client_full(False)
        self._input.release(CLIENT_FULL)

    def data_received(self, data: bytes) -> None:
        self._input.feed(data)

    # Requests to verdicts.

    def head_begun(self) -> None:
        """Give the client its time for a whole head."""
        self._deadline = self._loop.time() + self._services.limits.head_seconds

    def begin(self, raw: RawHead, hop: RequestHop) -> None:
        """Begin an exchange."""
        services = self._services
        exchange = Exchange(raw, hop, services.next_request_id(), services.clock(), self._ending)
        if services.draining:
            exchange.keep_alive = False
        self.exchange = exchange
        services.metrics.exchanges_open += 1
        if services.metrics.exchanges_open > services.limits.open_exchanges:
            exchange.refuse(TOO_MANY_EXCHANGES)
            return
        self._judge(exchange)

    def _judge(self, exchange: Exchange) -> None:
        hop = exchange.hop
        head = Head(exchange.method, exchange.target, hop.fields, exchange.has_body, hop.dropped)
        verdict = self._services.enforcement.judge(head)
        if isinstance(verdict, Pending):
            exchange.cors = verdict.claim.route.cors
            self.hold(JUDGING)
            self._requests.wait_for(self._loop.create_task(self._judge_slowly(exchange, verdict)))
        else:
            self._conclude(exchange, verdict)

    async def _judge_slowly(self, exchange: Exchange, pending: Pending) -> None:
        try:
            verdict = await self._services.enforcement.judge_slowly(pending, self._client_address(exchange.hop.fields))
            self._requests.wait_for(None)
            self._conclude(exchange, verdict)
        except Exception:
            _log.exception("the request could not be forwarded; it was refused")
            exchange.refuse(INTERNAL_ERROR)
            return
        if self.exchange is exchange:  # otherwise the reason may already be another exchange's
            self.release(JUDGING)

    def _conclude(self, exchange: Exchange, verdict: Verdict) -> None:
        exchange.verdict = verdict
        claim = verdict.claim
        cors = exchange.cors = claim.route.cors if claim is not None else None
        if verdict.refusal is not None:
            exchange.refuse(verdict.refusal)
        elif claim is not None:
            if cors is not None and claim.preflight:
                self._ending.answer_preflight(exchange, cors)
                return
            pool = self._services.pools[claim.route]
            head = self._request_head(exchange, verdict, claim, pool)
            self._requests.start(exchange, pool, head, self._responses)

    def _request_head(self, exchange: Exchange, verdict: Verdict, claim: Claim, pool: UpstreamPool) -> bytes:
        """Return the head for the upstream: what was judged, who the API user is, and where the request came from."""
        hop = exchange.hop
        fields, lines, exchange.request_id = forwarding_lines(
            claim.fields,
            peer=self._peer.encode(),
            scheme=self._scheme,
            host=hop.host,
            request_id=exchange.request_id,
            trusted=self._trusted,
        )
        if claim.route.settings.host == "upstream":
            fields = [(n, pool.host_field) if n.lower() == b"host" else (n, v) for n, v in fields]
        return request_head(
            exchange.method,
            claim.target,
            fields,
            verdict.identity + lines,
            chunked=hop.chunked,
            websocket=hop.websocket_key is not None,
        )

    # What the parts of an exchange call (client.Client).

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
        self._deadline = self._loop.time() + self._services.limits.keepalive_seconds
        self._input.release(JUDGING | CONNECTING | UPSTREAM_FULL | PIPELINED)
        if self._services.draining and self.exchange is None:
            self._finish(linger=False)

    def exchange_cut(self, *, reset: bool) -> None:
        """Close the connection in the middle of a response, with RST if a FIN would look like the response's end."""
        self._take_exchange()
        self._input.closed = True
        self._deadline = self._loop.time() + self._services.limits.upload_idle_seconds
        if reset or self.full:
            reset_connection(self.transport)
        else:
            self.transport.close()

    def _take_exchange(self) -> Exchange:
        exchange, self.exchange = self.exchange, None
        assert exchange is not None  # noqa: S101 - only an open exchange ends
        self._record(exchange)
        return exchange

    def refuse_head(self, refusal: Refusal, raw: RawHead | None = None) -> None:
        """Refuse bytes that are not a request, and close the connection: nothing after them is known to be one."""
        request_id = self._services.next_request_id()
        head_only = raw is not None and raw.method == b"HEAD"
        response = refusal_response(refusal, request_id, close=True, head_only=head_only)
        self._services.record.refused_head(
            refusal, raw, request_id=request_id, client=self._peer, bytes_out=len(response)
        )
        self.write(response)
        self._finish(linger=True)

    # The end of the connection.

    def _finish(self, *, linger: bool) -> None:
        """Close once everything is written. `linger` keeps reading, as a reset would lose the response."""
        self._input.close()
        now = self._loop.time()
        if not linger:
            self._deadline = now + self._services.limits.upload_idle_seconds  # for what is not written yet
            self.transport.close()
            return
        if not self.transport.get_write_buffer_size():
            self._deadline = now + _LINGER_SECONDS
        else:  # a long response that ended before the whole request had arrived
            self._deadline = now + self._services.limits.upload_idle_seconds
        if self.transport.is_closing():
            return
        self._input.resume_for_good()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _client_address(self, fields: Fields) -> str:
        """Return the client's address: the peer's, or the one that trusted proxies report."""
        return client_address(fields, self._peer, self._services.is_trusted) if self._trusted else self._peer

    def _record(self, exchange: Exchange) -> None:
        self._services.record.exchange(exchange, self._client_address(exchange.hop.fields))

    def sweep(self, now: float) -> None:
        """Check the timeouts. `now` is the event loop's time in seconds."""
        exchange = self.exchange
        if exchange is not None:
            self._ending.sweep(exchange, now)
        elif self.full and now - self.full_since > self._services.limits.upload_idle_seconds:
            self.transport.abort()
        elif now >= self._deadline:
            if self._input.closed:
                self.transport.abort()
            elif self._input.in_head:
                self.refuse_head(HEAD_TIMEOUT)
            else:
                self._finish(linger=False)

    def drain(self) -> None:
        """Close now if idle, otherwise after the open exchange."""
        if self.exchange is not None:
            self.exchange.keep_alive = False
        elif self._input.empty and not self._input.closed:
            self._finish(linger=False)

    def abort(self) -> None:
        """Close at once, whatever is open."""
        self.transport.abort()
