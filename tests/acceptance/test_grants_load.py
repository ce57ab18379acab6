"""Queries during bursts and floods, counted on the connection between Sitelatch and PostgreSQL."""

import asyncio
import secrets
import time
from collections.abc import Iterator

import pytest

from proxy.decision.api_keys import new_key
from tests.acceptance.database_tap import DatabaseTap, tapped
from tests.acceptance.harness import Bench, Lane, Lanes, serving
from tests.acceptance.wire import Answering, Wire, connect

LOOKUP_SECONDS = 2.0
KEYS = "sitelatch.api_keys"
CLOSING = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"


@pytest.fixture(scope="module")
def tap(database_url: str) -> Iterator[DatabaseTap]:
    with tapped(database_url) as tap:
        yield tap


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tap: DatabaseTap) -> Iterator[Bench]:
    grants = {"ttl_seconds": 600, "lookup_seconds": LOOKUP_SECONDS}
    folder = tmp_path_factory.mktemp("load")
    with serving(folder, tap.url, Lanes(10), grants=grants, log={"access": "off"}) as bench:
        yield bench


@pytest.fixture
def answering(lane: Lane) -> Answering:
    answering = Answering(CLOSING)
    lane.upstream.handler = answering
    return answering


async def statuses(lane: Lane, requests: list[bytes], connections: int, source: str = "127.0.0.1") -> dict[int, int]:
    """Send the requests pipelined over several connections, and count the responses by status."""
    counted: dict[int, int] = {}

    async def one(share: list[bytes]) -> None:
        host, _, port = lane.latch.address.rpartition(":")
        wire = Wire(*await asyncio.open_connection(host, int(port), local_addr=(source, 0)))
        try:
            wire.writer.write(b"".join(share))
            for _ in share:
                status = (await wire.answer(seconds=60)).status
                counted[status] = counted.get(status, 0) + 1
        finally:
            await wire.close()

    await asyncio.gather(*(one(requests[at::connections]) for at in range(connections)))
    return counted


async def test_a_burst_with_one_cold_key_makes_one_query(lane: Lane, answering: Answering, tap: DatabaseTap) -> None:
    before = tap.statement_count(KEYS)
    tap.delay_seconds = 0.2
    try:
        user = lane.keys.shop
        counted = await statuses(lane, [lane.request("GET", "/sites/shop/x", user=user)] * 1000, connections=100)
    finally:
        tap.delay_seconds = 0
    assert counted == {200: 1000}
    assert tap.statement_count(KEYS) - before == 1
    assert lane.latch.metric("sitelatch_grant_lookups_total", result="miss") >= 1


def with_wrong_checksum(key: str) -> str:
    """Return the key with another last character, so that its checksum is wrong."""
    return key[:-1] + ("0" if key[-1] != "0" else "1")


async def test_keys_with_a_wrong_checksum_make_no_query(lane: Lane, tap: DatabaseTap) -> None:
    before = len(tap.statements)
    refused = lane.latch.metric("sitelatch_grant_lookups_total", result="refused_format")
    requests = [
        lane.keyless("GET", "/sites/shop/x", f"X-API-Key: {with_wrong_checksum(new_key())}") for _ in range(1000)
    ]
    assert await statuses(lane, requests, connections=20) == {401: 1000}
    assert [statement for statement in tap.statements[before:] if "api_keys" in statement] == []
    assert lane.latch.metric("sitelatch_grant_lookups_total", result="refused_format") - refused == 1000


async def test_malformed_keys_make_no_query(lane: Lane, tap: DatabaseTap) -> None:
    before = tap.statement_count(KEYS)
    keys = [secrets.token_urlsafe(32) for _ in range(50)] + ["x", "slk_", "slk_" + "0" * 38, "k" * 4000, "%00", "'--"]
    requests = [lane.keyless("GET", "/sites/shop/x", f"X-API-Key: {key}") for key in keys]
    assert await statuses(lane, requests, connections=4) == {401: len(requests)}
    assert tap.statement_count(KEYS) == before


async def test_an_unknown_key_is_looked_up_once(lane: Lane, tap: DatabaseTap) -> None:
    before = tap.statement_count(KEYS)
    requests = [lane.keyless("GET", "/sites/shop/x", f"X-API-Key: {new_key()}")] * 200
    assert await statuses(lane, requests, connections=20, source="127.0.0.3") == {401: 200}
    assert tap.statement_count(KEYS) - before == 1


async def test_a_flood_of_unknown_keys_slows_no_other_address(
    lane: Lane, answering: Answering, tap: DatabaseTap
) -> None:
    before = tap.statement_count(KEYS)
    flood = [lane.keyless("GET", "/sites/shop/x", f"X-API-Key: {new_key()}") for _ in range(10_000)]
    flooding = asyncio.ensure_future(statuses(lane, flood, connections=50, source="127.0.0.4"))
    took = []
    # Each of these keys is cold, because it was never used before.
    for user in [lane.latch.create_user("acme", "shop") for _ in range(5)]:
        began = time.monotonic()
        request = lane.request("GET", "/sites/shop/x", user=user)
        assert await statuses(lane, [request], connections=1, source="127.0.0.5") == {200: 1}
        took.append(time.monotonic() - began)
    assert max(took) < LOOKUP_SECONDS
    counted = await flooding
    assert set(counted) <= {401, 429}
    assert sum(counted.values()) == 10_000
    # The budget of an address, 60 keys a minute, limits the queries of a flood.
    assert tap.statement_count(KEYS) - before < 500


async def test_a_lookup_that_times_out_returns_503_and_not_401(lane: Lane, tap: DatabaseTap) -> None:
    user = lane.latch.create_user("acme", "shop")
    tap.delay_seconds = LOOKUP_SECONDS * 2
    try:
        async with connect(lane.latch.address) as client:
            await client.send(lane.request("GET", "/sites/shop/x", user=user))
            answer = await client.answer()
    finally:
        tap.delay_seconds = 0
    assert (answer.status, answer.code) == (503, "scope_unavailable")
    assert int(answer.one("Retry-After") or 0) > 0
