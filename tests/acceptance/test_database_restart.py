"""After a restart of the database, only changed keys are looked up, not all keys in use."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path

import pytest

from proxy.decision.api_keys import new_key
from sql.embedded import keeper
from sql.embedded.server import EmbeddedServer
from sql.migrate import migrate
from sql.pool import open_connection
from tests.acceptance.database_tap import DatabaseTap, tapped
from tests.acceptance.harness import Lane, Lanes, Sitelatch, User
from tests.acceptance.wire import Answering, connect
from tests.database import UNSAFE, add_user, add_workspace, run_aside

pytestmark = pytest.mark.faults

KEYS = "sitelatch.api_keys"
CONNECTIONS = 20
DELETED = 5


class Server:
    """A PostgreSQL server that can be stopped and started."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._uses = [EmbeddedServer.open(home, UNSAFE)]
        self.dsn = self._uses[0].dsn

    def stop(self) -> None:
        postmaster = keeper.read_postmaster(self._home)
        assert postmaster is not None
        os.kill(postmaster.pid, signal.SIGINT)  # a fast shutdown, which notifies all clients
        deadline = time.monotonic() + 30
        while keeper.read_postmaster(self._home) is not None:
            assert time.monotonic() < deadline, "the server does not stop"
            time.sleep(0.05)

    def start(self) -> None:
        self._uses.append(EmbeddedServer.open(self._home, UNSAFE))

    def close(self) -> None:
        for use in self._uses:
            use.close()


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("restarted"))
    yield server
    server.close()


@pytest.fixture
def tap(server: Server) -> Iterator[DatabaseTap]:
    with tapped(server.dsn) as tap:
        yield tap


async def fill(dsn: str, count: int) -> list[User]:
    """Migrate, and add this number of keys for the site shop."""
    connection = await open_connection(dsn, role="tests")
    await migrate(connection)
    await add_workspace(connection, "acme", "shop", "blog")
    users = []
    async with connection.transaction():
        for _ in range(count):
            key = new_key()
            digest = sha256(key.encode()).digest()
            users.append(User(await add_user(connection, "acme", "shop", digest=digest), key))
    await connection.close()
    return users


async def delete_users(dsn: str, users: list[User]) -> None:
    """Delete some API users directly in the database."""
    connection = await open_connection(dsn, role="tests")
    await connection.execute("DELETE FROM sitelatch.api_users WHERE id = ANY ($1::uuid[])", [user.id for user in users])
    await connection.close()


async def send_with_each_key(lane: Lane, users: list[User]) -> list[int]:
    """Send one request with each key, and return the status of each response."""

    async def send_share(share: list[User]) -> list[int]:
        async with connect(lane.latch.address) as wire:
            statuses = []
            for user in share:
                await wire.send(lane.request("GET", "/sites/shop/x", user=user))
                statuses.append((await wire.answer()).status)
            return statuses

    shares = await asyncio.gather(*(send_share(users[at::CONNECTIONS]) for at in range(CONNECTIONS)))
    return [shares[at % CONNECTIONS][at // CONNECTIONS] for at in range(len(users))]


@pytest.mark.parametrize(
    ("count", "ttl_seconds", "seconds"),
    [
        pytest.param(200, 5, 0.0, id="few"),
        # On a slow machine the last requests come late, and the first grants are refreshed after 0.4 of their TTL.
        pytest.param(10_000, 60, 10.0, id="ten thousand", marks=pytest.mark.slow),
    ],
)
async def test_after_a_restart_only_changed_keys_are_looked_up(
    tmp_path: Path, server: Server, tap: DatabaseTap, count: int, ttl_seconds: int, seconds: float
) -> None:
    users = await asyncio.to_thread(run_aside, fill(server.dsn, count))
    lanes = Lanes(1)
    grants = {"ttl_seconds": ttl_seconds, "unknown_ttl_seconds": 60}  # so that each deleted key is looked up once
    latch = Sitelatch(tmp_path, tap.url, lanes.routes(), grants=grants, log={"access": "off"})
    async with AsyncExitStack() as stack:
        stack.callback(lanes.close)
        stack.callback(latch.stop)
        await asyncio.to_thread(latch.start)
        lane = lanes.next(latch, latch.create_sites_and_users())
        lane.upstream.handler = Answering()
        await stack.enter_async_context(lane.upstream)
        assert set(await send_with_each_key(lane, users)) == {200}
        assert latch.metric("sitelatch_grants_cached") >= count

        await asyncio.to_thread(server.stop)
        stopped = time.monotonic()
        while time.monotonic() < stopped + ttl_seconds:
            assert set(await send_with_each_key(lane, users)) == {200}  # until every grant has expired
        await asyncio.to_thread(server.start)
        deleted, kept = users[:DELETED], users[DELETED:]
        lookups = tap.statement_count(KEYS)
        began = time.monotonic()
        await delete_users(server.dsn, deleted)
        while latch.metric("sitelatch_feed_up", mode="woken") != 1:
            assert time.monotonic() < began + 30, "the feed does not resume"
            assert set(await send_with_each_key(lane, kept[:100])) == {200}
        used = 0
        while time.monotonic() < began + seconds or not used:
            assert set(await send_with_each_key(lane, kept)) == {200}
            assert set(await send_with_each_key(lane, deleted)) == {401}
            used += count
        lookups = tap.statement_count(KEYS) - lookups
        print(f"{lookups} lookups in {time.monotonic() - began:.1f} s, {count} keys in use, {used} requests")  # noqa: T201
        # One more lookup may be the probe.
        assert DELETED <= lookups <= DELETED + 2
