"""Event streams and WebSockets, for which wrk has no load: an upstream that serves both, and their clients.

`python -m bench.throughput.streams upstream PORT`
`python -m bench.throughput.streams events PORT REQUESTS CONNECTIONS SECONDS`
`python -m bench.throughput.streams echo PORT REQUESTS CONNECTIONS SECONDS`

REQUESTS is a file with lines of a method, a path and a key. A client prints one line of JSON. Latencies are in µs.
"""

import asyncio
import base64
import functools
import hashlib
import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import uvloop

_EVENTS_PER_SECOND = 5
_EVENT_LENGTH = 64
_AT_ONCE = 20
"""How many connections are opened at the same time. Each may need a lookup of its key."""
_PAYLOAD = b"x" * 64
_MASKED = bytes((0x82, 0x80 | len(_PAYLOAD))) + bytes(4) + _PAYLOAD  # masked with zeros (RFC 6455 §5.3)
_UNMASKED = bytes((0x82, len(_PAYLOAD))) + _PAYLOAD
_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_WEBSOCKET_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def _event() -> bytes:
    """Return an event with the time at which it is sent, as one chunk."""
    data = b"data: %d\n" % time.monotonic_ns()
    event = data + b":" * (_EVENT_LENGTH - len(data) - 2) + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


class _Server(asyncio.Protocol):
    streams: "set[_Server]" = set()  # noqa: RUF012 - shared by all connections on purpose

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._received = b""
        self._echoes = False

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._echoes:
            whole = len(self._received) // len(_MASKED)
            self._received = self._received[whole * len(_MASKED) :]
            self.transport.write(_UNMASKED * whole)
        elif b"\r\n\r\n" in self._received:
            head, self._received = self._received, b""
            if b"upgrade: websocket" in head.lower():
                accept = base64.b64encode(hashlib.sha1(_WEBSOCKET_KEY + _WEBSOCKET_GUID).digest())  # noqa: S324
                self._echoes = True
                self.transport.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
                )
            else:
                self.transport.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n"
                )
                self.streams.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.streams.discard(self)


async def _serve(port: int) -> None:
    await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", port, backlog=2048)
    while True:
        event = _event()
        for stream in _Server.streams:
            stream.transport.write(event)
        await asyncio.sleep(1 / _EVENTS_PER_SECOND)


class _Client(asyncio.Protocol):
    """A client that counts what arrives while `counting` is true."""

    counting = False
    latencies: list[float] = []  # noqa: RUF012 - shared by all connections on purpose

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._received = b""
        self.begun = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self.begun.done():
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            if head.split(b" ")[1] not in (b"200", b"101"):
                self.begun.set_exception(SystemExit(f"refused: {head.decode()}"))
                return
            self._received = rest
            self.begun.set_result(None)
            self.begin()
        self._received = self.take(self._received)

    def begin(self) -> None:
        """Called after the head of the response."""

    def take(self, received: bytes) -> bytes:
        """Count what is complete, and return the rest."""
        raise NotImplementedError


class _Events(_Client):
    def take(self, received: bytes) -> bytes:
        *events, rest = received.split(b"\n\n")
        now = time.monotonic_ns()
        for event in events:
            sent = event.partition(b"data: ")[2].partition(b"\n")[0]
            if sent and self.counting:
                self.latencies.append((now - int(sent)) / 1000)
        return rest


class _Echo(_Client):
    def begin(self) -> None:
        self._send()

    def _send(self) -> None:
        self._sent = time.monotonic_ns()
        self.transport.write(_MASKED)

    def take(self, received: bytes) -> bytes:
        if len(received) < len(_UNMASKED):
            return received
        if self.counting:
            self.latencies.append((time.monotonic_ns() - self._sent) / 1000)
        self._send()
        return received[len(_UNMASKED) :]


def _head(line: str, *, upgrade: bool) -> bytes:
    method, path, key = line.split()
    fields = f"Host: 127.0.0.1\r\nX-API-Key: {key}\r\n"
    if upgrade:
        fields += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        fields += f"Sec-WebSocket-Key: {_WEBSOCKET_KEY.decode()}\r\n"
    return f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode()


async def _load(kind: type[_Client], port: int, requests: Iterable[str], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    clients = []
    for line in requests:
        new_client = functools.partial(kind, _head(line, upgrade=kind is _Echo))
        _, client = await loop.create_connection(new_client, "127.0.0.1", port)
        clients.append(client)
        if len(clients) % _AT_ONCE == 0:
            await asyncio.gather(*(each.begun for each in clients))
    await asyncio.gather(*(each.begun for each in clients))
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    _Client.counting = True
    began = time.monotonic()
    await asyncio.sleep(seconds)
    _Client.counting = False
    percentiles = statistics.quantiles(_Client.latencies, n=100)
    print(
        json.dumps(
            {
                "requests": len(_Client.latencies),
                "microseconds": (time.monotonic() - began) * 1e6,
                "p50": percentiles[49],
                "p99": percentiles[98],
            }
        ),
        flush=True,
    )
    await loop.run_in_executor(None, sys.stdin.readline)  # the caller reads the proxy's memory first


if __name__ == "__main__":
    what, port_, *rest = sys.argv[1:]
    if what == "upstream":
        uvloop.run(_serve(int(port_)))
    else:
        requests_, connections_, seconds_ = rest
        kinds: dict[str, type[_Client]] = {"events": _Events, "echo": _Echo}
        repeated = itertools.cycle(Path(requests_).read_text().splitlines())
        lines = itertools.islice(repeated, int(connections_))
        uvloop.run(_load(kinds[what], int(port_), lines, float(seconds_)))
