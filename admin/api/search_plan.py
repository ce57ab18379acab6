"""Uses a sample of the rows to choose how to find the next rows of a list that meet all conditions. No I/O."""

from collections.abc import Sequence
from typing import Final, NamedTuple

MOST_CANDIDATES: Final = 10_000
"""How many rows may be looked up to see whether they meet all conditions."""
_MOST_ENTRIES: Final = 2_000_000
"""How many entries of the order's index may be read to find the candidates between two places in the order."""
_WIDE: Final = 15
"""If rows of the sample are this many pages apart, the first one that passes nearly always has a page before it."""
_MARGIN: Final = 3
"""The number of rows that are expected to pass up to a bound, as a multiple of those needed to fill a page."""


class Sampled(NamedTuple):
    """A row of the sample that follows the last row of the previous page."""

    meets: Sequence[bool]
    """Whether the row meets each of the conditions."""
    has_place: bool
    """Whether the row has a value by which the list is sorted."""


class Source(NamedTuple):
    """Indexes that find the rows that meet a condition."""

    condition: int | None
    """The condition, if the sample tells how many rows meet it."""
    related: int
    """How many other rows the indexes find, up to MOST_CANDIDATES + 1."""
    can_be_bounded: bool
    """Whether they can find only the rows up to a place in the order, besides those that are related."""


class Plan(NamedTuple):
    """How to find the next rows: the number of the source, and up to which row of the sample (None: to the end)."""

    source: int
    bound: int | None


def plan(sample: Sequence[Sampled], weight: float, sources: Sequence[Source], limit: int, worth: int) -> Plan | None:
    """Return the plan that finds the most of the next `limit` rows, or None if it would find too few.

    `sample` is in the order of the list, and each of its rows stands for `weight` rows. A plan to the end of the list
    is best. Otherwise it must be expected to pass more than `worth` rows of the list.
    """
    expected = [_expected(sample, weight, source) for source in sources]
    if min(expected) <= MOST_CANDIDATES:
        return fewest(sample, weight, sources)
    places = [place for place, row in enumerate(sample) if row.has_place]
    passing = [place for place in places if all(sample[place].meets)]
    # On average, `weight` rows that pass are between two rows of the sample that pass.
    enough = 0 if weight > _WIDE * limit else 1 + int(_MARGIN * limit / weight)
    wanted = passing[enough] if len(passing) > enough else places[-1] if places else 0
    wanted = min(wanted, int(_MOST_ENTRIES / weight))
    bounds = [
        (min(wanted, _last_place(sample, weight, source)), -number)
        for number, source in enumerate(sources)
        if source.can_be_bounded
    ]
    bound, number = max(bounds, default=(0, 0))
    return Plan(-number, bound) if bound * weight > worth else None


def _last_place(sample: Sequence[Sampled], weight: float, source: Source) -> int:
    """Return the place in the sample up to which a source is expected to find MOST_CANDIDATES rows."""
    expected: float = source.related
    for place, row in enumerate(sample):
        expected += weight * row.meets[source.condition or 0]
        if expected > MOST_CANDIDATES:
            return place - 1
    return len(sample) - 1


def fewest(sample: Sequence[Sampled], weight: float, sources: Sequence[Source]) -> Plan:
    """Return the plan with the fewest candidates to the end of the list, however many they are."""
    expected = [_expected(sample, weight, source) for source in sources]
    return Plan(expected.index(min(expected)), None)


def _expected(sample: Sequence[Sampled], weight: float, source: Source) -> float:
    """Return how many rows the indexes are expected to find among those that the sample stands for."""
    number = source.condition
    return source.related + (0 if number is None else weight * sum(row.meets[number] for row in sample))
