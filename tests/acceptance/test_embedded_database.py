"""`serve` with an embedded database whose server is killed, or whose disk is full."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from sql.embedded import keeper
from sql.embedded.server import EmbeddedServer
from sql.pool import open_connection
from tests.acceptance.harness import Bench, Lane, Lanes, User, serving
from tests.acceptance.pooled import send_request
from tests.acceptance.shell import sitelatch
from tests.acceptance.wire import Answering, connect, until
from tests.database import SYSTEM_BINARIES, UNSAFE
from tests.integration.servers import Disk, disk, ended, keeper_of, postmaster

pytestmark = pytest.mark.faults

RECOVERY_SECONDS = 30.0


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Disk]:
    """A separate disk for the database. A test must request it before `bench`."""
    with disk(tmp_path / "disk", "250m") as full:
        yield full


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A `serve` process with its database in the folder `disk`."""
    with serving(
        tmp_path,
        "embedded:disk/postgres",
        Lanes(1),
        activity={"flush_seconds": 0.2, "resolution_seconds": 0.5},
        grants={"ttl_seconds": 1, "stale_seconds": 600},
    ) as bench:
        yield bench


@asynccontextmanager
async def requesting(bench: Bench) -> AsyncIterator[tuple[Lane, Counter[tuple[int, str]]]]:
    """Send requests with a cached key continuously. All of them must pass."""
    lane = bench.lanes.next(bench.latch, bench.keys)
    lane.upstream.handler = Answering()
    async with lane.upstream:
        answers: Counter[tuple[int, str]] = Counter()

        async def send_requests() -> None:
            async with connect(bench.latch.address) as wire:
                while True:
                    answers[await send_request(wire, lane.request("GET", "/sites/shop/x"))] += 1
                    await asyncio.sleep(0.01)

        client = asyncio.create_task(send_requests())
        await until(lambda: answers.total() > 10 or client.done(), "requests are sent")
        yield lane, answers
        assert not client.done()
        client.cancel()
        await asyncio.wait({client})
        assert set(answers) == {(200, "")}, answers


async def once(bench: Bench, lane: Lane, user: User) -> tuple[int, str]:
    async with connect(bench.latch.address) as wire:
        return await send_request(wire, lane.request("GET", "/sites/shop/x", user=user))


