"""Which limit applies to a request, whose bucket it uses, and what the refusal says."""

from dataclasses import replace
from typing import Any

import pytest

from proxy.decision.grant import Grant
from proxy.decision.limits import Limits, Rate, read_limits
from proxy.decision.routes import Route
from proxy.limits.user_limits import UserLimits
from proxy.refusals import Refusal
from proxy.settings import KeySettings, RouteSettings
from tests.scopes import Clock

ADA = Grant("ada", "acme", all_sites=False, sites=frozenset({"shop"}))


def route(name: str = "data", **limits: Any) -> Route:
    settings = RouteSettings.model_validate({"name": name, "upstream": "http://x", "user_limits": limits or None})
    return Route(settings, KeySettings())


def limited(grant: Grant, per_second: float, burst: int = 1) -> Grant:
    return replace(grant, limits=Limits(Rate(per_second, burst)))


def passing(limits: UserLimits, grant: Grant, on: Route, requests: int = 1000) -> int:
    """Return how many of these requests pass."""
    return sum(limits.take(grant, on) is None for _ in range(requests))


def refused(limits: UserLimits, grant: Grant, on: Route) -> Refusal:
    refusal = limits.take(grant, on)
    assert refusal is not None
    return refusal


def test_without_limits_every_request_passes() -> None:
    limits = UserLimits(clock=Clock())
    assert passing(limits, ADA, route()) == 1000
    assert len(limits) == 0


def test_each_api_user_has_its_own_bucket_on_each_route() -> None:
    limits = UserLimits(clock=Clock())
    data, files = route(requests_per_second=3), route("files", requests_per_second=5)
    assert passing(limits, ADA, data) == 3
    assert passing(limits, replace(ADA, user_id="bob", subject="bob"), data) == 3
    assert passing(limits, ADA, files) == 5


def test_the_keys_of_an_api_user_share_its_bucket() -> None:
    limits = UserLimits(clock=Clock())
    data = route(requests_per_second=3)
    assert passing(limits, replace(ADA, subject="ada/1"), data) == 3
    assert passing(limits, replace(ADA, subject="ada/2"), data) == 0


def test_an_own_limit_replaces_that_of_every_route() -> None:
    limits = UserLimits(clock=Clock())
    ada = limited(ADA, 4, 8)
    assert passing(limits, ada, route(requests_per_second=3)) == 8
    assert passing(limits, ada, route("files")) == 0, "one bucket for all routes"
    assert passing(limits, ADA, route(requests_per_second=3)) == 3


def test_a_changed_limit_applies_at_once() -> None:
    clock = Clock()
    limits = UserLimits(clock=clock)
    data = route()
    assert passing(limits, limited(ADA, 1, 9), data, 4) == 4
    assert passing(limits, limited(ADA, 1, 2), data) == 2
    clock.now += 1
    assert passing(limits, limited(ADA, 50, 60), data) == 1
    clock.now += 1
    assert passing(limits, limited(ADA, 50, 60), data) == 50


@pytest.mark.parametrize(
    ("given", "policy", "burst"),
    [
        ({"requests_per_second": 50, "burst": 100}, '"rate";q=100;w=2', 100),
        ({"requests_per_second": 50}, '"rate";q=50;w=1', 50),
        ({"requests_per_second": 50, "burst": 10}, '"rate";q=50;w=1', 10),
        ({"requests_per_second": 0.5}, '"rate";q=1;w=2', 1),
        ({"requests_per_second": 0.3}, '"rate";q=1;w=4', 1),
        ({"requests_per_second": 2.5}, '"rate";q=5;w=2', 3),
        ({"requests_per_second": 0.001, "burst": 3}, '"rate";q=3;w=3000', 3),
    ],
)
def test_a_refusal_states_the_policy_and_when_to_come_back(given: dict[str, Any], policy: str, burst: int) -> None:
    clock = Clock()
    limits = UserLimits(clock=clock)
    data = route(**given)
    assert passing(limits, ADA, data) == burst
    refusal = refused(limits, ADA, data)
    wait = refusal.retry_after_seconds
    assert wait is not None
    assert (refusal.code, refusal.status) == ("rate_limited", 429)
    assert refusal.lines == f'RateLimit-Policy: {policy}\r\nRateLimit: "rate";r=0;t={wait}\r\n'.encode()
    assert f"{given['requests_per_second']:g} requests per second" in refusal.detail
    clock.now += wait - 1
    if wait > 1:
        assert limits.take(ADA, data) is not None
    clock.now += 1
    assert limits.take(ADA, data) is None, "the client comes back when Retry-After says so"


def test_the_shortcut_takes_a_token_or_has_no_effect() -> None:
    clock = Clock()
    limits = UserLimits(clock=clock, wall_clock=clock)
    data = route(requests_per_second=1, burst=3, requests_per_day=4)
    assert not limits.take_plainly(ADA, data), "the full way creates the bucket"
    assert len(limits) == 0
    assert passing(limits, ADA, data, 1) == 1
    assert [limits.take_plainly(ADA, data) for _ in range(4)] == [True, True, False, False]
    clock.now += 3
    assert limits.measure() == {"ada/data": 1}, "3 requests in 3 s, without the refused ones"
    assert [limits.take_plainly(ADA, data) for _ in range(2)] == [True, False], "the fourth and last of the day"
    assert limits.take_plainly(ADA, route())


def test_refusals_are_rendered_once() -> None:
    limits = UserLimits(clock=Clock())
    data = route(requests_per_second=1)
    passing(limits, ADA, data)
    assert refused(limits, ADA, data) is refused(limits, ADA, data)


def test_full_buckets_are_forgotten() -> None:
    clock = Clock()
    limits = UserLimits(clock=clock)
    data = route(requests_per_second=1, burst=1000)
    for number in range(100):
        assert limits.take(replace(ADA, user_id=f"user {number}"), data) is None
    assert passing(limits, ADA, data, 900) == 900
    clock.now += 61
    assert limits.take(replace(ADA, user_id="bob"), data) is None
    assert len(limits) == 2, "the busy user's bucket, which is not full, and the new one"
    assert passing(limits, ADA, data) == 161


def test_a_client_that_now_and_then_empties_idle_processes_does_not_exceed_the_limit() -> None:
    """One of four processes has a steady load. The others are asked only every 100 seconds."""
    clock = Clock()
    processes = [UserLimits(clock=clock) for _ in range(4)]
    grant, data, passed = limited(ADA, 10, 1000), route(), 0
    for second in range(2000):
        demands = [process.measure() for process in processes]
        for place, (process, mine) in enumerate(zip(processes, demands, strict=True)):
            others = [demand for other, demand in enumerate(demands) if other != place]
            process.divide({party: sum(each.get(party, 0) for each in others) for party in mine}, len(processes))
        for _ in range(30):
            clock.now += 1 / 30
            passed += processes[0].take(grant, data) is None
        if second % 100 == 99:
            passed += sum(passing(process, grant, data) for process in processes[1:])
    assert passed <= 2000 * 10 + 2 * 1000


def test_the_smallest_limit_is_refused_with_429() -> None:
    limits = UserLimits(clock=Clock())
    tiny = replace(ADA, limits=read_limits(5e-324, None, None))
    assert limits.take(tiny, route()) is None
    assert refused(limits, tiny, route()).status == 429
