"""Limits that several processes divide through PostgreSQL, with a clock that the test moves."""

import asyncio
import itertools

import asyncpg
import pytest
from structlog.testing import capture_logs

from proxy.decision.grant import Grant
from proxy.decision.limits import Limits, Rate
from proxy.decision.routes import Route
from proxy.limits.demand_reports import DemandReports
from proxy.limits.user_limits import UserLimits
from proxy.settings import KeySettings, RouteSettings
from sql.queries import query
from tests.scopes import Clock

ROUTE = Route(RouteSettings.model_validate({"name": "data", "upstream": "http://x"}), KeySettings())
LIMIT = Rate(200, 200)
ADA = Grant("ada", "acme", False, frozenset(), limits=Limits(LIMIT))


class Process:
    """What one process has of the limits, and its reports."""

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        self.limits = UserLimits(clock=clock)
        self.reports = DemandReports(self.limits, pool, clock=clock)

    def passed(self, requests: int) -> int:
        return sum(self.limits.take(ADA, ROUTE) is None for _ in range(requests))


async def passed(processes: list[Process], clock: Clock, rates: list[int], seconds: int) -> int:
    """Send requests at these rates, evenly spaced, and let each process report every second. Return how many pass."""
    count = 0
    for _, tick in itertools.product(range(seconds), range(20)):
        clock.now += 0.05
        for process, rate in zip(processes, rates, strict=True):
            count += process.passed(rate // 20)
        if tick % 5 == 0:
            assert await processes[tick // 5].reports.report()
    return count


@pytest.mark.parametrize("times", [1, 2, 10])
async def test_four_processes_with_uneven_load_pass_the_limit_after_five_seconds(
    pool: asyncpg.Pool, times: int
) -> None:
    clock = Clock()
    processes = [Process(pool, clock) for _ in range(4)]
    rates = [times * rate for rate in (120, 40, 20, 20)]
    await passed(processes, clock, rates, 5)
    assert await passed(processes, clock, rates, 5) / 5 == pytest.approx(200, rel=0.1)


async def test_processes_that_do_not_report_any_more_are_forgotten(pool: asyncpg.Pool) -> None:
    clock = Clock()
    first, second = Process(pool, clock), Process(pool, clock)
    for process in (first, second, first):
        process.passed(100)
        clock.now += 1
        await process.reports.report()
    [row] = await pool.fetch(query("report_demand"), "00000000-0000-4000-8000-000000000000", ["ada", "bob"], ["1", "2"])
    assert row["processes"] == 3
    ada, bob = map(float, row["others"])
    assert (ada > 100, bob) == (True, 0)
    await pool.execute("UPDATE sitelatch.rate_demand SET reported_at = reported_at - interval '4 seconds'")
    await first.reports.report()
    clock.now += 1000
    assert first.passed(1000) == 200, "the whole limit"
    await pool.execute("UPDATE sitelatch.rate_demand SET reported_at = reported_at - interval '2 minutes'")
    await first.reports.report()
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.rate_demand") == 1


async def test_reports_at_the_same_time_do_not_wait_for_each_other(pool: asyncpg.Pool) -> None:
    clock = Clock()
    processes = [Process(pool, clock) for _ in range(8)]
    for _ in range(3):
        clock.now += 1
        assert all(await asyncio.gather(*(process.reports.report() for process in processes)))


async def test_an_outage_keeps_the_shares_and_is_logged_once(pool: asyncpg.Pool) -> None:
    clock = Clock()
    processes = [Process(pool, clock) for _ in range(2)]
    await passed_by_two(processes, clock, 10)
    first = processes[0].reports
    await pool.execute("ALTER TABLE sitelatch.rate_demand RENAME TO moved")
    with capture_logs() as logs:
        for _ in range(3):
            clock.now += 1
            assert not await first.report()
        assert first.age_seconds == pytest.approx(3, abs=0.1)
        await pool.execute("ALTER TABLE sitelatch.moved RENAME TO rate_demand")
        assert await first.report()
    assert [log["event"] for log in logs] == ["limits_not_shared", "limits_shared_again"]
    assert first.age_seconds == 0


async def passed_by_two(processes: list[Process], clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.now += 1
        for process in processes:
            process.passed(300)
            await process.reports.report()
