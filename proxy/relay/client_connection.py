"""A client's connection: requests in, in order, each judged by its own key; answers out."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import structlog

from proxy.decision.routes import Claim, Route
from proxy.enforcement import Enforcement, Pending, Verdict
from proxy.http.bodies import FramingError
from proxy.http.headers import Fields, Head, render
from proxy.http.hop_by_hop import RequestHop, clean_request, client_address, forwarding_lines
from proxy.http.request_header_names import RequestSpellings
from proxy.http.request_parser import RawHead, RequestReader
from proxy.observe.metrics import Metrics
from proxy.refusals import (
    BAD_REQUEST,
    HEAD_TIMEOUT,
    INTERNAL_ERROR,
    TOO_MANY_EXCHANGES,
    Refusal,
    Refused,
)
from proxy.relay.exchange import CLIENT_FULL, CONNECTING, JUDGING, OTHERS_TURN, PIPELINED, UPSTREAM_FULL, Exchange
from proxy.relay.exchange_record import Record
from proxy.relay.socket_options import peer_name, probe_peer, reset_connection
from proxy.relay.upstream_pool import UpstreamPool
from proxy.settings import LimitSettings

_log = structlog.get_logger(__name__)

_HELD_BYTES = 65536  # of pipelined requests; who sent more is not read, and so not seen to leave

_MOST_HEADS = 32  # of pipelined requests that one connection gets answered before others have their turn

_LINGER_SECONDS = 2.0  # for how long a refused client's rest is read and thrown away, so that it sees the answer


@dataclass(slots=True)
class Services:
    """What every connection of a front door shares."""

    limits: LimitSettings
    enforcement: Enforcement
    spellings: RequestSpellings
    pools: Mapping[Route, UpstreamPool]
    metrics: Metrics
    record: Record
    is_trusted: Callable[[str], bool]
    next_request_id: Callable[[], bytes]
    connections: "set[Downstream]"
    drained: asyncio.Event
    """Set when the last connection is gone after `draining`."""
    draining: bool = False


class Downstream:
    """One client's connection (an asyncio protocol)."""

    __slots__ = (
        "_consuming",
        "_deadline",
        "_discarding",
        "_exchange",
        "_held",
        "_holds",
        "_loop",
        "_peer",
        "_reader",
        "_scheme",
        "_services",
        "_trusted",
        "full",
        "full_since",
        "transport",
    )

    def __init__(self, services: Services, loop: asyncio.AbstractEventLoop) -> None:
        self._services = services
        self._loop = loop
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._exchange: Exchange | None = None
        self._held = b""  # bytes that wait for their turn
        self._holds = 0  # why reading is paused: JUDGING | CONNECTING | …
        self._reader = RequestReader(services.limits, services.enforcement.table.methods)
        self._consuming = False
        self._discarding = False
        self.full = False
        self.full_since = 0.0

    # What the transport tells.

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._peer = peer_name(transport)
        self._trusted = self._services.is_trusted(self._peer)
        self._scheme = b"https" if transport.get_extra_info("ssl_object") is not None else b"http"
        self._deadline = self._loop.time() + self._services.limits.head_seconds
        probe_peer(transport)
        self._services.connections.add(self)
        self._services.metrics.downstream_open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        services = self._services
        services.connections.discard(self)
        services.metrics.downstream_open -= 1
        if services.draining and not services.connections:
            services.drained.set()
        self._held = b""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon("passed" if exchange.tunnel else "client_left")
            self._note(exchange)

    def eof_received(self) -> bool:
        # A client that has said its last is taken to have left, as nginx and Go do: the two look alike on the wire,
        # and an upstream must not go on working for nobody.
        return False

    def pause_writing(self) -> None:
        self.full = True
        self.full_since = self._loop.time()
        if self._exchange is not None:
            self._exchange.client_full(True)

    def resume_writing(self) -> None:
        self.full = False
        if self._exchange is not None:
            self._exchange.client_full(False)
        self.release(CLIENT_FULL)

    def data_received(self, data: bytes) -> None:
        if self._discarding:
            return
        if self._held:
            self._held += data  # it waits behind a pipelined request, or reading was paused and this was under way
            if len(self._held) > _HELD_BYTES and self._exchange is not None and self._exchange.request_done:
                self.hold(PIPELINED)  # until that exchange ends; all other holds end by themselves
            return
        self._consume(data)

    # Bytes to requests.

    def _consume(self, data: bytes) -> None:
        self._consuming = True
        heads = 0
        try:
            while data and not self._discarding:
                exchange = self._exchange
                if exchange is None:
                    if self.full:
                        self.hold(CLIENT_FULL)  # who reads no answers gets no more of them
                        break
                    if heads == _MOST_HEADS:
                        self._yield()
                        break
                    heads += 1
                    data = self._read_head(data)
                elif exchange.tunnel:
                    exchange.tunnel_data(data)
                    data = b""
                elif exchange.request_done:
                    if len(data) > _HELD_BYTES:
                        self.hold(PIPELINED)
                    break
                elif self._holds & (JUDGING | CONNECTING):
                    break
                else:
                    body = exchange.hop.body
                    pieces, data = body.feed(data)
                    exchange.request_data(pieces, done=body.done)
                    if data and not body.done:
                        self._yield()
                        break
        except FramingError:
            data = b""
            if self._exchange is not None:
                self._exchange.refuse(BAD_REQUEST)
        finally:
            self._consuming = False
        if not self._discarding:
            self._held = data

    def _resume(self) -> None:
        """Go on with what was held back, where nothing holds it any more."""
        if self._held and not self._consuming:
            data, self._held = self._held, b""
            self._consume(data)

    def _yield(self) -> None:
        """Let other connections have their turn, then go on."""
        self.hold(OTHERS_TURN)
        self._loop.call_soon(self.release, OTHERS_TURN)

    def _read_head(self, data: bytes) -> bytes:
        """Read on in a head; begin an exchange where it is whole. Return what comes after it."""
        services = self._services
        begins = not self._reader.partial
        raw: RawHead | None = None
        try:
            raw, rest = self._reader.read(data)
            if raw is None:
                if begins and self._reader.partial:
                    self._deadline = self._loop.time() + services.limits.head_seconds
                return b""
            hop = clean_request(
                raw.method,
                raw.minor,
                raw.fields,
                spellings=services.spellings,
                trusted=self._trusted,
                judged=services.enforcement.table.judged_names,
                trailer_bytes=services.limits.head_bytes,
            )
        except Refused as refused:
            # Where this request ends, and another begins, was not worked out: this connection is done.
            self._refuse_head(refused.refusal, raw)
            return b""
        if not hop.body.done:
            self._reader.renew()
        self._begin(raw, hop)
        return rest

    def _begin(self, raw: RawHead, hop: RequestHop) -> None:
        services = self._services
        exchange = Exchange(
            self,
            services.enforcement,
            services.limits,
            method=raw.method,
            target=raw.target,
            minor=raw.minor,
            hop=hop,
            request_id=services.next_request_id(),
        )
        if services.draining:
            exchange.keep_alive = False
        self._exchange = exchange
        services.metrics.exchanges_open += 1
        if services.metrics.exchanges_open > services.limits.open_exchanges:
            exchange.refuse(TOO_MANY_EXCHANGES)
            return
        self._judge(exchange)

    # Requests to verdicts.

    def _judge(self, exchange: Exchange) -> None:
        hop = exchange.hop
        head = Head(exchange.method, exchange.target, hop.fields, not exchange.request_done, hop.dropped)
        verdict = self._services.enforcement.judge(head)
        if isinstance(verdict, Pending):
            exchange.cors = verdict.claim.route.cors
            self.hold(JUDGING)
            exchange.wait_for(self._loop.create_task(self._judge_slowly(exchange, verdict)))
        else:
            self._conclude(exchange, verdict)

    async def _judge_slowly(self, exchange: Exchange, pending: Pending) -> None:
        try:
            verdict = await self._services.enforcement.judge_slowly(pending, self._client_address(exchange.hop.fields))
            self._conclude(exchange, verdict)
        except Exception:
            _log.exception("the request could not be forwarded; it was refused")
            exchange.refuse(INTERNAL_ERROR)
            return
        if self._exchange is exchange:  # not done already: the hold may by now be the next one's
            self.release(JUDGING)

    def _conclude(self, exchange: Exchange, verdict: Verdict) -> None:
        exchange.verdict = verdict
        claim = verdict.claim
        cors = exchange.cors = claim.route.cors if claim is not None else None
        if verdict.refusal is not None:
            exchange.refuse(verdict.refusal)
        elif claim is not None:
            if cors is not None and claim.preflight:
                exchange.answer_preflight(cors)
                return
            pool = self._services.pools[claim.route]
            exchange.pass_on(pool, self._request_head(exchange, verdict, claim, pool))

    def _request_head(self, exchange: Exchange, verdict: Verdict, claim: Claim, pool: UpstreamPool) -> bytes:
        """Return the head for the upstream: what was judged, and who we say asks."""
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
        if hop.chunked:
            lines += b"Transfer-Encoding: chunked\r\n"
        if hop.websocket_key is not None:
            lines += b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        return render(b"%b %b HTTP/1.1" % (exchange.method, claim.target), fields, verdict.identity + lines)

    @property
    def exchange(self) -> Exchange | None:
        """The exchange that is open on it."""
        return self._exchange

    # What the exchange tells (exchange.Client).

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def write_many(self, buffers: list[bytes]) -> None:
        if not self.transport.is_closing():
            self.transport.writelines(buffers)

    def hold(self, reason: int) -> None:
        if not self._holds and not self.transport.is_closing():
            self.transport.pause_reading()
        self._holds |= reason

    def release(self, reason: int) -> None:
        held = self._holds
        self._holds &= ~reason
        if not self._holds & (JUDGING | CONNECTING | OTHERS_TURN):
            self._resume()
        if held and not self._holds and not self.transport.is_closing():
            self.transport.resume_reading()

    def exchange_done(self, *, keep_alive: bool, linger: bool = False) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        self._note(exchange)
        if not keep_alive:
            self._finish(linger=linger or not exchange.request_done)
            return
        self._deadline = self._loop.time() + self._services.limits.keepalive_seconds
        self.release(JUDGING | CONNECTING | UPSTREAM_FULL | PIPELINED)
        if self._services.draining and self._exchange is None:
            self._finish(linger=False)

    def exchange_cut(self, *, reset: bool) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._note(exchange)
        self._discarding = True
        self._deadline = self._loop.time() + self._services.limits.upload_idle_seconds
        if reset or self.full:
            reset_connection(self.transport)
        else:
            self.transport.close()

    # The end.

    def _refuse_head(self, refusal: Refusal, raw: RawHead | None = None) -> None:
        """Refuse what became no exchange, and end the connection: what follows is not known to be a request."""
        request_id = self._services.next_request_id()
        head_only = raw is not None and raw.method == b"HEAD"
        answer = refusal.render(request_id, close=True, head_only=head_only)
        self._services.record.refused_head(
            refusal, raw, request_id=request_id, client=self._peer, bytes_out=len(answer)
        )
        self.write(answer)
        self._finish(linger=True)

    def _finish(self, *, linger: bool) -> None:
        """Close once all is written. `linger`: the client may still be sending, and a reset would lose our answer."""
        self._held = b""
        self._reader.partial = b""
        self._discarding = True
        now = self._loop.time()
        if not linger:
            self._deadline = now + self._services.limits.upload_idle_seconds  # for what is still to be written
            self.transport.close()
            return
        if not self.transport.get_write_buffer_size():
            self._deadline = now + _LINGER_SECONDS
        else:  # a long answer that came before the request was whole
            self._deadline = now + self._services.limits.upload_idle_seconds
        if self.transport.is_closing():
            return
        if self._holds:
            self._holds = 0
            self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _client_address(self, fields: Fields) -> str:
        """Return who asks: the peer, or whom trusted proxies say they ask for."""
        return client_address(fields, self._peer, self._services.is_trusted) if self._trusted else self._peer

    def _note(self, exchange: Exchange) -> None:
        self._services.record.exchange(exchange, self._client_address(exchange.hop.fields))

    def sweep(self, now: float) -> None:
        """Look at the time-outs. `now` is the loop's time in seconds."""
        exchange = self._exchange
        if exchange is not None:
            exchange.sweep(now)
        elif self.full and now - self.full_since > self._services.limits.upload_idle_seconds:
            self.transport.abort()
        elif now >= self._deadline:
            if self._discarding:
                self.transport.abort()
            elif self._reader.partial:
                self._refuse_head(HEAD_TIMEOUT)
            else:
                self._finish(linger=False)

    def drain(self) -> None:
        """Close now if idle, else after the open exchange."""
        if self._exchange is not None:
            self._exchange.keep_alive = False
        elif not self._reader.partial and not self._held and not self._discarding:
            self._finish(linger=False)

    def abort(self) -> None:
        """End the connection, whatever is open on it."""
        self.transport.abort()
