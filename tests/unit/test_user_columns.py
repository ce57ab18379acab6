"""How the command describes API users."""

from datetime import UTC, datetime, timedelta

import pytest

from sitelatch.commands.user_columns import ago

NOW = datetime(2026, 5, 6, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("past", "shown"),
    [
        (timedelta(seconds=-30), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=59), "59 min ago"),
        (timedelta(hours=23, minutes=59), "23 h ago"),
        (timedelta(days=99, hours=23), "99 d ago"),
        (timedelta(days=100), "2026-01-26"),
    ],
)
def test_an_activity_is_described_by_how_long_ago_it_was(past: timedelta, shown: str) -> None:
    assert ago(NOW - past, NOW) == shown


def test_a_missing_activity_is_described_as_never() -> None:
    assert ago(None, NOW) == "never"
