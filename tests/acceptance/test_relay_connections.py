"""Connections on both sides: pipelining, early disconnects, truncated responses, pooling, limits, backpressure."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.acceptance import wire
from tests.acceptance.harness import Bench, Lane, Lanes, serving
from tests.acceptance.wire import Answering, TruncatedError, Wire, connect, port_of, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

POOL = 4
OPEN = 10
ANSWER_SECONDS = 1.5
STALL_SECONDS = 2.5


@pytest.fixture(scope="module")
def nowhere() -> Iterator[socket.socket]:
    """A port on which nothing listens or will listen."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


@pytest.fixture(scope="module")
def full() -> Iterator[socket.socket]:
    """A port whose listener accepts no more connections: its backlog is full, so the kernel drops new ones."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket())
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(sock.getsockname())
        yield sock


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, database_url: str, nowhere: socket.socket, full: socket.socket
) -> Iterator[Bench]:
    limits = {
        "answer_seconds": ANSWER_SECONDS,
        "connect_seconds": 1,
        "upload_idle_seconds": STALL_SECONDS,
        "upstream_idle_seconds": 1,
        "upstream_connections": POOL,
        "upstream_wait_seconds": 2,
        "open_exchanges": OPEN,
    }
    routes = [
        {
            "name": name,
            "path": f"/{name}",
            "upstream": f"http://127.0.0.1:{port_of(sock)}",
            "sites": [f"path:/{name}/{{site}}/**"],
        }
        for name, sock in (("nowhere", nowhere), ("full", full))
    ]
    folder = tmp_path_factory.mktemp("connections")
    with serving(folder, database_url, Lanes(80), routes=routes, limits=limits) as bench:
        yield bench


async def open_exchange(client: Wire, lane: Lane, request: bytes | None = None) -> Wire:
    """Send a request, and return the connection on which the data service got its head."""
    return await wire.open_exchange(client, lane.upstream, request or lane.request("GET", "/sites/shop/x"))


# Pipelining.


async def test_pipelined_requests_are_judged_by_their_own_keys_and_answered_in_order(client: Wire, lane: Lane) -> None:
    service = Answering()
    lane.upstream.handler = service
    shop, blog, wiki = lane.keys.shop, lane.keys.blog, lane.keys.wiki
    await client.send(
        lane.request("GET", "/sites/shop/1", user=shop)
        + lane.request("GET", "/sites/shop/2", user=blog)
        + lane.keyless("GET", "/sites/shop/3")
        + lane.request("GET", "/sites/blog/4", user=blog)
        + lane.request("GET", "/sites/shop/5", user=wiki)
        + lane.request("GET", "/sites/shop/6", user=shop)
    )
    answers = [await client.answer() for _ in range(6)]
    assert [answer.status for answer in answers] == [200, 403, 401, 200, 403, 200]
    assert [request.target[-1:] for request in service.requests] == [b"1", b"4", b"6"]
    assert [request.one("X-Api-User-Id") for request in service.requests] == [
        user.id.encode() for user in (shop, blog, shop)
    ]


async def test_the_body_of_a_pipelined_request_is_separate_from_the_next_request(client: Wire, lane: Lane) -> None:
    service = Answering()
    lane.upstream.handler = service
    hidden = lane.request("GET", "/sites/shop/hidden")
    await client.send(
        lane.request("POST", "/sites/shop/1", f"Content-Length: {len(hidden)}", body=hidden)
        + lane.request("POST", "/sites/shop/2", "Transfer-Encoding: chunked")
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
        + lane.request("GET", "/sites/shop/3")
    )
    assert [(await client.answer()).status for _ in range(3)] == [200, 200, 200]
    assert [request.body for request in service.requests] == [hidden, hidden, b""]


async def test_the_body_of_a_refused_request_is_not_read_as_a_request(client: Wire, lane: Lane) -> None:
    service = Answering()
    lane.upstream.handler = service
    hidden = lane.request("GET", "/sites/shop/hidden")
    await client.send(
        lane.request("POST", "/sites/blog/1", f"Content-Length: {len(hidden)}", body=hidden)
        + lane.request("GET", "/sites/shop/2")
    )
    assert (await client.answer()).status == 403
    # Either the body is discarded and the connection stays open, or it is closed.
    with contextlib.suppress(TruncatedError):
        assert (await client.answer()).status == 200
    assert not any(request.target.endswith(b"hidden") for request in service.requests)


async def test_a_response_never_overtakes_an_earlier_one(client: Wire, lane: Lane) -> None:
    await client.send(lane.request("GET", "/sites/shop/1") + lane.keyless("GET", "/sites/shop/2"))
    served = await lane.upstream.accept()
    await served.head()
    assert await client.quiet()
    await served.send(OK)
    assert [(await client.answer()).status, (await client.answer()).status] == [200, 401]


# Early disconnects.


async def test_a_disconnect_before_the_response_cancels_the_exchange(lane: Lane) -> None:
    async with connect(lane.latch.address) as client:
        served = await open_exchange(client, lane)
    assert await served.closed(ANSWER_SECONDS)


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_disconnect_during_the_response_cancels_the_exchange(lane: Lane, how: str) -> None:
    async with connect(lane.latch.address) as client:
        served = await open_exchange(client, lane)
        await served.send(CHUNKED + b"5\r\nhello\r\n")
        await client.read_until(b"hello")
        if how == "reset":
            await client.reset()
    assert await served.closed()


async def test_a_disconnect_during_an_upload_never_completes_the_upload(lane: Lane) -> None:
    async with connect(lane.latch.address) as client:
        request = lane.request("POST", "/sites/shop/x", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n"
        served = await open_exchange(client, lane, request)
        await served.read_until(b"hello")
    with pytest.raises(TruncatedError):
        await served.read_until(b"0\r\n\r\n")


async def test_a_disconnect_frees_the_slot_in_the_pool(bench: Bench, lane: Lane) -> None:
    for _ in range(POOL + 2):
        async with connect(bench.latch.address) as client:
            await open_exchange(client, lane)
    lane.upstream.handler = Answering()
    async with connect(bench.latch.address) as client:
        await client.send(lane.request("GET", "/sites/shop/x"))
        assert (await client.answer()).status == 200
    await until(lambda: bench.latch.metric("sitelatch_exchanges_open") == 0, "no exchange is open")


# Truncated responses.


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_truncated_response_reaches_the_client_truncated(
    client: Wire, lane: Lane, framing: str, how: str
) -> None:
    served = await open_exchange(client, lane)
    head = CHUNKED + b"5\r\n" if framing == "chunked" else b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    await served.send(head + b"hello" + (b"\r\n" if framing == "chunked" else b""))
    await client.read_until(b"hello")
    await (served.reset() if how == "reset" else served.close())
    rest = await client.read_to_end()
    assert b"0\r\n\r\n" not in rest


async def test_a_truncated_chunk_reaches_the_client_truncated(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane)
    await served.send(CHUNKED + b"ff\r\nhello")
    await client.read_until(b"hello")
    await served.close()
    assert b"0\r\n\r\n" not in await client.read_to_end()


async def test_a_reset_during_a_response_without_length_is_not_a_clean_end(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane)
    await served.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")
    await client.read_until(b"hello")
    await served.reset()
    rest = await client.read_to_end()
    assert b"0\r\n\r\n" not in rest
    assert client.was_reset or b"chunked" in client.received


async def test_a_response_with_invalid_framing_reaches_the_client_truncated(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane)
    await served.send(CHUNKED + b"5\r\nhello\r\n")
    await client.read_until(b"hello")
    await served.send(b"not a size\r\n")
    assert b"0\r\n\r\n" not in await client.read_to_end()
    assert await served.closed()


# An upstream that is unreachable, silent or broken.


async def test_an_upstream_that_refuses_connections_causes_a_502(bench: Bench, client: Wire, lane: Lane) -> None:
    await client.send(lane.request("GET", "").replace(lane.name.encode(), b"nowhere/shop/x"))
    answer = await client.answer()
    assert (answer.status, answer.code) == (502, "upstream_unreachable")


async def test_an_upstream_that_accepts_no_connection_causes_a_502(bench: Bench, client: Wire, lane: Lane) -> None:
    await client.send(lane.request("GET", "").replace(lane.name.encode(), b"full/shop/x"))
    answer = await client.answer()
    assert (answer.status, answer.code) == (502, "upstream_unreachable")


async def test_a_silent_upstream_causes_a_504_and_its_connection_is_closed(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane)
    answer = await client.answer()
    assert (answer.status, answer.code) == (504, "upstream_timeout")
    assert await served.closed()


async def test_interim_responses_do_not_extend_the_timeout(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane)
    await served.send(b"HTTP/1.1 102 Processing\r\n\r\n")
    assert (await client.answer()).status == 102
    assert (await client.answer()).status == 504


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: 1\rX-B: 2\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 \x1b[2JOK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\x7f\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 O\x0bK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\rX-A: 1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 103 Ear\x08ly\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * 1_000_000,
    ],
    ids=lambda answer: answer[:60].decode().replace("\r\n", "|"),
)
async def test_an_upstream_that_does_not_speak_http_causes_a_502(client: Wire, lane: Lane, answer: bytes) -> None:
    served = await open_exchange(client, lane)
    with contextlib.suppress(OSError):
        await served.send(answer)
    if len(answer) < 20 or b"\r\n\r\n" not in answer:
        await served.close()
    refusal = await client.answer()
    assert (refusal.status, refusal.code) == (502, "upstream_broken")
    await served.closed()


# The pool.


async def pooled(client: Wire, lane: Lane) -> Wire:
    """Leave one idle connection in the pool, and return the data service's end of it."""
    served = await open_exchange(client, lane)
    await served.send(OK)
    assert (await client.answer()).status == 200
    return served


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_an_idempotent_request_without_a_body_is_retried_if_its_pooled_connection_dies(
    client: Wire, lane: Lane, method: str
) -> None:
    stale = await pooled(client, lane)
    await client.send(lane.request(method, "/sites/shop/again"))
    await stale.head()
    await stale.close()
    fresh = await lane.upstream.accept()
    assert (await fresh.head()).start.startswith(b"%b " % method.encode())
    await fresh.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await client.answer(method)).status == 204


