"""The hosts of a DSN, some of which do not answer, on real sockets and a real server."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from urllib.parse import urlsplit

import pytest
from aiohappyeyeballs import AddrInfoType

from sql.connect import CannotConnect
from sql.dsn.dsn import Dsn, read_dsn
from sql.name_lookups import Resolve
from sql.pool import open_connection
from sql.servers import Servers
from tests.acceptance.database_tap import DatabaseTap, tapped
from tests.acceptance.wire import port_of
from tests.scopes import Clock, until


class Mute:
    """A server that accepts connections, and never sends a byte."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self._listening = socket.create_server((address, port))
        self._listening.setblocking(False)
        self.host = f"{address}:{port_of(self._listening)}"
        self._connections: list[socket.socket] = []

    @property
    def accepted(self) -> int:
        """The number of connections so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._connections.append(self._listening.accept()[0])
        return len(self._connections)

    def close(self) -> None:
        for connection in (self._listening, *self._connections):
            connection.close()


@pytest.fixture
def mute() -> Iterator[Mute]:
    mute = Mute()
    yield mute
    mute.close()


@pytest.fixture
def tap(dsn: str) -> Iterator[DatabaseTap]:
    """The database on a TCP port."""
    with tapped(dsn) as tap:
        yield tap


@pytest.fixture
async def opened() -> AsyncIterator[contextlib.ExitStack]:
    """Closes connections after the test."""
    with contextlib.ExitStack() as stack:
        yield stack


def with_hosts(tap: DatabaseTap, hosts: str, *, seconds: int = 60) -> Dsn:
    path = urlsplit(tap.url).path
    return read_dsn(f"postgresql://postgres@{hosts}{path}?sslmode=disable&connect_timeout={seconds}", {})


def host_of(tap: DatabaseTap) -> str:
    return urlsplit(tap.url).netloc.rpartition("@")[2]


async def test_a_silent_host_leaves_time_for_the_next_one(
    tap: DatabaseTap, mute: Mute, opened: contextlib.ExitStack
) -> None:
    servers = Servers(with_hosts(tap, f"{mute.host},{host_of(tap)}", seconds=1))
    connection = await servers.connect("tests")
    opened.callback(connection.terminate)
    assert (mute.accepted, tap.accepted) == (1, 1)
    assert await connection.fetchval("SELECT 1") == 1


async def test_only_callers_that_may_wait_try_a_silent_host_again(
    tap: DatabaseTap, mute: Mute, opened: contextlib.ExitStack
) -> None:
    clock = Clock()
    servers = Servers(with_hosts(tap, f"{mute.host},{host_of(tap)}", seconds=1), clock=clock)
    found = []
    for seconds, may_wait in ((0, False), (9, True), (11, False), (0, True)):
        clock.now += seconds
        opened.callback((await servers.connect("tests", may_wait=may_wait)).terminate)
        found.append(mute.accepted)
    assert found == [1, 1, 1, 2]


async def test_a_host_that_was_silent_is_used_if_no_other_host_works(
    tap: DatabaseTap, mute: Mute, opened: contextlib.ExitStack
) -> None:
    servers = Servers(with_hosts(tap, f"{mute.host},127.0.0.1:1", seconds=1))
    for _ in range(2):
        with pytest.raises(CannotConnect, match=r"timed out.*refused|refused.*timed out"):
            await servers.connect("tests")
    assert mute.accepted == 2


async def test_hosts_are_not_tried_in_parallel(tap: DatabaseTap, mute: Mute, opened: contextlib.ExitStack) -> None:
    """Otherwise, the connections of one pool could lead to two primaries."""
    tap.delay_seconds = 0.4
    servers = Servers(with_hosts(tap, f"{host_of(tap)},{mute.host}", seconds=30))
    opened.callback((await servers.connect("tests")).terminate)
    assert mute.accepted == 0


async def test_a_silent_address_of_a_name_does_not_hold_up_the_next_one(
    tap: DatabaseTap, opened: contextlib.ExitStack
) -> None:
    """The time limit is much longer than a test may take."""
    port = urlsplit(tap.url).port
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.2", port))
        full.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        servers = Servers(with_hosts(tap, f"db.example:{port}"), resolve=resolving("127.0.0.2", "127.0.0.1"))
        opened.callback((await servers.connect("tests")).terminate)


async def test_an_address_that_accepts_and_stays_silent_is_followed_by_the_next_one(
    tap: DatabaseTap, opened: contextlib.ExitStack
) -> None:
    port = urlsplit(tap.url).port or 0
    mute = Mute("127.0.0.2", port)
    opened.callback(mute.close)
    servers = Servers(with_hosts(tap, f"db.example:{port}", seconds=2), resolve=resolving("127.0.0.2", "127.0.0.1"))
    opened.callback((await servers.connect("tests")).terminate)
    assert mute.accepted > 0


def resolving(*hosts: str) -> Resolve:
    """Return a function that resolves every name to these addresses."""

    async def resolve(_: str, port: int) -> Sequence[AddrInfoType]:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)) for host in hosts]

    return resolve


async def test_the_attempt_of_a_caller_that_gave_up_serves_the_next_caller(
    tap: DatabaseTap, opened: contextlib.ExitStack
) -> None:
    """Otherwise, lookups with little time would never get a connection to a slow server."""
    tap.delay_seconds = 0.1
    servers = Servers(with_hosts(tap, host_of(tap)))
    attempt = asyncio.ensure_future(servers.connect("tests"))
    await until(lambda: tap.accepted == 1)
    attempt.cancel()
    await asyncio.wait({attempt})
    opened.callback((await servers.connect("tests")).terminate)
    assert tap.accepted == 1


async def test_attempts_of_callers_that_gave_up_can_be_ended(tap: DatabaseTap) -> None:
    servers = Servers(with_hosts(tap, host_of(tap)))
    attempt = asyncio.ensure_future(servers.connect("tests"))
    await until(lambda: tap.accepted == 1)
    attempt.cancel()
    await asyncio.wait({attempt})
    servers.drop_abandoned()
    connection = await servers.connect("tests")
    assert tap.accepted == 2
    connection.terminate()


async def test_a_single_connection_whose_caller_gives_up_is_not_opened(tap: DatabaseTap) -> None:
    before = asyncio.all_tasks()
    attempt = asyncio.ensure_future(open_connection(with_hosts(tap, host_of(tap)), role="tests"))
    await until(lambda: tap.accepted == 1)
    attempt.cancel()
    await asyncio.wait({attempt})

    def connecting() -> list[object]:
        return [task for task in asyncio.all_tasks() - before if "_connect" in repr(task.get_coro())]

    await until(lambda: not connecting())
