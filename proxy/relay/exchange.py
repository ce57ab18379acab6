"""One request and its answer: from the verdict to the log line, with back-pressure both ways."""

import asyncio
import time
from typing import Protocol

import structlog

from proxy.decision.api_keys import digest
from proxy.enforcement import Enforcement, Verdict
from proxy.http.bodies import Body, Pieces, chunk, last_chunk
from proxy.http.cors import Cors
from proxy.http.headers import Fields, render, without
from proxy.http.hop_by_hop import AnswerHop, RequestHop, accepts_websocket
from proxy.http.trailers import forwarded_trailers
from proxy.http.websocket import Frames, close_frame
from proxy.refusals import (
    INTERNAL_ERROR,
    UPLOAD_TIMEOUT,
    UPSTREAM_BROKEN,
    UPSTREAM_TIMEOUT,
    Refusal,
    Refused,
)
from proxy.relay.upstream_connection import UpstreamConnection
from proxy.relay.upstream_pool import UpstreamPool
from proxy.settings import LimitSettings

_log = structlog.get_logger(__name__)

CLIENT_LEFT = 499  # the status in log and metrics of an exchange whose client left unanswered, as nginx has it

PREFLIGHT_ANSWERED = "preflight_answered"  # the outcome in log and metrics of a preflight that Sitelatch answered

_REVOKED = "revoked"  # the outcome in log and metrics of an exchange whose answer had begun

_POLICY_VIOLATION = 1008  # RFC 6455 §7.4.1

# RFC 9110 §9.2.2. A request with one of these may be sent again when a pooled connection turns out dead.
_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})
"""Methods whose bodies servers read. Some ignore the body of any other, and take it for the next request (CL.0)."""


class Client(Protocol):
    """The client's connection, as far as its exchange knows it."""

    full: bool
    """Whether the client reads slower than the answer comes."""
    full_since: float

    def write(self, data: bytes) -> None: ...
    def write_many(self, buffers: list[bytes]) -> None: ...
    def hold(self, reason: int) -> None: ...
    def release(self, reason: int) -> None: ...
    def exchange_done(self, *, keep_alive: bool, linger: bool = False) -> None: ...
    def exchange_cut(self, *, reset: bool) -> None: ...


# Why a client's bytes are not read for now (bits).
JUDGING = 1
CONNECTING = 2
UPSTREAM_FULL = 4
PIPELINED = 8
CLIENT_FULL = 16
OTHERS_TURN = 32


