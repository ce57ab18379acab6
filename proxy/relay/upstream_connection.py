"""A connection to an upstream, and the answers that come over it."""

import asyncio
import contextlib
import re
from http import HTTPStatus
from typing import Protocol, cast

import httptools

from proxy.http.bodies import NO_BODY, Body, ChunkedBody, CloseBody, FramingError, Pieces, answer_body
from proxy.http.body_readers import BodyReaders
from proxy.http.headers import Fields
from proxy.http.hop_by_hop import AnswerHop, clean_answer
from proxy.relay.socket_options import probe_peer

_ANSWER_HEAD_BYTES = 256 * 1024  # of one head, trailers likewise: an upstream is trusted, its bugs are not

_CLOSE_SECONDS = 10

_USUAL_REASONS = frozenset(status.phrase.encode() for status in HTTPStatus)
_CONTROL = re.compile(rb"[\x00-\x08\x0A-\x1F\x7F]").search  # RFC 9112 §4 allows tab, space, visible and high bytes


class Asker(Protocol):
    """The exchange, as far as a connection knows it: whom it tells what came."""

    method: bytes
    has_body: bool
    request_done: bool
    """Whether the whole request was sent."""
    may_reuse: bool
    """Whether servers read the body of a request with this method, and were not told to close after it."""

    def interim(self, status: int, reason: bytes, fields: Fields) -> None:
        """Take a 1xx answer but 101."""

    def switched(self, reason: bytes, raw: Fields) -> bool:
        """Take a 101; return whether it was asked for."""

    def answer(self, status: int, reason: bytes, hop: AnswerHop, body: Body) -> None:
        """Take the answer's head."""

    def answer_data(self, pieces: Pieces) -> None:
        """Take body data, or a tunnel's."""

    def answer_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """Take the answer's end."""

    def flush(self) -> None:
        """All that one read brought was told."""

    def upstream_lost(self, *, unanswered: bool, reused: bool) -> None:
        """The connection is gone before the answer's end; `unanswered`: before its first byte."""

    def upstream_full(self, full: bool) -> None:
        """Stop, or go on, sending."""


class Home(Protocol):
    """The pool, as far as its connections know it."""

    body_readers: BodyReaders
    """The addresses at which servers read each request's body, and so do not take it for the next request."""

    def opened(self) -> None:
        """Take note of a new connection."""

    def lost(self, connection: "UpstreamConnection") -> None:
        """Take note of one that is gone."""

    def give_back(self, connection: "UpstreamConnection", idle_seconds: float | None) -> None:
        """Take one back whose exchange has ended cleanly; the upstream keeps it for so long."""


