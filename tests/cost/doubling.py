"""Checks that a cost grows no faster than the size, by the CPU time of this thread."""

import gc
from collections.abc import Callable

SMALLEST = 16 * 1024
DOUBLINGS = 4
MAX_RATIO_BY_DOUBLING = 2.5
TRIES = 5
NOISE_SECONDS = 0.0005


def check_doubling(seconds: Callable[[int], float]) -> None:
    """Assert that doubling a size costs at most two and a half times as much. `seconds` measures one run at a size.

    Garbage is not collected meanwhile, because that takes as long as the test process has objects.
    """
    costs: list[float] = []
    gc.collect()
    gc.disable()
    try:
        for doubling in range(DOUBLINGS + 1):
            costs.append(min(seconds(SMALLEST << doubling) for _ in range(TRIES)))
            assert costs[-1] < costs[0] * MAX_RATIO_BY_DOUBLING**doubling + NOISE_SECONDS, costs
    finally:
        gc.enable()
