"""TLS and unix sockets on both sides, with generated certificates."""

import contextlib
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.acceptance.certificates import Authority, Pair
from tests.acceptance.harness import Bench, Lanes, Sitelatch, Table, serving
from tests.acceptance.wire import Answering, Message, Upstream, connect, listening_socket, port_of
from tests.ports import free_port


@dataclass
class Service:
    """The data service of a route: its TLS, and the route's settings for it."""

    tls: ssl.SSLContext | None = None
    settings: Mapping[str, str] | None = None
    scheme: str = "https"
    path: str | None = None

    def __post_init__(self) -> None:
        self.socket = listening_socket(self.path)

    def route(self, name: str) -> Table:
        upstream = f"unix:{self.path}" if self.path else f"{self.scheme}://127.0.0.1:{port_of(self.socket)}"
        route = {"name": name, "path": f"/{name}", "upstream": upstream, "sites": [f"path:/{name}/{{site}}/**"]}
        return route if self.settings is None else {**route, "upstream_tls": self.settings}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with a short name, because a unix socket path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder, "authority")


@pytest.fixture(scope="module")
def other_authority(folder: Path) -> Authority:
    return Authority(folder, "other authority")


class ServerNames:
    """Records which name each client sent (SNI)."""

    def __init__(self) -> None:
        self.requested: list[str | None] = []

    def __call__(self, _connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        self.requested.append(name)


@pytest.fixture(scope="module")
def server_names() -> ServerNames:
    return ServerNames()


@pytest.fixture(scope="module")
def services(
    folder: Path, authority: Authority, other_authority: Authority, server_names: ServerNames
) -> dict[str, Service]:
    by_address, by_name = authority.pair("127.0.0.1"), authority.pair("data.internal")
    client_pair = authority.pair("sitelatch.client")
    recording_sni = by_name.server_context()
    recording_sni.sni_callback = server_names
    ca = {"ca": authority.file}
    return {
        "private-ca": Service(by_address.server_context(), ca),
        "unknown-ca": Service(by_address.server_context(), None),
        "other-ca": Service(other_authority.pair("127.0.0.1").server_context(), ca),
        "wrong-name": Service(by_name.server_context(), ca),
        "expired": Service(authority.pair("127.0.0.1", days=-1).server_context(), ca),
        "server-name": Service(recording_sni, {**ca, "server_name": "data.internal"}),
        "client-certificate": Service(
            by_address.server_context(authority.file),
            {**ca, "certificate": client_pair.certificate, "key": client_pair.key},
        ),
        "no-client-certificate": Service(by_address.server_context(authority.file), ca),
        "no-tls": Service(None, ca),
        "unix-socket": Service(path=str(folder / "service.sock")),
    }


@pytest.fixture(scope="module")
def front(authority: Authority) -> Pair:
    return authority.pair("localhost")


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, database_url: str, services: dict[str, Service], front: Pair
) -> Iterator[Bench]:
    proxy: Table = {"tls": {"certificate": front.certificate, "key": front.key}}
    routes = [service.route(name) for name, service in services.items()]
    with contextlib.ExitStack() as stack:
        for service in services.values():
            stack.enter_context(service.socket)
        folder = tmp_path_factory.mktemp("tls")
        yield stack.enter_context(
            serving(folder, database_url, Lanes(10), routes=routes, proxy=proxy, limits={"connect_seconds": 1})
        )


@pytest.fixture
def trust(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.file)


@pytest.fixture
async def answering(services: dict[str, Service]) -> AsyncIterator[dict[str, Answering]]:
    """Let every data service respond. Return the handlers by route name."""
    answering = {name: Answering() for name in services}
    async with contextlib.AsyncExitStack() as stack:
        for name, service in services.items():
            await stack.enter_async_context(Upstream(service.socket, answering[name], service.tls))
        yield answering


async def send_request(bench: Bench, trust: ssl.SSLContext, route: str) -> Message:
    async with connect(bench.latch.address, trust) as client:
        await client.send(
            f"GET /{route}/shop/x HTTP/1.1\r\nHost: a\r\nX-API-Key: {bench.keys.shop.key}\r\n\r\n".encode()
        )
        return await client.answer()


