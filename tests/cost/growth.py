"""The cost of each case in every size. `python -m tests.cost.growth` prints all, the most expensive first.

The setup and the key that make a case most expensive are found by CPU time. The printed costs are in instructions.
"""

import asyncio
import sys
from dataclasses import dataclass, replace

from tests.cost.cases import Case, cases
from tests.cost.measure import FAR_TOO_MUCH, Cost, Sent, Stopwatch, in_instructions
from tests.cost.setups import KEYS

SHARES = (8, 4, 2, 1)
"""Divisors of the largest size of a case."""
WORTH_COUNTING = (3, FAR_TOO_MUCH)
"""A case is counted in instructions if its CPU time, in plain heads, is in this range. Cheaper heads are harmless. More
expensive ones fail anyway, and take long to count."""


@dataclass(frozen=True)
class Grown:
    """A case at every size, smallest first, with the setup and the key that make it most expensive."""

    case: Case
    setup: str
    key: str
    costs: tuple[Cost, ...]

    @property
    def most(self) -> float:
        """The cost of the most expensive size."""
        return max(cost.ratio for cost in self.costs)

    def __str__(self) -> str:
        ratios = " ".join(f"{cost.ratio:.1f}" for cost in self.costs)
        return f"{self.case.dimension} {self.case.name} ({self.setup}, {self.key}): {ratios} {self.costs[-1].code}"


async def _timed() -> list[Grown]:
    """Time every case, in the setup and with the key that make it most expensive."""
    watch = Stopwatch()
    await watch.start()
    timed = []
    for case in cases():
        worst = await watch.most_expensive(case.build(case.largest))
        costs = [await watch.cost(sent, tries=3) for sent in _sizes(case, worst.setup, worst.key)]
        timed.append(Grown(case, worst.setup, worst.key, tuple(costs)))
    await watch.close()
    return timed


def _sizes(case: Case, setup: str, key: str) -> list[Sent]:
    return [Sent(setup, key, case.build(case.largest // share).head(KEYS[key])) for share in SHARES]


def grow_all() -> list[Grown]:
    """Measure every case, and return the most expensive one first."""
    timed = asyncio.run(_timed())
    worth = [grown for grown in timed if WORTH_COUNTING[0] < grown.most < WORTH_COUNTING[1]]
    costs = iter(in_instructions([sent for grown in worth for sent in _sizes(grown.case, grown.setup, grown.key)]))
    counted = [replace(grown, costs=tuple(next(costs) for _ in SHARES)) for grown in worth]
    measured = [grown for grown in timed if grown not in worth] + counted
    return sorted(measured, key=lambda grown: -grown.most)


if __name__ == "__main__":
    for grown in grow_all():
        sys.stdout.write(f"{grown}\n")
