"""Handles a client's bytes: request heads, body data and pipelined requests. Pauses reading for backpressure."""

import asyncio
from typing import Protocol

from proxy.http.bodies import FramingError
from proxy.http.headers import Head
from proxy.http.hop_by_hop import Hop, clean_request
from proxy.http.malformed_requests import malformed_body
from proxy.http.request_parser import RequestReader
from proxy.refusals import Refusal, Refused
from proxy.relay.client import CLIENT_FULL, CONNECTING, JUDGING, PIPELINED, WHILE_PENDING, YIELDING, Client
from proxy.relay.request_forwarder import RequestForwarder
from proxy.relay.services import Services

_MOST_PENDING_BYTES = 65536
"""The maximum number of waiting bytes of pipelined requests. Beyond it, reading pauses, so a disconnect is not seen."""

_HEADS_PER_TURN = 32
"""The number of pipelined requests to answer on one connection before it is the turn of other connections."""


class RequestTaker(Client, Protocol):
    """The interface of the client's connection that its input uses."""

    def begin(self, head: Head, hop: Hop) -> None:
        """Begin an exchange."""

    def refuse_head(self, refusal: Refusal, raw: Head | None, received: bytes) -> None:
        """Refuse bytes that are not a request, and close the connection."""

    def await_head(self) -> None:
        """Start the time limit for a head of which only a part has arrived."""


class ClientInput:
    """Turns a client's bytes into requests and body data. It pauses reading while more bytes could not be handled."""

    __slots__ = (
        "_client",
        "_consuming",
        "_loop",
        "_requests",
        "_services",
        "_transport",
        "_trusted",
        "closed",
        "holds",
        "pending",
        "reader",
    )

    def __init__(
        self, client: RequestTaker, requests: RequestForwarder, services: Services, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._client = client
        self._requests = requests
        self._services = services
        self._loop = loop
        self._transport: asyncio.Transport
        self._trusted = False
        self.reader = RequestReader(services.limits, services.enforcement.table.methods)
        self.pending = b""
        """Bytes that cannot be handled yet."""
        self.holds = 0
        """Why reading is paused: bits from client.py."""
        self._consuming = False
        self.closed = False
        """Whether all further bytes are discarded."""

    def connect(self, transport: asyncio.Transport, *, trusted: bool) -> None:
        """Begin. `trusted` says whether the peer is a trusted proxy."""
        self._transport = transport
        self._trusted = trusted

    @property
    def in_head(self) -> bool:
        """Whether a request head has begun to arrive."""
        return bool(self.reader.partial)

    @property
    def empty(self) -> bool:
        """Whether no bytes of a request are waiting or incomplete."""
        return not self.reader.partial and not self.pending

    @property
    def paused(self) -> bool:
        """Whether reading from the client is paused."""
        return self.holds != 0

    def close(self) -> None:
        """Discard everything from now on."""
        self.pending = b""
        self.reader.partial = b""
        self.closed = True

    def resume_for_good(self) -> None:
        """Resume reading and drop all reasons to pause."""
        if self.holds:
            self.holds = 0
            self._transport.resume_reading()

    def feed(self, data: bytes) -> None:
        """Handle bytes from the client, or keep them until they can be handled."""
        if self.closed:
            return
        if self.pending:
            self.pending += data
            exchange = self._client.full_exchange
            if len(self.pending) > _MOST_PENDING_BYTES and exchange is not None and exchange.body.done:
                self.hold(PIPELINED)  # until the exchange ends; the other reasons end on their own
            return
        self._consume(data)

    def _consume(self, data: bytes) -> None:
        self._consuming = True
        heads = 0
        try:
            while data and not self.closed:
                exchange = self._client.full_exchange
                if exchange is None:
                    if self._client.full:
                        self.hold(CLIENT_FULL)  # do not produce more responses for a client that does not read them
                        break
                    if heads == _HEADS_PER_TURN:
                        self._yield()
                        break
                    heads += 1
                    data = self._read_head(data)
                elif exchange.tunnel:
                    self._requests.tunnel_data(exchange, data)
                    data = b""
                elif exchange.body.done:
                    if len(data) > _MOST_PENDING_BYTES:
                        self.hold(PIPELINED)
                    break
                elif self.holds & (JUDGING | CONNECTING):
                    break
                else:
                    body = exchange.body
                    pieces, data = body.feed(data)
                    self._requests.data(exchange, pieces)
                    if data and not body.done:
                        self._yield()
                        break
        except FramingError as error:
            data = b""
            exchange = self._client.full_exchange
            if exchange is not None:
                exchange.refuse(malformed_body(str(error)))
        finally:
            self._consuming = False
        if not self.closed:
            self.pending = data

    def _yield(self) -> None:
        """Let other connections have their turn, then continue."""
        self.hold(YIELDING)
        self._loop.call_soon(self.release, YIELDING)

    def _read_head(self, data: bytes) -> bytes:
        """Parse more of a head, and begin an exchange once it is complete. Return the bytes after the head."""
        services = self._services
        reader = self.reader
        begins = not reader.partial
        plain = services.plain_requests.read(data, trusted=self._trusted) if begins else None
        if plain is not None:
            self._client.begin(plain[0], plain[1])
            return plain[2]
        raw: Head | None = None
        try:
            raw, rest = reader.read(data)
            if raw is None:
                if begins and reader.partial:
                    self._client.await_head()
                return b""
            hop = clean_request(
                raw,
                spellings=services.spellings,
                trusted=self._trusted,
                judged=services.enforcement.table.judged_names,
                trailer_bytes=services.limits.head_bytes,
                needs_host=services.enforcement.table.reads_hosts,
            )
        except Refused as refused:
            # The end of this request is unknown, so no other request can follow on this connection.
            self._client.refuse_head(refused.refusal, raw, reader.partial + data)
            return b""
        if not hop.body.done:
            reader.renew()
        self._client.begin(hop.head, hop)
        return rest

    def hold(self, reason: int) -> None:
        """Pause reading for a reason."""
        if not self.holds and not self._transport.is_closing():
            self._transport.pause_reading()
        self.holds |= reason

    def release(self, reason: int) -> None:
        """Remove a reason not to read. Handle pending bytes if they can be handled now."""
        held = self.holds
        if not held and not self.pending:
            return
        self.holds &= ~reason
        if self.pending and not self._consuming and not self.holds & WHILE_PENDING:
            data, self.pending = self.pending, b""
            self._consume(data)
        if held and not self.holds and not self._transport.is_closing():
            self._transport.resume_reading()
