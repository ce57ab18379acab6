"""Upstreams that leave a request's body unread and take it for the next request (CL.0), such as Python's http.server.

A body can contain a whole request for another site. The upstream must never execute it.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.acceptance.harness import Bench, Lane, Lanes, Table, User, serving
from tests.acceptance.wire import Answering, Message, Wire, connect

OTHERS_DATA = b"the data of blog"


class Service(ThreadingHTTPServer):
    """A data service that reads bodies only if `reads_bodies` is set. It records the requests that it executed."""

    daemon_threads = True

    def __init__(self, *, names_itself: bool = True, reads_bodies: bool = False, port: int = 0) -> None:
        self.executed: list[str] = []
        self.connections = 0
        self.names_itself = names_itself
        self.reads_bodies = reads_bodies
        self._sockets: list[socket.socket] = []
        super().__init__(("127.0.0.1", port), Handler)

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Stop and close all connections, as happens when a process exits."""
        self.shutdown()
        self.server_close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):  # it is already closed
                sock.shutdown(socket.SHUT_RDWR)

    def get_request(self):  # type: ignore[no-untyped-def]
        self.connections += 1
        sock, address = super().get_request()
        self._sockets.append(sock)
        return sock, address


class Handler(BaseHTTPRequestHandler):
    """Responds to every method in the same way, and leaves the body on the connection."""

    protocol_version = "HTTP/1.1"
    server: Service

    def answer(self) -> None:
        self.server.executed.append(f"{self.command} {self.path}")
        if self.server.reads_bodies:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = OTHERS_DATA if "/blog" in self.path else b"ok"
        if self.server.names_itself:
            self.send_response(200)
        else:
            self.send_response_only(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_QUERY = answer  # noqa: N815 - http.server's names

    def log_request(self, *_: object) -> None:
        """Log nothing."""


class Behind:
    """A route with its own data service."""

    def __init__(self, name: str, *, names_itself: bool = True, reads_bodies: bool = False, **route: object) -> None:
        self.name = name
        self.service = Service(names_itself=names_itself, reads_bodies=reads_bodies)
        self.route: Table = {
            "name": name,
            "path": f"/{name}",
            "upstream": f"http://127.0.0.1:{self.service.server_address[1]}",
            "sites": [f"path:/{name}/{{site}}/**"],
            "methods": ["GET", "POST", "PUT", "PATCH", "DELETE", "QUERY"],
            **route,
        }
        self.service.start()

    def request(self, method: str, user: User, *, smuggle: bool = False, chunked: bool = False) -> bytes:
        hidden = f"GET /{self.name}/blog/secret HTTP/1.1\r\nHost: a\r\n\r\n".encode() if smuggle else b""
        framing, body = "", b""
        if hidden and chunked:
            framing, body = "Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
        elif hidden:
            framing, body = f"Content-Length: {len(hidden)}\r\n", hidden
        head = f"{method} /{self.name}/shop/x HTTP/1.1\r\nHost: a\r\nX-API-Key: {user.key}\r\n{framing}\r\n"
        return head.encode() + body


NAMES = [
    f"{when}-{method}-{framing}"
    for when in ("first", "later")
    for method in ("post", "put", "patch", "delete", "get", "query")
    for framing in ("length", "chunked")
]
REPLACED = {"replaced-after-get": [("GET", False)], "replaced-after-posts": [("POST", True), ("POST", True)]}
"""Names of services, and the requests that the first server at each address gets: the method, and whether it has a
body."""


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Behind]]:
    services = [Behind(name) for name in NAMES]
    services += [Behind("silent", names_itself=False, reuse_after_body=False), Behind("plain"), Behind("waiting")]
    services += [Behind(name, names_itself=False, reads_bodies=True) for name in ("reader", *REPLACED)]
    yield {behind.name: behind for behind in services}
    for behind in services:
        behind.service.stop()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str, services: dict[str, Behind]) -> Iterator[Bench]:
    routes = [behind.route for behind in services.values()]
    with serving(tmp_path_factory.mktemp("unread"), database_url, Lanes(2), routes=routes) as bench:
        yield bench


async def send_request(bench: Bench, request: bytes) -> Message:
    async with connect(bench.latch.address) as client:
        await client.send(request)
        return await client.answer()


async def check_nothing_smuggled(bench: Bench, behind: Behind, method: str, chunked: bool) -> None:
    """Send a request with another one in its body, then one more. Check that each gets its own response."""
    user = bench.keys.shop
    async with connect(bench.latch.address) as attacker:
        for _ in range(3):
            await attacker.send(behind.request(method, user, smuggle=True, chunked=chunked))
            assert (await attacker.answer()).body == b"ok"
            for _ in range(3):
                assert (await send_request(bench, behind.request("GET", user))).body == b"ok"
        await attacker.send(behind.request("GET", user))
        assert (await attacker.answer()).body == b"ok"
        assert OTHERS_DATA not in attacker.received
    assert not [executed for executed in behind.service.executed if "blog" in executed]


