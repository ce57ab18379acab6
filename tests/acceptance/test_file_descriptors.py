"""`serve` with few file descriptors, and clients with many connections."""

import asyncio
import contextlib
import resource
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.certificates import Authority
from tests.acceptance.harness import Keys, Sitelatch, Table
from tests.acceptance.wire import DEADLINE_SECONDS, Answering, Upstream, connect, listening_socket, port_of, until
from tests.ports import free_port

FEW = 150
"""File descriptors of the process. It needs about 60 for itself."""

Start = Callable[..., Sitelatch]


@pytest.fixture
async def answering() -> AsyncIterator[tuple[Answering, int]]:
    """A data service, and its port."""
    with listening_socket() as sock:
        answering = Answering()
        async with Upstream(sock, answering):
            yield answering, port_of(sock)


@pytest.fixture
def start(tmp_path: Path, database_url: str, answering: tuple[Answering, int]) -> Iterator[Start]:
    """Starts `serve` with limits of file descriptors, given as arguments of `ulimit`."""
    with contextlib.ExitStack() as stack:

        def start(ulimit: str, **tables: Table) -> Sitelatch:
            route = {"name": "data", "upstream": f"http://127.0.0.1:{answering[1]}", "sites": ["path:/{site}/**"]}
            latch = Sitelatch(tmp_path, database_url, [route], **tables)
            stack.callback(latch.stop)
            latch.launch_alone("sh", "-c", f'ulimit {ulimit} && exec "$0" "$@"')
            latch.wait_for_readiness(200)
            return latch

        yield start


def request(keys: Keys) -> bytes:
    return f"GET /shop/x HTTP/1.1\r\nHost: a\r\nX-API-Key: {keys.shop.key}\r\n\r\n".encode()


def events(latch: Sitelatch, event: str) -> int:
    return sum(line["event"] == event for line in latch.log_lines())


def open_sockets(address: str, count: int) -> list[socket.socket]:
    host, _, port = address.rpartition(":")
    return [socket.create_connection((host, int(port)), timeout=10) for _ in range(count)]


def test_the_soft_limit_is_raised_to_the_hard_limit(start: Start) -> None:
    hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1000)
    latch = start(f"-Sn 200 && ulimit -Hn {hard}")
    assert latch.metric("process_max_fds") == hard
    line = latch.wait_for_log("few_file_descriptors")
    assert line["limit"] == hard
    assert line["needed_for_limits"] > 10_000


async def test_accepting_pauses_without_free_descriptors_and_then_serves_waiting_clients(
    start: Start, answering: tuple[Answering, int]
) -> None:
    latch = start(f"-n {FEW}", limits={"connections_per_client": 1000}, proxy={"trusted_proxies": ["127.0.0.1"]})
    keys = latch.create_sites_and_users()
    idle = open_sockets(latch.address, 100)
    line = latch.wait_for_log("accepting_paused")
    assert latch.metric("sitelatch_accepting") == 0
    assert line["largest_client"] == "127.0.0.1"
    assert line["connections_of_largest_client"] == line["open"]
    # A client that was accepted still gets an upstream connection.
    first = idle.pop(0)
    first.sendall(request(keys))
    response = await asyncio.to_thread(first.recv, 4096)
    assert response.startswith(b"HTTP/1.1 200 ")
    # A new client waits, and is served when there is room.
    async with connect(latch.address) as late:
        await late.send(request(keys))
        for sock in idle:
            sock.close()
        assert (await late.answer()).status == 200
    first.close()
    assert latch.metric("sitelatch_accepting") == 1
    await until(lambda: events(latch, "accepting_resumed") == 1, "the end of the pause is logged")
    assert len(answering[0].requests) == 2


