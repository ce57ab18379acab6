"""The most expensive heads that are known stay within the bound. A short form of `make test-cost`."""

import pytest

from bench.instructions import available
from tests.cost.cases import MIXES
from tests.cost.measure import MAX_COST, Sent, in_instructions
from tests.cost.setups import KEYS, SETUPS

pytestmark = [
    pytest.mark.cost,
    pytest.mark.skipif(not available(), reason="instructions are counted by valgrind on x86-64"),
]

KEY = "workspace key"
"""Sites have to be looked up for this key, so it makes most heads the most expensive."""


def test_no_known_mix_costs_more_than_thirty_plain_heads() -> None:
    heads = [(setup, mix) for mix in MIXES for setup in SETUPS]
    costs = in_instructions([Sent(setup, KEY, mix.shape().head(KEYS[KEY])) for setup, mix in heads])
    too_much = [
        f"{cost.ratio:.1f}: {setup}, {KEY}: {mix}"
        for (setup, mix), cost in zip(heads, costs, strict=True)
        if cost.ratio > MAX_COST
    ]
    assert not too_much, "\n".join(too_much)
