"""Measures heads in multiples of a plain head in the same setup: by the clock, and in instructions."""

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.driver import Driver
from bench.instructions import Counter, Request
from tests.cost.heads import PLAIN, Shape
from tests.cost.setups import KEYS, SETUPS, SITE_KEY

MAX_COST = 30
"""The most that a head may cost, in plain heads."""
_PLAIN_TRIES = 300
FAR_TOO_MUCH = 1000
"""A head whose time is more than this many plain heads is timed more often, because the machine may have been busy."""
_MORE_TRIES = 20


EVERYWHERE = [(setup, key) for setup in SETUPS for key in KEYS]
"""Each setup with each key."""


@dataclass(frozen=True)
class Sent:
    """A head, the setup that it is sent to, and the name of its key."""

    setup: str
    key: str
    head: bytes


@dataclass(frozen=True)
class Cost:
    """The cost of a head. `ratio` is its cost as a multiple of a plain head's cost."""

    ratio: float
    code: str
    """`passed`, or the code of the refusal."""


class Stopwatch:
    """Times heads against plain ones, by this thread's CPU time. Its result selects heads to count."""

    def __init__(self) -> None:
        self._drivers = {name: Driver(setup) for name, setup in SETUPS.items()}
        self._plain: dict[str, int] = {}

    async def start(self) -> None:
        """Time plain heads. Until `close`, full garbage collections are off, because they would distort the times."""
        self._threshold = gc.get_threshold()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*self._threshold[:2], 1_000_000)
        for name, driver in self._drivers.items():
            await driver.start()
            head = PLAIN.head(SITE_KEY)
            self._plain[name] = min([await self._nanoseconds(driver, head) for _ in range(_PLAIN_TRIES)])

    async def close(self) -> None:
        """Close the drivers."""
        gc.set_threshold(*self._threshold)
        gc.unfreeze()
        for driver in self._drivers.values():
            await driver.close()

    async def cost(self, sent: Sent, *, tries: int) -> Cost:
        """Return the shortest time of several runs. Nothing is remembered between them."""
        driver = self._drivers[sent.setup]
        least = float("inf")
        plain = self._plain[sent.setup]
        for tried in range(_MORE_TRIES):
            if tried >= tries and least < FAR_TOO_MUCH * plain:
                break
            driver.forget()
            visit = driver.connect()
            began = time.thread_time_ns()
            await visit.send(sent.head)
            least = min(least, time.thread_time_ns() - began)
        return Cost(least / plain, visit.outcome.code)

    async def most_expensive(self, shape: Shape) -> Sent:
        """Return the setup and the key with which a head takes the longest time, and its bytes with that key."""
        sent = [Sent(setup, key, shape.head(KEYS[key])) for setup, key in EVERYWHERE]
        ratios = [(await self.cost(each, tries=2)).ratio for each in sent]
        return sent[ratios.index(max(ratios))]

    async def _nanoseconds(self, driver: Driver, head: bytes) -> int:
        visit = driver.connect()
        began = time.thread_time_ns()
        await visit.send(head)
        return time.thread_time_ns() - began


def in_instructions(heads: Sequence[Sent], *, tries: int = 2, harmless: float = 0) -> list[Cost]:
    """Count the instructions of each head, with nothing remembered, and of a warm plain head.

    All heads are counted `tries` times, one after another, and the lowest count of each is returned: what the
    interpreter does once, such as specializing code that runs for the first time, is not a cost of the head. A head
    that costs at most `harmless` is not counted again.
    """
    least = [Cost(float("inf"), "")] * len(heads)
    with Counter(SETUPS) as counter:
        plain = {name: counter.count(Request(name, PLAIN.head(SITE_KEY), warm=True)).instructions for name in SETUPS}
        for _ in range(tries):
            for at, sent in enumerate(heads):
                if least[at].ratio <= harmless:
                    continue
                counted = counter.count(Request(sent.setup, sent.head))
                cost = Cost(counted.instructions / plain[sent.setup], counted.code)
                least[at] = min(least[at], cost, key=lambda each: each.ratio)
    return least
