"""The parts of a client connection serve many exchanges: nothing of one exchange may leak into the next."""

import tracemalloc
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha1

import pytest

from bench.driver import Driver, Setup, Visit
from proxy.decision.api_keys import new_key

KEY = new_key()
ROUTES = [{"name": "data", "upstream": "http://127.0.0.1:9000", "sites": ["path:/sites/{site}/**"]}]
NONCE = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b64encode(sha1(NONCE + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324 - RFC 6455

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def request(start: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join((start + b" HTTP/1.1", b"Host: h", b"X-API-Key: " + KEY.encode(), *lines, b"", b""))


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    driver = Driver(Setup({"routes": ROUTES}, known={KEY: {"sites": ["shop"]}}, sites={"shop": "acme"}))
    await driver.start()
    yield driver
    await driver.close()


@pytest.fixture
async def visit(driver: Driver) -> AsyncIterator[Visit]:
    visit = driver.connect()
    yield visit
    visit.downstream.connection_lost(None)


def exchange(visit: Visit, sent: bytes, response: bytes) -> bytes:
    """Return the response as the client got it."""
    visit.client.written = b""
    visit.exchange(sent, response)
    return visit.client.written


async def test_chunks_of_one_response_do_not_frame_the_next(visit: Visit) -> None:
    get = request(b"GET /sites/shop/x")
    assert exchange(visit, get, CHUNKED) == CHUNKED
    assert exchange(visit, get, PLAIN) == PLAIN
    assert exchange(visit, get, CHUNKED) == CHUNKED


async def test_a_websocket_after_a_chunked_response_is_a_plain_tunnel(visit: Visit) -> None:
    exchange(visit, request(b"GET /sites/shop/x"), CHUNKED)
    handshake = request(
        b"GET /sites/shop/live",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + NONCE,
    )
    switched = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: %b\r\n" % ACCEPT
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    frame = b"\x82\x03abc"
    assert exchange(visit, handshake, switched + upgrade + frame) == switched + upgrade + frame


async def test_counts_and_outcomes_belong_to_one_exchange(driver: Driver, visit: Visit) -> None:
    post = request(b"POST /sites/shop/x", b"Content-Length: 5") + b"hello"
    exchange(visit, request(b"GET /sites/shop/x"), PLAIN)
    exchange(visit, post, PLAIN)
    exchange(visit, request(b"GET /sites/blog/x"), PLAIN)
    exchange(visit, request(b"GET /sites/shop/x"), PLAIN)
    lines = [(line["outcome"], line["status"], line["bytes_in"], line["upstream_ms"] is None) for line in driver.log]
    assert lines == [
        ("passed", 200, 0, False),
        ("passed", 200, 5, False),
        ("site_not_allowed", 403, 0, True),
        ("passed", 200, 0, False),
    ]


async def test_idle_client_connections_do_not_keep_the_heads_of_their_last_requests(driver: Driver) -> None:
    get = request(b"GET /sites/shop/x", b"X-Long: " + b"x" * 20_000)
    visits = [driver.connect()]
    assert exchange(visits[0], get, PLAIN) == PLAIN
    tracemalloc.start()
    try:
        for _ in range(20):
            visits.append(driver.connect())
            assert exchange(visits[-1], get, PLAIN) == PLAIN
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    for visit in visits:
        visit.downstream.connection_lost(None)
    assert kept < 20 * 20_000 / 2
