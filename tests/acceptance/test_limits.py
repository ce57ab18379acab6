"""Limits per API user at a running process: what passes, and what a refused client sees."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.harness import Bench, Lanes, Sitelatch, User, serving
from tests.acceptance.wire import Answering, Message, Upstream, connect

LIMITS = {"requests_per_second": 0.001, "burst": 3}
"""So slow that no test sees a new token."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Bench]:
    lanes = Lanes(4, cors={"origins": ["https://app.example"]}, user_limits=LIMITS)
    with serving(tmp_path_factory.mktemp("limits"), database_url, lanes, activity={"usage_seconds": 0.1}) as bench:
        yield bench


async def send(bench: Bench, *requests: bytes) -> list[Message]:
    """Send requests over one connection, and return the responses."""
    async with connect(bench.latch.address) as client:
        answers = []
        for request in requests:
            await client.send(request)
            answers.append(await client.answer())
        return answers


async def test_a_request_beyond_the_limit_gets_429_and_says_when_to_come_back(bench: Bench) -> None:
    lane = bench.lanes.next(bench.latch, bench.keys)
    request = lane.request("GET", "/sites/shop/x", "Origin: https://app.example")
    other = lane.request("GET", "/sites/shop/x", user=bench.keys.acme)
    async with Upstream(lane.socket, answering := Answering()):
        *passed, refused = await send(bench, *[request] * 4)
        assert [answer.status for answer in passed] == [200] * 3
        assert len(answering.requests) == 3
        [of_other] = await send(bench, other)
    assert (refused.status, refused.code, of_other.status) == (429, "rate_limited", 200)
    wait = int(refused.one("Retry-After") or "0")
    assert 0 < wait <= 1000
    assert refused.one("RateLimit-Policy") == b'"rate";q=3;w=3000'
    assert refused.one("RateLimit") == b'"rate";r=0;t=%d' % wait
    exposed = (refused.one("Access-Control-Expose-Headers") or b"").decode().split(", ")
    assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= set(exposed)
    assert bench.latch.metric("sitelatch_exchanges_total", route=lane.name, outcome="rate_limited") == 1
    key = bench.keys.shop.key
    assert not re.search(key.encode(), bench.latch.output.read_bytes())


async def test_a_rotated_key_does_not_double_the_limit(bench: Bench) -> None:
    lane = bench.lanes.next(bench.latch, bench.keys)
    user = bench.latch.create_user("acme", "shop")
    async with Upstream(lane.socket, Answering()):
        old = lane.request("GET", "/sites/shop/x", user=user)
        assert [answer.status for answer in await send(bench, old, old)] == [200, 200]
        with bench.latch.admin_client() as admin:
            rotated = admin.post(f"/users/{user.id}/keys", json={"overlap_seconds": 3600}).json()
        new = lane.request("GET", "/sites/shop/x", user=User(user.id, rotated["api_key"]))
        assert [answer.status for answer in await send(bench, new, new, old)] == [200, 429, 429]


async def test_a_limit_of_its_own_replaces_that_of_the_route_and_ends_no_open_stream(bench: Bench) -> None:
    lane = bench.lanes.next(bench.latch, bench.keys)
    user = bench.latch.create_user("acme", "shop")
    with bench.latch.admin_client() as admin:
        admin.patch(f"/users/{user.id}", json={"requests_per_second": 0.001, "burst": 1}).raise_for_status()
    async with lane.upstream as upstream, connect(bench.latch.address) as client:
        await client.send(lane.request("GET", "/sites/shop/stream", user=user))
        service = await upstream.accept()
        await service.request()
        await service.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await client.read_until(b"one")
        [refused] = await send(bench, lane.request("GET", "/sites/shop/x", user=user))
        assert refused.code == "rate_limited"
        await service.send(b"3\r\ntwo\r\n0\r\n\r\n")
        await client.read_until(b"two")


async def test_a_limit_per_day_counts_the_requests_in_all_processes(
    bench: Bench, tmp_path: Path, database_url: str
) -> None:
    lane = bench.lanes.next(bench.latch, bench.keys)
    other = Sitelatch(tmp_path, database_url, bench.lanes.routes(), activity={"usage_seconds": 0.1})
    user = bench.latch.create_user("acme", "shop")
    request = lane.request("GET", "/sites/shop/x", user=user)
    with bench.latch.admin_client() as admin:
        limits = {"requests_per_second": 1000, "burst": 1000, "requests_per_day": 40}
        admin.patch(f"/users/{user.id}", json=limits).raise_for_status()
    try:
        other.start()
        async with (
            Upstream(lane.socket, Answering()),
            connect(bench.latch.address) as one,
            connect(other.address) as two,
        ):
            passed = 0
            for _ in range(1000):  # until both processes refuse
                statuses = []
                for client in (one, two):
                    await client.send(request)
                    answer = await client.answer()
                    statuses.append(answer.status)
                    assert answer.status == 200 or answer.code == "rate_limited"
                if statuses == [429, 429]:
                    break
                passed += statuses.count(200)
                await asyncio.sleep(0.02)
            assert 40 <= passed < 40 + 40, "at most what passes in the other process before a write of usage"
            wait = int(answer.one("Retry-After") or "0")
            assert 0 < wait <= 86_400
            assert answer.one("RateLimit") == b'"day";r=0;t=%d' % wait
    finally:
        other.stop()
