"""Valid keys of clients that share an address with clients that keep trying unknown keys."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from secrets import token_urlsafe

import asyncpg
import pytest

from proxy.decision.api_keys import digest, new_key
from tests.acceptance.harness import Bench, Lane, Lanes, User, serving
from tests.acceptance.load import Client, client_of
from tests.acceptance.wire import Answering, until

DELETED_KEYS, PER_MINUTE = 20, 25
CLOSING = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("shared")
    keys = {"unknown_per_minute": PER_MINUTE, "accept_foreign": True}
    grants = {"unknown_ttl_seconds": 0.1}
    with serving(folder, database_url, Lanes(4), keys=keys, grants=grants, log={"access": "off"}) as bench:
        yield bench


@pytest.fixture
def upstream(lane: Lane) -> None:
    lane.upstream.handler = Answering(CLOSING)


async def status(client: Client, lane: Lane, key: str) -> int:
    return (await client.send(lane.keyless("GET", "/sites/shop/x", f"X-API-Key: {key}"))).status


@contextlib.asynccontextmanager
async def connected(lane: Lane) -> AsyncIterator[Client]:
    client = await client_of(lane.latch.address)
    try:
        yield client
    finally:
        client.close()


def create_users(lane: Lane, count: int) -> list[User]:
    return [lane.latch.create_user("acme", "shop") for _ in range(count)]


def delete(lane: Lane, users: list[User]) -> None:
    with lane.latch.admin_client() as admin:
        for user in users:
            assert admin.delete(f"/users/{user.id}").status_code == 204


async def test_deleted_keys_that_are_retried_do_not_block_a_new_key(lane: Lane, upstream: None) -> None:
    deleted = create_users(lane, DELETED_KEYS)
    delete(lane, deleted)
    async with connected(lane) as client:
        # Each retry comes after an unknown key would be forgotten without the feed.
        for _ in range(4):
            assert [await status(client, lane, user.key) for user in deleted] == [401] * DELETED_KEYS
            await asyncio.sleep(0.15)
        (user,) = create_users(lane, 1)
        assert await status(client, lane, user.key) == 200


async def test_valid_keys_pass_after_a_restart_next_to_unknown_keys(lane: Lane, upstream: None) -> None:
    deleted = create_users(lane, 2 * PER_MINUTE)
    users = create_users(lane, 25)
    delete(lane, deleted)
    lane.latch.stop()
    lane.latch.start()
    async with connected(lane) as client:
        for user in deleted:
            assert await status(client, lane, user.key) == 401
        for user in users:
            assert await status(client, lane, user.key) == 200
    # All clients of this process had the same address.
    line = lane.latch.wait_for_log("all_clients_share_one_address")
    assert line["addresses"] == ["127.0.0.1"]
    assert "proxy.trusted_proxies" in line["advice"]


@contextlib.asynccontextmanager
async def flood(lane: Lane) -> AsyncIterator[set[int]]:
    """Send new unknown keys, of Sitelatch's format and of others, from 20 connections. Yields the statuses so far."""
    done = asyncio.Event()
    found: set[int] = set()

    async def send(make: Callable[[], str]) -> None:
        async with connected(lane) as client:
            while not done.is_set():
                found.add(await status(client, lane, make()))

    floods = [asyncio.create_task(send(make)) for make in [new_key, token_urlsafe] * 10]
    try:
        yield found
    finally:
        done.set()
        await asyncio.gather(*floods)


async def test_a_key_created_during_a_flood_from_its_address_passes_at_once(lane: Lane, upstream: None) -> None:
    async with flood(lane) as found, connected(lane) as client:
        for _ in range(10):
            (user,) = await asyncio.to_thread(create_users, lane, 1)
            assert await status(client, lane, user.key) == 200
    assert found == {401}


async def test_the_filter_of_keys_refuses_no_valid_key(lane: Lane, upstream: None, database_url: str) -> None:
    async with flood(lane) as found, connected(lane) as client:
        await until(lambda: lane.latch.metric("sitelatch_keys_filtered") > 0, "the filter is loaded")
        before = lane.latch.metric("sitelatch_grant_lookups_total", result="filtered")
        for _ in range(5):
            (user,) = await asyncio.to_thread(create_users, lane, 1)
            assert await status(client, lane, user.key) == 200
            foreign = token_urlsafe()
            await add_foreign_key(database_url, user, foreign)
            assert await status(client, lane, foreign) == 200
        assert lane.latch.metric("sitelatch_grant_lookups_total", result="filtered") > before
    assert found == {401}


async def add_foreign_key(database_url: str, user: User, key: str) -> None:
    """Add a key in another format, as an import does."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "INSERT INTO sitelatch.api_keys (digest, user_id, hint) VALUES ($1, $2, '')", digest(key.encode()), user.id
        )
    finally:
        await connection.close()
