"""Both sides of the relay as raw bytes: a client and a data service that send exactly the bytes that a test gives them.

Nothing here is specific to Sitelatch. `test_harness.py` connects the client directly to the data service.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

DEADLINE_SECONDS = 30.0
"""The longest that a test waits for anything before it fails."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close() send RST."""


class TruncatedError(AssertionError):
    """The connection ended too early. `so_far` contains the bytes that arrived."""

    def __init__(self, so_far: bytes) -> None:
        super().__init__(f"the connection ended after {so_far[-200:]!r}")
        self.so_far = so_far


@dataclass
class Message:
    """A head byte for byte, and the body after it."""

    raw_head: bytes
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def start(self) -> bytes:
        return self.raw_head.split(b"\r\n", 1)[0]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        lines = self.raw_head.split(b"\r\n")[1:-2]
        return [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]

    def all(self, name: str) -> list[bytes]:
        """Return every value of a field, in order. The name is case-insensitive."""
        wanted = name.lower().encode()
        return [value for spelt, value in self.fields if spelt.lower() == wanted]

    def one(self, name: str) -> bytes | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} occurs {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def chunked(self) -> bool:
        return [value.lower() for value in self.all("Transfer-Encoding")] == [b"chunked"]

    @property
    def status(self) -> int:
        return int(self.start.split(b" ")[1])

    @property
    def target(self) -> bytes:
        return self.start.split(b" ")[1]

    @property
    def problem(self) -> dict[str, Any]:
        assert self.one("Content-Type") == b"application/problem+json", self.raw_head
        problem: dict[str, Any] = json.loads(self.body)
        return problem

    @property
    def code(self) -> str:
        """The refusal's stable code."""
        return str(self.problem["code"])


class Wire:
    """One side of a connection. Every wait has a deadline."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.received = bytearray()
        """All bytes received so far."""
        self._taken = 0
        self.ended = False
        self.was_reset = False

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self.writer.drain()

    async def more(self) -> bool:
        """Read more bytes. Return False at the end of the connection."""
        if self.ended:
            return False
        try:
            data = await self._reader.read(65536)
        except (ConnectionError, ssl.SSLError):
            data, self.was_reset = b"", True
        self.ended = not data
        self.received += data
        return not self.ended

    def _take(self, end: int) -> bytes:
        taken, self._taken = bytes(self.received[self._taken : end]), end
        return taken

    async def read_until(self, mark: bytes, seconds: float = DEADLINE_SECONDS) -> bytes:
        async with asyncio.timeout(seconds):
            while (found := self.received.find(mark, self._taken)) < 0:
                if not await self.more():
                    raise TruncatedError(self._take(len(self.received)))
        return self._take(found + len(mark))

    async def read_exactly(self, count: int, seconds: float = DEADLINE_SECONDS) -> bytes:
        async with asyncio.timeout(seconds):
            while len(self.received) - self._taken < count:
                if not await self.more():
                    raise TruncatedError(self._take(len(self.received)))
        return self._take(self._taken + count)

    async def read_to_end(self, seconds: float = DEADLINE_SECONDS) -> bytes:
        async with asyncio.timeout(seconds):
            while await self.more():
                pass
        return self._take(len(self.received))

    async def discard(self, count: int, seconds: float = DEADLINE_SECONDS) -> int:
        """Discard up to `count` bytes. Return how many arrived."""
        gone = min(count, len(self.received) - self._taken)
        self._taken += gone
        async with asyncio.timeout(seconds):
            while gone < count and not self.ended:
                data = await self._reader.read(min(count - gone, 1 << 20))
                gone += len(data)
                self.ended = not data
        return gone

    async def head(self, seconds: float = DEADLINE_SECONDS) -> Message:
        return Message(await self.read_until(b"\r\n\r\n", seconds))

    async def chunked_body(self, message: Message) -> None:
        """Read a chunked body into `message`, and fail on anything but plain sizes."""
        while True:
            size = int((await self.read_until(b"\r\n"))[:-2], 16)
            if not size:
                break
            message.chunks.append(await self.read_exactly(size))
            assert await self.read_exactly(2) == b"\r\n"
        while (line := await self.read_until(b"\r\n")) != b"\r\n":
            name, _, value = line.partition(b":")
            message.trailers.append((name, value.strip()))
        message.body = b"".join(message.chunks)

    async def request(self) -> Message:
        """Read one complete request, as a server does."""
        message = await self.head()
        if message.chunked:
            await self.chunked_body(message)
        elif (length := message.one("Content-Length")) is not None:
            message.body = await self.read_exactly(int(length))
        return message

    async def answer(self, method: str = "GET", seconds: float = DEADLINE_SECONDS) -> Message:
        """Read one complete response, as a client does. An interim response (1xx) counts as one."""
        message = await self.head(seconds)
        if method == "HEAD" or message.status < 200 or message.status in (204, 304):
            return message
        if message.chunked:
            await self.chunked_body(message)
        elif (length := message.one("Content-Length")) is not None:
            message.body = await self.read_exactly(int(length))
        else:
            message.body = await self.read_to_end()
        return message

    async def closed(self, seconds: float = DEADLINE_SECONDS) -> bool:
        """Wait for the other side to close the connection. Bytes that still arrive are kept in `received`."""
        await self.read_to_end(seconds)
        return True

    async def quiet(self, seconds: float = 0.2) -> bool:
        """Return whether nothing arrives for a while. Use it only for events that must not happen."""
        before = len(self.received)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.more()
        return len(self.received) == before and not self.ended

    def finish_sending(self) -> None:
        self.writer.write_eof()

    async def reset(self) -> None:
        """Reset the connection, as a crash does."""
        sock = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.writer.transport.abort()
        await self.close()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(DEADLINE_SECONDS):
                # All waiting tasks share one future, and canceling one of them would cancel it for all.
                await asyncio.shield(self.writer.wait_closed())


@contextlib.asynccontextmanager
async def connect(address: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """Connect a raw client to `host:port` or `unix:PATH`."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        if address.startswith("unix:"):
            streams = await asyncio.open_unix_connection(address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            streams = await asyncio.open_connection(
                host, int(port), ssl=tls, server_hostname="localhost" if tls else None
            )
    wire = Wire(*streams)
    try:
        yield wire
    finally:
        await wire.close()


Handler = Callable[[Wire], Awaitable[None]]


class Upstream:
    """A data service on a listening socket. Each connection goes to `handler`, or waits for `accept()`."""

    def __init__(self, listening: socket.socket, handler: Handler | None = None, tls: ssl.SSLContext | None = None):
        self._socket = listening
        self._tls = tls
        self.handler = handler
        self.connections: list[Wire] = []
        self._waiting: asyncio.Queue[Wire] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def busy(self) -> bool:
        """Whether a handler is still running."""
        return bool(self._tasks)

    async def start(self) -> None:
        start = asyncio.start_unix_server if self._socket.family == socket.AF_UNIX else asyncio.start_server
        # The server closes the socket that it was given. The listening one stays open, and keeps the port.
        self._server = await start(self._connected, sock=self._socket.dup(), ssl=self._tls)

    async def __aenter__(self) -> "Upstream":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        self.connections.append(wire)
        if self.handler is None:
            self._waiting.put_nowait(wire)
            return
        task = asyncio.ensure_future(self._serve(self.handler, wire))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, handler: Handler, wire: Wire) -> None:
        # A client may disconnect at any time. A test checks that on its own side.
        with contextlib.suppress(TruncatedError, TimeoutError, OSError):
            await handler(wire)
        await wire.close()

    async def accept(self, seconds: float = DEADLINE_SECONDS) -> Wire:
        """Return the next incoming connection."""
        async with asyncio.timeout(seconds):
            return await self._waiting.get()

    @property
    def untouched(self) -> bool:
        """True until the first byte arrives."""
        return not any(wire.received for wire in self.connections)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for wire in self.connections:
            await wire.close()
        if self._server is not None:
            await self._server.wait_closed()


async def open_exchange(client: Wire, upstream: "Upstream", request: bytes) -> Wire:
    """Send a request, and return the connection on which the data service got its head."""
    await client.send(request)
    served = await upstream.accept()
    await served.head()
    return served


@dataclass
class Answering:
    """A handler that sends the same response to every request, and keeps the requests."""

    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nyes"
    requests: list[Message] = field(default_factory=list)

    async def __call__(self, wire: Wire) -> None:
        while True:
            self.requests.append(await wire.request())
            await wire.send(self.answer)


def listening_socket(path: str | None = None) -> socket.socket:
    """Yield a socket that listens on a free loopback port, or at `path`."""
    if path is not None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(path)
    else:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
    sock.listen(512)
    sock.setblocking(False)
    return sock


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


async def until(condition: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait for a condition, checking it every 20 ms."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"timed out after {seconds} s, waiting for: {what}"
        await asyncio.sleep(0.02)
