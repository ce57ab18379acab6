"""Stopping: not ready, no new connections, open exchanges finish, activity is written, exit code 0."""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.acceptance.harness import Bench, Lane, Lanes, Table, serving
from tests.acceptance.wire import Answering, connect, open_exchange, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Start = Callable[[Table], Bench]


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Start]:
    """Starts a process with the given `[drain]`. It writes activity only when it stops."""
    with contextlib.ExitStack() as stack:

        def start(drain: Table) -> Bench:
            activity: Table = {"flush_seconds": 3600, "resolution_seconds": 3600}
            folder: Path = tmp_path_factory.mktemp("drain")
            return stack.enter_context(serving(folder, database_url, Lanes(1), drain=drain, activity=activity))

        yield start


@contextlib.asynccontextmanager
async def one_lane(bench: Bench) -> AsyncIterator[Lane]:
    lane = bench.lanes.next(bench.latch, bench.keys)
    async with lane.upstream:
        yield lane


def accepts(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as sock:
        sock.settimeout(2)
        return sock.connect_ex((host, int(port))) == 0


async def last_use(database_url: str, user_id: str) -> object:
    connection = await asyncpg.connect(database_url)
    try:
        return await connection.fetchval(
            "SELECT last_used_at FROM sitelatch.api_user_activity WHERE user_id = $1", user_id
        )
    finally:
        await connection.close()


async def exit_code(bench: Bench) -> int:
    await until(lambda: not bench.latch.running, "the process ends", 20)
    return bench.latch.wait()


async def test_a_stop_finishes_open_exchanges_and_exits_with_0(start: Start, database_url: str) -> None:
    bench = start({"delay_seconds": 1.5, "timeout_seconds": 20})
    latch = bench.latch
    async with one_lane(bench) as lane, connect(latch.address) as slow, connect(latch.address) as idle:
        await slow.send(lane.request("GET", "/sites/shop/slow"))
        served = await lane.upstream.accept()
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        await slow.head()

        latch.signal(signal.SIGTERM)
        await until(lambda: latch.ready() == 503, "the readiness probe says 503")
        # Load balancers only poll the probe. Until they have noticed, connections are still served.
        async with connect(latch.address) as late:
            lane.upstream.handler = Answering()
            await late.send(lane.request("GET", "/sites/shop/late"))
            assert (await late.answer()).status == 200
        await until(lambda: not accepts(latch.address), "no new connection is taken")
        assert await idle.closed()
        # Activity is written at once now, so killing a slow stop loses none of it.
        async with asyncio.timeout(10):
            while await last_use(database_url, bench.keys.shop.id) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert latch.running

        await served.send(b" last")
        assert await slow.read_exactly(10) == b"first last"
        assert await exit_code(bench) == 0


async def test_an_exchange_that_does_not_end_is_aborted(start: Start) -> None:
    bench = start({"delay_seconds": 0, "timeout_seconds": 1})
    async with one_lane(bench) as lane, connect(bench.latch.address) as client:
        served = await open_exchange(client, lane.upstream, lane.request("GET", "/sites/shop/events"))
        await served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await client.read_until(b"hello")
        bench.latch.signal(signal.SIGTERM)
        rest = await client.read_to_end()
        assert b"0\r\n\r\n" not in rest
        assert await served.closed()
        assert await exit_code(bench) == 0


async def test_connections_in_use_get_connection_close(start: Start) -> None:
    bench = start({"delay_seconds": 0, "timeout_seconds": 10})
    async with one_lane(bench) as lane, connect(bench.latch.address) as client:
        served = await open_exchange(client, lane.upstream, lane.request("GET", "/sites/shop/slow"))
        bench.latch.signal(signal.SIGTERM)
        await until(lambda: not accepts(bench.latch.address), "no new connection is taken")
        await served.send(OK)
        answer = await client.answer()
        assert (answer.body, answer.one("Connection")) == (b"ok", b"close")
        assert await client.closed()
        assert await exit_code(bench) == 0


async def test_a_second_signal_skips_the_wait(start: Start, database_url: str) -> None:
    bench = start({"delay_seconds": 60, "timeout_seconds": 60})
    async with one_lane(bench) as lane, connect(bench.latch.address) as client:
        served = await open_exchange(client, lane.upstream, lane.request("GET", "/sites/shop/events"))
        await served.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await client.read_until(b"hello")
        bench.latch.signal(signal.SIGTERM)
        await until(lambda: bench.latch.ready() == 503, "the readiness probe says 503")
        began = time.monotonic()
        bench.latch.signal(signal.SIGTERM)
        assert await exit_code(bench) == 0
        assert time.monotonic() - began < 20
    # Activity is still written.
    assert await last_use(database_url, bench.keys.shop.id) is not None


async def test_sigint_stops_like_sigterm(start: Start) -> None:
    bench = start({"delay_seconds": 0, "timeout_seconds": 5})
    bench.latch.signal(signal.SIGINT)
    assert await exit_code(bench) == 0
    assert "Traceback" not in bench.latch.output.read_text()


async def test_refused_requests_of_a_known_key_count_as_activity(start: Start, database_url: str) -> None:
    bench = start({"delay_seconds": 0, "timeout_seconds": 5})
    async with one_lane(bench) as lane, connect(bench.latch.address) as client:
        await client.send(lane.request("GET", "/sites/blog/x", user=bench.keys.wiki))
        assert (await client.answer()).status == 403
    bench.latch.signal(signal.SIGTERM)
    assert await exit_code(bench) == 0
    assert await last_use(database_url, bench.keys.wiki.id) is not None
    assert await last_use(database_url, bench.keys.blog.id) is None
