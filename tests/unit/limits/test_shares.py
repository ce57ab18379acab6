"""How processes divide a limit, and how many requests they pass together."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.decision.grant import Grant
from proxy.decision.limits import Limits, Rate
from proxy.decision.routes import Route
from proxy.limits.shares import share
from proxy.limits.user_limits import UserLimits
from proxy.settings import KeySettings, RouteSettings
from tests.scopes import Clock

ROUTE = Route(RouteSettings.model_validate({"name": "data", "upstream": "http://x"}), KeySettings())
RATES = st.floats(0.001, 1e6)


@given(RATES, st.lists(RATES, min_size=1, max_size=20))
def test_the_shares_of_all_processes_add_up_to_one(limit: float, demands: list[float]) -> None:
    total = math.fsum(demands)
    shares = [share(limit, mine, total - mine, len(demands)) for mine in demands]
    assert math.fsum(shares) == pytest.approx(1)
    assert all(0 < each <= 1 for each in shares)


@given(RATES, st.lists(RATES, min_size=1, max_size=20))
def test_a_demand_within_the_limit_passes_everywhere(limit: float, demands: list[float]) -> None:
    total = math.fsum(demands)
    for mine in demands:
        allowed = share(limit, mine, total - mine, len(demands)) * limit
        assert allowed >= min(mine, mine * limit / total) * (1 - 1e-9)


class Fleet:
    """Several processes in one program, with one API user whose limit they divide, and a clock."""

    def __init__(self, processes: int, limit: Rate) -> None:
        self.clock = Clock()
        self.limit = limit
        self.processes = [UserLimits(clock=self.clock) for _ in range(processes)]
        self.grant = replace(Grant("ada", "acme", False, frozenset()), limits=Limits(limit))
        self.reported: list[dict[str, float]] = [{} for _ in range(processes)]
        self.database_up = True
        self._times = random.Random(7)

    def report(self, number: int) -> None:
        mine = self.processes[number].measure()
        if not self.database_up:
            return
        self.reported[number] = mine
        others = {
            party: sum(theirs.get(party, 0) for place, theirs in enumerate(self.reported) if place != number)
            for party in mine
        }
        self.processes[number].divide(others, len(self.processes))

    def passed(self, rates: list[float], seconds: int, *, evenly: bool = False) -> int:
        """Send requests at these rates, one for each process. Return how many pass."""
        passed = 0
        for _ in range(seconds):
            events: list[tuple[float, int, bool]] = []
            for number, rate in enumerate(rates):
                count = round(rate) if evenly else self._poisson(rate)
                events += [(k / count if evenly else self._times.random(), number, True) for k in range(count)]
                events.append((number / len(rates), number, False))
            began = self.clock.now
            for at, number, is_request in sorted(events):
                self.clock.now = began + at
                if not is_request:
                    self.report(number)
                else:
                    passed += self.processes[number].take(self.grant, ROUTE) is None
            self.clock.now = began + 1
        return passed

    def drain(self, number: int) -> int:
        """Send requests to a process until one is refused. Return how many pass."""
        passed = 0
        while self.processes[number].take(self.grant, ROUTE) is None:
            passed += 1
        return passed

    def touch(self, number: int, user_id: str) -> None:
        """Send a request of another API user to a process."""
        self.processes[number].take(replace(self.grant, user_id=user_id), ROUTE)

    def _poisson(self, mean: float) -> int:
        count, at = 0, self._times.expovariate(1)
        while at < mean:
            count, at = count + 1, at + self._times.expovariate(1)
        return count


UNEVEN = [0.6, 0.25, 0.1, 0.05]


@pytest.mark.parametrize("times", [1, 2, 10])
@pytest.mark.parametrize("loads", [UNEVEN, [1.0, 0.0, 0.0, 0.0], [0.25] * 4, [0.97, 0.01, 0.01, 0.01]])
def test_after_five_seconds_the_passed_rate_is_the_limit_for_uneven_load(times: int, loads: list[float]) -> None:
    fleet = Fleet(4, Rate(200, 200))
    rates = [200 * times * load for load in loads]
    fleet.passed(rates, 5)
    assert fleet.passed(rates, 20) / 20 == pytest.approx(200, rel=0.05)


@pytest.mark.parametrize("times", [1, 2, 10])
def test_in_one_process_the_passed_rate_is_the_limit(times: int) -> None:
    fleet = Fleet(1, Rate(200, 200))
    fleet.passed([200 * times], 2)
    assert fleet.passed([200 * times], 20, evenly=True) / 20 == pytest.approx(200, rel=0.01)


@pytest.mark.parametrize("times", [2, 10])
def test_the_shares_follow_a_load_that_moves_to_another_process_within_five_seconds(times: int) -> None:
    fleet = Fleet(4, Rate(200, 200))
    rates = [200 * times * load for load in UNEVEN]
    fleet.passed(rates, 10)
    rates.reverse()
    assert fleet.passed(rates, 5) / 5 <= 200 * 1.2, "the limit holds meanwhile, except for tokens that were left"
    assert fleet.passed(rates, 10) / 10 == pytest.approx(200, rel=0.05)


def test_a_load_below_the_limit_passes_wherever_it_goes() -> None:
    fleet = Fleet(4, Rate(200, 200))
    fleet.passed([40, 0, 0, 0], 10, evenly=True)
    for number in range(4):
        rates = [40.0 * (place == number) for place in range(4)]
        assert fleet.passed(rates, 10, evenly=True) == 400


def test_processes_that_start_at_the_same_time_pass_at_most_their_number_times_the_limit_in_the_first_second() -> None:
    fleet = Fleet(4, Rate(200, 200))
    first = fleet.passed([1000] * 4, 1)
    assert first <= 4 * (200 + 200)
    fleet.passed([1000] * 4, 3)
    assert fleet.passed([1000] * 4, 5) / 5 == pytest.approx(200, rel=0.05)


def test_a_user_who_is_new_in_all_processes_passes_little_more_than_twice_the_limit_in_the_first_second() -> None:
    fleet = Fleet(4, Rate(200, 200))
    fleet.passed([1] * 4, 3)
    fleet.grant = replace(fleet.grant, user_id="bob")
    assert fleet.passed([1000] * 4, 1) <= 200 + 200 * (1 + 1 / 2 + 1 / 3 + 1 / 4)
    assert fleet.passed([1000] * 4, 4) <= 5 * 200


def test_without_the_database_the_last_shares_hold() -> None:
    fleet = Fleet(4, Rate(200, 200))
    rates = [1000 * load for load in UNEVEN]
    fleet.passed(rates, 10)
    fleet.database_up = False
    assert fleet.passed(rates, 60) / 60 == pytest.approx(200, rel=0.05)
    rates.reverse()
    moved = fleet.passed(rates, 60) / 60
    assert 50 < moved < 200, "the shares do not follow the load any more"
    fleet.grant = replace(fleet.grant, user_id="bob")
    assert fleet.passed(rates, 60) / 60 <= 200 + 200 / 60, "each process gives an unknown user its equal part"
    fleet.database_up = True
    fleet.passed(rates, 5)
    assert fleet.passed(rates, 20) / 20 == pytest.approx(200, rel=0.05)


def test_without_the_database_a_load_that_moves_to_processes_without_a_share_passes_at_most_twice_the_limit() -> None:
    fleet = Fleet(4, Rate(200, 200))
    fleet.passed([1000, 0, 0, 0], 10)
    fleet.database_up = False
    assert 200 < fleet.passed([1000] * 4, 60) / 60 <= 2 * 200


def test_a_slow_limit_holds_over_processes() -> None:
    fleet = Fleet(4, Rate(0.1, 1))
    assert fleet.passed([0.5, 0.2, 0.1, 0.1], 3600) == pytest.approx(360, rel=0.1)


def test_an_idle_user_begins_again_with_an_equal_part() -> None:
    fleet = Fleet(4, Rate(200, 200))
    fleet.passed([1000, 1, 1, 1], 10)
    fleet.passed([0, 0, 0, 0], 20)
    assert fleet.passed([0, 50, 0, 0], 1, evenly=True) == 50


@pytest.mark.parametrize(
    ("processes", "limit", "period", "seconds"),
    [(4, Rate(10, 1000), 100, 2000), (16, Rate(10, 1000), 100, 2000), (8, Rate(10, 100), 15, 600)],
)
def test_buckets_that_are_emptied_now_and_then_let_no_more_pass_than_the_limit(
    processes: int, limit: Rate, period: int, seconds: int
) -> None:
    fleet = Fleet(processes, limit)
    passed = 0
    for second in range(seconds):
        passed += fleet.passed([30.0] + [0.0] * (processes - 1), 1, evenly=True)
        if second % period == period - 1:
            passed += sum(fleet.drain(number) for number in range(1, processes))
    assert passed <= limit.burst + limit.per_second * seconds * 1.05


def test_a_bucket_that_is_forgotten_and_made_again_gives_no_tokens() -> None:
    fleet = Fleet(4, Rate(10, 1000))
    passed = 0
    for second in range(1300):
        passed += fleet.passed([30.0, 0, 0, 0], 1, evenly=True)
        if second % 130 == 129:
            passed += fleet.drain(1)
            fleet.touch(1, "bob")  # buckets are forgotten when another API user gets one
    assert passed <= 1000 + 10 * 1300 * 1.05


def test_a_process_whose_part_others_used_gets_an_equal_part_in_an_outage() -> None:
    fleet = Fleet(4, Rate(200, 200))
    fleet.passed([1000, 1, 1, 1], 10)
    fleet.passed([1000, 0, 0, 0], 30)
    fleet.database_up = False
    fleet.passed([1000, 0, 0, 0], 2)
    assert fleet.passed([0, 1000, 0, 0], 10) / 10 == pytest.approx(50, rel=0.1)
