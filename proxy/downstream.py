"""A client's connection: requests in, in order, each judged by its own key; answers out."""

import asyncio
import re
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import SO_LINGER, SOL_SOCKET
from typing import cast

import httptools
import structlog

from proxy.accesslog import AccessLog
from proxy.decision import Claim
from proxy.enforcement import Enforcement, Verdict
from proxy.exchange import CONNECTING, JUDGING, PIPELINED, UPSTREAM_FULL, Exchange
from proxy.framing import FramingError
from proxy.heads import Fields, Head, render
from proxy.hops import clean_request, client_address, forwarding_lines
from proxy.metrics import Metrics
from proxy.refusals import (
    BAD_REQUEST,
    HEAD_TIMEOUT,
    HEAD_TOO_LARGE,
    INTERNAL_ERROR,
    TARGET_TOO_LONG,
    TOO_MANY_EXCHANGES,
    UNKNOWN_METHOD,
    UNSUPPORTED_VERSION,
    Refusal,
    Refused,
)
from proxy.routes import Route
from proxy.settings import LimitSettings
from proxy.upstream import UpstreamPool

_log = structlog.get_logger(__name__)

_LINGER_SECONDS = 2.0  # for how long a refused client's rest is read and thrown away, so that it sees the answer
_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [^ ]+ HTTP/\d\.\d\r\n")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64} ")


