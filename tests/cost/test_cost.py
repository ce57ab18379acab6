"""No head costs the proxy much more than a plain one, however it is spelled (issue 8, point 2).

The clock finds the setup and the key with which each case costs most. The verdict is in instructions.
"""

import asyncio
import itertools
from dataclasses import dataclass

import pytest

from bench.instructions import available
from tests.cost.cases import Case, cases
from tests.cost.measure import EVERYWHERE, Cost, Sent, Stopwatch, in_instructions
from tests.cost.search import SEED, Found, search
from tests.cost.setups import KEYS

pytestmark = [
    pytest.mark.cost,
    pytest.mark.skipif(not available(), reason="instructions are counted by valgrind on x86-64"),
]

MOST = 30
"""Plain heads that a head may cost."""
MOST_BY_DOUBLING = 2.5
CHEAP = 3
"""Plain heads: what costs less may grow faster, as the first of something does."""
SHARES = (8, 4, 2, 1)
"""A case's largest size is divided by these."""
NOT_WORTH_COUNTING = 150
"""Plain heads by the clock: five times too much is too much in instructions too, and counting it takes long."""
SEARCH_SECONDS = 25


@dataclass(frozen=True)
class Grown:
    """A case in every size, smallest first, in the setup and with the key that make it cost most."""

    case: Case
    setup: str
    key: str
    costs: tuple[Cost, ...]

    def __str__(self) -> str:
        ratios = " ".join(f"{cost.ratio:.1f}" for cost in self.costs)
        return f"{self.case.dimension} {self.case.name} ({self.setup}, {self.key}): {ratios} {self.costs[-1].code}"


async def _measured(watch: Stopwatch) -> list[Grown]:
    timed: list[Grown] = []
    chosen: list[tuple[Case, str, str]] = []
    for case in cases():
        shape = case.build(case.largest)
        by_clock = {}
        for setup, key in EVERYWHERE:
            by_clock[setup, key] = await watch.cost(Sent(setup, key, shape.head(KEYS[key])), tries=2)
        setup, key = max(by_clock, key=lambda at: by_clock[at].ratio)
        cost = await watch.cost(Sent(setup, key, shape.head(KEYS[key])), tries=3)
        if cost.ratio > NOT_WORTH_COUNTING:
            timed.append(Grown(case, setup, key, (cost,)))
        else:
            chosen.append((case, setup, key))
    heads = [
        Sent(setup, key, case.build(case.largest // share).head(KEYS[key]))
        for case, setup, key in chosen
        for share in SHARES
    ]
    costs = in_instructions(heads)
    counted = [
        Grown(*choice, tuple(costs[at * len(SHARES) : (at + 1) * len(SHARES)])) for at, choice in enumerate(chosen)
    ]
    return sorted(timed + counted, key=lambda grown: -max(cost.ratio for cost in grown.costs))


async def _all_measured() -> list[Grown]:
    watch = Stopwatch()
    await watch.start()
    measured = await _measured(watch)
    await watch.close()
    return measured


async def _searched() -> list[tuple[Cost, Found]]:
    watch = Stopwatch()
    await watch.start()
    found = await search(watch, seconds=SEARCH_SECONDS, seed=SEED, enough=NOT_WORTH_COUNTING)
    await watch.close()
    return found


@pytest.fixture(scope="module")
def measured() -> list[Grown]:
    """Every case, the one that costs most first."""
    return asyncio.run(_all_measured())


def test_no_case_costs_more_than_thirty_plain_heads(measured: list[Grown]) -> None:
    too_much = [str(grown) for grown in measured if max(cost.ratio for cost in grown.costs) > MOST]
    assert not too_much, f"{len(too_much)} of {len(measured)}:\n" + "\n".join(too_much)


def test_doubling_a_case_costs_at_most_two_and_a_half_times_as_much(measured: list[Grown]) -> None:
    steep = [
        str(grown)
        for grown in measured
        for less, more in itertools.pairwise(cost.ratio for cost in grown.costs)
        if more > CHEAP and more > MOST_BY_DOUBLING * less
    ]
    assert not steep, "\n".join(steep)


def test_the_search_finds_no_head_that_costs_more_than_thirty_plain_ones() -> None:
    found = asyncio.run(_searched())
    by_clock = [f"{cost.ratio:.1f} by the clock: {top}" for cost, top in found if cost.ratio > NOT_WORTH_COUNTING]
    worth_counting = [top for cost, top in found if MOST / 3 < cost.ratio <= NOT_WORTH_COUNTING]
    counted = in_instructions([top.sent() for top in worth_counting])
    too_much = by_clock + [
        f"{cost.ratio:.1f}: {top.setup}, {top.key}: {top}"
        for cost, top in zip(counted, worth_counting, strict=True)
        if cost.ratio > MOST
    ]
    assert not too_much, "\n".join(too_much)
