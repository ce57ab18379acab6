"""The fair queue for lookups."""

import asyncio
import random

import pytest

from proxy.grants.fair_queue import FairQueue


async def acquire_slot(queue: FairQueue, party: str, served: list[str]) -> None:
    await queue.acquire(party)
    served.append(party)


async def acquire_and_release(queue: FairQueue, party: str, served: list[str]) -> None:
    await acquire_slot(queue, party, served)
    queue.release(party)


async def test_lookup_slots_are_granted_round_robin_by_party() -> None:
    queue, served = FairQueue(1, 1), list[str]()
    await queue.acquire("a")
    waiting = [asyncio.create_task(acquire_and_release(queue, party, served)) for party in "aaaabbc"]
    await asyncio.sleep(0)
    queue.release("a")
    await asyncio.gather(*waiting)
    assert "".join(served) == "bcabaaa"


async def test_a_party_never_uses_more_than_its_share() -> None:
    queue, served = FairQueue(4, 2), list[str]()
    waiting = [asyncio.create_task(acquire_slot(queue, "a", served)) for _ in range(4)]
    await asyncio.sleep(0)
    assert served == ["a", "a"]
    queue.release("a")
    await asyncio.gather(*waiting[:3])
    assert served == ["a", "a", "a"]
    waiting[3].cancel()


async def test_a_canceled_waiter_is_skipped() -> None:
    queue, served = FairQueue(1, 1), list[str]()
    await queue.acquire("a")
    patient = [asyncio.create_task(acquire_slot(queue, party, served)) for party in "bcd"]
    await asyncio.sleep(0)
    patient[0].cancel()
    patient[1].cancel()
    await asyncio.sleep(0)
    queue.release("a")
    await patient[2]
    assert served == ["d"]


async def test_a_slot_granted_just_before_a_cancellation_is_passed_on() -> None:
    queue, served = FairQueue(1, 1), list[str]()
    await queue.acquire("a")
    late, patient = (asyncio.create_task(acquire_slot(queue, party, served)) for party in "bc")
    await asyncio.sleep(0)
    queue.release("a")
    late.cancel()
    await patient
    assert served == ["c"]


@pytest.mark.parametrize("seed", range(20))
async def test_all_slots_are_free_after_all_waiters_have_finished_or_been_canceled(seed: int) -> None:
    chance = random.Random(seed)
    queue, running, most = FairQueue(3, 2), 0, 0

    async def work(party: str) -> None:
        nonlocal running, most
        await queue.acquire(party)
        running += 1
        most = max(most, running)
        try:
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
        finally:
            running -= 1
            queue.release(party)

    tasks = [asyncio.create_task(work(chance.choice("abcd"))) for _ in range(100)]
    for _ in range(100):
        await asyncio.sleep(0)
        chance.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 3
    for party in "xyz":
        await asyncio.wait_for(queue.acquire(party), 1)
