"""What each case costs in every size: `python -m tests.cost.growth` prints all, the dearest first.

The clock finds the setup and the key with which a case costs most. What counts are instructions.
"""

import asyncio
import sys
from dataclasses import dataclass

from tests.cost.cases import Case, cases
from tests.cost.measure import EVERYWHERE, Cost, Sent, Stopwatch, in_instructions
from tests.cost.setups import KEYS

SHARES = (8, 4, 2, 1)
"""A case's largest size is divided by these."""
NOT_WORTH_COUNTING = 150
"""Plain heads by the clock: five times too much is too much in instructions too, and counting it takes long."""


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


async def _measured() -> list[Grown]:
    watch = Stopwatch()
    await watch.start()
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
    await watch.close()
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


def grow_all() -> list[Grown]:
    """Measure every case; the one that costs most is the first."""
    return asyncio.run(_measured())


if __name__ == "__main__":
    for grown in grow_all():
        sys.stdout.write(f"{grown}\n")
