"""No request head costs the proxy much more than a plain one.

Costs are in instructions, as multiples of a plain head in the same setup.
"""

import asyncio
import itertools

import pytest

from bench.instructions import available
from tests.cost.growth import WORTH_COUNTING, Grown, grow_all
from tests.cost.heads import PLAIN
from tests.cost.measure import MAX_COST, Cost, Sent, Stopwatch, in_instructions
from tests.cost.search import SEED, Found, search
from tests.cost.setups import SITE_KEY

pytestmark = [
    pytest.mark.cost,
    pytest.mark.skipif(not available(), reason="instructions are counted by valgrind on x86-64"),
]

MAX_RATIO_BY_DOUBLING = 2.5
CHEAP = 4
"""Heads that cost less than this, in plain heads, may grow faster, because the first use of a feature has a fixed
cost."""
SEARCH_SECONDS = 30


async def _searched() -> list[tuple[Cost, Found]]:
    watch = Stopwatch()
    await watch.start()
    found = await search(watch, seconds=SEARCH_SECONDS, seed=SEED, enough=WORTH_COUNTING[1])
    await watch.close()
    return found


@pytest.fixture(scope="module")
def measured() -> list[Grown]:
    """Every case, the most expensive one first."""
    return grow_all()


def test_instruction_counts_are_repeatable() -> None:
    plain = Sent("default", "site key", PLAIN.head(SITE_KEY))
    once, again = in_instructions([plain, plain])
    assert once.code == again.code == "passed"
    assert 0.9 < once.ratio / again.ratio < 1.1
    assert 1 < again.ratio < 4, "a plain head costs more with cold caches than with warm ones"


def test_no_case_costs_more_than_thirty_plain_heads(measured: list[Grown]) -> None:
    too_much = [str(grown) for grown in measured if grown.most > MAX_COST]
    assert not too_much, f"{len(too_much)} of {len(measured)}:\n" + "\n".join(too_much)


def test_doubling_a_case_costs_at_most_two_and_a_half_times_as_much(measured: list[Grown]) -> None:
    steep = [
        str(grown)
        for grown in measured
        for less, more in itertools.pairwise(cost.ratio for cost in grown.costs)
        if more > CHEAP and more > MAX_RATIO_BY_DOUBLING * less
    ]
    assert not steep, "\n".join(steep)


def test_the_search_finds_no_head_that_costs_more_than_thirty_plain_ones() -> None:
    found = asyncio.run(_searched())
    by_clock = [f"{cost.ratio:.1f} by the clock: {top}" for cost, top in found if cost.ratio >= WORTH_COUNTING[1]]
    worth_counting = [top for cost, top in found if MAX_COST / 3 < cost.ratio < WORTH_COUNTING[1]]
    counted = in_instructions([top.sent() for top in worth_counting])
    too_much = by_clock + [
        f"{cost.ratio:.1f}: {top}" for cost, top in zip(counted, worth_counting, strict=True) if cost.ratio > MAX_COST
    ]
    assert not too_much, "\n".join(too_much)
