"""`serve` on an embedded database whose server is killed, or whose disk is full: an outage at worst, nothing lost."""

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
from tests.acceptance.pooled import ask
from tests.acceptance.shell import sitelatch
from tests.acceptance.wire import Answering, connect, until
from tests.database import SYSTEM_BINARIES, UNSAFE
from tests.integration.servers import Disk, disk, ended, keeper_of, postmaster

RECOVERY_SECONDS = 30.0


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Disk]:
    """A disk of its own below the database; to be asked for before `bench`."""
    with disk(tmp_path / "disk", "250m") as full:
        yield full


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A `serve` with its database in the folder `disk`."""
    with serving(
        tmp_path,
        "embedded:disk/postgres",
        Lanes(1),
        activity={"flush_seconds": 0.2, "resolution_seconds": 0.5},
        grants={"ttl_seconds": 1, "stale_seconds": 600},
    ) as bench:
        yield bench


@asynccontextmanager
async def asking(bench: Bench) -> AsyncIterator[tuple[Lane, Counter[tuple[int, str]]]]:
    """Have a known key ask all the time, which always passes."""
    lane = bench.lanes.next(bench.latch, bench.keys)
    lane.upstream.handler = Answering()
    async with lane.upstream:
        answers: Counter[tuple[int, str]] = Counter()

        async def ask_on() -> None:
            async with connect(bench.latch.address) as wire:
                while True:
                    answers[await ask(wire, lane.request("GET", "/sites/shop/x"))] += 1
                    await asyncio.sleep(0.01)

        client = asyncio.create_task(ask_on())
        await until(lambda: answers.total() > 10 or client.done(), "it is asked")
        yield lane, answers
        assert not client.done()
        client.cancel()
        await asyncio.wait({client})
        assert set(answers) == {(200, "")}, answers


async def once(bench: Bench, lane: Lane, user: User) -> tuple[int, str]:
    async with connect(bench.latch.address) as wire:
        return await ask(wire, lane.request("GET", "/sites/shop/x", user=user))


async def served_again(bench: Bench, lane: Lane, cold: User) -> None:
    """Wait until a key that nobody knows is looked up: for that the doors try the database themselves, now and then."""
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
    async with asking(bench) as (lane, _):
        for _ in range(2):
            cold = bench.latch.create_user("acme", "shop")
            os.kill(keeper_of(place), signal.SIGKILL)
            os.kill(postmaster(place), signal.SIGKILL)
            began = time.perf_counter()
            wanted = len(logged(bench, "embedded_server_revived")) + 1
            await until(lambda: len(logged(bench, "embedded_server_revived")) == wanted, "it is revived", 30)  # noqa: B023
            await until(lambda: bench.latch.metric("sitelatch_database_up") == 1, "it is seen", 30)
            print(f"after a kill of server and keeper: {time.perf_counter() - began:.2f} s")  # noqa: T201
            await served_again(bench, lane, cold)
        await until(lambda: bench.latch.metric("sitelatch_activity_pending") == 0, "activity is written")
    bench.latch.signal(signal.SIGKILL)
    bench.latch.wait()
    await until(lambda: ended(place), "the server ends with its last process", 30)


async def test_on_a_full_disk_only_changes_fail_and_say_why(full: Disk, bench: Bench) -> None:
    latch = bench.latch
    made = {user.id for user in vars(bench.keys).values()}
    doomed = latch.create_user("acme", "shop")
    async with asking(bench) as (lane, answers):
        assert await once(bench, lane, doomed) == (200, "")
        full.fill()
        with latch.admin_client() as api:
            made.add(doomed.id)
            # There is room left within the tables' files, until there is none.
            for _ in range(2000):
                answer = await asyncio.to_thread(api.post, "/users", json={"workspace": "acme", "sites": ["shop"]})
                if answer.status_code != 201:
                    break
                made.add(answer.json()["id"])
            assert answer.status_code == 503
            assert answer.json()["detail"] == "The database's disk is full. Nothing was changed."
            # Reading goes on, and a revoke either holds or says that it does not.
            assert names(api) == made
            assert await once(bench, lane, User("", "slk_" + "0" * 38)) == (401, "invalid_key")
            revoked = (await asyncio.to_thread(api.delete, f"/users/{doomed.id}")).status_code == 204
            await asyncio.sleep(1.5)
            assert await once(bench, lane, doomed) == ((401, "invalid_key") if revoked else (200, ""))
            if revoked:
                made.discard(doomed.id)
        # At last the server itself cannot go on: what it has to write down first has no room either.
        await write_until_it_fails(full)
        seen = answers.total()
        await until(lambda: answers.total() > seen + 100, "known keys pass")
        full.free()
        began = time.perf_counter()
        await until(lambda: latch.metric("sitelatch_database_up") == 1, "the database is back", RECOVERY_SECONDS)
        print(f"with room on the disk again: {time.perf_counter() - began:.2f} s")  # noqa: T201 - for the record
        with latch.admin_client() as api:
            assert names(api) == made
        cold = latch.create_user("acme", "shop")
        await served_again(bench, lane, cold)
    await until(lambda: latch.metric("sitelatch_activity_pending") == 0, "activity is written", RECOVERY_SECONDS)
    with latch.admin_client() as api:
        assert api.get(f"/users/{bench.keys.shop.id}").json()["last_activity"] is not None


async def write_until_it_fails(full: Disk) -> None:
    """Write to the log of the server until there is no room for that, which ends it."""
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
def test_every_command_reports_data_of_another_postgresql_version(tmp_path: Path, version: int) -> None:
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
