"""The most expensive heads that are known stay within the bound, and so do random variations of them.

This is a short form of `make test-cost`, which CI runs. It sends the same heads on every machine.
"""

import asyncio

import pytest

from bench.instructions import available
from tests.cost.cases import MALFORMED, MIXES, NEARLY_PLAIN
from tests.cost.measure import MAX_COST, Sent, Stopwatch, in_instructions
from tests.cost.search import SEED, worst_trials

pytestmark = [
    pytest.mark.cost,
    pytest.mark.skipif(not available(), reason="instructions are counted by valgrind on x86-64"),
]

TRIALS = 2000


async def _known() -> list[Sent]:
    """Return each known head with the setup and the key that make it most expensive."""
    watch = Stopwatch()
    await watch.start()
    known = [await watch.most_expensive(mix.shape()) for mix in (*MIXES, *NEARLY_PLAIN)]
    await watch.close()
    return known


def test_no_known_head_costs_more_than_thirty_plain_ones() -> None:
    known = asyncio.run(_known())
    costs = in_instructions(known, harmless=MAX_COST)
    too_much = [
        f"{cost.ratio:.1f}: {sent.setup}, {sent.key}: {mix}"
        for cost, sent, mix in zip(costs, known, (*MIXES, *NEARLY_PLAIN), strict=True)
        if cost.ratio > MAX_COST
    ]
    assert not too_much, "\n".join(too_much)


def test_no_malformed_head_costs_more_than_thirty_plain_ones() -> None:
    heads = [(setup, head) for head in MALFORMED for setup in ("default", "options")]
    costs = in_instructions([Sent(setup, "no key", head) for setup, head in heads], harmless=MAX_COST)
    too_much = [
        f"{cost.ratio:.1f}: {setup}: {head[:100]!r}"
        for cost, (setup, head) in zip(costs, heads, strict=True)
        if cost.ratio > MAX_COST
    ]
    assert not too_much, "\n".join(too_much)


def test_no_variation_of_a_known_head_costs_more_than_thirty_plain_ones() -> None:
    too_much = [f"{cost.ratio:.1f}: {top}" for cost, top in worst_trials(TRIALS, SEED) if cost.ratio > MAX_COST]
    assert not too_much, "\n".join(too_much)