@dataclass(slots=True)
class Services:
    """What every connection of a front door shares."""

    limits: LimitSettings
    enforcement: Enforcement
    pools: Mapping[Route, UpstreamPool]
    metrics: Metrics
    access_log: AccessLog
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
        "_fields",
        "_held",
        "_holds",
        "_loop",
        "_method",
        "_parser",
        "_partial",
        "_peer",
        "_scheme",
        "_services",
        "_target",
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
        self._partial = b""  # a head that has not come whole
        self._consuming = False
        self._discarding = False
        self.full = False
        self.full_since = 0.0
        self._new_head()
        self._parser = httptools.HttpRequestParser(self)

    def _new_head(self) -> None:
        self._method = b""  # until the head is parsed
        self._target = b""
        self._fields: Fields = []

    # What the transport tells.

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else "unix"
        self._trusted = self._services.is_trusted(self._peer)
        self._scheme = b"https" if transport.get_extra_info("ssl_object") is not None else b"http"
        self._deadline = self._loop.time() + self._services.limits.head_seconds
        self._services.connections.add(self)
        self._services.metrics.downstream_open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        services = self._services
        services.connections.discard(self)
        services.metrics.downstream_open -= 1
        if services.draining and not services.connections:
            services.drained.set()
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

    def data_received(self, data: bytes) -> None:
        if self._discarding:
            return
        if self._held:
            self._held += data  # reading was paused, this was under way
            return
        self._consume(data)

    # Bytes to requests.

    def _consume(self, data: bytes) -> None:
        self._consuming = True
        try:
            while data and not self._discarding:
                exchange = self._exchange
                if exchange is None:
                    data = self._read_head(data)
                elif exchange.tunnel:
                    exchange.tunnel_data(data)
                    data = b""
                elif exchange.request_done:
                    self.hold(PIPELINED)
                    break
                elif self._holds & (JUDGING | CONNECTING):
                    break
                else:
                    pieces, data = exchange.hop.body.feed(data)
                    exchange.request_data(pieces, done=exchange.hop.body.done)
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

    def _read_head(self, data: bytes) -> bytes:
        """Read on in a head; begin an exchange where it is whole. Return what comes after it."""
        limits = self._services.limits
        held = self._partial
        if not held:
            if data.startswith(b"\r\n"):
                data = data[2:]  # RFC 9112 §2.2: an empty line before a request is ignored
            if not data:
                return b""
            self._deadline = self._loop.time() + limits.head_seconds
        buffer = held + data if held else data
        end = buffer.find(b"\r\n\r\n", max(0, len(held) - 3))
        size = len(buffer) if end < 0 else end + 4
        if size > limits.head_bytes or (size > limits.target_bytes and self._target_too_long(buffer)):
            too_long = self._target_too_long(buffer)
            return self._refuse_head(TARGET_TOO_LONG if too_long else HEAD_TOO_LARGE)
        try:
            if end < 0:
                self._partial = buffer
                self._parser.feed_data(data)  # tells at once what can become no request
                return b""
            self._partial = b""
            self._parser.feed_data(data if not held and size == len(data) else buffer[len(held) : size])
        except httptools.HttpParserUpgrade:
            self._parser = httptools.HttpRequestParser(self)  # whether it is an upgrade is ours to say
        except httptools.HttpParserInvalidMethodError:
            return self._refuse_head(UNKNOWN_METHOD if _METHOD.match(buffer) else BAD_REQUEST)
        except httptools.HttpParserError:
            return self._refuse_head(_malformed(buffer))
        self._begin(buffer, size)
        return buffer[size:]

    def _target_too_long(self, buffer: bytes) -> bool:
        """Tell whether the request line alone is over the limit: method and version take a few bytes more."""
        line_end = buffer.find(b"\r\n")
        line = buffer[: line_end if line_end >= 0 else len(buffer)]
        target = line.partition(b" ")[2].partition(b" ")[0]
        return len(target) > self._services.limits.target_bytes

    def _begin(self, buffer: bytes, size: int) -> None:
        """Begin the exchange of the head that is `buffer[:size]`."""
        services = self._services
        method, target, fields = self._method, self._target, self._fields
        self._new_head()
        # llhttp lets other versions, and more than one space, through.
        if buffer.startswith(b"%b %b HTTP/1.1\r\n" % (method, target)):
            minor = 1
        elif buffer.startswith(b"%b %b HTTP/1.0\r\n" % (method, target)):
            minor = 0
        else:
            self._refuse_head(_malformed(buffer))
            return
        if method == b"CONNECT":
            self._refuse_head(UNKNOWN_METHOD)  # this is no forward proxy
            return
        if len(fields) > services.limits.head_count:
            self._refuse_head(HEAD_TOO_LARGE)
            return
        try:
            hop = clean_request(
                method,
                minor,
                fields,
                trusted=self._trusted,
                judged=services.enforcement.table.judged_names,
                trailer_bytes=services.limits.head_bytes,
            )
        except Refused as refused:
            # The head is well-formed, but where its body ends was not worked out.
            self._refuse_head(refused.refusal, method, target)
            return
        if not hop.body.done:
            self._parser = httptools.HttpRequestParser(self)  # llhttp waits for a body, which is ours to read
        exchange = Exchange(
            self,
            services.enforcement,
            services.limits,
            method=method,
            target=target,
            minor=minor,
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
        began = time.perf_counter()
        try:
            head = Head(exchange.method, exchange.target, exchange.hop.fields, has_body=not exchange.request_done)
            verdict = self._services.enforcement.judge(head)
        except Exception:
            _log.exception("the decision failed; the request was refused")
            exchange.refuse(INTERNAL_ERROR)
            return
        if isinstance(verdict, Claim):
            self.hold(JUDGING)
            exchange.wait_for(self._loop.create_task(self._judge_slowly(exchange, verdict, began)))
            return
        self._services.metrics.decision(time.perf_counter() - began)
        self._conclude(exchange, verdict)

    async def _judge_slowly(self, exchange: Exchange, claim: Claim, began: float) -> None:
        services = self._services
        address = client_address(exchange.hop.fields, self._peer, services.is_trusted) if self._trusted else self._peer
        try:
            verdict = await services.enforcement.judge_slowly(claim, address)
        except Exception:
            _log.exception("the decision failed; the request was refused")
            exchange.refuse(INTERNAL_ERROR)
            return
        services.metrics.decision(time.perf_counter() - began)
        self._conclude(exchange, verdict)
        if self._exchange is exchange:  # not done already: the hold may by now be the next one's
            self.release(JUDGING)

    def _conclude(self, exchange: Exchange, verdict: Verdict) -> None:
        exchange.verdict = verdict
        claim = verdict.claim
        if verdict.refusal is not None:
            exchange.refuse(verdict.refusal)
        elif claim is not None:
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
        if not self._holds:
            return
        self._holds &= ~reason
        if not self._holds & (JUDGING | CONNECTING):
            self._resume()
        if not self._holds and not self.transport.is_closing():
            self.transport.resume_reading()

    def exchange_done(self, *, keep_alive: bool) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        self._note(exchange)
        if not keep_alive:
            self._finish(linger=not exchange.request_done)
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
        if reset or self.full:
            _reset(self.transport)
        else:
            self.transport.close()

    # The end.

    def _refuse_head(self, refusal: Refusal, method: bytes = b"-", target: bytes = b"") -> bytes:
        """Refuse what became no exchange, and end the connection: what follows is not known to be a request."""
        services = self._services
        request_id = services.next_request_id()
        answer = refusal.render(request_id, close=True, head_only=method == b"HEAD")
        services.metrics.exchange("", refusal.code, refusal.status, 0.0, None)
        services.access_log.write(
            request_id=request_id.decode(),
            client=self._peer,
            method=method,
            path=target,
            status=refusal.status,
            outcome=refusal.code,
            route="",
            user_id=None,
            sites=(),
            seconds=0.0,
            upstream_seconds=None,
            bytes_in=0,
            bytes_out=len(answer),
        )
        self.write(answer)
        self._finish(linger=True)
        return b""

    def _finish(self, *, linger: bool) -> None:
        """Close once all is written. `linger`: the client may still be sending, and a reset would lose our answer."""
        self._held = self._partial = b""
        self._discarding = True
        now = self._loop.time()
        if not linger:
            self._deadline = now + self._services.limits.upload_idle_seconds  # for what is still to be written
            self.transport.close()
            return
        self._deadline = now + _LINGER_SECONDS
        if self.transport.is_closing():
            return
        if self._holds:
            self._holds = 0
            self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _note(self, exchange: Exchange) -> None:
        """Count and log an exchange that has ended."""
        services = self._services
        services.metrics.exchanges_open -= 1
        verdict = exchange.verdict
        claim = verdict.claim if verdict is not None else None
        grant = verdict.grant if verdict is not None else None
        route = claim.route.name if claim is not None else ""
        seconds = time.perf_counter() - exchange.started
        services.metrics.exchange(route, exchange.outcome, exchange.status, seconds, exchange.upstream_seconds)
        services.access_log.write(
            request_id=exchange.request_id.decode(),
            client=client_address(exchange.hop.fields, self._peer, services.is_trusted)
            if self._trusted
            else self._peer,
            method=exchange.method,
            path=exchange.target,
            status=exchange.status,
            outcome=exchange.outcome,
            route=route,
            user_id=grant.user_id if grant is not None else None,
            sites=claim.sites if claim is not None else (),
            seconds=seconds,
            upstream_seconds=exchange.upstream_seconds,
            bytes_in=exchange.bytes_in,
            bytes_out=exchange.bytes_out,
        )

    def sweep(self, now: float) -> None:
        """Look at the time-outs. `now` is the loop's time in seconds."""
        exchange = self._exchange
        if exchange is not None:
            exchange.sweep(now)
        elif now >= self._deadline:
            if self._discarding:
                self.transport.abort()
            elif self._partial:
                self._refuse_head(HEAD_TIMEOUT)
            else:
                self._finish(linger=False)

    def drain(self) -> None:
        """Close now if idle, else after the open exchange."""
        if self._exchange is not None:
            self._exchange.keep_alive = False
        elif not self._partial and not self._discarding:
            self._finish(linger=False)

    def abort(self) -> None:
        """End the connection, whatever is open on it."""
        self.transport.abort()

    # What llhttp tells.

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        self._method = self._parser.get_method()


def _malformed(buffer: bytes) -> Refusal:
    line = _LINE.match(buffer)
    if line and not line[0].endswith((b" HTTP/1.1\r\n", b" HTTP/1.0\r\n")):
        return UNSUPPORTED_VERSION
    return BAD_REQUEST


def _reset(transport: asyncio.Transport) -> None:
    """End with RST where a FIN would look like the answer's end."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