async def test_a_lack_of_file_descriptors_is_not_blamed_on_the_upstream(start: Start) -> None:
    latch = start(f"-n {FEW}")
    keys = latch.create_sites_and_users()
    async with connect(latch.address) as client:
        await client.send(request(keys).replace(b"/shop/", b"/other/"))
        assert (await client.answer()).status == 403  # now the key is cached
        resource.prlimit(latch.pid, resource.RLIMIT_NOFILE, (10, FEW))
        await client.send(request(keys))
        answer = await client.answer()
        assert (answer.status, answer.code) == (503, "no_free_socket")
        assert int(answer.one("Retry-After") or b"0") > 0
        await until(lambda: events(latch, "exchange") == 2, "the request is logged")
        line = [line for line in latch.log_lines() if line["event"] == "exchange"][-1]
        assert (line["outcome"], line["upstream_error"]) == ("no_free_socket", "too_many_open_files")
        assert events(latch, "no_free_socket") == 1
        assert events(latch, "upstream_fails") == 0
        await until(lambda: events(latch, "accepting_paused") == 1, "the pause is logged")
        resource.prlimit(latch.pid, resource.RLIMIT_NOFILE, (FEW, FEW))
        await until(lambda: events(latch, "accepting_resumed") == 1, "accepting resumes")
        await client.send(request(keys))
        assert (await client.answer()).status == 200


async def test_connections_to_the_ops_and_admin_listeners_leave_room_for_the_front_door(start: Start) -> None:
    latch = start(f"-n {FEW}")
    keys = latch.create_sites_and_users()
    idle = [*open_sockets(latch.ops, FEW), *open_sockets(latch.admin, 20)]
    async with connect(latch.address) as client:
        await client.send(request(keys))
        assert (await client.answer()).status == 200
    async with connect(latch.ops) as probe:
        await probe.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await probe.answer()).status == 200
    await until(lambda: events(latch, "too_many_internal_connections") == 2, "each listener is logged once")
    for sock in idle:
        sock.close()


async def test_only_a_client_at_its_limit_is_refused(start: Start) -> None:
    latch = start("-n 1000", limits={"connections_per_client": 20})
    keys = latch.create_sites_and_users()
    idle = open_sockets(latch.address, 20)
    for sock in idle:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await asyncio.to_thread(sock.recv, 4096)).startswith(b"HTTP/1.1 401 ")
    async with connect(latch.address) as refused:
        assert await refused.closed()
    await until(lambda: events(latch, "client_has_too_many_connections") == 1, "the client is logged")
    assert latch.metric("sitelatch_connections_refused_total") == 1
    # Another client, with another address of the loopback network.
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with httpx.AsyncClient(transport=transport, trust_env=False) as other:
        answer = await other.get(latch.url + "/shop/x", headers={"X-API-Key": keys.shop.key})
        assert answer.status_code == 200
    for sock in idle:
        sock.close()
    await until(lambda: latch.metric("sitelatch_connections_open", side="downstream") == 0, "the connections close")
    async with connect(latch.address) as again:
        await again.send(request(keys))
        assert (await again.answer()).status == 200


async def test_connections_without_a_complete_tls_handshake_count(start: Start, tmp_path: Path) -> None:
    """Otherwise, a client that sends nothing could exceed its limit, and use up all file descriptors."""
    authority = Authority(tmp_path, "authority")
    pair = authority.pair("127.0.0.1")
    front = {"listen": f"127.0.0.1:{free_port()}", "tls": {"certificate": pair.certificate, "key": pair.key}}
    latch = start("-n 1000", proxy=front, limits={"connections_per_client": 20, "head_seconds": 60})
    keys = latch.create_sites_and_users()
    tls = ssl.create_default_context(cafile=authority.file)
    key = {"X-API-Key": keys.shop.key}
    idle = open_sockets(latch.address, 20)
    async with connect(latch.address) as refused:
        assert await refused.closed()
    await until(lambda: events(latch, "client_has_too_many_connections") == 1, "the client is logged")
    assert latch.metric("sitelatch_connections_refused_total") == 1
    other = httpx.AsyncHTTPTransport(verify=tls, local_address="127.0.0.2")
    async with httpx.AsyncClient(transport=other, trust_env=False) as client:
        answer = await client.get(f"https://{latch.address}/shop/x", headers=key)
        assert answer.status_code == 200
    for sock in idle[:5]:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")  # no TLS, so the handshake fails
    for sock in idle[5:]:
        sock.close()

    def served_again() -> bool:
        with contextlib.suppress(httpx.TransportError), httpx.Client(verify=tls, trust_env=False) as client:
            return client.get(f"https://{latch.address}/shop/x", headers=key).status_code == 200
        return False

    deadline = time.monotonic() + DEADLINE_SECONDS
    while not await asyncio.to_thread(served_again):
        assert time.monotonic() < deadline, "connections that have failed still count"
    for sock in idle[:5]:
        sock.close()
