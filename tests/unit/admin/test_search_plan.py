"""How the next rows of a list are found, for samples of lists of a million rows."""

from collections.abc import Sequence

import pytest

from admin.api.search_plan import MOST_CANDIDATES, Plan, Sampled, Source, fewest, plan

WEIGHT = 1000.0
WORTH = 10_000
TOO_MANY = 1_000_000


def sample(*conditions: Sequence[int], rows: int = 1000, has_place: bool = True) -> list[Sampled]:
    """Return a sample in which only these places meet each condition."""
    return [Sampled([place in places for places in conditions], has_place) for place in range(rows)]


def named(condition: int) -> Source:
    return Source(condition, 0, can_be_bounded=True)


def test_a_condition_that_few_rows_meet_finds_all_of_them() -> None:
    rows = sample(range(0, 1000, 2), [3, 400, 900])
    assert plan(rows, WEIGHT, [named(0), named(1)], 51, WORTH) == Plan(1, None)


def test_the_source_with_the_fewest_rows_is_chosen() -> None:
    rows = sample([1, 2, 3], [1])
    assert plan(rows, WEIGHT, [named(0), named(1)], 51, WORTH) == Plan(1, None)
    assert fewest(rows, WEIGHT, [named(0), named(1)]) == Plan(1, None)
    assert plan(rows, WEIGHT, [named(0), Source(1, 3000, True), Source(None, 500, False)], 51, WORTH) == Plan(2, None)


def test_a_common_condition_is_read_up_to_the_first_row_of_the_sample_that_passes() -> None:
    """It is enough to fill a page, because a thousand rows are between two rows of the sample."""
    rows = sample(range(600, 1000))
    assert plan(rows, WEIGHT, [named(0)], 51, WORTH) == Plan(0, 600)


def test_more_rows_of_the_sample_are_needed_if_they_are_close_together() -> None:
    rows = sample(range(600, 1000))
    assert plan(rows, 100.0, [named(0)], 51, WORTH) == Plan(0, 602)


def test_a_part_of_the_list_is_read_if_the_conditions_rarely_occur_together() -> None:
    """As many candidates as may be looked up. The page may be incomplete then."""
    rows = sample(range(200, 1000, 2), range(201, 1000, 2))
    assert plan(rows, WEIGHT, [named(0), Source(1, 0, can_be_bounded=False)], 51, WORTH) == Plan(0, 219)


def test_the_part_of_the_index_that_is_read_is_bounded() -> None:
    rows = sample(range(900, 1000))
    assert plan(rows, 5000.0, [named(0)], 51, WORTH) == Plan(0, 400)


def test_rows_without_a_sort_value_are_not_used_as_a_bound() -> None:
    rows = sample(range(600, 1000), rows=500) + sample(range(500), has_place=False, rows=500)
    assert plan(rows, WEIGHT, [named(0)], 51, WORTH) == Plan(0, 499)


@pytest.mark.parametrize(
    "source",
    [Source(0, TOO_MANY, True), Source(0, MOST_CANDIDATES, True), Source(0, 0, False), Source(None, TOO_MANY, False)],
)
def test_there_is_no_plan_if_no_source_finds_enough_rows(source: Source) -> None:
    rows = sample(range(0, 1000, 3))
    assert plan(rows, WEIGHT, [source], 51, WORTH) is None


def test_an_empty_sample_of_a_small_list_finds_everything() -> None:
    assert plan([], 1.0, [named(0)], 51, WORTH) == Plan(0, None)
    assert plan([], 1.0, [Source(0, TOO_MANY, True)], 51, WORTH) is None
