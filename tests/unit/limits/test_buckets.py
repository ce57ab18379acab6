"""The token bucket of an API user: the passed rate equals the limit, with exact numbers."""

import random

import pytest

from proxy.decision.limits import Rate
from proxy.limits.buckets import Bucket


def passed(bucket: Bucket, rate: float, start: float, seconds: float) -> int:
    """Return how many of the requests pass that arrive at this rate, evenly spaced."""
    return sum(not bucket.take(start + number / rate) for number in range(round(rate * seconds)))


@pytest.mark.parametrize("limit", [Rate(50, 100), Rate(50, 50), Rate(0.5, 1), Rate(3, 7), Rate(200, 100)])
@pytest.mark.parametrize("times", [1, 2, 10])
def test_the_passed_rate_is_the_limit_after_the_burst(limit: Rate, times: int) -> None:
    bucket = Bucket("ada", limit, 1.0, 0.0)
    seconds = 200 / limit.per_second
    offered = limit.per_second * times
    first = passed(bucket, offered, 0.0, seconds)
    assert first <= limit.per_second * seconds + limit.burst
    later = passed(bucket, offered, seconds, 10 * seconds)
    assert later == pytest.approx(limit.per_second * 10 * seconds, rel=0.01)


def test_requests_at_random_times_pass_at_the_limit() -> None:
    bucket, now, times = Bucket("ada", Rate(50, 50), 1.0, 0.0), 0.0, random.Random(1)
    taken = 0
    while now < 200:
        now += times.expovariate(100)
        taken += not bucket.take(now)
    assert taken == pytest.approx(10_000, rel=0.01)


def test_a_full_bucket_lets_a_burst_pass_at_once() -> None:
    bucket = Bucket("ada", Rate(1, 5), 1.0, 0.0)
    assert [bucket.take(0.0) for _ in range(6)] == [0, 0, 0, 0, 0, 1]
    assert bucket.take(0.25) == 0.75, "the time until the next token"
    assert bucket.take(1.0) == 0
    assert bucket.take(1_000_000.0) == 0
    assert [bucket.take(1_000_000.0) for _ in range(5)] == [0, 0, 0, 0, 1]


def test_a_refused_request_takes_no_token() -> None:
    bucket = Bucket("ada", Rate(1, 1), 1.0, 0.0)
    assert bucket.take(0.0) == 0
    assert all(bucket.take(number / 1000) > 0 for number in range(1, 999))
    assert bucket.take(1.0) == 0


def test_a_clock_that_steps_back_gives_no_tokens() -> None:
    bucket = Bucket("ada", Rate(1, 1), 1.0, 100.0)
    assert bucket.take(100.0) == 0
    assert bucket.take(50.0) == 1
    assert bucket.take(100.5) == 0.5


def test_a_share_scales_the_rate_and_the_burst() -> None:
    bucket = Bucket("ada", Rate(100, 200), 0.25, 0.0)
    assert passed(bucket, 10_000, 0.0, 0.01) == 50
    assert passed(bucket, 1000, 0.01, 40.0) == pytest.approx(1000, rel=0.01)


def test_a_process_with_a_tiny_share_still_lets_single_requests_pass() -> None:
    bucket = Bucket("ada", Rate(10, 10), 0.001, 0.0)
    assert bucket.take(0.0) == 0
    assert bucket.take(0.0) == pytest.approx(100)


def test_a_smaller_limit_applies_at_once() -> None:
    bucket = Bucket("ada", Rate(100, 100), 1.0, 0.0)
    bucket.change(Rate(100, 2), 1.0, 0.0)
    assert [bucket.take(0.0) > 0 for _ in range(3)] == [False, False, True]
    bucket.change(Rate(1, 2), 1.0, 0.0)
    assert bucket.take(0.5) == pytest.approx(0.5)


def test_a_larger_limit_adds_no_tokens_at_once() -> None:
    bucket = Bucket("ada", Rate(1, 1), 1.0, 0.0)
    assert bucket.take(0.0) == 0
    bucket.change(Rate(10, 10), 1.0, 0.0)
    assert bucket.take(0.0) == pytest.approx(0.1)


def test_a_bucket_counts_all_requests_that_asked() -> None:
    bucket = Bucket("ada", Rate(1, 1), 1.0, 0.0)
    for _ in range(7):
        bucket.take(0.0)
    assert bucket.asked == 7


def test_a_bucket_is_like_a_new_one_after_the_time_for_its_tokens() -> None:
    bucket = Bucket("ada", Rate(2, 4), 1.0, 0.0)
    assert bucket.is_like_new(1.0, 0.0)
    bucket.take(0.0)
    assert not bucket.is_like_new(1.0, 0.25)
    assert bucket.is_like_new(1.0, 0.5)


def test_a_bucket_that_is_full_because_its_share_is_small_is_not_like_a_new_one() -> None:
    bucket = Bucket("ada", Rate(2, 4), 1.0, 0.0)
    bucket.change(bucket.limit, 0.0, 0.0)
    assert not bucket.is_like_new(0.5, 100.0)
    assert bucket.take(100.0) == 0.0
    assert bucket.take(100.0) > 1000
