"""A failover from a PostgreSQL primary to its streaming standby, while Sitelatch's connections stay open."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.address import Address
from tests.acceptance.harness import Keys, Lane, Lanes, Sitelatch
from tests.acceptance.own_database import OwnDatabase, own_database
from tests.acceptance.shell import sitelatch
from tests.acceptance.wire import Answering, Wire, connect
from tests.database import data_directory

pytestmark = pytest.mark.faults

RECOVERY_SECONDS = 60.0
"""Generous, because the machine may be busy. Sitelatch needs two to nine seconds."""


@dataclass
class Pair:
    """A primary and its standby, and an address that leads to one of them."""

    primary: OwnDatabase
    standby: OwnDatabase
    address: Address


@pytest.fixture(scope="module")
def stopped_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OwnDatabase, OwnDatabase]]:
    """A primary and its standby, each with a copy of its data."""
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(own_database(tmp_path_factory.mktemp("primary")))
        standby = primary.create_standby(data_directory(tmp_path_factory.mktemp("standby")))
        stack.callback(standby.close)
        for server in (primary, standby):
            server.stop()
            server.save_data()
        yield primary, standby


@pytest.fixture
def pair(stopped_pair: tuple[OwnDatabase, OwnDatabase]) -> Iterator[Pair]:
    primary, standby = stopped_pair
    for server in stopped_pair:
        server.restore_data()
        server.start()
    address = Address(primary.port)
    yield Pair(primary, standby, address)
    address.close()
    for server in stopped_pair:
        with contextlib.suppress(AssertionError):  # it does not run
            server.kill()


@asynccontextmanager
async def serving(folder: Path, pair: Pair, hosts: str, options: str = "") -> AsyncIterator[Lane]:
    """Run Sitelatch with these hosts in the DSNs of both roles."""
    lanes = Lanes(1)

    def dsn(role: str) -> str:
        return pair.primary.url(role).replace(f"127.0.0.1:{pair.primary.port}", hosts) + options

    latch = Sitelatch(
        folder,
        dsn("sitelatch_doors"),
        lanes.routes(),
        activity={"flush_seconds": 0.25, "resolution_seconds": 0.5},
    )
    latch.tables["admin"] = {**latch.tables["admin"], "database_url": dsn("sitelatch_admin")}
    try:
        await asyncio.to_thread(latch.start)
        lane = lanes.next(latch, await asyncio.to_thread(latch.create_sites_and_users))
        lane.upstream.handler = Answering()
        async with lane.upstream:
            yield lane
    finally:
        await asyncio.to_thread(latch.stop)
        lanes.close()


@pytest.fixture
async def lane(tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> AsyncIterator[Lane]:
    """A process that connects to the address of the pair."""
    async with serving(tmp_path_factory.mktemp("latch"), pair, f"127.0.0.1:{pair.address.port}") as lane:
        yield lane


def database_in_readyz(latch: Sitelatch) -> tuple[int, str]:
    with httpx.Client(trust_env=False, timeout=10) as client:
        answer = client.get(f"http://{latch.ops}/readyz")
    return answer.status_code, answer.json()["database"]


async def status(wire: Wire, lane: Lane, user: Any = None) -> int:
    await wire.send(lane.request("GET", "/sites/shop/x", user=user))
    return (await wire.answer()).status


async def eventually(what: str, condition: Any) -> float:
    """Wait until a blocking condition is true, and return how long that took in seconds."""
    began = time.monotonic()
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < began + RECOVERY_SECONDS, f"timed out, waiting for: {what}"
        await asyncio.sleep(0.05)
    return time.monotonic() - began


def write_as_admin(latch: Sitelatch) -> int:
    """Return the status of a write, or 0 if there is no answer in time."""
    with contextlib.suppress(httpx.TransportError), latch.admin_client() as client:
        return client.put(f"/sites/new-{time.monotonic_ns()}", json={"workspace": "acme"}).status_code
    return 0


def every_connection_writes(latch: Sitelatch) -> bool:
    """Return whether eight concurrent writes succeed. They use all connections, including idle ones."""
    with ThreadPoolExecutor(8) as threads:
        return {200, 201} >= set(threads.map(write_as_admin, [latch] * 8))


def delete_user(latch: Sitelatch, user_id: str) -> int:
    with latch.admin_client() as client:
        return client.delete(f"/users/{user_id}").status_code


async def check_everything_works(lane: Lane, keys: Keys) -> None:
    """Check that an admin write, activity and a revocation work again, on all connections."""
    latch = lane.latch
    began = time.monotonic()
    await eventually("an admin write", lambda: write_as_admin(latch) in (200, 201))
    await eventually("readiness", lambda: database_in_readyz(latch) == (200, "up"))
    await eventually("the feed", lambda: latch.metric("sitelatch_feed_up", mode="woken") == 1)
    await eventually("activity", lambda: latch.metric("sitelatch_activity_pending") == 0)
    await eventually("writes", lambda: latch.metric("sitelatch_database_writable") == 1)
    await eventually("writes on all connections", lambda: every_connection_writes(latch))
    async with connect(latch.address) as wire:
        deadline = time.monotonic() + RECOVERY_SECONDS
        while (answered := await status(wire, lane, keys.blog)) != 403:  # a key that is not cached
            assert answered == 503
            assert time.monotonic() < deadline, "keys are not looked up again"
            await asyncio.sleep(0.1)
        assert await status(wire, lane, keys.shop) == 200
        # 404: an earlier attempt deleted it, but its connection was replaced before the answer.
        await eventually("a delete", lambda: delete_user(latch, keys.shop.id) in (204, 404))
        deadline = time.monotonic() + RECOVERY_SECONDS
        while await status(wire, lane, keys.shop) != 401:
            assert time.monotonic() < deadline, "the deleted key still works"
    print(f"everything works after {time.monotonic() - began:.1f} s")  # noqa: T201 - for the record


async def test_after_a_failover_through_a_standby_every_pool_writes_again(pair: Pair, lane: Lane) -> None:
    latch, keys = lane.latch, lane.keys
    async with connect(latch.address) as wire:
        assert await status(wire, lane) == 200
        # Switch the address to the standby, and cut the old connections, as if the primary's host had failed.
        pair.address.target = pair.standby.port
        await asyncio.to_thread(pair.primary.stop)
        await eventually("read-only", lambda: database_in_readyz(latch) == (200, "read-only"))
        accepted = pair.address.accepted
        began = time.monotonic()
        while time.monotonic() < began + 3:
            assert await status(wire, lane) == 200
            assert await asyncio.to_thread(write_as_admin, latch) == 503
            assert await asyncio.to_thread(database_in_readyz, latch) == (200, "read-only")
            await asyncio.sleep(0.1)  # each write may try two connections, and the number of writes must be bounded
        assert latch.metric("sitelatch_database_writable") == 0
        assert latch.metric("sitelatch_revocation_bound_seconds") >= 30
        assert pair.address.accepted - accepted < 60
        await pair.standby.promote()
        await check_everything_works(lane, keys)
    events = [line["event"] for line in latch.log_lines()]
    assert "database_read_only" in events
    assert events.count("database_read_only") <= 2


async def test_connections_to_an_old_primary_that_still_runs_are_replaced(pair: Pair, lane: Lane) -> None:
    """An old primary that was cut off, but not stopped, accepts writes that are lost, and never reports a change."""
    latch, keys = lane.latch, lane.keys
    async with connect(latch.address) as wire:
        assert await status(wire, lane) == 200
        await pair.standby.promote()
        pair.address.target = pair.standby.port
        async with pair.standby.superuser() as connection:
            await connection.execute("DELETE FROM sitelatch.api_users WHERE id = $1", keys.acme.id)
            deadline = time.monotonic() + RECOVERY_SECONDS
            while await status(wire, lane, keys.acme) != 401:
                assert time.monotonic() < deadline, "the key that was deleted on the new primary still works"
                await asyncio.sleep(0.05)
        await check_everything_works(lane, keys)
        async with pair.primary.superuser() as connection:
            deadline = time.monotonic() + RECOVERY_SECONDS
            while await connection.fetch(
                "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'sitelatch-%'"
                " AND application_name <> 'sitelatch-tests'"
            ):
                assert time.monotonic() < deadline, "some connections still lead to the old primary"
                await asyncio.sleep(0.05)


async def test_connections_to_a_primary_that_died_silently_are_replaced(pair: Pair, lane: Lane) -> None:
    """The old connections stay open and never answer, as after a loss of power."""
    latch, keys = lane.latch, lane.keys
    async with connect(latch.address) as wire:
        assert await status(wire, lane) == 200
    await asyncio.gather(*(asyncio.to_thread(write_as_admin, latch) for _ in range(4)))
    pair.primary.freeze()
    pair.address.target = pair.standby.port
    await pair.standby.promote()
    await check_everything_works(lane, keys)
    assert not [line for line in latch.log_lines() if line.get("level") in ("error", "critical")]


async def test_a_list_of_hosts_leads_to_the_primary_even_if_the_first_one_is_silent(pair: Pair, tmp_path: Path) -> None:
    hosts = f"127.0.0.1:{pair.primary.port},127.0.0.1:{pair.standby.port}"
    async with serving(tmp_path, pair, hosts, "?target_session_attrs=read-write") as lane:
        async with connect(lane.latch.address) as wire:
            assert await status(wire, lane) == 200
            await asyncio.to_thread(pair.primary.stop)
            await eventually("read-only", lambda: database_in_readyz(lane.latch) == (200, "read-only"))
            assert await status(wire, lane) == 200
        await asyncio.to_thread(pair.primary.start)
        await eventually("readiness", lambda: database_in_readyz(lane.latch) == (200, "up"))
        pair.primary.freeze()
        await pair.standby.promote()
        await check_everything_works(lane, lane.keys)
        added = await asyncio.to_thread(
            sitelatch, "sites", "add", "--config", str(lane.latch.config), "--workspace", "acme", "late"
        )
        assert added.code == 0, added.err
