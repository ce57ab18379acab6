"""Last activity and usage when the process ends: by a kill, and by a stop while the database is down."""

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from bench.processes import wait_for
from tests.acceptance.harness import REPOSITORY, Sitelatch, Table
from tests.acceptance.load import Client, Key, KeyLog, Load, client_of, send_and_check
from tests.acceptance.outages import CLOCK_SECONDS, create_sites_and_keys
from tests.acceptance.own_database import OwnDatabase, own_database
from tests.acceptance.wire import until
from tests.database import run_aside
from tests.ports import free_port

pytestmark = pytest.mark.faults

FLUSH_SECONDS, RESOLUTION_SECONDS = 0.5, 1.0
SLACK_SECONDS = 0.5
"""Allowance for the write itself, and for a loaded machine."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnDatabase]:
    with own_database(tmp_path_factory.mktemp("database")) as database:
        yield database


@pytest.fixture(scope="module")
def known(database: OwnDatabase) -> list[Key]:
    return run_aside(create_sites_and_keys(database, 0))


@pytest.fixture
def drain() -> Table:
    """The `[drain]` table of the config."""
    return {"timeout_seconds": 1}


@pytest.fixture
def latch(tmp_path: Path, database: OwnDatabase, drain: Table) -> Iterator[Sitelatch]:
    with contextlib.ExitStack() as stack:
        upstream = free_port()
        serving = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.fast_upstream", str(upstream)], cwd=REPOSITORY
        )
        stack.callback(serving.wait)
        stack.callback(serving.terminate)
        route: Table = {"name": "data", "upstream": f"http://127.0.0.1:{upstream}", "sites": ["path:/sites/{site}/**"]}
        latch = Sitelatch(
            tmp_path,
            database.url("sitelatch_doors"),
            [route],
            log={"access": "off"},
            activity={"flush_seconds": FLUSH_SECONDS, "resolution_seconds": RESOLUTION_SECONDS},
            drain=drain,
        )
        stack.callback(latch.stop)
        latch.start()
        wait_for(upstream)
        # When the feed starts, grants that were cached before are dropped, and an outage would refuse their keys.
        run_aside(until(lambda: latch.metric("sitelatch_feed_up") == 1, "the feed is read"))
        yield latch


async def last_uses(database: OwnDatabase) -> dict[str, float]:
    async with database.superuser() as connection:
        rows = await connection.fetch(
            "SELECT user_id::text, extract(epoch FROM last_used_at)::float8 AS used FROM sitelatch.api_user_activity"
        )
    return {row["user_id"]: row["used"] or 0.0 for row in rows}


async def kill_under_load(latch: Sitelatch, database: OwnDatabase, known: list[Key], seconds: float) -> float:
    """Kill the process during requests. Return the age of the oldest lost use in seconds."""
    for key in known:
        key.uses.clear()
    async with Load(latch.address, KeyLog(known), rate=1500):
        await asyncio.sleep(seconds)
        latch.signal(signal.SIGKILL)
        killed = time.time()
        await asyncio.to_thread(latch.wait)
    written = await last_uses(database)
    lost = [
        killed - use for key in known for use in key.uses if use < killed and use > written[key.user_id] + CLOCK_SECONDS
    ]
    return max(lost, default=0.0)


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
async def test_a_kill_loses_no_activity_older_than_documented(
    latch: Sitelatch, database: OwnDatabase, known: list[Key], times: int
) -> None:
    oldest = []
    for _ in range(times):
        oldest.append(await kill_under_load(latch, database, known, random.uniform(1.2, 2.5)))
        latch.start()
    print(f"lost by kill -9: {[round(age, 2) for age in sorted(oldest)]} s old at most")  # noqa: T201 - for the report
    assert max(oldest) <= max(FLUSH_SECONDS, RESOLUTION_SECONDS) + SLACK_SECONDS


@contextlib.asynccontextmanager
async def outage(database: OwnDatabase, how: str) -> AsyncIterator[None]:
    if how == "stopped":
        await asyncio.to_thread(database.stop)
    else:
        database.freeze()
    try:
        yield
    finally:
        if how == "stopped":
            await asyncio.to_thread(database.start)
        else:
            database.thaw()


async def use_all(latch: Sitelatch, known: list[Key]) -> tuple[Client, KeyLog]:
    """Use every key once, forgetting earlier uses. Return the client, and the record of what it was answered."""
    key_log = KeyLog(known)
    client = await client_of(latch.address)
    for key in known:
        key.uses.clear()
        await send_and_check(client, key_log, key, "shop")
    return client, key_log


@pytest.mark.parametrize("how", ["stopped", "frozen", "frozen, and a write in progress"])
async def test_a_stop_during_an_outage_logs_unwritten_activity_and_exits_with_1(
    latch: Sitelatch, database: OwnDatabase, known: list[Key], how: str
) -> None:
    client, key_log = await use_all(latch, known)
    async with outage(database, how):
        for key in known[:20]:
            await send_and_check(client, key_log, key, "shop")
        if how.endswith("in progress"):
            await asyncio.sleep(FLUSH_SECONDS + 0.1)
        latch.signal()
        began = time.monotonic()
        assert await asyncio.to_thread(latch.wait, 20) == 1
        took = time.monotonic() - began
    client.close()
    assert took < 2 + 2, "2 s for the last write, and the rest of the stop"
    (line,) = [line for line in latch.log_lines() if line["event"] == "activity_not_written"]
    (usage,) = [line for line in latch.log_lines() if line["event"] == "usage_not_written"]
    assert usage["pending"].keys() >= {key.user_id for key in known[:20]}
    logged = {user: datetime.fromisoformat(at).timestamp() for user, at in line["pending"].items()}
    written = await last_uses(database)
    for key in known:
        assert max(logged.get(key.user_id, 0.0), written[key.user_id]) >= key.uses[-1] - CLOCK_SECONDS
    assert logged.keys() >= {key.user_id for key in known[:20]}
    assert not key_log.wrong


@pytest.mark.parametrize("drain", [{"timeout_seconds": 60}], ids=["a long drain"])
@pytest.mark.parametrize("how", ["stopped", "frozen"])
async def test_a_stop_during_an_outage_that_ends_within_the_drain_writes_all_activity(
    latch: Sitelatch, database: OwnDatabase, known: list[Key], how: str
) -> None:
    client, key_log = await use_all(latch, known)
    async with outage(database, how):
        for key in known[:20]:
            await send_and_check(client, key_log, key, "shop")
        latch.signal()
        # Longer than the 2 s that every stop waits for a write.
        with pytest.raises(subprocess.TimeoutExpired):
            await asyncio.to_thread(latch.wait, 3)
    assert await asyncio.to_thread(latch.wait, 60) == 0
    client.close()
    written = await last_uses(database)
    assert all(written[key.user_id] >= key.uses[-1] - CLOCK_SECONDS for key in known)
    assert not [line for line in latch.log_lines() if line["event"].endswith("_not_written")]


@pytest.mark.parametrize("drain", [{"timeout_seconds": 60}], ids=["a long drain"])
async def test_a_second_signal_ends_the_wait_for_the_database(
    latch: Sitelatch, database: OwnDatabase, known: list[Key]
) -> None:
    key_log = KeyLog(known)
    client = await client_of(latch.address)
    await send_and_check(client, key_log, known[0], "shop")
    async with outage(database, "stopped"):
        await send_and_check(client, key_log, known[0], "shop")
        latch.signal()
        await until(lambda: latch.ready() == 503, "the stop has begun", 20)
        latch.signal()
        assert await asyncio.to_thread(latch.wait, 20) == 1
    client.close()
    lines = [line for line in latch.log_lines() if line["event"] == "activity_not_written"]
    assert [line["pending"].keys() for line in lines] == [{known[0].user_id}]