class UpstreamConnection:
    """One connection to the upstream (an asyncio protocol). It serves one exchange at a time."""

    __slots__ = (
        "_address",
        "_body",
        "_fields",
        "_generation",
        "_hop",
        "_parsed",
        "_parser",
        "_partial",
        "_pool",
        "_reads_bodies",
        "_reason",
        "_said_end",
        "_tunnel",
        "answered",
        "asker",
        "connected",
        "idle_until",
        "reused",
        "transport",
    )

    def __init__(self, pool: Home) -> None:
        self._pool = pool
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.asker: Asker | None = None
        self.reused = False
        self.answered = False
        self.idle_until = 0.0
        self.connected = False
        self._said_end = False
        self._tunnel = False
        self._address: object = None
        self._generation = pool.body_readers.generation
        self._reads_bodies: bool | None = None  # None until a response on this connection told it
        self._body: Body | None = None
        self._hop: AnswerHop | None = None
        self._partial = b""
        self._new_head()
        self._parser = httptools.HttpResponseParser(self)

    def _new_head(self) -> None:
        self._parsed = False
        self._reason = b""
        self._fields: Fields = []

    # What the exchange does with it.

    @property
    def reads_bodies(self) -> bool:
        """Whether the server reads a request's body to its end, as far as that is known."""
        if self._reads_bodies is not None:
            return self._reads_bodies
        now = asyncio.get_running_loop().time()
        return self._pool.body_readers.knows(self._address, self._generation, now)

    def send(self, asker: Asker, data: bytes) -> None:
        """Begin an exchange with the bytes of its head (and body, as far as it is there)."""
        self.asker = asker
        self.answered = False
        self.write([data])

    def write(self, buffers: list[bytes]) -> None:
        """Send on, unless the connection is on its way out: that is told when it is lost."""
        if not self.transport.is_closing():
            self.transport.writelines(buffers)

    def drop(self) -> None:
        """End the connection in the middle of its exchange."""
        self.asker = None
        self.transport.abort()

    def close(self) -> None:
        """End the connection after what was written is sent, which has its time."""
        self.asker = None
        self.transport.close()
        asyncio.get_running_loop().call_later(_CLOSE_SECONDS, self.transport.abort)

    def give_up(self) -> None:
        """End it in the moment it came: uvloop has closed it by then, and tells nobody that it is lost."""
        self.transport.abort()
        self.connection_lost(None)

    # What the transport tells.

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.connected = True
        self._address = transport.get_extra_info("peername")
        probe_peer(transport)
        self._pool.opened()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.connected:
            return  # it was given up, and that was told
        self.connected = False
        self._pool.lost(self)
        asker, self.asker = self.asker, None
        if exc is not None or (self._said_end and (asker is None or asker.may_reuse)):
            self._pool.body_readers.forget()  # the server ended it unasked: another may take its address
        if asker is None:
            return
        # RFC 9112 §9.8: over TLS an end that nobody announced may be an attacker's.
        if isinstance(self._body, CloseBody) and exc is None and self._said_end:
            asker.answer_end([])
        else:
            asker.upstream_lost(unanswered=not self.answered, reused=self.reused)

    def eof_received(self) -> bool:
        self._said_end = True  # over TLS by close_notify: uvloop tells of no other end here
        return False

    def pause_writing(self) -> None:
        if self.asker is not None:
            self.asker.upstream_full(True)

    def resume_writing(self) -> None:
        if self.asker is not None:
            self.asker.upstream_full(False)

    def data_received(self, data: bytes) -> None:
        asker = self.asker
        if asker is None:
            # Nothing was asked: whatever this is, it must not become somebody's answer.
            self.transport.abort()
            return
        self.answered = True
        if self._tunnel:
            asker.answer_data([data])
            asker.flush()
            return
        try:
            self._read(asker, data)
        except (httptools.HttpParserError, FramingError):
            self.drop()
            asker.upstream_lost(unanswered=False, reused=self.reused)

    def _read(self, asker: Asker, data: bytes) -> None:
        while data or (self._body is not None and self._body.done):
            body = self._body
            if body is None:
                data = self._read_head(asker, data)
                if self._tunnel:
                    if data:
                        asker.answer_data([data])
                    break
                continue
            pieces, data = body.feed(data)
            if pieces:
                asker.answer_data(pieces)
            if body.done:
                self._end(asker, body, unsolicited=bool(data))
                return
        asker.flush()

    def _read_head(self, asker: Asker, data: bytes) -> bytes:
        """Read on in a head; return what comes after its end."""
        held = self._partial
        buffer = held + data if held else data
        end = buffer.find(b"\r\n\r\n", max(0, len(held) - 3))
        if end < 0:
            if len(buffer) > _ANSWER_HEAD_BYTES:
                raise FramingError("the answer's head is too large")
            self._partial = buffer
            self._parser.feed_data(data)  # tells at once what can become no answer
            return b""
        end += 4
        self._partial = b""
        with contextlib.suppress(httptools.HttpParserUpgrade):
            self._parser.feed_data(buffer[len(held) : end] if len(buffer) > end or held else data)
        if not self._parsed:
            raise FramingError("the answer's head is not one")
        status, reason, fields = self._parser.get_status_code(), self._reason, self._fields
        minor = 0 if buffer.startswith(b"HTTP/1.0 ") else 1
        if not buffer.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")):
            raise FramingError("the answer is not HTTP/1.0 or HTTP/1.1")
        if status < 100:
            raise FramingError("the answer's status is none")  # RFC 9112 §4: three digits; llhttp takes 099 for 99
        if reason not in _USUAL_REASONS and _CONTROL(reason):
            raise FramingError("the answer's reason phrase holds a control character")
        self._new_head()
        if status == 101:
            if not asker.switched(reason, fields):
                raise FramingError("the answer switches protocols unasked")
            self._tunnel = True
        else:
            hop = clean_answer(minor, fields)
            if status < 200:
                asker.interim(status, reason, hop.fields)
            else:
                self._hop = hop
                self._learn(asker, hop)
                self._body = answer_body(
                    asker.method, status, hop.lengths, hop.codings, minor, trailer_bytes=_ANSWER_HEAD_BYTES
                )
                asker.answer(status, reason, hop, self._body)
            bodiless = self._body is None or (self._body is NO_BODY and asker.method != b"HEAD")
            if not bodiless or hop.lengths or hop.codings or not hop.keep_alive:
                # llhttp may wait for a body, or for nothing any more: the next head gets a parser of its own.
                self._parser = httptools.HttpResponseParser(self)
        return buffer[end:]

    def _learn(self, asker: Asker, hop: AnswerHop) -> None:
        """Take note of the software that a response names, and of a server that is about to stop."""
        readers = self._pool.body_readers
        if asker.has_body or self._reads_bodies is None:
            now = asyncio.get_running_loop().time()
            self._reads_bodies = readers.learn(self._address, self._generation, hop.fields, now)
        if not hop.keep_alive and asker.may_reuse:
            readers.forget()  # the server closes unasked, as one does that is being replaced

    def _end(self, asker: Asker, body: Body, *, unsolicited: bool) -> None:
        hop, self._hop, self._body, self.asker = self._hop, None, None, None
        # What is left of a body that the upstream did not read would be its next request.
        unread = asker.has_body and not (asker.may_reuse and self._reads_bodies)
        if not asker.request_done or self.transport.get_write_buffer_size():
            # Nobody reads on there, so it would never close in order, nor say to its next asker when it is full.
            self.transport.abort()
        elif hop is None or not hop.keep_alive or unsolicited or unread:
            self.transport.close()
        else:
            self._pool.give_back(self, hop.idle_seconds)
        asker.answer_end(body.trailers if isinstance(body, ChunkedBody) else [])

    # What llhttp tells.

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self._parsed = True
