"""Database outages: no request passes or is refused wrongly, and no activity is lost."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.processes import wait_for
from tests.acceptance.faults import FAULTS, Fault
from tests.acceptance.harness import REPOSITORY, Sitelatch, Table
from tests.acceptance.load import Key
from tests.acceptance.outages import SETTINGS, Campaign, Figures, create_sites_and_keys
from tests.acceptance.own_database import OwnDatabase, own_database
from tests.database import run_aside
from tests.ports import free_port

pytestmark = pytest.mark.faults

ADMIN_EVENTS = (
    "admin_busy",
    "admin_change_refused",
    "admin_database_down",
    "admin_wrong_schema",
)


@dataclass
class Fleet:
    database: OwnDatabase
    first: Sitelatch
    second: Sitelatch
    known: list[Key]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with ExitStack() as stack:
        database = stack.enter_context(own_database(tmp_path_factory.mktemp("database")))
        upstream = free_port()
        serving = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.fast_upstream", str(upstream)], cwd=REPOSITORY
        )
        stack.callback(serving.wait)
        stack.callback(serving.terminate)
        route: Table = {"name": "data", "upstream": f"http://127.0.0.1:{upstream}", "sites": ["path:/sites/{site}/**"]}
        first, second = (
            Sitelatch(tmp_path_factory.mktemp(name), database.url("sitelatch_doors"), [route], **SETTINGS)
            for name in ("first", "second")
        )
        for latch in (first, second):
            latch.tables["admin"] = {**latch.tables["admin"], "database_url": database.url("sitelatch_admin")}
            stack.callback(latch.stop)
        known = run_aside(create_sites_and_keys(database))
        first.start()
        wait_for(upstream)
        yield Fleet(database, first, second, known)


QUICK = (
    "stopped",
    "frozen",
    "cut during queries",
    "read-only",
    "keys locked",
    "sites locked",
    "connections taken",
    "restored gradually",
    "data replaced",
)
WITH_A_SECOND_PROCESS = ("stopped", "frozen")
"""The quick campaigns with a second process. The slow ones all have one."""


def check(campaign: Campaign, figures: Figures, fault: Fault) -> None:
    print(figures)  # noqa: T201 - for the record
    assert not campaign.wrong
    assert not figures.lost
    assert bool(figures.counts["unavailable"]) or not fault.prevents_lookups, "the fault had no effect"
    assert figures.busy < 0.3
    assert figures.grown_kib < 30 * 1024
    # The number of log lines must not depend on the number of requests, except that every failed request to the admin
    # API logs one.
    lines = sum(count for event, count in figures.events.items() if event not in ADMIN_EVENTS)
    assert lines < 20 + 10 * figures.lasted


@pytest.mark.parametrize("name", QUICK)
async def test_in_an_outage_no_request_is_decided_wrongly_and_no_activity_is_lost(
    fleet: Fleet, tmp_path: Path, name: str
) -> None:
    second = fleet.second if name in WITH_A_SECOND_PROCESS else None
    campaign = Campaign(fleet.database, fleet.first, second, fleet.known)
    fault = FAULTS[name](fleet.database, tmp_path)
    check(campaign, await campaign.run(name, fault), fault)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
async def test_twenty_thousand_requests_during_an_outage_are_decided_correctly(
    fleet: Fleet, tmp_path: Path, name: str
) -> None:
    campaign = Campaign(
        fleet.database, fleet.first, fleet.second, fleet.known, rate=2500, requests=20_000, fault_seconds=6
    )
    fault = FAULTS[name](fleet.database, tmp_path)
    check(campaign, await campaign.run(name, fault), fault)
