"""Health checks and clients of proxies: HTTP/1.0 without Host, and targets that are complete URLs."""

import asyncio
import csv
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.harness import Bench, Lane, Lanes, Table, serving
from tests.acceptance.wire import Answering, Wire, connect, port_of, until
from tests.ports import free_port


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Bench]:
    with serving(tmp_path_factory.mktemp("old"), database_url, Lanes(40)) as bench:
        yield bench


@pytest.fixture
async def service(lane: Lane) -> Answering:
    service = Answering()
    lane.upstream.handler = service
    return service


# HTTP/1.0 without Host.


@pytest.mark.parametrize("path", ["/health", "/sites/shop/x"])
async def test_http_1_0_without_host_is_forwarded_with_the_host_of_the_upstream(
    client: Wire, lane: Lane, service: Answering, path: str
) -> None:
    key = lane.keys.shop.key
    await client.send(f"GET {lane.target(path)} HTTP/1.0\r\nX-API-Key: {key}\r\n\r\n".encode())
    answer = await client.answer()
    assert (answer.status, answer.body) == (200, b"yes")
    [seen] = service.requests
    assert seen.start == f"GET {lane.target(path)} HTTP/1.1".encode()
    assert seen.one("Host") == f"127.0.0.1:{port_of(lane.socket)}".encode()
    assert seen.one("X-Forwarded-Host") is None
    assert seen.one("X-Forwarded-For") == b"127.0.0.1"


@pytest.mark.parametrize("host", ["", "Host:\r\n"])
async def test_http_1_0_without_host_and_key_passes_on_public_paths_only(
    bench: Bench, lane: Lane, service: Answering, host: str
) -> None:
    statuses = {}
    for path in ("/health", "/sites/shop/x"):
        async with connect(bench.latch.address) as client:
            await client.send(f"GET {lane.target(path)} HTTP/1.0\r\n{host}\r\n".encode())
            statuses[path] = (await client.answer()).status
    assert statuses == {"/health": 200, "/sites/shop/x": 401}


@pytest.mark.parametrize("host", ["Host: a\r\nHost: a\r\n", "Host:\r\nHost:\r\n", "Host: a b\r\n"])
async def test_http_1_0_with_a_bad_host_is_refused(client: Wire, lane: Lane, host: str) -> None:
    await client.send(f"GET {lane.target('/health')} HTTP/1.0\r\n{host}\r\n".encode())
    assert (await client.answer()).code == "bad_request"
    assert lane.upstream.untouched


async def test_http_1_0_without_host_is_refused_if_a_route_reads_sites_from_hosts(
    tmp_path: Path, database_url: str
) -> None:
    by_host: Table = {
        "name": "by-host",
        "path": "/by-host",
        "upstream": f"http://127.0.0.1:{free_port()}",
        "sites": ["host:{site}.api.example"],
    }
    with serving(tmp_path, database_url, Lanes(1), routes=[by_host]) as bench:
        lane = bench.lanes.next(bench.latch, bench.keys)
        lane.upstream.handler = Answering()
        async with lane.upstream:
            for line, status in ((b"", 400), (b"Host: a\r\n", 200)):
                async with connect(bench.latch.address) as client:
                    await client.send(b"GET %b HTTP/1.0\r\n%b\r\n" % (lane.target("/health").encode(), line))
                    assert (await client.answer()).status == status


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="needs HAProxy")
@pytest.mark.parametrize("request_line", ["GET {path}", "GET {path} HTTP/1.0", "GET {path} HTTP/1.1\\r\\nHost:\\ a"])
async def test_a_health_check_of_haproxy_succeeds(
    bench: Bench, lane: Lane, service: Answering, tmp_path: Path, request_line: str
) -> None:
    stats = tmp_path / "stats.sock"
    config = tmp_path / "haproxy.cfg"
    config.write_text(f"""
global
    stats socket {stats}
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
listen front
    bind 127.0.0.1:{free_port()}
    option httpchk {request_line.format(path=lane.target("/health"))}
    server sitelatch {bench.latch.address} check inter 5s
""")
    process = await asyncio.create_subprocess_exec(
        "haproxy", "-db", "-q", "-f", str(config), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await until(lambda: _check(stats) not in ("", "INI"), "HAProxy has checked the server")
        assert _check(stats) == "L7OK"
    finally:
        process.kill()
        await process.wait()
    assert service.requests[0].start == f"GET {lane.target('/health')} HTTP/1.1".encode()


def _check(stats: Path) -> str:
    """Return the result of the last health check of HAProxy's one server."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(stats))
        except OSError:
            return ""
        sock.sendall(b"show stat\n")
        text = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
    return next(row["check_status"] for row in csv.DictReader(text.splitlines()) if row["svname"] == "sitelatch").strip(
        "* "
    )


# Targets that are complete URLs.


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("http://data.example", "data.example"),
        ("HTTP://DATA.example", "data.Example"),
        ("http://data.example:80", "data.example"),
        ("http://data.example", "data.example:80"),
        ("https://data.example", "data.example"),
        ("http://[::1]:8080", "[::1]:8080"),
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_url_of_the_host_is_forwarded_in_origin_form(
    client: Wire, lane: Lane, service: Answering, authority: str, host: str, version: str
) -> None:
    target = lane.target("/sites/shop/x?a=http://b")
    key = lane.keys.shop.key
    await client.send(f"GET {authority}{target} HTTP/{version}\r\nHost: {host}\r\nX-API-Key: {key}\r\n\r\n".encode())
    assert (await client.answer()).status == 200
    [seen] = service.requests
    assert (seen.target, seen.one("Host")) == (target.encode(), host.encode())
    assert seen.one("X-Forwarded-Host") == host.encode()


async def test_the_decision_judges_the_path_of_a_url(client: Wire, lane: Lane, service: Answering) -> None:
    async def status(target: str) -> int:
        key = lane.keys.shop.key
        await client.send(f"GET http://a{target} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n\r\n".encode())
        return (await client.answer()).status

    assert await status(lane.target("/sites/shop/x")) == 200
    assert await status(lane.target("/sites/blog/x")) == 403
    assert await status(lane.target("/sites/shop/x?site=blog")) == 403
    assert await status(lane.target("/sites/shop/../blog/x")) == 400


async def test_pipelined_requests_with_urls_are_separate(client: Wire, lane: Lane, service: Answering) -> None:
    key = lane.keys.shop.key
    one = f"POST http://a{lane.target('/sites/shop/x')} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n"
    await client.send(f"{one}Content-Length: 2\r\n\r\nok{one}Content-Length: 0\r\n\r\n".encode())
    assert [(await client.answer()).status for _ in range(2)] == [200, 200]
    assert [request.body for request in service.requests] == [b"ok", b""]


@pytest.mark.parametrize("how", ["--proxy", "--request-target"])
async def test_requests_of_curl_with_a_proxy_pass(bench: Bench, lane: Lane, service: Answering, how: str) -> None:
    path = lane.target("/sites/shop/x")
    url = f"http://data.example{path}"
    words = ["--proxy", bench.latch.url, url] if how == "--proxy" else ["--request-target", url, bench.latch.url]
    host = () if how == "--proxy" else ("-H", "Host: data.example")
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "-H", f"X-API-Key: {lane.keys.shop.key}", *host, *words, stdout=subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert output == b"yes"
    [seen] = service.requests
    assert (seen.target, seen.one("Host")) == (path.encode(), b"data.example")
