"""The pool of connections to an upstream, on real sockets."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.refusals import Refused
from proxy.relay.upstream_pool import UpstreamPool
from proxy.settings import LimitSettings
from tests.acceptance.wire import Upstream, listening_socket, port_of


@pytest.fixture
async def upstream() -> AsyncIterator[tuple[str, Upstream]]:
    with listening_socket() as sock:
        async with Upstream(sock) as upstream:
            yield f"http://127.0.0.1:{port_of(sock)}", upstream


@pytest.fixture
async def pool(upstream: tuple[str, Upstream]) -> AsyncIterator[UpstreamPool]:
    limits = LimitSettings(upstream_connections=1, upstream_wait_seconds=0.2, upstream_idle_seconds=30)
    pool = UpstreamPool(upstream[0], None, limits, lambda _change: None)
    yield pool
    pool.close()
    await asyncio.sleep(0)


async def test_a_connection_that_becomes_free_before_the_wait_is_used(pool: UpstreamPool) -> None:
    first = await pool.open()
    assert pool.take() is None
    # One turn of the event loop passes between the check for an idle connection and the wait for a place.
    opening = asyncio.ensure_future(pool.open())
    pool.give_back(first, None)
    assert await opening is first
    assert first.reused
    first.transport.abort()


async def test_a_fresh_connection_takes_the_place_of_an_idle_one(
    pool: UpstreamPool, upstream: tuple[str, Upstream]
) -> None:
    first = await pool.open()
    pool.give_back(first, None)
    second = await pool.open(fresh=True)
    assert second is not first
    assert first.transport.is_closing()
    assert (await upstream[1].accept()) is not (await upstream[1].accept())
    second.transport.abort()


async def test_waiting_for_a_slot_times_out(pool: UpstreamPool) -> None:
    first = await pool.open()
    with pytest.raises(Refused, match="upstream_busy"):
        await pool.open()
    first.transport.abort()
