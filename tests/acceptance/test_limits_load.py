"""The rate that passes under real load, in one process and over four with uneven load.

If this machine is busy, requests arrive late and then all at once. So the rate that passes is compared with what one
exact bucket passes of the same requests. On a quiet machine, that is the limit.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from proxy.decision.limits import Rate
from proxy.limits.buckets import Bucket
from tests.acceptance.harness import Keys, Lane, Lanes, Sitelatch, User
from tests.acceptance.wire import Answering, Upstream, connect

pytestmark = pytest.mark.faults

PROCESSES = 4
LIMIT = 40
SETTLING_SECONDS, MEASURED_SECONDS = 5.0, 5.0
UNEVEN = (0.6, 0.25, 0.1, 0.05)


@pytest.fixture(scope="module")
def lanes() -> Iterator[Lanes]:
    lanes = Lanes(6)
    yield lanes
    lanes.close()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, database_url: str, lanes: Lanes) -> Iterator[list[Sitelatch]]:
    with ExitStack() as stack:
        latches = []
        for number in range(PROCESSES):
            folder = tmp_path_factory.mktemp(f"limits{number}")
            latch = Sitelatch(folder, database_url, lanes.routes(), log={"access": "off"})
            stack.callback(latch.stop)
            latch.start()
            latches.append(latch)
        yield latches


@pytest.fixture(scope="module")
def keys(fleet: list[Sitelatch]) -> Keys:
    return fleet[0].create_sites_and_users()


async def send(latch: Sitelatch, request: bytes, rate: float, delay: float, statuses: list[tuple[float, int]]) -> None:
    """Send requests at this rate until canceled. After a delay, those that are due follow at once."""
    async with connect(latch.address) as wire:
        due = time.perf_counter() + delay
        while True:
            await asyncio.sleep(due - time.perf_counter())
            sent = time.perf_counter()
            await wire.send(request)
            statuses.append((sent, (await wire.answer()).status))
            due += 1 / rate


async def passed_per_second(
    latches: Sequence[Sitelatch], lane: Lane, user: User, rates: Sequence[float]
) -> tuple[float, float]:
    """Send requests of one API user to processes. Return the rates that pass, and would pass one exact bucket.

    Both are measured after the time for settling.
    """
    request = lane.request("GET", "/sites/shop/x", user=user)
    statuses: list[tuple[float, int]] = []
    start = time.perf_counter() + SETTLING_SECONDS
    senders = [
        asyncio.create_task(send(latch, request, rate / 4, number / rate, statuses))
        for latch, rate in zip(latches, rates, strict=True)
        for number in range(4)
    ]
    await asyncio.sleep(SETTLING_SECONDS + MEASURED_SECONDS)
    for sender in senders:
        assert not sender.done(), sender
        sender.cancel()
    await asyncio.wait(senders)
    assert {status for _, status in statuses} <= {200, 429}
    exact = Bucket("", Rate(LIMIT, LIMIT), 1.0, 0.0)
    passed = would_pass = 0
    for at, status in sorted(statuses):
        has_token = not exact.take(at)
        if at >= start:
            passed += status == 200
            would_pass += has_token
    return passed / MEASURED_SECONDS, would_pass / MEASURED_SECONDS


async def measure(
    fleet: list[Sitelatch], lanes: Lanes, keys: Keys, loads: Sequence[float], times: int
) -> tuple[float, float]:
    user = fleet[0].create_user("acme", "shop")
    with fleet[0].admin_client() as admin:
        limits = {"requests_per_second": LIMIT, "burst": LIMIT}
        admin.patch(f"/users/{user.id}", json=limits).raise_for_status()
    lane = lanes.next(fleet[0], keys)
    async with Upstream(lane.socket, Answering()):
        rates = [LIMIT * times * load for load in loads]
        passed, exact = await passed_per_second(fleet[: len(loads)], lane, user, rates)
    print(f"{len(loads)} processes, {times} x {LIMIT}/s: {passed:.1f}/s passed, exactly {exact:.1f}/s")  # noqa: T201 - for the record
    return passed, exact


async def test_the_rate_that_passes_is_the_limit_at_1_2_and_10_times_the_limit(
    fleet: list[Sitelatch], lanes: Lanes, keys: Keys
) -> None:
    cases = [(loads, times) for loads in ((1.0,), UNEVEN) for times in (1, 2, 10)]
    measured = await asyncio.gather(*(measure(fleet, lanes, keys, *case) for case in cases))
    for (loads, times), (passed, exact) in zip(cases, measured, strict=True):
        assert passed == pytest.approx(exact, rel=0.05 if len(loads) == 1 else 0.1), (loads, times)
