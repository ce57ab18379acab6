"""The test harness itself: the raw client and the raw upstream, connected without Sitelatch."""

import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from sql.pool import open_pool
from tests.acceptance.database_tap import tapped
from tests.acceptance.harness import toml
from tests.acceptance.wire import Answering, TruncatedError, Upstream, connect, listening_socket, port_of


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with listening_socket() as sock:
        yield sock


@pytest.fixture
async def upstream(listener: socket.socket) -> AsyncIterator[Upstream]:
    async with Upstream(listener) as upstream:
        yield upstream


@pytest.fixture
def address(listener: socket.socket) -> str:
    return f"127.0.0.1:{port_of(listener)}"


async def test_client_and_upstream_see_the_exact_bytes(upstream: Upstream, address: str) -> None:
    async with connect(address) as client:
        await client.send(
            b"POST /x HTTP/1.1\r\nhOst: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: 1\r\n\r\n"
        )
        served = await upstream.accept()
        request = await served.request()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 204 No Content\r\n\r\n")
        answer, second = await client.answer(), await client.answer()
    assert request.fields == [(b"hOst", b"a"), (b"Transfer-Encoding", b"chunked")]
    assert (request.body, request.trailers) == (b"hello", [(b"T", b"1")])
    assert (answer.status, answer.body, second.status) == (200, b"ok", 204)


async def test_a_truncated_body_raises(upstream: Upstream, address: str) -> None:
    async with connect(address) as client:
        await client.send(b"GET / HTTP/1.1\r\n\r\n")
        served = await upstream.accept()
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour")
        await served.close()
        with pytest.raises(TruncatedError) as cut:
            await client.answer()
    assert cut.value.so_far == b"four"


async def test_a_connection_reset_is_detected(upstream: Upstream, address: str) -> None:
    async with connect(address) as client:
        await client.send(b"GET / HTTP/1.1\r\n\r\n")
        served = await upstream.accept()
        await served.head()
        await served.reset()
        assert await client.closed()
        assert client.was_reset


async def test_an_answering_upstream_records_its_requests(upstream: Upstream, address: str) -> None:
    service = Answering()
    upstream.handler = service
    async with connect(address) as client:
        for path in (b"/a", b"/b"):
            await client.send(b"GET %b HTTP/1.1\r\n\r\n" % path)
            assert (await client.answer()).body == b"yes"
    assert [request.target for request in service.requests] == [b"/a", b"/b"]


def test_a_config_is_written_as_toml() -> None:
    written = toml({"proxy": {"listen": "a:1", "routes": [{"name": "x", "all": True, "tls": {"ca": 'q"'}}]}})
    assert (
        written == '[proxy]\n"listen" = "a:1"\n"routes" = [{ "name" = "x", "all" = true, "tls" = { "ca" = "q\\"" } }]\n'
    )


async def test_the_database_tap_counts_each_execution_of_a_statement(dsn: str) -> None:
    with tapped(dsn) as tap:
        async with await open_pool(tap.url, role="tests") as pool:
            for _ in range(3):
                assert await pool.fetchval("SELECT count(*) FROM sitelatch.sites WHERE id <> $1", "x") == 0
    assert tap.statement_count("sitelatch.sites") == 3