@pytest.mark.parametrize("name", NAMES)
async def test_a_request_in_a_body_is_never_executed(bench: Bench, services: dict[str, Behind], name: str) -> None:
    when, method, framing = name.split("-")
    behind = services[name]
    if when == "later":
        assert (await send_request(bench, behind.request("GET", bench.keys.shop))).body == b"ok"
    await check_nothing_smuggled(bench, behind, method.upper(), framing == "chunked")


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
async def test_reuse_after_body_protects_against_a_server_that_does_not_identify_itself(
    bench: Bench, services: dict[str, Behind], method: str
) -> None:
    await check_nothing_smuggled(bench, services["silent"], method, chunked=False)


async def test_connections_are_reused_after_requests_without_a_body(bench: Bench, services: dict[str, Behind]) -> None:
    behind = services["plain"]
    async with connect(bench.latch.address) as client:
        for method in ("GET", "POST", "DELETE", "GET"):
            await client.send(behind.request(method, bench.keys.shop))
            assert (await client.answer()).body == b"ok"
    assert behind.service.connections == 1


async def test_connections_to_a_server_that_reads_bodies_are_reused_after_bodies(
    bench: Bench, services: dict[str, Behind]
) -> None:
    behind = services["reader"]
    async with connect(bench.latch.address) as client:
        for _ in range(20):
            await client.send(behind.request("POST", bench.keys.shop, smuggle=True))
            assert (await client.answer()).body == b"ok"
    assert behind.service.connections == 2, "the first connection closes, because nothing is known of the server"
    assert behind.service.executed == ["POST /reader/shop/x"] * 20


@pytest.mark.parametrize("name", REPLACED)
async def test_a_server_that_takes_over_an_address_never_executes_a_request_in_a_body(
    bench: Bench, services: dict[str, Behind], name: str
) -> None:
    """The first server reads bodies, but the second does not, and must not be trusted because of the first."""
    behind = services[name]
    for method, has_body in REPLACED[name]:
        assert (await send_request(bench, behind.request(method, bench.keys.shop, smuggle=has_body))).body == b"ok"
    behind.service.stop()
    behind.service = Service(port=behind.service.server_address[1])
    behind.service.start()
    await check_nothing_smuggled(bench, behind, "POST", chunked=False)


async def test_connections_to_another_server_are_reused_after_bodies_once_it_has_responded(
    client: Wire, lane: Lane
) -> None:
    lane.upstream.handler = Answering()
    for _ in range(4):
        await client.send(lane.request("POST", "/sites/shop/x", "Content-Length: 2", body=b"ok"))
        assert (await client.answer()).status == 200
    assert len(lane.upstream.connections) == 2, "the first connection closes, because nothing is known of the server"


async def test_a_change_of_the_server_header_is_noticed(client: Wire, lane: Lane) -> None:
    """A deployment can replace the software behind an address."""
    named = b"HTTP/1.1 200 OK\r\nServer: %b\r\nContent-Length: 2\r\n\r\nok"
    post = lane.request("POST", "/sites/shop/x", "Content-Length: 2", body=b"ok")
    await client.send(lane.request("GET", "/sites/shop/x"))
    served = await lane.upstream.accept()
    await served.request()
    await served.send(named % b"nginx")
    assert (await client.answer()).status == 200
    await client.send(post)
    assert (await served.request()).one("Connection") is None
    await served.send(named % b"simplehttp/0.6 Python/3.13")
    assert (await client.answer()).status == 200
    assert await served.closed()
    for _ in range(2):
        await client.send(post)
        served = await lane.upstream.accept()
        assert (await served.request()).one("Connection") == b"close"
        await served.send(named % b"nginx")
        assert (await client.answer()).status == 200
        assert await served.closed()


async def test_a_request_in_a_body_that_waits_for_100_continue_is_never_executed(
    bench: Bench, services: dict[str, Behind]
) -> None:
    behind = services["waiting"]
    head, _, body = behind.request("POST", bench.keys.shop, smuggle=True).partition(b"\r\n\r\n")
    async with connect(bench.latch.address) as client:
        await client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.answer()).status == 100
        assert (await client.answer()).body == b"ok"
        await client.send(body)
        assert OTHERS_DATA not in await client.read_to_end()
    assert (await send_request(bench, behind.request("GET", bench.keys.shop))).body == b"ok"
    assert not [executed for executed in behind.service.executed if "blog" in executed]
