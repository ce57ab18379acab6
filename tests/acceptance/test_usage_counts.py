"""The usage in the database is what clients counted: exactly despite outages, and within a bound despite kills."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bench.processes import wait_for
from tests.acceptance.harness import REPOSITORY, Sitelatch, Table
from tests.acceptance.load import Client, Key, client_of
from tests.acceptance.losing_relay import LosingRelay, losing_relay
from tests.acceptance.outages import create_sites_and_keys
from tests.acceptance.own_database import OwnDatabase, own_database
from tests.acceptance.wire import until
from tests.database import run_aside
from tests.ports import free_port

pytestmark = pytest.mark.faults

KEYS, REQUESTS, LOST_ANSWERS = 50, 100_000, 6
CLIENTS = 8
"""For each process."""

USAGE_SECONDS = 0.5
SLACK_SECONDS = 0.5
"""Allowance for the write itself, and for a loaded machine."""

Counts = Counter[tuple[str, str]]
"""Requests by API user and outcome, and bytes by API user and `bytes`."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnDatabase]:
    with own_database(tmp_path_factory.mktemp("database")) as database:
        yield database


@pytest.fixture(scope="module")
def known(database: OwnDatabase) -> list[Key]:
    return run_aside(create_sites_and_keys(database, 0))[:KEYS]


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    port = free_port()
    serving = subprocess.Popen([sys.executable, "-m", "tests.acceptance.fast_upstream", str(port)], cwd=REPOSITORY)
    try:
        wait_for(port)
        yield port
    finally:
        serving.terminate()
        serving.wait()


def latch_of(folder: Path, database_url: str, upstream: int) -> Sitelatch:
    folder.mkdir()
    route: Table = {"name": "data", "upstream": f"http://127.0.0.1:{upstream}", "sites": ["path:/sites/{site}/**"]}
    activity = {"usage_seconds": USAGE_SECONDS}
    return Sitelatch(folder, database_url, [route], log={"access": "off"}, activity=activity)


async def recorded(database: OwnDatabase) -> Counts:
    """Return what the database has counted, as the clients count it."""
    counts: Counts = Counter()
    async with database.superuser() as connection:
        for row in await connection.fetch(
            "SELECT user_id::text, outcome, sum(hour.requests)::bigint AS requests, sum(hour.bytes)::bigint AS bytes"
            " FROM sitelatch.usage_hours AS hours, unnest(requests, bytes_out) AS hour (requests, bytes)"
            " GROUP BY user_id, outcome"
        ):
            counts[row["user_id"], row["outcome"]] += row["requests"]
            if row["bytes"]:
                counts[row["user_id"], "bytes"] += row["bytes"]
    return counts


async def send(client: Client, key: Key, site: str, counts: Counts) -> None:
    """Send one request and count its answer."""
    answer = await client.send(key.request(site))
    if answer.status == 200:
        counts[key.user_id, "passed"] += 1
        counts[key.user_id, "bytes"] += len(answer.body)
    else:
        counts[key.user_id, json.loads(answer.body)["code"]] += 1


class Load:
    """Clients that send requests to several processes and count the answers, until `stop`."""

    def __init__(self, latches: Sequence[Sitelatch], known: Sequence[Key]) -> None:
        self.counts: Counts = Counter()
        self.requests = 0
        self._known = known
        self._stopping = False
        self._clients = [asyncio.create_task(self._run(latch)) for latch in latches for _ in range(CLIENTS)]

    async def _run(self, latch: Sitelatch) -> None:
        client = await client_of(latch.address)
        while not self._stopping:
            self.requests += 1
            # Every eighth request names a site of another workspace.
            site = "wiki" if self.requests % 8 == 0 else "shop"
            await send(client, self._known[self.requests % len(self._known)], site, self.counts)
        client.close()

    async def reach(self, requests: int) -> None:
        """Wait until this number of requests were sent."""
        await until(lambda: self.requests >= requests, f"{requests} requests are sent", 120)

    async def stop(self) -> None:
        """Wait for the last answers."""
        self._stopping = True
        await asyncio.gather(*self._clients)


async def lose_answers(relay: LosingRelay) -> None:
    relay.to_lose = LOST_ANSWERS // 2
    await until(lambda: relay.to_lose == 0, "answers are lost")


async def test_usage_is_exact_over_a_restart_of_the_database_and_lost_answers(
    tmp_path: Path, database: OwnDatabase, known: list[Key], upstream: int
) -> None:
    async with losing_relay(database.port) as relay, contextlib.AsyncExitStack() as stack:
        url = database.url("sitelatch_doors", port=relay.port)
        latches = [latch_of(tmp_path / name, url, upstream) for name in ("first", "second")]
        for latch in latches:
            stack.callback(latch.stop)
            await asyncio.to_thread(latch.start)
            # When the feed starts, grants that were cached before are dropped, and an outage would refuse their keys.
            await until(lambda latch=latch: latch.metric("sitelatch_feed_up") == 1, "the feed is read")  # type: ignore[misc]
        began = time.monotonic()
        load = Load(latches, known)
        await load.reach(REQUESTS // 5)  # every grant is cached
        await lose_answers(relay)
        await asyncio.to_thread(database.stop)
        await asyncio.sleep(2 * USAGE_SECONDS)
        await asyncio.to_thread(database.start)
        await lose_answers(relay)
        await load.reach(REQUESTS)
        await load.stop()
        took = time.monotonic() - began
        for latch in latches:
            latch.signal()
        assert [await asyncio.to_thread(latch.wait, 30) for latch in latches] == [0, 0]
        print(f"{load.requests} requests in {took:.0f} s, {relay.lost} lost answers")  # noqa: T201 - for the record
        assert relay.lost == LOST_ANSWERS
        assert {outcome for _, outcome in load.counts} == {"passed", "bytes", "site_not_allowed"}
        assert await recorded(database) == load.counts


async def test_a_kill_loses_no_usage_older_than_documented(
    tmp_path: Path, database: OwnDatabase, known: list[Key], upstream: int
) -> None:
    before = await recorded(database)
    latch = latch_of(tmp_path / "killed", database.url("sitelatch_doors"), upstream)
    answered: list[float] = []

    async def send_until_killed() -> None:
        client = await client_of(latch.address)
        with contextlib.suppress(ConnectionError):
            while True:
                await client.send(known[0].request("shop"))
                answered.append(time.monotonic())

    try:
        await asyncio.to_thread(latch.start)
        loads = [asyncio.create_task(send_until_killed()) for _ in range(CLIENTS)]
        await asyncio.sleep(3.3 * USAGE_SECONDS)
        latch.signal(signal.SIGKILL)
        killed = time.monotonic()
        await asyncio.gather(*loads)
    finally:
        latch.stop()
    written = (await recorded(database) - before)[known[0].user_id, "passed"]
    oldest = killed - sorted(answered)[written] if written < len(answered) else 0.0
    print(f"{len(answered)} answered, {written} written; the oldest lost was {oldest:.2f} s old")  # noqa: T201
    assert 0 < written <= len(answered) + CLIENTS
    assert oldest <= USAGE_SECONDS + SLACK_SECONDS
