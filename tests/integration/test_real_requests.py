"""Requests from real clients over real sockets, compared byte for byte with what reaches the upstream."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from proxy.decision.api_keys import digest, new_key
from proxy.decision.route_table import RouteTable
from proxy.enforcement import Enforcement
from proxy.grants.cache import GrantCache
from proxy.observe.access_log import AccessLog
from proxy.observe.metrics import Metrics
from proxy.relay.front_door import FrontDoor
from proxy.settings import GrantSettings, KeySettings, LimitSettings, ProxySettings, RouteSettings
from tests.ordinary_traffic import SHAPES, WANTED
from tests.scopes import MemoryScope
from tests.traffic.shape import Shape

KEY = new_key()
SECONDS = 30.0
ADDED = frozenset(
    {
        *("x-api-user-id", "x-api-workspace", "x-api-sites", "x-request-id"),
        *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"),
        # The WebSocket handshake, and the framing of a chunked body.
        *("connection", "upgrade", "transfer-encoding"),
    }
)
"""Fields that Sitelatch adds after the ones that it forwards."""


def _groups() -> dict[str, list[Shape]]:
    """Return the shapes by the route that they need."""
    groups: dict[str, list[Shape]] = {}
    for shapes in (SHAPES, WANTED):
        for shape in shapes:
            route = json.dumps([shapes is WANTED, shape.rules, dict(shape.options), shape.every_site])
            groups.setdefault(route, []).append(shape)
    return {f"{shapes[0].name.partition(':')[0]} {number}": shapes for number, shapes in enumerate(groups.values())}


GROUPS = _groups()


@dataclass
class Upstream:
    """A server that responds with 200, and keeps the last head unchanged."""

    port: int = 0
    head: bytes = b""
    connections: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request. Its body may stay unread, since the connection ends with the answer."""
        self.connections.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            self.head = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            await reader.read()
        writer.close()
        self.connections.discard(writer)


@contextlib.asynccontextmanager
async def front(shapes: list[Shape]) -> AsyncIterator[tuple[Upstream, int]]:
    """Run the front door with the route of these shapes, and yield its upstream and its port."""
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    shape = shapes[0]
    route = RouteSettings.model_validate(
        {"name": "data", "upstream": f"http://127.0.0.1:{upstream.port}", "sites": shape.rules, **shape.options}
    )
    scope = MemoryScope()
    sites = {site for each in shapes for site in each.sites}
    scope.add(digest(KEY.encode()), "ada", *sites, all_sites=shape.every_site)
    metrics = Metrics()
    grants = GrantCache(GrantSettings(), scope, on_lookup=metrics.lookup)
    enforcement = Enforcement(
        RouteTable([route], KeySettings()), grants, metrics, on_use=lambda _: None, accept_foreign=False
    )
    settings = ProxySettings(listen="127.0.0.1:0", routes=(route,))
    door = FrontDoor(settings, LimitSettings(), enforcement, metrics, AccessLog(io.BytesIO()))
    await door.start()
    try:
        yield upstream, int(door.addresses[0][1])
    finally:
        await door.close()
        await grants.close()
        for writer in set(upstream.connections):
            writer.close()
        server.close()
        await server.wait_closed()


def _body(shape: Shape) -> bytes:
    """Return a body of the announced length. Nothing is sent before the answer to `Expect: 100-continue`."""
    fields = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in shape.lines}
    if "expect" in fields:
        return b""
    if "transfer-encoding" in fields:
        return b"2\r\n{}\r\n0\r\n\r\n"
    return b"{}"[: int(fields.get("content-length", "0"))]


async def _send(shape: Shape, port: int) -> bytes:
    """Send a shape over its own connection, and return the head of the response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(shape.wire(KEY) + _body(shape))
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SECONDS)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("group", GROUPS)
async def test_requests_of_real_clients_reach_the_upstream_byte_for_byte(group: str) -> None:
    async with front(GROUPS[group]) as (upstream, port):
        for shape in GROUPS[group]:
            upstream.head = b""
            answer = await _send(shape, port)
            assert answer.startswith(b"HTTP/1.1 200 "), (shape, answer)
            start, *lines = upstream.head[:-4].split(b"\r\n")
            assert start == f"{shape.method} {shape.forwarded or shape.target} HTTP/1.1".encode()
            forwarded = [b"%b: %b" % pair for pair in shape.fields_on(KEY)]
            assert lines[: len(forwarded)] == forwarded
            added = {line.partition(b":")[0].decode().lower() for line in lines[len(forwarded) :]}
            assert added <= ADDED, shape
            assert KEY.encode() not in upstream.head
            named = [line for line in lines if line.startswith(b"X-Api-Sites: ")]
            assert named == ([f"X-Api-Sites: {','.join(shape.sites)}".encode()] if shape.sites else [])
