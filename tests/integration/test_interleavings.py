"""Random interleavings of many clients and a data service that does what it likes: what must hold in each of them.

Every request has a tag that the service echoes with a digest of the body it got; every message is cut anywhere.
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
from tests.acceptance.wire import CutShortError, Message, Wire, connect, until
from tests.integration.test_front_door import KEY, Front, front

SEEDS = range(24)
CLIENTS = 8
STRANGER = new_key()
WEBSOCKET_KEY = base64.b64encode(b"0123456789abcdef")
ACCEPT = base64.b64encode(hashlib.sha1(WEBSOCKET_KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324

WHOLE = ("length", "chunked", "to-close", "204", "interim", "closes-after", "says-more")
"""What the service does that gives the client a whole answer."""

BROKEN = ("dies", "resets", "cut-length", "cut-chunked", "nonsense")


@dataclass
class Ask:
    """One request: what the client sends, and what the service will do about it."""

    tag: str
    method: str
    body: bytes
    framing: str
    key: str
    minor: int
    does: str
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
            lines.append("Connection: Upgrade" if self.does == "websocket" else "Connection: close")
        if self.does == "websocket":
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
    """Cut bytes in up to six pieces, none of them empty."""
    marks = sorted({0, len(data), *(rng.randint(0, len(data)) for _ in range(rng.randint(0, 5)))})
    return [data[start:end] for start, end in itertools.pairwise(marks)]


async def dribble(wire: Wire, data: bytes, rng: random.Random) -> None:
    for piece in cut(data, rng):
        if wire.writer.transport.is_closing():
            return
        wire.writer.write(piece)
        await asyncio.sleep(rng.choice((0, 0, 0, 0.001, 0.004)))


class Play:
    """One interleaving."""

    def __init__(self, seed: int, door: Front) -> None:
        self.rng = random.Random(seed)
        self.door = door
        self.asks: dict[str, Ask] = {}
        self.faults: list[str] = []
        self.draining = False
        self.revoked: set[str] = set()
        self.revoked_unasked: set[str] = set()

    # The data service.

    async def serve(self, wire: Wire) -> None:
        rng = random.Random(self.rng.random())
        while True:
            head = await wire.head()
            ask = self.asks[(head.one("X-Tag") or b"").decode()]
            if not ask.passes or head.one("X-API-Key") is not None or ask.tag in self.revoked_unasked:
                self.faults.append(f"{ask} reached the service: {head.raw_head!r}")
            if ask.does == "early" and ask.body:
                await self.say(wire, ask, head, "length", ask.tag.encode(), rng)
                await asyncio.sleep(rng.choice((0, 0.005)))
                return
            if head.chunked:
                await wire.chunked_body(head)
            elif (length := head.one("Content-Length")) is not None:
                head.body = await wire.read_exactly(int(length))
            if head.body != ask.body or ask.bad_chunk:
                self.faults.append(f"{ask}: another body came: {head.body!r}")
            if ask.does == "websocket":
                answer = b"HTTP/1.1 101 Up\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n"
                await dribble(wire, answer % ACCEPT + b"\r\n" + ask.tag.encode(), rng)
                while True:
                    await dribble(wire, await wire.read_exactly(1), rng)
            if not await self.say(wire, ask, head, ask.does, ask.fingerprint, rng):
                return

    async def say(self, wire: Wire, ask: Ask, head: Message, how: str, body: bytes, rng: random.Random) -> bool:
        """Answer; return whether the connection serves on."""
        start = b"HTTP/1.1 200 OK\r\nX-Tag: %b\r\n" % ask.tag.encode()
        length = b"Content-Length: %d\r\n\r\n"
        chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in cut(body, rng))
        chunked = b"Transfer-Encoding: chunked\r\n\r\n" + chunks
        if ask.method == "HEAD":
            body = chunked = b""
        if how == "resets":
            if not wire.writer.transport.is_closing():
                await wire.reset()
        elif how == "nonsense":
            await dribble(wire, b"HTTP/1.1 2000 OK\r\n\r\n", rng)
        elif how == "cut-length":
            await dribble(wire, start + length % (len(body) + 5) + body, rng)
        elif how == "cut-chunked":
            await dribble(wire, start + chunked, rng)
        elif how == "to-close":
            await dribble(wire, start + b"\r\n" + body, rng)
        elif how == "204":
            await dribble(wire, start.replace(b"200", b"204") + b"\r\n", rng)
        elif how == "chunked":
            end = b"" if ask.method == "HEAD" else b"0\r\nX-Sum: 1\r\n\r\n"
            await dribble(wire, start + (chunked or b"Transfer-Encoding: chunked\r\n\r\n") + end, rng)
        elif how == "says-more":
            await dribble(wire, start + length % len(body) + body + b"HTTP/1.1 200 OK\r\nX-Tag: nobody\r\n", rng)
        elif how != "dies":
            interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" if how == "interim" else b""
            await dribble(wire, interim + start + length % len(body) + body, rng)
        return how in ("204", "length", "chunked", "interim", "says-more") and bool(head)

    # The clients.

    def think_up(self, name: int) -> list[Ask]:
        rng = self.rng
        asks = []
        count = rng.randint(1, 5)
        for number in range(count):
            last = number == count - 1 and rng.random() < 0.5
            method = rng.choice(("GET", "GET", "HEAD", "POST", "PUT", "DELETE"))
            framing = rng.choice(("none", "length", "chunked")) if method != "HEAD" else "none"
            does = rng.choice((*WHOLE, *WHOLE, *BROKEN, "early"))
            minor = 0 if last and framing != "chunked" and rng.random() < 0.3 else 1
            if last and rng.random() < 0.4:
                method, framing, does, minor = "GET", "none", "websocket", 1
            body = b"" if framing == "none" else rng.randbytes(rng.choice((1, 9, 300, 70_000)))
            ask = Ask(
                f"{name}-{number}", method, body, framing, rng.choice((KEY,) * 5 + ("none", STRANGER)), minor, does
            )
            ask.last = last
            ask.bad_chunk = last and framing == "chunked" and rng.random() < 0.3
            asks.append(ask)
            self.asks[ask.tag] = ask
        return asks

    async def visit(self, name: int) -> None:
        asks = self.think_up(name)
        rng = random.Random(self.rng.random())
        data = b"".join(ask.wire(rng) for ask in asks)
        leaves = rng.random() < 0.2
        async with connect(self.door.address) as wire:
            sending = asyncio.create_task(dribble(wire, data[: rng.randint(1, len(data))] if leaves else data, rng))
            try:
                if leaves:
                    await sending
                    await asyncio.sleep(rng.choice((0, 0.002, 0.01)))
                    if rng.random() < 0.5 and not wire.writer.transport.is_closing():
                        await wire.reset()
                    return
                await self.read_answers(wire, asks)
            finally:
                sending.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await sending

    async def read_answers(self, wire: Wire, asks: list[Ask]) -> None:
        for ask in asks:
            try:
                answer = await wire.answer(ask.method)
                while answer.status in (100, 103):
                    answer = await wire.answer(ask.method)
                if wire.was_reset and answer.one("Content-Length") is None and not answer.chunked:
                    raise CutShortError(answer.body)
            except CutShortError as error:
                cut_by_us = self.draining or ask.tag in self.revoked
                if not (cut_by_us or ask.does in BROKEN or ask.bad_chunk or ask.does == "early"):
                    self.faults.append(f"{ask} was cut short after {error.so_far[-300:]!r}")
                return
            except (TimeoutError, ValueError) as error:
                self.faults.append(f"{ask}: {error!r} after {bytes(wire.received[-300:])!r}")
                return
            self.check(ask, answer)
            if answer.status == 101:
                await self.tunnel(wire, ask)
                return
            if answer.one("Connection") == b"close":
                return

    def check(self, ask: Ask, answer: Message) -> None:
        if answer.one("X-Tag") is not None:
            right = answer.one("X-Tag") == ask.tag.encode() and ask.passes
            if answer.status == 200 and ask.method != "HEAD":
                early = ask.does == "early" and ask.body
                right &= answer.body == (ask.tag.encode() if early else ask.fingerprint)
                right &= ask.does not in BROKEN
        elif answer.status == 101:
            right = ask.passes and ask.does == "websocket"
        elif not ask.passes:
            right = answer.status == 401
        else:
            right = answer.status == 503 or (ask.does in BROKEN and answer.status == 502)
            right |= answer.status == 400 and ask.bad_chunk
            # What was sent over a connection that the service was about to close cannot always be sent again.
            right |= answer.status == 502
            right |= answer.status == 401 and ask.tag in self.revoked
        if not right:
            self.faults.append(f"{ask} was answered with {answer.raw_head!r} {answer.body!r}")

    async def tunnel(self, wire: Wire, ask: Ask) -> None:
        said = random.Random(ask.tag).randbytes(50)
        try:
            await dribble(wire, said, random.Random(ask.tag))
            heard = await wire.read_exactly(len(ask.tag) + len(said))
        except (CutShortError, OSError):
            if not (self.draining or ask.tag in self.revoked):
                self.faults.append(f"{ask}: the tunnel was cut")
            return
        if heard != ask.tag.encode() + said and ask.tag not in self.revoked:  # a close frame may come between
            self.faults.append(f"{ask}: the tunnel said {heard!r}")

    async def disturb(self) -> None:
        """Have grants forgotten now and then, so that some are decided after a lookup, and take rights away."""
        rng = random.Random(self.rng.random())
        while True:
            await asyncio.sleep(rng.choice((0.001, 0.003, 0.01)))
            self.door.grants.drop_all()
            passed = [exchange for exchange in self.door.door.exchanges() if exchange.verdict is not None]
            if passed and rng.random() < 0.3:
                exchange = rng.choice(passed)
                tag = next(value.decode() for name, value in exchange.head.fields if name == b"X-Tag")
                self.revoked.add(tag)
                if not exchange.sent_at:
                    self.revoked_unasked.add(tag)
                exchange.revoke(INVALID_KEY)

    async def drain(self) -> None:
        if self.rng.random() < 0.25:
            await asyncio.sleep(self.rng.choice((0.005, 0.02)))
            self.draining = True
            await self.door.door.drain(1)

    async def run(self) -> None:
        self.door.upstream.handler = self.serve
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


async def play(seed: int) -> None:
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    wait = random.Random(seed).choice((0.02, 5.0))
    async with front(upstream_connections=3, upstream_wait_seconds=wait) as door:
        game = Play(seed, door)
        await game.run()
        pool = door.door.pools[0]
        pool.close()
        await until(lambda: not door.upstream._tasks, "the end of all that the service does")
        assert game.faults == []
        await until(lambda: not door.metrics.exchanges_open, "the end of all exchanges")
        await until(lambda: not door.metrics.downstream_open, "the end of all connections")
        await until(lambda: not pool.places_taken, "the return of all places")
        assert door.metrics.upstream_open == 0
        assert not pool.waiting
    assert unhandled == []


@pytest.mark.parametrize("seed", SEEDS)
def test_each_response_belongs_to_its_request_in_any_interleaving(seed: int) -> None:
    with capture_logs() as said:
        uvloop.run(play(seed))
    assert [line for line in said if line["log_level"] == "error"] == []
