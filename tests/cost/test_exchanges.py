"""No exchange costs over 10 % more instructions than the last figures in bench/HISTORY.md."""

import pytest

from bench import history
from bench.exchanges import measure
from bench.instructions import available

pytestmark = [
    pytest.mark.cost,
    pytest.mark.skipif(not available(), reason="instructions are counted by valgrind on x86-64"),
]

_MOST_GROWTH = 1.10


def test_no_exchange_costs_much_more_than_recorded() -> None:
    recorded = history.last()
    reference, counts = measure()
    growth = {name: each.instructions / reference / recorded[name] for name, each in counts.items()}
    grown = {name: round(times, 2) for name, times in growth.items() if times > _MOST_GROWTH}
    assert not grown, "see bench/HISTORY.md; a justified growth is recorded with python -m bench.exchanges --record"
    assert growth.keys() == recorded.keys()
