"""The front door on real sockets, in this process: limits, connections that return to the pool, and timeouts."""

import asyncio
import contextlib
import functools
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ParamSpec

import pytest
import uvloop

from proxy.relay.services import Services
from tests.acceptance.certificates import Authority
from tests.acceptance.wire import connect, listening_socket, port_of, until
from tests.integration.front import KEY, Front, front

Arguments = ParamSpec("Arguments")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def on_uvloop(test: Callable[Arguments, Coroutine[Any, Any, None]]) -> Callable[Arguments, None]:
    """Run a test on uvloop, as in production: buffering and callbacks depend on the event loop."""

    @functools.wraps(test)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        uvloop.run(test(*args, **kwargs))

    return run


def request(method: str, *lines: str, key: str = KEY) -> bytes:
    return "\r\n".join((f"{method} /sites/shop/x HTTP/1.1", "Host: h", f"X-API-Key: {key}", *lines, "", "")).encode()


@asynccontextmanager
async def narrow_client(front: Front) -> AsyncIterator[socket.socket]:
    """A client whose kernel buffers little unread data."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", front.port))
        yield sock


async def send_until_blocked(sock: socket.socket, data: bytes, most: int, seconds: float = 1.0) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(most // len(data)):
        try:
            async with asyncio.timeout(seconds):
                await loop.sock_sendall(sock, data)
        except (TimeoutError, ConnectionError):
            return


@on_uvloop
async def test_unread_refusals_do_not_accumulate() -> None:
    async with front() as door, narrow_client(door) as client:
        await send_until_blocked(client, request("GET", key="none") * 1000, 100_000_000)
        assert door.client.transport.get_write_buffer_size() < 200_000


@on_uvloop
async def test_a_client_that_reads_no_refusals_is_disconnected() -> None:
    async with front(upload_idle_seconds=0.5) as door, narrow_client(door) as client:
        await send_until_blocked(client, request("GET", key="none") * 1000, 100_000_000)
        await until(lambda: not door.connections, "the connection's end")


@on_uvloop
async def test_a_response_does_not_begin_while_the_previous_one_is_unread() -> None:
    loop = asyncio.get_running_loop()
    async with front() as door, narrow_client(door) as client:
        await loop.sock_sendall(client, request("GET") * 2)
        served = await door.upstream.accept()
        await served.head()
        await served.send(CHUNKED)
        while not door.client.transport.get_write_buffer_size():
            await served.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            await asyncio.sleep(0.002)
        await served.send(b"10800\r\n" + b"x" * 0x10800 + b"\r\n0\r\n\r\n")  # one read, which fills the client's buffer
        await until(lambda: door.client.exchange is None, "the first answer's end")
        assert door.client.full
        assert await served.quiet()
        reading = asyncio.create_task(read_everything(client))
        await served.head()  # now it arrives
        reading.cancel()


async def read_everything(sock: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(sock, 65536):
        pass


@on_uvloop
async def test_a_disconnect_is_noticed_while_pipelined_requests_wait() -> None:
    async with front() as door:
        async with connect(door.address) as client:
            await client.send(request("GET") * 2)
            served = await door.upstream.accept()
            await served.head()
            await served.send(CHUNKED)
            await client.head()
        await until(lambda: not door.metrics.exchanges_open, "the exchange's end")
        assert await served.closed()


@on_uvloop
async def test_the_connection_stays_usable_after_a_response_to_head_without_length() -> None:
    async with front() as door, connect(door.address) as client:
        await client.send(request("HEAD"))
        served = await door.upstream.accept()
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n")
        await client.answer("HEAD")
        await client.send(request("GET"))
        await served.head()
        await served.send(OK)
        assert (await client.answer()).status == 200


@on_uvloop
async def test_a_204_never_has_a_transfer_encoding() -> None:
    async with front() as door, connect(door.address) as client:
        await client.send(request("GET"))
        served = await door.upstream.accept()
        await served.head()
        await served.send(b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await client.answer()).all("Transfer-Encoding") == []


@on_uvloop
async def test_an_upload_that_stalls_after_the_response_head_ends() -> None:
    async with front(upload_idle_seconds=0.5) as door, connect(door.address) as client:
        await client.send(request("POST", "Content-Length: 100") + b"abc")
        served = await door.upstream.accept()
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12")
        await client.head()
        await until(lambda: not door.metrics.exchanges_open, "the exchange's end")
        assert await client.closed()


@on_uvloop
async def test_an_invalid_upstream_host_name_is_unreachable() -> None:
    async with front(upstream="http://a..b:80") as door, connect(door.address) as client:
        await client.send(request("GET"))
        assert (await client.answer()).code == "upstream_unreachable"
        assert door.pool.places_taken == 0


@asynccontextmanager
async def small_buffer_listener() -> AsyncIterator[socket.socket]:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        sock.setblocking(False)
        yield sock


@on_uvloop
async def test_an_upstream_that_responds_early_and_stops_reading_frees_its_slot() -> None:
    loop = asyncio.get_running_loop()
    async with (
        small_buffer_listener() as listening,
        front(upstream=f"http://127.0.0.1:{port_of(listening)}") as door,
        connect(door.address) as client,
    ):
        client.writer.write(request("POST", "Content-Length: 30000000") + b"a" * 20_000_000)
        served, _ = await loop.sock_accept(listening)
        with served:
            await until(lambda: door.client.paused, "a full upstream")
            await asyncio.sleep(0.3)  # until the buffers of the kernel are full
            await loop.sock_sendall(served, b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
            await until(lambda: door.pool.places_taken == 0, "the place's return")


@on_uvloop
async def test_a_connection_with_unsent_bytes_is_not_reused() -> None:
    loop = asyncio.get_running_loop()
    async with (
        small_buffer_listener() as listening,
        front(upstream=f"http://127.0.0.1:{port_of(listening)}") as door,
        connect(door.address) as client,
    ):
        await client.send(request("POST", "Transfer-Encoding: chunked"))
        served, _ = await loop.sock_accept(listening)
        with served:
            await until(lambda: door.client.upstream is not None, "a connection")
            transport = door.client.upstream.transport
            while not transport.get_write_buffer_size():
                await client.send(b"1000\r\n" + b"a" * 0x1000 + b"\r\n")
                await asyncio.sleep(0.002)
            await client.send(b"5\r\nhello\r\n0\r\n\r\n")
            await until(lambda: door.client.exchange.body.done, "the whole request")
            await loop.sock_sendall(served, b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
            assert (await client.answer()).status == 413
            assert door.pool.take(asyncio.get_running_loop().time()) is None


class BrokenConnection:
    """A client connection that raises an error when its timeouts are checked."""

    exchange = None

    def __init__(self, services: Services) -> None:
        self._services = services

    def sweep(self, now: float) -> None:
        raise RuntimeError

    def drain(self) -> None:
        raise AssertionError

    def abort(self) -> None:
        self._services.connections.discard(self)


@on_uvloop
async def test_an_error_while_checking_one_connection_does_not_disable_other_timeouts() -> None:
    async with front(head_seconds=0.3) as door, connect(door.address):
        await until(lambda: len(door.connections) == 1, "the first connection")
        broken = BrokenConnection(door.door.services)
        door.door.services.connections.add(broken, "192.0.2.1", exempt=True)
        async with connect(door.address) as second:
            assert await second.closed()
        assert broken not in door.connections


@on_uvloop
async def test_the_body_of_a_get_never_becomes_the_next_request() -> None:
    """Some servers leave the body of a GET unread, and take it for the next request (CL.0)."""
    smuggled = b"GET /sites/blog/x HTTP/1.1\r\nHost: h\r\n\r\n"
    for method, reused in (("GET", False), ("DELETE", False), ("PUT", True), ("POST", True)):
        async with front() as door, connect(door.address) as client:
            await client.send(request("GET"))
            served = await door.upstream.accept()
            await served.head()
            await served.send(OK)  # it does not name a server that leaves bodies unread
            assert (await client.answer()).status == 200
            await client.send(request(method, f"Content-Length: {len(smuggled)}") + smuggled)
            head = await served.head()
            assert (head.one("Connection") is None) is reused, method
            await served.read_exactly(len(smuggled))
            await served.send(OK)
            assert (await client.answer()).status == 200
            assert (door.pool.take(asyncio.get_running_loop().time()) is not None) is reused, method


@pytest.mark.parametrize("sends_close_notify", [True, False], ids=["close-notify", "no-close-notify"])
@on_uvloop
async def test_a_tls_response_without_length_needs_close_notify_to_end(
    tmp_path: Path, sends_close_notify: bool
) -> None:
    """An attacker on the network can end a connection, but cannot send close_notify (RFC 9112 §9.8)."""
    authority = Authority(tmp_path, "authority")
    settings = {"upstream_tls": {"ca": authority.file}}
    tls = authority.pair("127.0.0.1").server_context()
    async with front(route_settings=settings, service_tls=tls) as door, connect(door.address) as client:
        await client.send(request("GET", "Connection: close"))
        served = await door.upstream.accept()
        await served.head()
        await served.send(b"HTTP/1.1 200 OK\r\n\r\n1000 rows")
        await client.read_until(b"1000 rows\r\n")
        if sends_close_notify:
            served.writer.close()
        else:
            served.writer.transport.abort()  # nothing is unread there, so this does not send RST
        assert await client.read_to_end() == (b"0\r\n\r\n" if sends_close_notify else b"")
        await until(lambda: not door.metrics.exchanges_open, "the exchange's end")


@on_uvloop
async def test_the_keep_alive_header_of_the_upstream_limits_idle_connections() -> None:
    async with front(upstream_idle_seconds=60) as door, connect(door.address) as client:
        for keep_alive, kept in (
            (b"timeout=60, max=9", True),
            (b"max=9, timeout=1", False),
            (b"timeout=0", False),
        ):
            await client.send(request("GET"))
            served = await door.upstream.accept()
            await served.head()
            await served.send(b"HTTP/1.1 200 OK\r\nKeep-Alive: %b\r\nContent-Length: 2\r\n\r\nok" % keep_alive)
            assert (await client.answer()).all("Keep-Alive") == []
            if kept:
                assert await served.quiet(1.2)
                served.writer.close()  # the next request gets another connection
                await until(lambda: door.pool.places_taken == 0, "its end")
            else:
                assert await served.closed()


@on_uvloop
async def test_with_host_upstream_the_host_is_localhost_for_a_unix_socket() -> None:
    for host, expected in (("upstream", b"localhost"), ("keep", b"h")):
        with tempfile.TemporaryDirectory(prefix="sl-") as folder:
            path = f"{folder}/s"
            async with front(service_path=path, route_settings={"host": host}) as door, connect(door.address) as client:
                await client.send(request("GET"))
                head = await (await door.upstream.accept()).head()
                assert (head.all("Host"), head.all("X-Forwarded-Host")) == ([expected], [b"h"])


@pytest.mark.parametrize("start", ["GET /health", "OPTIONS /sites/shop/x", "GET /sites/shop/x"])
@pytest.mark.parametrize("host", ["keep", "upstream"])
@on_uvloop
async def test_forwarded_fields_are_the_same_for_all_kinds_of_requests(start: str, host: str) -> None:
    """The key and other upgrades are never forwarded, and identity headers only for requests that need a key."""
    settings = {"public": ("GET /health",), "preflight": "pass", "host": host}
    lines = [f"{start} HTTP/1.1", "Host: h", "Connection: Upgrade, HTTP2-Settings, keep-alive", "Upgrade: h2c"]
    lines += ["HTTP2-Settings: AAMAAABkAAQAAP__", "http2_settings: AAMAAABkAAQAAP__", "X-Original-URL: /sites/blog/x"]
    lines += ["X-Forwarded-For: 9.9.9.9", "X_Forwarded_For: 9.9.9.9", "X-Api-User-Id: root", "X-Real-IP: 9.9.9.9"]
    lines += ["Forwarded: for=9.9.9.9", "X-Request-Id: mine", "TE: trailers", "Trailer: x", "Proxy: x", "Keep-Alive: 5"]
    if start.startswith("OPTIONS"):
        lines += ["Origin: https://a.example", "Access-Control-Request-Method: GET"]
    else:
        lines += [f"X-API-Key: {KEY}", f"Authorization: Bearer {KEY}"]
    async with front(route_settings=settings) as door, connect(door.address) as client:
        await client.send("\r\n".join([*lines, "", ""]).encode())
        head = await (await door.upstream.accept()).head()
    names = [name.lower() for name, _ in head.fields]
    expected = [b"host", b"x-request-id", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"]
    if start.startswith("OPTIONS"):
        expected[1:1] = [b"origin", b"access-control-request-method"]
    elif "shop" in start:
        expected[1:1] = [b"x-api-user-id", b"x-api-workspace", b"x-api-sites"]
    assert names == expected
    assert head.start == f"{start} HTTP/1.1".encode()
    assert head.one("X-Forwarded-For") == b"127.0.0.1"
    assert head.one("X-Request-Id") != b"mine"
    assert head.one("X-Forwarded-Host") == b"h"
    assert (head.one("Host") == b"h") is (host == "keep")


@on_uvloop
async def test_writing_to_a_closing_connection_is_harmless() -> None:
    """A transport can be closing before its protocol is notified."""
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    async with front() as door:
        async with connect(door.address) as client:
            await client.send(request("POST", "Transfer-Encoding: chunked") + b"1\r\na\r\n")
            served = await door.upstream.accept()
            await served.read_until(b"1\r\na\r\n")
            ours = door.client
            upstream = ours.upstream
            upstream.transport.abort()
            ours.handle(b"1\r\nb\r\n0\r\n\r\n")  # before the loop reports that the service is gone
            upstream.resume_writing()
            assert (await client.answer()).code == "upstream_broken"
            await client.send(request("GET"))
            served = await door.upstream.accept()
            await served.head()
            ours.transport.abort()
            ours.upstream.handle(OK)
            ours.pause_writing()
            ours.resume_writing()
        await until(lambda: not door.metrics.downstream_open, "the connection's end")
        assert door.metrics.exchanges_open == 0
    assert unhandled == []


async def test_host_names_are_resolved_for_each_new_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, real = asyncio.get_running_loop(), socket.getaddrinfo
    addresses = {"service.test": "127.0.0.1"}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **by: real(addresses.get(host, host), *rest, **by))
    with listening_socket() as first, socket.socket() as second:
        second.bind(("127.0.0.2", port_of(first)))
        second.listen()
        second.setblocking(False)
        async with (
            front(upstream=f"http://service.test:{port_of(first)}") as door,
            connect(door.address) as client,
        ):
            for listening, address in ((first, "127.0.0.1"), (second, "127.0.0.2")):
                addresses["service.test"] = address
                await client.send(request("GET"))
                served, _ = await asyncio.wait_for(loop.sock_accept(listening), 10)
                with served:
                    await loop.sock_sendall(served, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                    assert (await client.answer()).status == 200


@on_uvloop
async def test_canceling_a_connection_attempt_always_frees_its_slot() -> None:
    async with front() as door:
        pool = door.pool
        for steps in range(10):
            for _ in range(5):
                opening = asyncio.get_running_loop().create_task(pool.open())
                for _ in range(steps):
                    await asyncio.sleep(0)
                opening.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    (await opening).drop()
        await until(lambda: not pool.places_taken, "the release of all slots")
        await until(lambda: not door.metrics.upstream_open, "the end of all connections")


@on_uvloop
async def test_a_url_without_a_path_becomes_an_asterisk_in_options_and_a_slash_in_other_requests() -> None:
    """RFC 9112 §3.2.4. `OPTIONS *` itself is refused, and no header may turn `*` into another request."""
    key = f"X-API-Key: {KEY}"
    async with front(route_settings={"without_site": "any-key"}) as there, connect(there.address) as client:
        for method, target in (("OPTIONS", b"*"), ("GET", b"/")):
            head = (f"{method} http://h HTTP/1.1", "Host: h", key, "X-HTTP-Method-Override: GET", "", "")
            await client.send("\r\n".join(head).encode())
            served = await there.upstream.accept()
            seen = await served.head()
            assert seen.target == target
            assert seen.all("X-HTTP-Method-Override") == ([] if target == b"*" else [b"GET"])
            await served.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            assert (await client.answer()).status == 204
        await client.send(b"OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.answer()).status == 401
        await client.send(f"OPTIONS * HTTP/1.1\r\nHost: h\r\n{key}\r\n\r\n".encode())
        assert (await client.answer()).status == 400