class Exchange:
    """One request that passed, was refused, or waits for either (an `upstream.Asker`)."""

    __slots__ = (
        "_chunks_out",
        "_client",
        "_connection",
        "_digest",
        "_enforcement",
        "_frames",
        "_head",
        "_limits",
        "_out",
        "_pool",
        "_progress",
        "_retried",
        "_task",
        "_upstream_full",
        "answered",
        "asked_at",
        "bytes_in",
        "bytes_out",
        "cors",
        "done",
        "has_body",
        "hop",
        "keep_alive",
        "may_reuse",
        "method",
        "minor",
        "outcome",
        "request_done",
        "request_id",
        "started",
        "status",
        "target",
        "tunnel",
        "upstream_seconds",
        "verdict",
    )

    def __init__(
        self,
        client: Client,
        enforcement: Enforcement,
        limits: LimitSettings,
        *,
        method: bytes,
        target: bytes,
        minor: int,
        hop: RequestHop,
        request_id: bytes,
    ) -> None:
        self._client = client
        self._enforcement = enforcement
        self._limits = limits
        self.method = method
        self.target = target
        self.minor = minor
        self.hop = hop
        self.request_id = request_id
        # Durations by this clock: the loop's, in uvloop, goes in milliseconds.
        self.started = time.perf_counter()
        self.keep_alive = hop.keep_alive
        self.has_body = not hop.body.done
        self.request_done = hop.body.done
        self.may_reuse = hop.body.done or method in _WITH_BODY
        self.verdict: Verdict | None = None
        self.cors: Cors | None = None
        """The CORS of its route, once that is known."""
        self.outcome = "passed"
        self.status = 0
        self.answered = False
        self.tunnel = False
        self.done = False
        self.asked_at = 0.0
        self.upstream_seconds: float | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self._digest: bytes | None = None
        self._frames: Frames | None = None
        self._head = b""
        self._pool: UpstreamPool | None = None
        self._connection: UpstreamConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._retried = False
        self._upstream_full = False
        self._chunks_out = False
        self._out: list[bytes] = []
        self._progress = 0.0

    # The request's way.

    def wait_for(self, judging: "asyncio.Task[None]") -> None:
        """Know the task that the verdict comes from, to end it when the client leaves."""
        self._task = judging

    def pass_on(self, pool: UpstreamPool, head: bytes) -> None:
        """Send the request's head to the upstream: at once over an idle connection, else over a new one."""
        self._pool = pool
        self._head = head
        connection = pool.take()
        if connection is not None:
            self._ask(connection)
        else:
            self._connect(pool)

    def _connect(self, pool: UpstreamPool) -> None:
        self._client.hold(CONNECTING)
        self._task = asyncio.get_running_loop().create_task(self._ask_new(pool))

    async def _ask_new(self, pool: UpstreamPool) -> None:
        try:
            connection = await pool.open(fresh=self._retried)
        except Refused as refused:
            self._task = None
            self.refuse(refused.refusal)
            return
        except Exception:
            _log.exception("no connection to the upstream; the request was refused")
            self._task = None
            self.refuse(INTERNAL_ERROR)
            return
        self._task = None
        self._ask(connection)
        self._client.release(CONNECTING)

    def _ask(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self.asked_at = time.perf_counter()
        self._progress = asyncio.get_running_loop().time()
        head = self._head
        if self.has_body and not (self.may_reuse and connection.reads_bodies):
            # A server that ignores the body would take it for the next request, but not once it is to close.
            self.may_reuse = False
            head = head[:-2] + b"Connection: close\r\n\r\n"
        connection.send(self, head)

    def request_data(self, pieces: Pieces, *, done: bool) -> None:
        """Pass on body data of the request."""
        self.request_done = done
        for piece in pieces:
            self.bytes_in += len(piece)
        connection = self._connection
        if connection is None or self.done:
            return
        self._progress = asyncio.get_running_loop().time()
        if self.hop.chunked:
            pieces = chunk(pieces)
            if done:
                pieces.append(last_chunk([]))  # request trailers are dropped
        if pieces:
            connection.write(pieces)

    def upstream_full(self, full: bool) -> None:
        """Stop, or go on, reading the request's body: the upstream does not take it as fast."""
        self._upstream_full = full
        if full:
            self._client.hold(UPSTREAM_FULL)
        else:
            self._progress = asyncio.get_running_loop().time()
            self._client.release(UPSTREAM_FULL)

    # The answer's way.

    def interim(self, status: int, reason: bytes, fields: Fields) -> None:
        """Pass on a 1xx (RFC 9110 §15.2); HTTP/1.0 knows none."""
        if self.minor == 1 and not self.done:
            fields = without(fields, {b"content-length"})  # RFC 9110 §8.6: there can be none in a 1xx
            self._out.append(render(b"HTTP/1.1 %d %b" % (status, reason), fields, b""))

    def switched(self, reason: bytes, raw: Fields) -> bool:
        """Become a tunnel, where a websocket was asked for and this 101 opens it."""
        key = self.hop.websocket_key
        if key is None or self.done or not accepts_websocket(key, raw):
            return False
        fields = [field for field in raw if field[0].lower() not in (b"connection", b"upgrade")]
        self._begin_answer(101)
        self.tunnel = True
        self._frames = Frames()
        self.keep_alive = False
        self._client.release(PIPELINED)  # what the client said ahead is the tunnel's
        self._out.append(render(b"HTTP/1.1 101 %b" % reason, fields, b"Connection: Upgrade\r\nUpgrade: websocket\r\n"))
        return True

    def answer(self, status: int, reason: bytes, hop: AnswerHop, body: Body) -> None:
        """Pass on the answer's head, framed for this client."""
        if self.done:
            return
        self._begin_answer(status)
        if not self.request_done:
            self.keep_alive = False  # the client may go on sending a body that nobody wants
        end = b""
        if hop.codings and self.minor == 1 and body.done and status != 204:  # RFC 9112 §6.1: never in a 204
            end = b"Transfer-Encoding: chunked\r\n"  # an answer to HEAD, or a 304, tells how the body would come
        elif not body.done and not hop.lengths:
            if self.minor == 1:
                self._chunks_out = True
                end = b"Transfer-Encoding: chunked\r\n"
            else:
                self.keep_alive = False  # without chunks a body of unknown length ends with the connection
        if not self.keep_alive:
            end += b"Connection: close\r\n"
        elif self.minor == 0:
            end += b"Connection: keep-alive\r\n"
        fields = hop.fields
        if self.cors is not None:
            fields, lines = self.cors.response(self.hop.fields, fields)
            end += lines
        self._out.append(render(b"HTTP/1.1 %d %b" % (status, reason), fields, end))

    def _begin_answer(self, status: int) -> None:
        self.answered = True
        self.status = status
        self.upstream_seconds = time.perf_counter() - self.asked_at

    def answer_data(self, pieces: Pieces) -> None:
        """Pass on body data of the answer, or a tunnel's bytes."""
        for piece in pieces:
            self.bytes_out += len(piece)
        if not self.request_done:
            self._progress = asyncio.get_running_loop().time()  # who reads the answer need not send on
        if self._frames is not None:
            for piece in pieces:
                self._frames.feed(piece)
        self._out += chunk(pieces) if self._chunks_out else pieces

    def flush(self) -> None:
        """Write what one read from the upstream brought, in one go."""
        out = self._out
        if not out or self.done:
            return
        self._out = []
        if len(out) == 1:
            self._client.write(out[0])
        else:
            self._client.write_many(out)

    def answer_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """End the answer; the connection to the upstream is no longer ours."""
        self._connection = None
        if self.done:
            return
        if self._chunks_out:
            self._out.append(last_chunk(forwarded_trailers(trailers)))
        self.flush()
        self.done = True
        self._client.exchange_done(keep_alive=self.keep_alive and self.request_done)

    def upstream_lost(self, *, unanswered: bool, reused: bool) -> None:
        """Ask again where that is safe (RFC 9110 §9.2.2), else tell the client what happened."""
        self._connection = None
        if self.done:
            return
        bodiless = self.request_done and not self.bytes_in
        if unanswered and reused and not self._retried and self.method in _IDEMPOTENT and bodiless:
            self._retried = True
            if self._pool is not None:
                self._connect(self._pool)
        elif self.tunnel:
            self.done = True
            self._client.exchange_done(keep_alive=False)
        elif self.answered:
            self._cut()
        else:
            self.refuse(UPSTREAM_BROKEN)

    def _cut(self, outcome: str = "cut_short") -> None:
        """Pass on that the answer was cut short: never as a clean end."""
        self.flush()
        self.done = True
        self.outcome = outcome
        framed = self._chunks_out or self.minor == 1
        self._client.exchange_cut(reset=not framed)

    # Both ends.

    def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal, where no answer has begun."""
        if self.done:
            return
        self._drop_upstream()
        if self.answered:
            self._cut()
            return
        self.outcome = refusal.code
        self.status = refusal.status
        keep_alive = self.keep_alive and self.request_done and not refusal.closes and self.minor == 1
        lines = self.cors.refusal(self.hop.fields) if self.cors is not None else b""
        head_only = self.method == b"HEAD"
        self._answer_itself(
            refusal.render(self.request_id, close=not keep_alive, head_only=head_only, lines=lines), keep_alive
        )

    def answer_preflight(self, cors: Cors) -> None:
        """Answer a CORS preflight."""
        self.outcome = PREFLIGHT_ANSWERED
        self.status = 204
        keep_alive = self.keep_alive and self.request_done and self.minor == 1
        lines = b"X-Request-Id: %b\r\n%b" % (self.request_id, cors.preflight(self.hop.fields))
        if not keep_alive:
            lines += b"Connection: close\r\n"
        self._answer_itself(render(b"HTTP/1.1 204 No Content", [], lines), keep_alive)

    def _answer_itself(self, answer: bytes, keep_alive: bool) -> None:
        self.bytes_out += len(answer)
        self.done = True
        self._out.clear()
        self._client.write(answer)
        self._client.exchange_done(keep_alive=keep_alive)

    @property
    def key_digest(self) -> bytes:
        """The digest of the key that it passed by."""
        if self._digest is None:
            claim = self.verdict.claim if self.verdict is not None else None
            self._digest = digest(claim.key) if claim is not None and claim.key is not None else b""
        return self._digest

    def revoke(self, refusal: Refusal) -> None:
        """End, whatever is under way: the right to it is lost. `refusal` is what a request would get now."""
        if self.done:
            return
        if self._task is not None:
            self._task.cancel()  # it may be about to ask the upstream
        if not self.answered:
            self.refuse(refusal)
            return
        self._drop_upstream()
        frames = self._frames
        if frames is None:
            self._cut(_REVOKED)
            return
        self.flush()
        self.done = True
        self.outcome = _REVOKED
        if frames.between:
            self._client.write(close_frame(_POLICY_VIOLATION, refusal.detail))
        self._client.exchange_done(keep_alive=False, linger=True)

    def _drop_upstream(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.drop()

    def abandon(self, outcome: str) -> None:
        """End both sides' work without a word: the client has left, or must leave."""
        if not self.done:
            self.done = True
            self.outcome = outcome
            self.status = self.status or CLIENT_LEFT
        if self._task is not None:
            self._task.cancel()
        if self.tunnel and self._connection is not None:
            self._connection.close()  # what the client said last still goes out
            self._connection = None
        self._drop_upstream()

    def tunnel_data(self, data: bytes) -> None:
        """Pass on a client's bytes through the tunnel."""
        self.bytes_in += len(data)
        if self._connection is not None:
            self._connection.write([data])

    def client_full(self, full: bool) -> None:
        """Stop, or go on, reading the answer: the client does not take it as fast."""
        connection = self._connection
        if connection is None or connection.transport.is_closing():
            return
        if full:
            connection.transport.pause_reading()
        else:
            connection.transport.resume_reading()

    def sweep(self, now: float) -> None:
        """Look at the time-outs. `now` is the loop's time in seconds."""
        limits = self._limits
        if self.verdict is not None and self.verdict.grant is not None:
            self._enforcement.still_used(self.verdict.grant.user_id)
        if self._client.full and now - self._client.full_since > limits.upload_idle_seconds:
            self._drop_upstream()
            self._cut()
        elif self._connection is not None:
            idle = now - self._progress
            if not self.request_done and not self._upstream_full:
                if idle > limits.upload_idle_seconds:
                    self.refuse(UPLOAD_TIMEOUT)
            elif not self.answered and idle > limits.answer_seconds:
                self.refuse(UPSTREAM_TIMEOUT)