async def wait_for_recovery(bench: Bench, lane: Lane, cold: User) -> None:
    """Wait until a cold key is looked up, which requires that the front door probes the database by itself."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        while (answer := await once(bench, lane, cold)) != (200, ""):
            assert answer == (503, "scope_unavailable")
            await asyncio.sleep(0.02)


def names(api: httpx.Client) -> set[str]:
    """Return the ids of all API users."""
    found, after = set(), None
    while True:
        page = api.get("/users", params={"limit": 200, **({"after": after} if after else {})}).json()
        found |= {user["id"] for user in page["items"]}
        if (after := page["next"]) is None:
            return found


def logged(bench: Bench, event: str) -> list[str]:
    return [line.get("reason", "") for line in bench.latch.log_lines() if line["event"] == event]


async def test_a_killed_embedded_server_is_back_within_seconds(bench: Bench) -> None:
    place = bench.latch.folder / "disk" / "postgres"
    async with requesting(bench) as (lane, _):
        for _ in range(2):
            cold = bench.latch.create_user("acme", "shop")
            os.kill(keeper_of(place), signal.SIGKILL)
            os.kill(postmaster(place), signal.SIGKILL)
            began = time.perf_counter()
            wanted = len(logged(bench, "embedded_server_restarted")) + 1
            await until(
                lambda: len(logged(bench, "embedded_server_restarted")) == wanted,  # noqa: B023
                "the server is restarted",
                30,
            )
            await until(lambda: bench.latch.metric("sitelatch_database_up") == 1, "the health check succeeds", 30)
            print(f"after a kill of server and keeper: {time.perf_counter() - began:.2f} s")  # noqa: T201
            await wait_for_recovery(bench, lane, cold)
        await until(lambda: bench.latch.metric("sitelatch_activity_pending") == 0, "activity is written")
    bench.latch.signal(signal.SIGKILL)
    bench.latch.wait()
    await until(lambda: ended(place), "the server stops with its last process", 30)


async def test_on_a_full_disk_only_changes_fail_and_say_why(full: Disk, bench: Bench) -> None:
    latch = bench.latch
    made = {user.id for user in vars(bench.keys).values()}
    doomed = latch.create_user("acme", "shop")
    async with requesting(bench) as (lane, answers):
        assert await once(bench, lane, doomed) == (200, "")
        full.fill()
        with latch.admin_client() as api:
            made.add(doomed.id)
            # The tables' files have some free space left.
            for _ in range(2000):
                answer = await asyncio.to_thread(api.post, "/users", json={"workspace": "acme", "sites": ["shop"]})
                if answer.status_code != 201:
                    break
                made.add(answer.json()["id"])
            assert answer.status_code == 503
            assert answer.json()["detail"] == "The database's disk is full. Nothing was changed."
            # Reads continue, and a revoke either takes effect or fails.
            assert names(api) == made
            assert await once(bench, lane, User("", "slk_" + "0" * 38)) == (401, "invalid_key")
            revoked = (await asyncio.to_thread(api.delete, f"/users/{doomed.id}")).status_code == 204
            await asyncio.sleep(1.5)
            assert await once(bench, lane, doomed) == ((401, "invalid_key") if revoked else (200, ""))
            if revoked:
                made.discard(doomed.id)
        # In the end the server itself fails, because it cannot write its log.
        await write_until_it_fails(full)
        seen = answers.total()
        await until(lambda: answers.total() > seen + 100, "cached keys pass")
        full.free()
        began = time.perf_counter()
        await until(lambda: latch.metric("sitelatch_database_up") == 1, "the database is back", RECOVERY_SECONDS)
        print(f"with space on the disk again: {time.perf_counter() - began:.2f} s")  # noqa: T201 - for the record
        with latch.admin_client() as api:
            assert names(api) == made
        cold = latch.create_user("acme", "shop")
        await wait_for_recovery(bench, lane, cold)
    await until(lambda: latch.metric("sitelatch_activity_pending") == 0, "activity is written", RECOVERY_SECONDS)
    with latch.admin_client() as api:
        assert api.get(f"/users/{bench.keys.shop.id}").json()["last_activity"] is not None


async def write_until_it_fails(full: Disk) -> None:
    """Write to the server's log until there is no space left, which crashes the server."""
    place = full.folder / "postgres"
    found = keeper.read_postmaster(place)
    assert found is not None
    dsn = f"postgresql://postgres@/postgres?host={found.socket_folder}&port=5432"
    connection = await open_connection(dsn, role="tests")
    try:
        for _ in range(1000):
            await connection.execute("SELECT pg_logical_emit_message(false, 'tests', repeat('x', 1000000))")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return
    finally:
        connection.terminate()
    raise AssertionError("the disk was not full")


@pytest.mark.parametrize("version", sorted(SYSTEM_BINARIES) or [16])
def test_every_command_reports_data_from_another_postgresql_version(tmp_path: Path, version: int) -> None:
    home = tmp_path / "postgres"
    if version in SYSTEM_BINARIES:
        EmbeddedServer.open(home, UNSAFE, SYSTEM_BINARIES[version]).close()
    else:
        (home / "data").mkdir(parents=True)
        (home / "data" / "PG_VERSION").write_text(f"{version}\n")
    config = tmp_path / "sitelatch.toml"
    config.write_text(
        '[[proxy.routes]]\nname = "data"\nupstream = "http://127.0.0.1:1"\nsites = ["query:site"]\n'
        '[database]\nurl = "embedded:postgres"\n'
    )
    for words in (("serve",), ("migrate",), ("users", "list")):
        done = sitelatch(*words, "--config", str(config))
        assert (done.code, done.out) == (1, "")
        assert f"created by PostgreSQL {version}" in done.log[-1]["reason"]
