"""No request head costs the proxy much more than a plain one.

Costs are in instructions, as multiples of a plain head in the same setup.
"""

import itertools

import pytest

from bench.instructions import available
from tests.cost.growth import Grown, grow_all
from tests.cost.heads import PLAIN
from tests.cost.measure import MAX_COST, Sent, in_instructions
from tests.cost.search import SEED, find_worst
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
    found = find_worst(SEARCH_SECONDS, SEED)
    assert found, "the search compares costs by the clock, so it finds nothing only if the clock is wrong"
    too_much = [f"{cost.ratio:.1f}: {top}" for cost, top in found if cost.ratio > MAX_COST]
    assert not too_much, "\n".join(too_much)
