"""Whose turn it is."""

import asyncio
import random

import pytest

from proxy.grants.fair_queue import FairQueue


async def wait_in_line(turns: FairQueue, party: str, served: list[str]) -> None:
    await turns.acquire(party)
    served.append(party)


async def pass_through(turns: FairQueue, party: str, served: list[str]) -> None:
    await wait_in_line(turns, party, served)
    turns.release(party)


async def test_parties_take_turns_however_many_one_of_them_sends() -> None:
    turns, served = FairQueue(1, 1), list[str]()
    await turns.acquire("a")
    waiting = [asyncio.create_task(pass_through(turns, party, served)) for party in "aaaabbc"]
    await asyncio.sleep(0)
    turns.release("a")
    await asyncio.gather(*waiting)
    assert "".join(served) == "bcabaaa"


async def test_a_party_never_holds_more_than_its_share_even_if_nobody_else_is_there() -> None:
    turns, served = FairQueue(4, 2), list[str]()
    waiting = [asyncio.create_task(wait_in_line(turns, "a", served)) for _ in range(4)]
    await asyncio.sleep(0)
    assert served == ["a", "a"]
    turns.release("a")
    await asyncio.gather(*waiting[:3])
    assert served == ["a", "a", "a"]
    waiting[3].cancel()


async def test_who_gives_up_in_line_is_passed_over() -> None:
    turns, served = FairQueue(1, 1), list[str]()
    await turns.acquire("a")
    patient = [asyncio.create_task(wait_in_line(turns, party, served)) for party in "bcd"]
    await asyncio.sleep(0)
    patient[0].cancel()
    patient[1].cancel()
    await asyncio.sleep(0)
    turns.release("a")
    await patient[2]
    assert served == ["d"]


async def test_a_turn_that_comes_together_with_the_cancellation_is_passed_on() -> None:
    turns, served = FairQueue(1, 1), list[str]()
    await turns.acquire("a")
    late, patient = (asyncio.create_task(wait_in_line(turns, party, served)) for party in "bc")
    await asyncio.sleep(0)
    turns.release("a")
    late.cancel()
    await patient
    assert served == ["c"]


@pytest.mark.parametrize("seed", range(20))
async def test_all_slots_are_free_again_when_everyone_is_done_or_gone(seed: int) -> None:
    chance = random.Random(seed)
    turns, running, most = FairQueue(3, 2), 0, 0

    async def work(party: str) -> None:
        nonlocal running, most
        await turns.acquire(party)
        running += 1
        most = max(most, running)
        try:
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
        finally:
            running -= 1
            turns.release(party)

    tasks = [asyncio.create_task(work(chance.choice("abcd"))) for _ in range(100)]
    for _ in range(100):
        await asyncio.sleep(0)
        chance.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 3
    for party in "xyz":
        await asyncio.wait_for(turns.acquire(party), 1)
