"""Random interleavings of many clients and a misbehaving upstream, and what must hold in each of them.

Every request has a tag, which the upstream echoes with a digest of the body. Every message is split at random
positions.
"""

import asyncio
import base64
import contextlib
import hashlib
import itertools
import random
from dataclasses import dataclass
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from proxy.decision.api_keys import new_key
from proxy.refusals import INVALID_KEY
from tests.acceptance.wire import Message, TruncatedError, Wire, connect, until
from tests.integration.front import KEY, Front, front

SEEDS = range(24)
CLIENTS = 8
UNKNOWN_KEY = new_key()
WEBSOCKET_KEY = base64.b64encode(b"0123456789abcdef")
ACCEPT = base64.b64encode(hashlib.sha1(WEBSOCKET_KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324

WHOLE = ("length", "chunked", "to-close", "204", "interim", "closes-after", "says-more")
"""Behaviors of the upstream that give the client a complete response."""

BROKEN = ("dies", "resets", "cut-length", "cut-chunked", "nonsense")


@dataclass
class Request:
    """A request of the client, and the behavior of the upstream that responds to it."""

    tag: str
    method: str
    body: bytes
    framing: str
    key: str
    minor: int
    behavior: str
    last: bool = False
    bad_chunk: bool = False

    @property
    def passes(self) -> bool:
        return self.key == KEY

    @property
    def fingerprint(self) -> bytes:
        return f"{self.tag}:{hashlib.sha256(self.body).hexdigest()}".encode()

    def wire(self, rng: random.Random) -> bytes:
        lines = [f"{self.method} /sites/shop/x HTTP/1.{self.minor}", "Host: h", f"X-API-Key: {self.key}"]
        lines.append(f"X-Tag: {self.tag}")
        if self.last:
            lines.append("Connection: Upgrade" if self.behavior == "websocket" else "Connection: close")
        if self.behavior == "websocket":
            lines += ["Upgrade: websocket", f"Sec-WebSocket-Key: {WEBSOCKET_KEY.decode()}", "Sec-WebSocket-Version: 13"]
        body = self.body
        if self.framing == "length":
            lines.append(f"Content-Length: {len(body)}")
        elif self.framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut(body, rng))
            body += b"zz\r\n" if self.bad_chunk else b"0\r\nX-Trailer: t\r\n\r\n"
        if self.framing != "none" and rng.random() < 0.3:
            lines.append("Expect: 100-continue")
        return "\r\n".join([*lines, "", ""]).encode() + body


def cut(data: bytes, rng: random.Random) -> list[bytes]:
    """Split bytes into up to six non-empty pieces."""
    marks = sorted({0, len(data), *(rng.randint(0, len(data)) for _ in range(rng.randint(0, 5)))})
    return [data[start:end] for start, end in itertools.pairwise(marks)]


async def send_in_pieces(wire: Wire, data: bytes, rng: random.Random) -> None:
    for piece in cut(data, rng):
        if wire.writer.transport.is_closing():
            return
        wire.writer.write(piece)
        await asyncio.sleep(rng.choice((0, 0, 0, 0.001, 0.004)))


class Interleaving:
    """One random interleaving."""

    def __init__(self, seed: int, front_door: Front) -> None:
        self.rng = random.Random(seed)
        self.front = front_door
        self.requests: dict[str, Request] = {}
        self.faults: list[str] = []
        self.draining = False
        self.revoked: set[str] = set()
        self.revoked_before_forwarding: set[str] = set()

    # The upstream.

    async def serve(self, wire: Wire) -> None:
        rng = random.Random(self.rng.random())
        while True:
            head = await wire.head()
            request = self.requests[(head.one("X-Tag") or b"").decode()]
            if not request.passes or head.one("X-API-Key") is not None or request.tag in self.revoked_before_forwarding:
                self.faults.append(f"{request} reached the upstream: {head.raw_head!r}")
            if request.behavior == "early" and request.body:
                await self.respond(wire, request, head, "length", request.tag.encode(), rng)
                await asyncio.sleep(rng.choice((0, 0.005)))
                return
            if head.chunked:
                await wire.chunked_body(head)
            elif (length := head.one("Content-Length")) is not None:
                head.body = await wire.read_exactly(int(length))
            if head.body != request.body or request.bad_chunk:
                self.faults.append(f"{request}: received another body: {head.body!r}")
            if request.behavior == "websocket":
                answer = b"HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n"
                await send_in_pieces(wire, answer % ACCEPT + b"\r\n" + request.tag.encode(), rng)
                while True:
                    await send_in_pieces(wire, await wire.read_exactly(1), rng)
            if not await self.respond(wire, request, head, request.behavior, request.fingerprint, rng):
                return

    async def respond(
        self, wire: Wire, request: Request, head: Message, how: str, body: bytes, rng: random.Random
    ) -> bool:
        """Respond, and return whether the connection stays open."""
        start = b"HTTP/1.1 200 OK\r\nX-Tag: %b\r\n" % request.tag.encode()
        length = b"Content-Length: %d\r\n\r\n"
        chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in cut(body, rng))
        chunked = b"Transfer-Encoding: chunked\r\n\r\n" + chunks
        if request.method == "HEAD":
            body = chunked = b""
        if how == "resets":
            if not wire.writer.transport.is_closing():
                await wire.reset()
        elif how == "nonsense":
            await send_in_pieces(wire, b"HTTP/1.1 2000 OK\r\n\r\n", rng)
        elif how == "cut-length":
            await send_in_pieces(wire, start + length % (len(body) + 5) + body, rng)
        elif how == "cut-chunked":
            await send_in_pieces(wire, start + chunked, rng)
        elif how == "to-close":
            await send_in_pieces(wire, start + b"\r\n" + body, rng)
        elif how == "204":
            await send_in_pieces(wire, start.replace(b"200", b"204") + b"\r\n", rng)
        elif how == "chunked":
            end = b"" if request.method == "HEAD" else b"0\r\nX-Sum: 1\r\n\r\n"
            await send_in_pieces(wire, start + (chunked or b"Transfer-Encoding: chunked\r\n\r\n") + end, rng)
        elif how == "says-more":
            await send_in_pieces(wire, start + length % len(body) + body + b"HTTP/1.1 200 OK\r\nX-Tag: nobody\r\n", rng)
        elif how != "dies":
            interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" if how == "interim" else b""
            await send_in_pieces(wire, interim + start + length % len(body) + body, rng)
        return how in ("204", "length", "chunked", "interim", "says-more") and bool(head)

    # The clients.

    def make_requests(self, name: int) -> list[Request]:
        rng = self.rng
        requests = []
        count = rng.randint(1, 5)
        for number in range(count):
            last = number == count - 1 and rng.random() < 0.5
            method = rng.choice(("GET", "GET", "HEAD", "POST", "PUT", "DELETE"))
            framing = rng.choice(("none", "length", "chunked")) if method != "HEAD" else "none"
            behavior = rng.choice((*WHOLE, *WHOLE, *BROKEN, "early"))
            minor = 0 if last and framing != "chunked" and rng.random() < 0.3 else 1
            if last and rng.random() < 0.4:
                method, framing, behavior, minor = "GET", "none", "websocket", 1
            body = b"" if framing == "none" else rng.randbytes(rng.choice((1, 9, 300, 70_000)))
            key = rng.choice((KEY,) * 5 + ("none", UNKNOWN_KEY))
            request = Request(f"{name}-{number}", method, body, framing, key, minor, behavior)
            request.last = last
            request.bad_chunk = last and framing == "chunked" and rng.random() < 0.3
            requests.append(request)
            self.requests[request.tag] = request
        return requests

    async def visit(self, name: int) -> None:
        requests = self.make_requests(name)
        rng = random.Random(self.rng.random())
        data = b"".join(request.wire(rng) for request in requests)
        leaves = rng.random() < 0.2
        async with connect(self.front.address) as wire:
            sending = asyncio.create_task(
                send_in_pieces(wire, data[: rng.randint(1, len(data))] if leaves else data, rng)
            )
            try:
                if leaves:
                    await sending
                    await asyncio.sleep(rng.choice((0, 0.002, 0.01)))
                    if rng.random() < 0.5 and not wire.writer.transport.is_closing():
                        await wire.reset()
                    return
                await self.read_answers(wire, requests)
            finally:
                sending.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await sending

    async def read_answers(self, wire: Wire, requests: list[Request]) -> None:
        for request in requests:
            try:
                answer = await wire.answer(request.method)
                while answer.status in (100, 103):
                    answer = await wire.answer(request.method)
                if wire.was_reset and answer.one("Content-Length") is None and not answer.chunked:
                    raise TruncatedError(answer.body)
            except TruncatedError as error:
                cut_by_us = self.draining or request.tag in self.revoked
                if not (cut_by_us or request.behavior in BROKEN or request.bad_chunk or request.behavior == "early"):
                    self.faults.append(f"{request} was truncated after {error.so_far[-300:]!r}")
                return
            except (TimeoutError, ValueError) as error:
                self.faults.append(f"{request}: {error!r} after {bytes(wire.received[-300:])!r}")
                return
            self.check(request, answer)
            if answer.status == 101:
                await self.tunnel(wire, request)
                return
            if answer.one("Connection") == b"close":
                return

    def check(self, request: Request, answer: Message) -> None:
        if answer.one("X-Tag") is not None:
            right = answer.one("X-Tag") == request.tag.encode() and request.passes
            if answer.status == 200 and request.method != "HEAD":
                early = request.behavior == "early" and request.body
                right &= answer.body == (request.tag.encode() if early else request.fingerprint)
                right &= request.behavior not in BROKEN
        elif answer.status == 101:
            right = request.passes and request.behavior == "websocket"
        elif not request.passes:
            right = answer.status == 401
        else:
            right = answer.status == 503 or (request.behavior in BROKEN and answer.status == 502)
            right |= answer.status == 400 and request.bad_chunk
            # A request cannot always be retried if the upstream was about to close its connection.
            right |= answer.status == 502
            right |= answer.status == 401 and request.tag in self.revoked
        if not right:
            self.faults.append(f"{request} was answered with {answer.raw_head!r} {answer.body!r}")

    async def tunnel(self, wire: Wire, request: Request) -> None:
        sent = random.Random(request.tag).randbytes(50)
        try:
            await send_in_pieces(wire, sent, random.Random(request.tag))
            received = await wire.read_exactly(len(request.tag) + len(sent))
        except (TruncatedError, OSError):
            if not (self.draining or request.tag in self.revoked):
                self.faults.append(f"{request}: the tunnel was closed")
            return
        # After a revoke, a close frame may come in between.
        if received != request.tag.encode() + sent and request.tag not in self.revoked:
            self.faults.append(f"{request}: the tunnel returned {received!r}")

    async def disturb(self) -> None:
        """Drop grants now and then, so that some requests need a lookup, and revoke access."""
        rng = random.Random(self.rng.random())
        while True:
            await asyncio.sleep(rng.choice((0.001, 0.003, 0.01)))
            self.front.grants.drop_all()
            passed = [exchange for exchange in self.front.door.exchanges() if exchange.verdict is not None]
            if passed and rng.random() < 0.3:
                exchange = rng.choice(passed)
                tag = next(value.decode() for name, value in exchange.head.fields if name == b"X-Tag")
                self.revoked.add(tag)
                if not exchange.sent_at:
                    self.revoked_before_forwarding.add(tag)
                exchange.revoke(INVALID_KEY)

    async def drain(self) -> None:
        if self.rng.random() < 0.25:
            await asyncio.sleep(self.rng.choice((0.005, 0.02)))
            self.draining = True
            await self.front.door.drain(1)

    async def run(self) -> None:
        self.front.upstream.handler = self.serve
        disturbing = asyncio.create_task(self.disturb())
        draining = asyncio.create_task(self.drain())
        try:
            visits = await asyncio.gather(*map(self.visit, range(CLIENTS)), return_exceptions=True)
        finally:
            disturbing.cancel()
        await draining
        for gone in visits:
            if isinstance(gone, BaseException) and not (self.draining and isinstance(gone, OSError)):
                self.faults.append(repr(gone))


async def run_interleaving(seed: int) -> None:
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    wait = random.Random(seed).choice((0.02, 5.0))
    async with front(upstream_connections=3, upstream_wait_seconds=wait) as opened:
        interleaving = Interleaving(seed, opened)
        await interleaving.run()
        pool = opened.door.pools[0]
        pool.close()
        await until(lambda: not opened.upstream.busy, "the end of the upstream's tasks")
        assert interleaving.faults == []
        await until(lambda: not opened.metrics.exchanges_open, "the end of all exchanges")
        await until(lambda: not opened.metrics.downstream_open, "the end of all connections")
        await until(lambda: not pool.places_taken, "the release of all connections")
        assert opened.metrics.upstream_open == 0
        assert not pool.waiting
    assert unhandled == []


@pytest.mark.parametrize("seed", SEEDS)
def test_each_response_belongs_to_its_request_in_any_interleaving(seed: int) -> None:
    with capture_logs() as logs:
        uvloop.run(run_interleaving(seed))
    assert [line for line in logs if line["log_level"] == "error"] == []