@pytest.mark.parametrize(
    ("method", "lines", "body"),
    [
        ("POST", ("Content-Length: 0",), b""),
        ("PATCH", (), b""),
        ("PUT", ("Content-Length: 2",), b"ok"),
        ("PUT", ("Transfer-Encoding: chunked",), b"0\r\n\r\n"),
    ],
)
async def test_a_request_that_may_have_been_processed_is_not_retried(
    client: Wire, lane: Lane, method: str, lines: tuple[str, ...], body: bytes
) -> None:
    stale = await pooled(client, lane)
    await client.send(lane.request(method, "/sites/shop/x", *lines, body=body))
    await stale.request()
    await stale.close()
    answer = await client.answer(method)
    assert (answer.status, answer.code) == (502, "upstream_broken")
    assert len(lane.upstream.connections) == 1


async def test_a_request_is_retried_only_once(client: Wire, lane: Lane) -> None:
    stale = await pooled(client, lane)
    await client.send(lane.request("GET", "/sites/shop/x"))
    await stale.head()
    await stale.close()
    fresh = await lane.upstream.accept()
    await fresh.head()
    await fresh.close()
    assert (await client.answer()).status == 502
    assert len(lane.upstream.connections) == 2


async def test_a_request_on_a_new_connection_is_not_retried(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane)
    await served.close()
    assert (await client.answer()).status == 502
    assert len(lane.upstream.connections) == 1


