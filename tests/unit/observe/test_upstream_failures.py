"""What the log says about an upstream that fails: each cause once, then counts, then its end."""

from collections.abc import MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.observe.upstream_failures import UpstreamFailures
from proxy.upstream_errors import Reason, UpstreamError

REFUSED = UpstreamError(Reason.CONNECTION_REFUSED, "Connection refused")
EXPIRED = UpstreamError(Reason.CERTIFICATE_EXPIRED, "certificate has expired")


class Story:
    """An upstream's failures on a clock that the test moves, with a sweep every half second."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.failures = UpstreamFailures("http://data.example", clock=lambda: self.now)

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            self.failures.sweep()

    def fail(self, cause: UpstreamError = REFUSED, times: int = 1) -> None:
        for _ in range(times):
            self.failures.failed(cause)

    def succeed(self) -> None:
        if self.failures.lasting:  # as the connections do
            self.failures.succeeded()


@pytest.fixture
def story() -> Story:
    return Story()


def short(lines: list[MutableMapping[str, Any]]) -> list[tuple[str, str, int]]:
    return [(line["event"].removeprefix("upstream_"), line["reason"], line["requests"]) for line in lines]


def test_a_cause_is_logged_once_at_first_and_then_with_its_count_each_minute(story: Story) -> None:
    with capture_logs() as lines:
        for _ in range(130):
            story.fail(times=100)
            story.wait(1)
    assert short(lines) == [
        ("fails", "connection_refused", 1),
        ("still_fails", "connection_refused", 6000),
        ("still_fails", "connection_refused", 12000),
    ]
    assert lines[0]["upstream"] == "http://data.example"
    assert lines[0]["error"] == "Connection refused"


def test_each_cause_has_its_own_lines(story: Story) -> None:
    with capture_logs() as lines:
        for cause in (REFUSED, EXPIRED, REFUSED, EXPIRED):
            story.fail(cause)
    assert short(lines) == [("fails", "connection_refused", 1), ("fails", "certificate_expired", 1)]


def test_the_log_says_when_a_cause_is_over(story: Story) -> None:
    with capture_logs() as lines:
        story.fail(times=3)
        story.wait(2)
        story.succeed()
        story.wait(10)
    assert short(lines) == [("fails", "connection_refused", 1), ("no_longer_fails", "connection_refused", 3)]


def test_a_cause_is_not_over_without_a_response(story: Story) -> None:
    with capture_logs() as lines:
        story.fail()
        story.wait(600)
    assert short(lines) == [("fails", "connection_refused", 1)]


def test_a_cause_that_comes_and_goes_is_logged_at_most_once_per_minute(story: Story) -> None:
    with capture_logs() as lines:
        for _ in range(60):
            story.fail()
            story.succeed()
            story.wait(10)
    assert len(lines) <= 13
    assert short(lines)[:3] == [
        ("fails", "connection_refused", 1),
        ("no_longer_fails", "connection_refused", 1),
        ("still_fails", "connection_refused", 6),
    ]


def test_a_cause_that_returns_after_a_long_time_is_logged_as_new(story: Story) -> None:
    with capture_logs() as lines:
        for _ in range(2):
            story.fail()
            story.succeed()
            story.wait(120)
    assert short(lines) == [("fails", "connection_refused", 1), ("no_longer_fails", "connection_refused", 1)] * 2


def test_a_long_text_is_shortened(story: Story) -> None:
    with capture_logs() as lines:
        story.fail(UpstreamError(Reason.OTHER, "x" * 10_000))
    assert len(lines[0]["error"]) == 300
