"""WebSocket connections between a real client and a real server. Any other upgrade is removed."""

import asyncio
import base64
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

import pytest
from websockets.asyncio.client import connect as websocket
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.typing import Subprotocol

from tests.acceptance.harness import Bench, Lane, Lanes, User, serving
from tests.acceptance.wire import Answering, TruncatedError, Wire, connect, open_exchange, until

MIB = 1 << 20

Service = Callable[[Callable[[ServerConnection], Awaitable[None]]], Awaitable[Lane]]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Bench]:
    with serving(tmp_path_factory.mktemp("websocket"), database_url, Lanes(60), limits={"answer_seconds": 2}) as bench:
        yield bench


@pytest.fixture
async def service(bench: Bench) -> AsyncIterator[Service]:
    """Starts a real WebSocket server as the data service of a lane."""
    servers = []

    async def start(handler: Callable[[ServerConnection], Awaitable[None]]) -> Lane:
        lane = bench.lanes.next(bench.latch, bench.keys)
        servers.append(await serve(handler, sock=lane.socket.dup(), max_size=None, select_subprotocol=second))
        return lane

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


def second(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The second subprotocol that the client offers, if it offers two."""
    return offered[1] if len(offered) > 1 else None


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


def url(lane: Lane, rest: str = "/sites/shop/ws") -> str:
    return f"ws://{lane.latch.address}{lane.target(rest)}"


def key(user: User) -> dict[str, str]:
    return {"X-API-Key": user.key}


async def test_messages_arrive_in_both_directions(service: Service) -> None:
    lane = await service(echo)
    async with websocket(url(lane), additional_headers=key(lane.keys.shop), proxy=None) as client:
        for message in ("text", b"bytes", "ü" * 1000):
            await client.send(message)
            assert await client.recv() == message


async def test_a_message_of_20_mib_is_relayed_in_both_directions(service: Service) -> None:
    lane = await service(echo)
    message = os.urandom(MIB) * 20
    async with websocket(
        url(lane), additional_headers=key(lane.keys.shop), proxy=None, max_size=None, compression=None
    ) as client:
        await client.send(message)
        assert await client.recv() == message


async def test_ping_and_pong_are_forwarded(service: Service) -> None:
    pinged: list[float] = []

    async def ping(connection: ServerConnection) -> None:
        pinged.append(await (await connection.ping(b"from the service")))
        await connection.wait_closed()

    lane = await service(ping)
    async with websocket(url(lane), additional_headers=key(lane.keys.shop), proxy=None) as client:
        async with asyncio.timeout(10):
            await (await client.ping(b"from the client"))
        await until(lambda: len(pinged) == 1, "the client's pong reached the service")


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 4003])
async def test_the_close_code_and_reason_of_the_service_reach_the_client(service: Service, code: int) -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.close(code, "enough")

    lane = await service(leave)
    async with websocket(url(lane), additional_headers=key(lane.keys.shop), proxy=None) as client:
        with pytest.raises(ConnectionClosedOK if code in (1000, 1001) else ConnectionClosedError) as closed:
            await client.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, "enough")


async def test_the_close_code_of_the_client_reaches_the_service(service: Service) -> None:
    seen: asyncio.Queue[int | None] = asyncio.Queue()

    async def wait(connection: ServerConnection) -> None:
        await connection.wait_closed()
        seen.put_nowait(connection.close_code)

    lane = await service(wait)
    async with websocket(url(lane), additional_headers=key(lane.keys.shop), proxy=None) as client:
        await client.close(4001, "mine")
    async with asyncio.timeout(10):
        assert await seen.get() == 4001


async def test_client_and_service_negotiate_compression(service: Service) -> None:
    lane = await service(echo)
    async with websocket(url(lane), additional_headers=key(lane.keys.shop), proxy=None) as client:
        assert [type(extension) for extension in client.protocol.extensions] == [PerMessageDeflate]
        await client.send("rows " * 10_000)
        assert await client.recv() == "rows " * 10_000


async def test_client_and_service_negotiate_a_subprotocol(service: Service) -> None:
    lane = await service(echo)
    async with websocket(
        url(lane),
        additional_headers=key(lane.keys.shop),
        proxy=None,
        subprotocols=[Subprotocol("rows.v1"), Subprotocol("rows.v2")],
    ) as client:
        assert client.subprotocol == "rows.v2"


async def test_a_handshake_is_forwarded_with_identity_headers_and_without_the_key(service: Service) -> None:
    async def tell(connection: ServerConnection) -> None:
        assert connection.request is not None
        headers = connection.request.headers
        names = ("X-API-Key", "X-Api-User-Id", "X-Api-Workspace", "X-Api-Sites")
        await connection.send("|".join(",".join(headers.get_all(name)) for name in names))

    lane = await service(tell)
    headers = [("X-API-Key", lane.keys.shop.key), ("X-Api-User-Id", "forged"), ("X_Api_Sites", "blog")]
    async with websocket(url(lane), additional_headers=headers, proxy=None) as client:
        assert await client.recv() == f"|{lane.keys.shop.id}|acme|shop"


@pytest.mark.parametrize(("who", "status"), [("blog", 403), ("wiki", 403), (None, 401)])
async def test_a_websocket_needs_a_key_for_its_site(service: Service, who: str | None, status: int) -> None:
    lane = await service(echo)
    headers = key(getattr(lane.keys, who)) if who else {}
    with pytest.raises(InvalidStatus) as refused:
        async with websocket(url(lane), additional_headers=headers, proxy=None):
            pass
    assert refused.value.response.status_code == status


async def test_a_client_that_disconnects_closes_the_connection_to_the_service(service: Service) -> None:
    left = asyncio.Event()

    async def wait(connection: ServerConnection) -> None:
        await connection.wait_closed()
        left.set()

    lane = await service(wait)
    client = await websocket(url(lane), additional_headers=key(lane.keys.shop), proxy=None)
    client.transport.abort()
    async with asyncio.timeout(10):
        await left.wait()
    await client.wait_closed()


async def test_a_service_that_disconnects_closes_the_connection_to_the_client(service: Service) -> None:
    async def crash(connection: ServerConnection) -> None:
        connection.transport.abort()

    lane = await service(crash)
    async with websocket(url(lane), additional_headers=key(lane.keys.shop), proxy=None) as client:
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
    assert closed.value.rcvd is None


# The upgrade itself, as raw bytes.

NONCE = base64.b64encode(b"0123456789abcdef").decode()
UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {NONCE}", "Sec-WebSocket-Version: 13")


def accept_of(nonce: str) -> str:
    return base64.b64encode(
        hashlib.sha1((nonce + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()  # noqa: S324 - RFC 6455
    ).decode()


async def test_bytes_are_relayed_unchanged_after_101(client: Wire, lane: Lane) -> None:
    await client.send(lane.request("GET", "/sites/shop/ws", *UPGRADE))
    served = await lane.upstream.accept()
    seen = await served.head()
    assert (seen.one("Upgrade"), (seen.one("Connection") or b"").lower()) == (b"websocket", b"upgrade")
    assert seen.one("Sec-WebSocket-Key") == NONCE.encode()
    await served.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\nX-Odd: 1\r\n\r\nfirst bytes" % accept_of(NONCE).encode()
    )
    answer = await client.answer()
    assert (answer.status, answer.one("X-Odd")) == (101, b"1")
    assert await client.read_exactly(11) == b"first bytes"
    for sender, receiver in ((client, served), (served, client)):
        await sender.send(b"GET / HTTP/1.1\r\n\r\n\x00\xff")
        assert await receiver.read_exactly(20) == b"GET / HTTP/1.1\r\n\r\n\x00\xff"
    await client.close()
    assert await served.closed()


async def test_bytes_sent_before_101_do_not_bypass_the_decision(client: Wire, lane: Lane) -> None:
    """A client that sends ahead must not get a second request past the decision."""
    secret = lane.request("GET", "/sites/blog/secret", user=lane.keys.shop)
    served = await open_exchange(client, lane.upstream, lane.request("GET", "/sites/shop/ws", *UPGRADE) + secret)
    assert await served.quiet()
    await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
    assert (await client.answer()).body == b"no"
    # The bytes after it are judged as a request, or never read.
    with contextlib.suppress(TruncatedError):
        assert (await client.answer()).status == 403
    assert b"secret" not in served.received


@pytest.mark.parametrize(
    "status_line",
    ["HTTP/1.1 400 Bad Request", "HTTP/1.1 403 Forbidden", "HTTP/1.1 426 Upgrade Required", "HTTP/1.1 200 OK"],
)
async def test_a_service_may_refuse_the_upgrade(client: Wire, lane: Lane, status_line: str) -> None:
    served = await open_exchange(client, lane.upstream, lane.request("GET", "/sites/shop/ws", *UPGRADE))
    await served.send(status_line.encode() + b"\r\nContent-Length: 2\r\n\r\nno")
    answer = await client.answer()
    assert (answer.start, answer.body) == (status_line.encode(), b"no")


@pytest.mark.parametrize(
    "head",
    [
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n",
        "Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n",
    ],
    ids=["no-accept", "h2c", "no-upgrade", "wrong-accept"],
)
async def test_a_101_that_does_not_echo_the_upgrade_becomes_a_502(client: Wire, lane: Lane, head: str) -> None:
    served = await open_exchange(client, lane.upstream, lane.request("GET", "/sites/shop/ws", *UPGRADE))
    await served.send(("HTTP/1.1 101 Switching Protocols\r\n" + head.format(accept=accept_of(NONCE)) + "\r\n").encode())
    answer = await client.answer()
    assert (answer.status, answer.code) == (502, "upstream_broken")
    assert await served.closed()


@pytest.mark.parametrize(
    "lines",
    [
        ("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
        ("Upgrade: h2c", "Connection: Upgrade"),
        ("Upgrade: TLS/1.3", "Connection: Upgrade"),
        ("Upgrade: foo", "Connection: Upgrade"),
        ("Upgrade: h2c, websocket", "Connection: Upgrade"),
        ("Upgrade: websocket", "Connection: close"),
        ("HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",),
        ("Upgrade: h2c",),
    ],
)
async def test_any_other_upgrade_is_removed_and_the_request_is_forwarded(
    client: Wire, lane: Lane, lines: tuple[str, ...]
) -> None:
    service = Answering()
    lane.upstream.handler = service
    await client.send(lane.request("GET", "/sites/shop/x", *lines))
    assert (await client.answer()).body == b"yes"
    [seen] = service.requests
    assert [seen.all(name) for name in ("Upgrade", "HTTP2-Settings")] == [[], []]
    assert b"pgrade" not in b",".join(seen.all("Connection"))


@pytest.mark.parametrize("lines", [("Upgrade: h2c", "Connection: Upgrade")])
async def test_an_unsolicited_101_opens_no_tunnel(client: Wire, lane: Lane, lines: tuple[str, ...]) -> None:
    served = await open_exchange(client, lane.upstream, lane.request("GET", "/sites/shop/x", *lines))
    await served.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
    assert (await client.answer()).status == 502
    assert await served.closed()


@pytest.mark.parametrize(
    "change",
    [
        ("GET", UPGRADE[:3]),
        ("GET", (*UPGRADE[:2], UPGRADE[3])),
        ("GET", (*UPGRADE[:2], "Sec-WebSocket-Key: short", UPGRADE[3])),
        ("GET", (*UPGRADE, f"Sec-WebSocket-Key: {NONCE}")),
        ("GET", (*UPGRADE[:3], "Sec-WebSocket-Version: 8")),
        ("POST", (*UPGRADE, "Content-Length: 0")),
        ("GET", (*UPGRADE, "Content-Length: 5")),
    ],
    ids=["no-version", "no-key", "short-key", "two-keys", "old-version", "POST", "with-a-body"],
)
async def test_a_malformed_handshake_opens_no_tunnel(
    client: Wire, lane: Lane, change: tuple[str, tuple[str, ...]]
) -> None:
    method, lines = change
    await client.send(
        lane.request(method, "/sites/shop/ws", *lines, body=b"hello" if "Content-Length: 5" in lines else b"")
    )

    async def serve_101() -> None:
        """Respond with 101 to a plain request, which must not open a tunnel."""
        served = await lane.upstream.accept()
        assert (await served.head()).all("Upgrade") == []
        await served.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_of(NONCE).encode()
        )

    # Refused, or forwarded as a plain request.
    serving_101 = asyncio.ensure_future(serve_101())
    try:
        assert (await client.answer()).status in (400, 426, 502)
    finally:
        serving_101.cancel()
        await asyncio.wait((serving_101,))


async def test_an_upgrade_over_http_1_0_is_ignored(bench: Bench, lane: Lane) -> None:
    service = Answering()
    lane.upstream.handler = service
    async with connect(bench.latch.address) as client:
        await client.send(lane.request("GET", "/sites/shop/ws", *UPGRADE, version="1.0"))
        assert (await client.answer()).status in (200, 400)
    assert all(request.all("Upgrade") == [] for request in service.requests)