async def test_a_request_is_not_retried_after_the_first_byte_of_its_response(client: Wire, lane: Lane) -> None:
    stale = await pooled(client, lane)
    await client.send(lane.request("GET", "/sites/shop/x"))
    await stale.head()
    await stale.send(b"HTTP/1.1 2")
    await stale.close()
    assert (await client.answer()).status == 502
    assert len(lane.upstream.connections) == 1


async def test_unsolicited_bytes_close_a_pooled_connection(client: Wire, lane: Lane) -> None:
    served = await pooled(client, lane)
    await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    assert await served.closed()
    again = await open_exchange(client, lane)
    await again.send(OK)
    assert (await client.answer()).body == b"ok"


async def test_bytes_after_a_response_are_never_read_as_another_response(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane)
    await served.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    assert (await client.answer()).body == b"ok"
    assert await served.closed()
    await (await open_exchange(client, lane)).send(OK)
    assert (await client.answer()).body == b"ok"
    assert b"poison" not in client.received


async def test_an_idle_upstream_connection_is_closed_in_time(client: Wire, lane: Lane) -> None:
    served = await pooled(client, lane)
    assert await served.closed(5)


async def test_a_connection_is_not_reused_after_connection_close(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane)
    await served.send(OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"))
    answer = await client.answer()
    assert (answer.body, answer.one("Connection") or b"keep-alive") == (b"ok", b"keep-alive")
    await (await open_exchange(client, lane)).send(OK)
    assert (await client.answer()).body == b"ok"


# Limits.


@contextlib.asynccontextmanager
async def exchanges_open(lane: Lane, count: int) -> AsyncIterator[list[tuple[Wire, Wire]]]:
    """Hold several exchanges open, each on its own connections. Their responses have begun."""
    async with contextlib.AsyncExitStack() as stack:
        pairs = []
        for _ in range(count):
            client = await stack.enter_async_context(connect(lane.latch.address))
            served = await open_exchange(client, lane)
            await served.send(CHUNKED)
            assert (await client.head()).status == 200
            pairs.append((client, served))
        yield pairs


async def test_an_exhausted_pool_returns_503(client: Wire, lane: Lane) -> None:
    async with exchanges_open(lane, POOL):
        await client.send(lane.request("GET", "/sites/shop/x"))
        answer = await client.answer()
        assert (answer.status, answer.code) == (503, "upstream_busy")
        assert int(answer.one("Retry-After") or 0) > 0
        assert len(lane.upstream.connections) == POOL


async def test_a_request_waiting_for_the_pool_is_served_when_a_slot_becomes_free(client: Wire, lane: Lane) -> None:
    async with exchanges_open(lane, POOL) as pairs:
        await client.send(lane.request("GET", "/sites/shop/waiting"))
        first_client, first_served = pairs[0]
        await first_served.send(b"0\r\n\r\n")
        assert await first_client.read_until(b"0\r\n\r\n")
        assert (await first_served.head()).target.endswith(b"/waiting")
        await first_served.send(OK)
        assert (await client.answer()).body == b"ok"


async def test_requests_are_still_judged_while_the_pool_is_full(client: Wire, lane: Lane) -> None:
    async with exchanges_open(lane, POOL):
        await client.send(lane.request("GET", "/sites/blog/x"))
        assert (await client.answer()).status == 403


async def test_too_many_open_exchanges_return_503(bench: Bench, client: Wire, lane: Lane) -> None:
    others = [bench.lanes.next(bench.latch, bench.keys) for _ in range(2)]
    async with contextlib.AsyncExitStack() as stack:
        for other in others:
            await stack.enter_async_context(other.upstream)
        await stack.enter_async_context(exchanges_open(lane, POOL))
        await stack.enter_async_context(exchanges_open(others[0], POOL))
        await stack.enter_async_context(exchanges_open(others[1], OPEN - 2 * POOL))
        await client.send(others[1].request("GET", "/sites/shop/x"))
        answer = await client.answer()
        assert (answer.status, answer.code) == (503, "too_many_exchanges")
        assert int(answer.one("Retry-After") or 0) > 0
    others[0].upstream.handler = Answering()
    await until(lambda: bench.latch.metric("sitelatch_exchanges_open") == 0, "all exchanges have ended")


# Backpressure and stalled transfers.

PLENTY = 64 << 20
"""More than all buffers between two loopback sockets can hold."""


async def push(wire: Wire, data: bytes) -> int:
    """Write until no bytes are accepted for a while or `PLENTY` bytes were sent. Return how many were sent."""
    sent = 0
    while sent < PLENTY:
        wire.writer.write(data)
        sent += len(data)
        try:
            async with asyncio.timeout(0.7):
                await wire.writer.drain()
        except TimeoutError:
            break
    return sent


async def test_a_slow_client_slows_down_the_upstream(bench: Bench, lane: Lane) -> None:
    before = bench.latch.memory_kib("VmRSS")
    async with connect(lane.latch.address) as client:
        served = await open_exchange(client, lane)
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * PLENTY))
        sent = await push(served, b"x" * (1 << 18))
        assert sent < PLENTY
        assert bench.latch.memory_kib("VmRSS") - before < 16 * 1024
        # Reading continues where it stopped.
        await client.head()
        assert await client.discard(sent) == sent