@pytest.mark.parametrize("route", ["private-ca", "server-name", "client-certificate", "unix-socket"])
async def test_a_service_with_a_valid_certificate_gets_requests(
    bench: Bench, trust: ssl.SSLContext, answering: dict[str, Answering], route: str
) -> None:
    assert (await send_request(bench, trust, route)).body == b"yes"
    [seen] = answering[route].requests
    assert seen.one("X-Forwarded-Proto") == b"https"


@pytest.mark.parametrize(
    "route", ["unknown-ca", "other-ca", "wrong-name", "expired", "no-client-certificate", "no-tls"]
)
async def test_a_service_without_a_valid_certificate_gets_no_requests(
    bench: Bench, trust: ssl.SSLContext, answering: dict[str, Answering], route: str
) -> None:
    answer = await send_request(bench, trust, route)
    # A server that refuses a client certificate says so after the handshake (TLS 1.3), instead of responding.
    allowed = (
        ["upstream_unreachable", "upstream_broken"] if route == "no-client-certificate" else ["upstream_unreachable"]
    )
    assert (answer.status, answer.code in allowed) == (502, True)
    assert answering[route].requests == []


async def test_the_service_gets_its_name_by_sni(
    bench: Bench, trust: ssl.SSLContext, answering: dict[str, Answering], server_names: ServerNames
) -> None:
    assert (await send_request(bench, trust, "server-name")).status == 200
    assert set(server_names.requested) == {"data.internal"}


def test_a_real_client_trusts_the_certificate_of_the_front_door(
    bench: Bench, trust: ssl.SSLContext, front: Pair
) -> None:
    with httpx.Client(verify=trust, trust_env=False) as client:
        port = bench.latch.address.rpartition(":")[2]
        answer = client.get(f"https://localhost:{port}/private-ca/shop/x")
    assert (answer.status_code, answer.json()["code"]) == (401, "missing_key")


async def test_plain_http_on_the_tls_port_gets_no_response(bench: Bench) -> None:
    async with connect(bench.latch.address) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"HTTP/1.1 2" not in await client.read_to_end()
    assert bench.latch.running


async def test_a_large_body_arrives_over_tls_on_both_sides(
    bench: Bench, trust: ssl.SSLContext, answering: dict[str, Answering]
) -> None:
    body = b"0123456789abcdef" * (1 << 18)
    answering["private-ca"].answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with connect(bench.latch.address, trust) as client:
        key = bench.keys.shop.key
        head = f"PUT /private-ca/shop/x HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
        await client.send(head.encode() + body)
        assert (await client.answer()).body == body
    assert answering["private-ca"].requests[0].body == body


# Unix sockets.


@pytest.fixture(scope="module")
def unix_door(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, database_url: str
) -> Iterator[tuple[Bench, Service]]:
    service = Service(path=str(folder / "behind.sock"))
    with (
        service.socket,
        serving(
            tmp_path_factory.mktemp("unix"),
            database_url,
            Lanes(1),
            routes=[service.route("data")],
            proxy={"listen": f"unix:{folder / 'front.sock'}"},
        ) as bench,
    ):
        yield bench, service


async def test_unix_sockets_work_on_both_sides(unix_door: tuple[Bench, Service]) -> None:
    bench, service = unix_door
    answering = Answering()
    async with Upstream(service.socket, answering), connect(bench.latch.address) as client:
        for key, status in ((bench.keys.shop.key, 200), (bench.keys.blog.key, 403)):
            await client.send(f"GET /data/shop/x HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n\r\n".encode())
            assert (await client.answer()).status == status
    assert [request.one("Host") for request in answering.requests] == [b"a"]


async def test_a_stale_socket_file_is_replaced(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, database_url: str
) -> None:
    left = str(folder / "left.sock")
    listening_socket(left).close()
    routes = [{"name": "data", "upstream": f"http://127.0.0.1:{free_port()}", "sites": ["path:/{site}/**"]}]
    latch = Sitelatch(tmp_path_factory.mktemp("left"), database_url, routes, proxy={"listen": f"unix:{left}"})
    latch.start()
    try:
        async with connect(latch.address) as client:
            await client.send(b"GET /shop/x HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.answer()).status == 401
    finally:
        latch.stop()


def test_curl_works_over_a_unix_socket(unix_door: tuple[Bench, Service]) -> None:
    bench, _ = unix_door
    assert shutil.which("curl")
    done = subprocess.run(
        ["curl", "-s", "--unix-socket", bench.latch.address.removeprefix("unix:"), "http://a/data/shop/x"],
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert b'"missing_key"' in done.stdout
