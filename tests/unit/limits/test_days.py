"""How many requests of an API user may pass in a day."""

from dataclasses import replace
from datetime import UTC, date, datetime

from proxy.decision.grant import Grant
from proxy.decision.limits import Limits, Rate
from proxy.decision.routes import Route
from proxy.limits.user_limits import UserLimits
from proxy.settings import KeySettings, RouteSettings
from tests.scopes import Clock

TODAY, TOMORROW = date(2026, 12, 1), date(2026, 12, 2)
ADA = Grant("ada", "acme", False, frozenset(), limits=Limits(per_day=100))


def route(name: str = "data", **limits: float) -> Route:
    settings = RouteSettings.model_validate({"name": name, "upstream": "http://x", "user_limits": limits or None})
    return Route(settings, KeySettings())


DATA = route()


class Process:
    """The limits of one process, with clocks that the test sets."""

    def __init__(self, hour: int = 12) -> None:
        self.clock, self.wall = Clock(), Clock()
        self.wall.now = datetime(2026, 12, 1, hour, tzinfo=UTC).timestamp()
        self.limits = UserLimits(clock=self.clock, wall_clock=self.wall)

    def passed(self, requests: int = 1000, grant: Grant = ADA, on: Route = DATA) -> int:
        return sum(self.limits.take(grant, on) is None for _ in range(requests))


def test_the_requests_of_a_day_are_limited_exactly_in_one_process() -> None:
    process = Process()
    assert process.passed(60) == 60
    process.limits.learn_totals(TODAY, {"ada": 55})  # the last flush has not seen all of them
    assert process.passed() == 40
    process.limits.learn_totals(TODAY, {"ada": 100})
    assert process.passed() == 0


def test_the_requests_of_other_processes_count() -> None:
    process = Process()
    assert process.passed(10) == 10
    process.limits.learn_totals(TODAY, {"ada": 95, "bob": 1_000_000})
    assert process.passed() == 5


def test_the_limit_of_a_route_counts_the_requests_on_all_routes() -> None:
    process = Process()
    one, other = route(requests_per_day=3), route("files", requests_per_day=5)
    nobody = replace(ADA, limits=None)
    assert process.passed(2, nobody, other) == 2
    assert process.passed(10, nobody, one) == 1
    assert process.passed(10, nobody, other) == 2
    assert process.passed(10, nobody, DATA) == 10, "without a limit"


def test_a_new_day_begins_at_midnight_utc() -> None:
    process = Process(hour=23)
    assert process.passed() == 100
    refusal = process.limits.take(ADA, DATA)
    assert refusal is not None
    assert refusal.retry_after_seconds == 3600
    assert refusal.lines == b'RateLimit-Policy: "day";q=100;w=86400\r\nRateLimit: "day";r=0;t=3600\r\n'
    assert refusal.detail == "The limit of this API key is 100 requests per day (UTC)."
    process.wall.now += 3599.5
    assert process.passed() == 0
    process.wall.now += 0.5
    assert process.passed(40) == 40
    process.limits.learn_totals(TODAY, {"ada": 140})  # a late answer about yesterday
    assert process.passed() == 60
    process.limits.learn_totals(TOMORROW, {"ada": 100})
    assert process.passed() == 0


def test_a_clock_that_crosses_midnight_and_comes_back_forgets_no_requests() -> None:
    process = Process(hour=0)
    midnight, passed = process.wall.now, 0
    for number in range(500):
        process.wall.now = midnight + (0.01 if number % 2 else -0.01)
        passed += process.passed(1)
    assert passed == 200, "100 on each of the two days"


def test_a_clock_that_was_far_in_the_future_counts_today_again_when_it_is_corrected() -> None:
    process = Process()
    now = process.wall.now
    assert process.passed(60) == 60
    process.wall.now += 400 * 86_400
    assert process.passed() == 100
    process.wall.now = now
    assert process.passed() == 40
    process.wall.now += 86_400
    assert process.passed() == 100


def test_a_clock_that_was_a_day_ahead_refuses_no_requests_of_today_when_it_is_corrected() -> None:
    process = Process()
    process.wall.now += 86_400
    assert process.passed() == 100
    process.wall.now -= 86_400
    assert process.passed() == 100
    refusal = process.limits.take(ADA, DATA)
    assert refusal is not None
    assert refusal.retry_after_seconds == 43_200


def test_requests_on_a_route_without_a_limit_per_day_count_from_the_next_write_of_usage_on() -> None:
    process = Process()
    nobody = replace(ADA, limits=None)
    one = route(requests_per_day=5)
    assert process.passed(50, nobody, DATA) == 50
    assert process.passed(4, nobody, one) == 4
    process.limits.learn_totals(TODAY, {"ada": 54})
    assert process.passed(50, nobody, one) == 0


def test_a_request_beyond_the_day_takes_no_token_and_one_without_a_token_does_not_count() -> None:
    process = Process()
    ada = replace(ADA, limits=Limits(Rate(1, 2), per_day=3))
    assert process.passed(10, ada) == 2
    refusal = process.limits.take(ada, DATA)
    assert refusal is not None
    assert refusal.lines == b'RateLimit-Policy: "rate";q=2;w=2, "day";q=3;w=86400\r\nRateLimit: "rate";r=0;t=1\r\n'
    process.clock.now += 2
    assert process.passed(1, ada) == 1
    refusal = process.limits.take(ada, DATA)
    assert refusal is not None
    assert b'RateLimit: "day"' in refusal.lines
    process.wall.now += 43_200
    assert process.passed(10, ada) == 1, "the token that the refused request did not take"


def test_an_own_limit_replaces_only_the_limit_of_its_kind() -> None:
    process = Process()
    data = route(requests_per_second=5, requests_per_day=7)
    assert process.passed(10, replace(ADA, limits=Limits(Rate(9, 9))), data) == 7
    bob = replace(ADA, user_id="bob", limits=Limits(per_day=6))
    assert process.passed(10, bob, data) == 5
    process.clock.now += 1
    assert process.passed(10, bob, data) == 1


def test_a_changed_limit_counts_what_has_passed_before() -> None:
    process = Process()
    assert process.passed(100) == 100
    assert process.passed(10, replace(ADA, limits=Limits(per_day=50))) == 0
    assert process.passed(100, replace(ADA, limits=Limits(per_day=103))) == 3