async def test_a_slow_upstream_slows_down_the_client(bench: Bench, lane: Lane) -> None:
    before = bench.latch.memory_kib("VmRSS")
    async with connect(lane.latch.address) as client:
        await client.send(lane.request("POST", "/sites/shop/x", f"Content-Length: {2 * PLENTY}"))
        served = await lane.upstream.accept()
        sent = await push(client, b"x" * (1 << 18))
        assert sent < PLENTY
        assert bench.latch.memory_kib("VmRSS") - before < 16 * 1024
        await served.head()
        assert await served.discard(sent) == sent


async def test_a_stalled_upload_gets_408(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane, lane.request("POST", "/sites/shop/x", "Content-Length: 10") + b"half")
    await served.read_until(b"half")
    answer = await client.answer(seconds=STALL_SECONDS * 3)
    assert (answer.status, answer.code) == (408, "upload_timeout")
    assert await client.closed()
    assert await served.closed()


async def test_a_client_that_reads_nothing_is_disconnected(lane: Lane) -> None:
    async with connect(lane.latch.address) as client:
        served = await open_exchange(client, lane)
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * PLENTY))
        assert await push(served, b"x" * (1 << 18)) < PLENTY
        assert await served.closed(STALL_SECONDS * 4)


async def test_a_quiet_stream_is_not_treated_as_stalled(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane)
    await served.send(CHUNKED)
    await client.head()
    await asyncio.sleep(STALL_SECONDS * 1.6)
    await served.send(b"5\r\nhello\r\n0\r\n\r\n")
    assert await client.read_until(b"0\r\n\r\n")


