"""The pool of connections to an upstream, on real sockets."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.relay.turn import Turn
from proxy.relay.upstream_pool import UpstreamFailed, UpstreamPool
from proxy.settings import LimitSettings
from proxy.upstream_errors import Reason
from tests.acceptance.wire import Upstream, listening_socket, port_of

_NOBODY = 65534


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[str, Upstream]]:
    with listening_socket() as sock:
        async with Upstream(sock) as upstream:
            yield f"http://127.0.0.1:{port_of(sock)}", upstream


@pytest.fixture
async def pool(upstream: tuple[str, Upstream]) -> AsyncIterator[UpstreamPool]:
    limits = LimitSettings(upstream_connections=1, upstream_wait_seconds=0.2, upstream_idle_seconds=30)
    pool = UpstreamPool(upstream[0], None, limits, lambda _change: None, Turn())
    yield pool
    pool.close()
    await asyncio.sleep(0)


async def test_a_connection_released_just_before_the_wait_is_used(pool: UpstreamPool) -> None:
    first = await pool.open()
    assert pool.take(asyncio.get_running_loop().time()) is None
    # One turn of the event loop passes between the check for an idle connection and the wait for a slot.
    opening = asyncio.ensure_future(pool.open())
    pool.give_back(first, None, asyncio.get_running_loop().time())
    assert await opening is first
    assert first.reused
    first.transport.abort()


async def test_a_fresh_connection_takes_the_place_of_an_idle_one(
    pool: UpstreamPool, upstream: tuple[str, Upstream]
) -> None:
    first = await pool.open()
    pool.give_back(first, None, asyncio.get_running_loop().time())
    second = await pool.open(fresh=True)
    assert second is not first
    assert first.transport.is_closing()
    assert (await upstream[1].accept()) is not (await upstream[1].accept())
    second.transport.abort()


async def test_a_busy_connection_is_replaced_at_its_maximum_age(upstream: tuple[str, Upstream]) -> None:
    """Otherwise, steady traffic would never follow a name to another address."""
    limits = LimitSettings(upstream_idle_seconds=30, upstream_max_age_seconds=0.2)
    pool = UpstreamPool(upstream[0], None, limits, lambda _change: None, Turn())
    first = await pool.open()
    async with asyncio.timeout(10):
        while not first.transport.is_closing():
            pool.give_back(first, None, asyncio.get_running_loop().time())
            assert pool.take(asyncio.get_running_loop().time()) in (first, None)
            await asyncio.sleep(0)
    second = await pool.open()
    assert second is not first
    assert pool.places_taken == 1
    second.transport.abort()


async def test_an_idle_connection_is_closed_at_its_maximum_age(upstream: tuple[str, Upstream]) -> None:
    limits = LimitSettings(upstream_idle_seconds=3600, upstream_max_age_seconds=600)
    pool = UpstreamPool(upstream[0], None, limits, lambda _change: None, Turn())
    connection = await pool.open()
    pool.give_back(connection, None, asyncio.get_running_loop().time())
    pool.sweep(asyncio.get_running_loop().time() + 601)
    assert connection.transport.is_closing()


async def test_connections_opened_together_are_replaced_one_after_another(upstream: tuple[str, Upstream]) -> None:
    limits = LimitSettings(upstream_max_age_seconds=600)
    pool = UpstreamPool(upstream[0], None, limits, lambda _change: None, Turn(), jitter=iter((0.8, 1.0)).__next__)
    connections = [await pool.open(), await pool.open()]
    first, second = (connection.expires_at for connection in connections)
    assert second - first > 100
    for connection in connections:
        connection.transport.abort()


async def test_waiting_for_a_slot_times_out(pool: UpstreamPool) -> None:
    first = await pool.open()
    with pytest.raises(UpstreamFailed, match="upstream_busy") as failed:
        await pool.open()
    assert failed.value.cause.reason is Reason.NO_FREE_CONNECTION
    first.transport.abort()


async def test_a_socket_without_permission_has_its_own_reason(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    with listening_socket(path):
        os.chmod(path, 0)
        pool = UpstreamPool(f"unix:{path}", None, LimitSettings(), lambda _change: None, Turn())
        with as_other_user(), pytest.raises(UpstreamFailed) as failed:
            await pool.open()
    assert failed.value.cause.reason is Reason.SOCKET_NOT_ALLOWED


@contextlib.contextmanager
def as_other_user() -> Iterator[None]:
    """Drop root's privileges, which would open every socket. Other users have none to drop."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
