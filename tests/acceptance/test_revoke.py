"""Open exchanges end when they lose access, and continue otherwise. With real sockets and real changes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.frames import Frame, Opcode

from proxy.decision.api_keys import digest
from sql.pool import open_connection
from tests.acceptance.harness import Bench, Lane, Lanes, User, serving
from tests.acceptance.streams import EVENT, SSE, download, events, tunnel
from tests.acceptance.wire import TruncatedError, Wire, connect, until


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Bench]:
    with serving(tmp_path_factory.mktemp("revoke"), database_url, Lanes(40)) as bench:
        yield bench


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await open_connection(database_url, role="tests")
    yield connection
    await connection.close()


@pytest.fixture
def user(bench: Bench) -> User:
    """A new API user with the sites shop and blog."""
    return bench.latch.create_user("acme", "shop", "blog")


@pytest.fixture
async def wires(bench: Bench) -> AsyncIterator[Callable[[], Awaitable[Wire]]]:
    async with AsyncExitStack() as stack:
        yield lambda: stack.enter_async_context(connect(bench.latch.address))


def delete(bench: Bench, user: User) -> None:
    with bench.latch.admin_client() as client:
        assert client.delete(f"/users/{user.id}").status_code == 204


def ended(bench: Bench, cause: str) -> float:
    return bench.latch.metric("sitelatch_exchanges_ended_by_revoke_total", cause=cause)


async def test_an_event_stream_is_truncated_when_its_key_is_deleted(
    bench: Bench, lane: Lane, user: User, client: Wire
) -> None:
    service = await events(client, lane, user)
    before = ended(bench, "key_gone")
    delete(bench, user)
    began = time.perf_counter()
    assert await client.closed()
    took = time.perf_counter() - began
    assert not client.received.endswith(b"0\r\n\r\n"), "a truncated stream must not look complete"
    assert await service.closed()
    assert ended(bench, "key_gone") == before + 1
    await until(lambda: bench.latch.log_lines()[-1].get("outcome") == "revoked", "the exchange is logged as revoked")
    assert took < 1, f"ended after {took:.3f} s"


async def test_a_download_is_truncated_when_its_key_is_deleted(
    bench: Bench, lane: Lane, user: User, client: Wire
) -> None:
    service = await download(client, lane, user)
    delete(bench, user)
    assert await client.closed()
    assert await service.closed()


async def test_a_download_over_http_1_0_is_reset_when_its_key_is_deleted(
    bench: Bench, lane: Lane, user: User, client: Wire
) -> None:
    """Without a length or chunks, a normal close would make the response look complete."""
    await client.send(lane.request("GET", "/sites/shop/file", user=user, version="1.0"))
    service = await lane.upstream.accept()
    await service.request()
    await service.send(SSE + EVENT)
    await client.read_until(b"data: one")
    delete(bench, user)
    assert await client.closed()
    assert client.was_reset


async def test_a_request_waiting_for_its_response_is_refused_when_its_key_is_deleted(
    bench: Bench, lane: Lane, user: User, client: Wire
) -> None:
    await client.send(lane.request("GET", "/sites/shop/slow", user=user))
    service = await lane.upstream.accept()
    await service.request()
    delete(bench, user)
    answer = await client.answer()
    assert (answer.status, answer.code) == (401, "invalid_key")
    assert await service.closed()


async def test_an_upload_is_refused_when_its_key_is_deleted(bench: Bench, lane: Lane, user: User, client: Wire) -> None:
    await client.send(lane.request("PUT", "/sites/shop/file", "Content-Length: 1000000", user=user) + bytes(1000))
    service = await lane.upstream.accept()
    await service.head()
    delete(bench, user)
    answer = await client.answer()
    assert (answer.status, answer.code) == (401, "invalid_key")
    assert await client.closed()
    assert await service.closed()


async def test_a_key_deleted_while_connecting_never_reaches_the_upstream(
    bench: Bench, user: User, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lanes = Lanes(1)
    limits = {"upstream_connections": 1, "upstream_wait_seconds": 30}
    with serving(tmp_path_factory.mktemp("full"), database_url, lanes, limits=limits) as full:
        lane = lanes.next(full.latch, bench.keys)
        async with lane.upstream, connect(full.latch.address) as first, connect(full.latch.address) as second:
            await first.send(lane.request("GET", "/sites/shop/slow", user=bench.keys.shop))
            service = await lane.upstream.accept()
            await service.request()
            await second.send(lane.request("GET", "/sites/shop/late", user=user))
            await until(lambda: full.latch.metric("sitelatch_exchanges_open") == 2, "both requests are open")
            delete(bench, user)
            answer = await second.answer()
            assert (answer.status, answer.code) == (401, "invalid_key")
            await service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert (await first.answer()).status == 200
            # Everything that reaches the upstream from now on arrives over this connection, in order.
            await first.send(lane.request("GET", "/sites/shop/next", user=bench.keys.shop))
            await service.request()
            assert b"/sites/shop/next" in service.received
            assert b"/sites/shop/late" not in service.received


# Websockets.


async def listen(client: ClientConnection) -> None:
    while True:
        assert await client.recv() == "tick"


async def test_a_websocket_is_closed_with_a_reason(bench: Bench, user: User) -> None:
    lane = bench.lanes.next(bench.latch, bench.keys)
    gone = asyncio.Event()

    async def tick(connection: ServerConnection) -> None:
        try:
            while True:
                await connection.send("tick")
                await asyncio.sleep(0.01)
        except ConnectionClosed:
            gone.set()

    async with await serve(tick, sock=lane.socket.dup()):
        url = f"ws://{bench.latch.address}{lane.target('/sites/shop/ws')}"
        async with websocket(url, additional_headers={"X-API-Key": user.key}, proxy=None) as client:
            assert await client.recv() == "tick"
            delete(bench, user)
            async with asyncio.timeout(10):
                with pytest.raises(ConnectionClosedError) as closed:
                    await listen(client)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "This API key is not valid.")
        async with asyncio.timeout(10):
            await gone.wait()


async def test_in_the_middle_of_a_websocket_frame_the_connection_ends_without_a_close_frame(
    bench: Bench, lane: Lane, user: User, client: Wire
) -> None:
    service = await tunnel(client, lane, user)
    message = Frame(Opcode.BINARY, bytes(5000)).serialize(mask=False)
    await service.send(message + message[:2000])
    await client.read_exactly(len(message) + 2000)
    delete(bench, user)
    assert await client.read_to_end() == b""
    assert await service.closed()


async def test_a_client_that_keeps_sending_receives_the_close_frame(
    bench: Bench, lane: Lane, user: User, client: Wire
) -> None:
    await tunnel(client, lane, user)
    delete(bench, user)
    for _ in range(20):
        await client.send(Frame(Opcode.BINARY, bytes(1000)).serialize(mask=True))
        await asyncio.sleep(0.01)
    assert (await client.read_to_end())[2:4] == (1008).to_bytes(2)
    assert not client.was_reset


# Other changes that end access.


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("DELETE FROM sitelatch.api_keys WHERE digest = $1", "key_gone"),
        ("UPDATE sitelatch.api_users SET disabled_at = now() WHERE id = {user}", "key_disabled"),
        ("UPDATE sitelatch.api_users SET expires_at = now() + interval '1 second' WHERE id = {user}", "key_expired"),
        ("UPDATE sitelatch.api_users SET methods = '{{POST}}' WHERE id = {user}", "method_lost"),
        ("UPDATE sitelatch.api_users SET networks = '{{192.0.2.0/24}}' WHERE id = {user}", "network_lost"),
        ("UPDATE sitelatch.api_keys SET expires_at = now() WHERE digest = $1", "key_expired"),
        ("UPDATE sitelatch.api_keys SET expires_at = now() + interval '1 second' WHERE digest = $1", "key_expired"),
        ("DELETE FROM sitelatch.api_user_sites WHERE site_id = 'shop' AND user_id = {user}", "site_lost"),
        ("UPDATE sitelatch.api_keys SET digest = sha256(digest) WHERE digest = $1", "key_gone"),
        ("TRUNCATE sitelatch.sessions; DELETE FROM sitelatch.api_users WHERE id = {user}", "key_gone"),
    ],
    ids=[
        "key deleted",
        "user disabled",
        "user expires",
        "other methods",
        "other networks",
        "key expired",
        "key expires",
        "site removed",
        "key replaced",
        "user deleted",
    ],
)
async def test_an_exchange_ends_when_access_is_lost(
    bench: Bench, lane: Lane, user: User, client: Wire, database: asyncpg.Connection, change: str, cause: str
) -> None:
    await events(client, lane, user)
    before = ended(bench, cause)
    statements = change.format(user=f"'{user.id}'").split("; ")
    async with database.transaction():
        for statement in statements:
            await database.execute(statement, *([digest(user.key.encode())] if "$1" in statement else []))
    assert await client.closed()
    assert ended(bench, cause) == before + 1


async def test_a_removed_site_ends_only_exchanges_on_that_site(
    bench: Bench, lane: Lane, client: Wire, wires: Callable[[], Awaitable[Wire]]
) -> None:
    with bench.latch.admin_client() as admin:
        assert admin.put("/sites/pop-up", json={"workspace": "acme"}).status_code == 201
        user = bench.latch.create_user("acme", all_sites=True)
        other = await wires()
        service = await events(other, lane, user)
        await client.send(lane.request("GET", "/sites/pop-up/events", user=user))
        stream = await lane.upstream.accept()
        await stream.request()
        await stream.send(SSE + EVENT)
        await client.read_until(EVENT)
        assert admin.delete("/sites/pop-up").status_code in (200, 204)
    assert await client.closed()
    await service.send(EVENT)
    await other.read_until(EVENT)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM sitelatch.api_user_sites WHERE site_id = 'blog' AND user_id = {user}",
        "INSERT INTO sitelatch.api_user_sites (user_id, site_id) VALUES ({user}, 'docs')",
        "UPDATE sitelatch.api_users SET all_sites = true WHERE id = {user}",
        "UPDATE sitelatch.api_keys SET expires_at = now() + interval '1 hour' WHERE user_id = {user}",
        "UPDATE sitelatch.workspaces SET name = name || '' WHERE name = 'acme'",
        "UPDATE sitelatch.api_users SET expires_at = now() + interval '1 hour' WHERE id = {user}",
        "UPDATE sitelatch.api_users SET methods = '{{GET}}', networks = '{{127.0.0.0/8,::1}}' WHERE id = {user}",
        "DELETE FROM sitelatch.api_users WHERE id <> {user} AND name = 'somebody else'",
        "TRUNCATE sitelatch.sessions; INSERT INTO sitelatch.scope_changes (what) VALUES ('all')",
    ],
    ids=[
        "another site",
        "an additional site",
        "all sites",
        "later expiry",
        "same name",
        "expiry of the user",
        "conditions that are met",
        "another user",
        "everything is rechecked",
    ],
)
async def test_exchanges_that_keep_access_continue(
    bench: Bench, lane: Lane, user: User, client: Wire, database: asyncpg.Connection, change: str
) -> None:
    service = await events(client, lane, user)
    gone = bench.latch.create_user("acme", "shop")
    for statement in change.format(user=f"'{user.id}'").split("; "):
        await database.execute(statement)
    delete(bench, gone)  # a later change
    await asyncio.sleep(1.2)  # longer than a poll and two sweeps
    await service.send(EVENT)
    await client.read_until(EVENT)
    assert not client.ended


async def test_an_exchange_continues_if_its_key_is_extended(
    bench: Bench, lane: Lane, user: User, client: Wire, database: asyncpg.Connection
) -> None:
    set_expiry = "UPDATE sitelatch.api_keys SET expires_at = now() + $2 * interval '1 second' WHERE digest = $1"
    await database.execute(set_expiry, digest(user.key.encode()), 2.0)
    service = await events(client, lane, user)
    await database.execute(set_expiry, digest(user.key.encode()), 3600.0)
    await asyncio.sleep(3)
    await service.send(EVENT)
    await client.read_until(EVENT)


async def test_only_streams_of_the_deleted_key_end(
    bench: Bench, lane: Lane, user: User, wires: Callable[[], Awaitable[Wire]]
) -> None:
    mine: list[Wire] = []
    others: list[Wire] = []
    for number in range(20):
        wire = await wires()
        await events(wire, lane, user if number % 2 else bench.keys.shop)
        (mine if number % 2 else others).append(wire)
    delete(bench, user)
    for wire in mine:
        assert await wire.closed()
    for wire in others:
        assert await wire.quiet(0.05)


async def test_a_truncated_response_is_distinguishable_from_a_complete_one(
    bench: Bench, lane: Lane, user: User, client: Wire
) -> None:
    await client.send(lane.request("GET", "/sites/shop/events", user=user))
    service = await lane.upstream.accept()
    await service.request()
    await service.send(SSE + EVENT)
    answer = asyncio.create_task(client.answer())
    await until(lambda: EVENT in client.received, "the first event arrives")
    delete(bench, user)
    with pytest.raises(TruncatedError):
        await answer