# Everything at once.


async def erratic_service(wire: Wire) -> None:
    """Respond to each request in a different way, mostly wrong."""
    while True:
        request = await wire.head()
        behavior = random.choice(["well", "well", "chunked", "late", "short", "reset", "nonsense", "close", "silent"])
        await asyncio.sleep(random.random() * 0.02)
        if behavior in ("reset", "close"):
            await (wire.reset() if behavior == "reset" else wire.close())
            return
        if behavior == "silent":
            await wire.read_to_end()
            return
        if behavior == "late":
            await asyncio.sleep(0.3)
        body = request.one("Content-Length")
        if body is not None and random.random() < 0.7:
            await wire.read_exactly(int(body))
        await wire.send(
            {
                "chunked": CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
                "short": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour",
                "nonsense": b"nonsense\r\n\r\n",
            }.get(behavior, OK)
        )
        if behavior == "short":
            return


async def erratic_client(lane: Lane) -> None:
    """Send a few requests, and sometimes disconnect early."""
    with contextlib.suppress(TruncatedError, OSError, TimeoutError):
        async with connect(lane.latch.address) as client:
            for _ in range(random.randrange(1, 4)):
                behavior = random.choice(["get", "get", "post", "half", "two", "malformed", "leave"])
                request = lane.request("GET", "/sites/shop/x")
                if behavior == "post":
                    request = lane.request("POST", "/sites/shop/x", "Content-Length: 5", body=b"hello")
                elif behavior == "half":
                    request = lane.request("POST", "/sites/shop/x", "Content-Length: 50", body=b"hello")
                elif behavior == "malformed":
                    request = lane.request("POST", "/sites/shop/x", "Transfer-Encoding: chunked") + b"5\r\nhelloXX"
                await client.send(request * (2 if behavior == "two" else 1))
                if behavior in ("leave", "half"):
                    await asyncio.sleep(random.random() * 0.05)
                    await (client.reset() if random.random() < 0.5 else client.close())
                    return
                await client.answer(seconds=ANSWER_SECONDS * 3)


async def begin_response(wire: Wire) -> None:
    """Begin a response, and do not end it."""
    await wire.head()
    await wire.send(CHUNKED)
    await wire.read_to_end(STALL_SECONDS * 4)


async def test_after_many_faults_every_slot_in_the_pool_is_free(bench: Bench, lane: Lane) -> None:
    random.seed(2)
    lane.upstream.handler = erratic_service
    for _ in range(7):
        await asyncio.gather(*(erratic_client(lane) for _ in range(OPEN + 2)))
    latch = bench.latch
    await until(lambda: latch.metric("sitelatch_exchanges_open") == 0, "no exchange is open", 20)
    await until(lambda: latch.metric("sitelatch_connections_open", side="downstream") == 0, "no client is there", 20)
    await until(lambda: latch.metric("sitelatch_connections_open", side="upstream") == 0, "the pools are empty", 20)
    # No accept(): connections of clients that are gone may still wait for it.
    lane.upstream.handler = begin_response
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(POOL):
            client = await stack.enter_async_context(connect(lane.latch.address))
            await client.send(lane.request("GET", "/sites/shop/x"))
            assert (await client.head()).status == 200
        assert latch.metric("sitelatch_exchanges_open") == POOL
        assert latch.metric("sitelatch_connections_open", side="upstream") == POOL


async def test_faults_of_clients_and_services_are_not_logged_as_errors(bench: Bench) -> None:
    assert "Traceback" not in bench.latch.output.read_text()
    assert bench.latch.running
