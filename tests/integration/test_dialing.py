"""Upstream names with several addresses, some of which do not work, on real sockets."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from aiohappyeyeballs import AddrInfoType

from proxy.relay.turn import Turn
from proxy.relay.upstream_pool import UpstreamFailed, UpstreamPool
from proxy.settings import LimitSettings, UpstreamTlsSettings
from proxy.upstream_errors import Reason
from sql.name_lookups import Resolve
from tests.acceptance.certificates import Authority
from tests.acceptance.wire import Upstream, listening_socket, port_of


def addresses(*hosts: str) -> Resolve:
    """Return a function that resolves every name to these addresses."""

    async def resolve(_: str, port: int) -> Sequence[AddrInfoType]:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)) for host in hosts]

    return resolve


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """The port of an upstream on 127.0.0.1."""
    with listening_socket() as sock:
        async with Upstream(sock):
            yield port_of(sock)


@pytest.fixture
def silent(port: int) -> Iterator[str]:
    """An address that drops connections to the upstream's port, because its backlog is full."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket())
        sock.bind(("127.0.0.2", port))
        sock.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(sock.getsockname())
        yield "127.0.0.2"


def pool_of(url: str, resolve: Resolve, *, tls: UpstreamTlsSettings | None = None, seconds: float = 60) -> UpstreamPool:
    return UpstreamPool(url, tls, LimitSettings(connect_seconds=seconds), lambda _change: None, Turn(), resolve=resolve)


async def test_a_silent_address_does_not_hold_up_the_next_one(port: int, silent: str) -> None:
    """The time limit is much longer than a test may take."""
    pool = pool_of(f"http://data.example:{port}", addresses(silent, "127.0.0.1"))
    connection = await pool.open()
    assert connection.transport.get_extra_info("peername")[0] == "127.0.0.1"
    assert pool.places_taken == 1
    connection.transport.abort()


async def test_if_an_address_refuses_the_next_one_is_tried(port: int) -> None:
    pool = pool_of(f"http://data.example:{port}", addresses("127.0.0.3", "127.0.0.1"))
    connection = await pool.open()
    assert connection.transport.get_extra_info("peername")[0] == "127.0.0.1"
    connection.transport.abort()


async def test_a_silent_name_server_is_the_reason(port: int) -> None:
    async def resolve(_: str, __: int) -> Sequence[AddrInfoType]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(UpstreamFailed) as failed:
        await pool_of(f"http://data.example:{port}", resolve, seconds=0.05).open()
    assert failed.value.cause.reason is Reason.NAME_LOOKUP_FAILED


async def test_steady_traffic_follows_a_name_that_moves(port: int) -> None:
    moved = False

    async def resolve(_: str, port: int) -> Sequence[AddrInfoType]:
        return await addresses("127.0.0.2" if moved else "127.0.0.1")(_, port)

    with socket.socket() as other:
        other.bind(("127.0.0.2", port))
        async with Upstream(other):
            limits = LimitSettings(upstream_idle_seconds=30, upstream_max_age_seconds=0.2)
            pool = UpstreamPool(
                f"http://data.example:{port}", None, limits, lambda _change: None, Turn(), resolve=resolve
            )
            connection = await pool.open()
            moved = True
            async with asyncio.timeout(10):
                while connection.transport.get_extra_info("peername")[0] == "127.0.0.1":
                    pool.give_back(connection, None, asyncio.get_running_loop().time())
                    connection = pool.take(asyncio.get_running_loop().time()) or await pool.open()
                    await asyncio.sleep(0)
            connection.transport.abort()


async def test_a_failed_attempt_on_all_addresses_frees_its_slot(port: int) -> None:
    pool = pool_of(f"http://data.example:{port}", addresses("127.0.0.3", "127.0.0.4"))
    with pytest.raises(UpstreamFailed) as failed:
        await pool.open()
    assert failed.value.cause.reason is Reason.CONNECTION_REFUSED
    assert pool.places_taken == 0


async def test_if_tls_does_not_begin_the_next_address_is_tried(tmp_path: Path) -> None:
    """It accepts connections and stays silent, like a load balancer without a working server behind it."""
    authority = Authority(tmp_path, "authority")
    with contextlib.ExitStack() as stack:
        working = stack.enter_context(listening_socket())
        mute = stack.enter_context(socket.socket())
        mute.bind(("127.0.0.2", port_of(working)))
        mute.listen(8)
        async with Upstream(working, tls=authority.pair("data.example").server_context()):
            pool = pool_of(
                f"https://data.example:{port_of(working)}",
                addresses("127.0.0.2", "127.0.0.1"),
                tls=UpstreamTlsSettings(ca=authority.file),
                seconds=3,
            )
            connection = await pool.open()
            assert connection.transport.get_extra_info("peername")[0] == "127.0.0.1"
            assert pool.places_taken == 1
            connection.transport.abort()


@pytest.mark.parametrize("hosts", [("127.0.0.1", "127.0.0.3"), ("127.0.0.3", "127.0.0.1")])
async def test_the_reason_comes_from_an_address_that_accepted_a_connection(
    tmp_path: Path, hosts: tuple[str, str]
) -> None:
    """Otherwise, an address that nothing listens on would hide an expired certificate."""
    authority = Authority(tmp_path, "authority")
    expired = authority.pair("data.example", days=-1)
    with listening_socket() as sock:
        async with Upstream(sock, tls=expired.server_context()):
            url = f"https://data.example:{port_of(sock)}"
            pool = pool_of(url, addresses(*hosts), tls=UpstreamTlsSettings(ca=authority.file))
            with pytest.raises(UpstreamFailed) as failed:
                await pool.open()
    assert failed.value.cause.reason is Reason.CERTIFICATE_EXPIRED
