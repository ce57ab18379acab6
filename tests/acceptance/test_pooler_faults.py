"""Faults of PgBouncer and of the server behind it: cached keys pass, and everything recovers by itself."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from sql.pool import open_connection
from tests.acceptance.harness import Lane, Sitelatch, User, toml
from tests.acceptance.pooled import Pooled, lane, pooled, send_request
from tests.acceptance.shell import sitelatch
from tests.acceptance.wire import connect, until
from tests.pooler import PooledServer, database_name

pytestmark = pytest.mark.faults

RECOVERY_SECONDS = 10.0
POOLER = {
    "default_pool_size": 2,
    # The defaults are 15 and 120 seconds, which is too long for a test.
    "server_login_retry": 1,
    "query_wait_timeout": 5,
}
TABLES: Mapping[str, Any] = {
    "activity": {"flush_seconds": 0.2, "resolution_seconds": 1},
    # Short, so that every key is looked up repeatedly.
    "grants": {"ttl_seconds": 2, "stale_seconds": 600, "lookup_seconds": 1},
    "log": {"access": "refused"},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PooledServer]:
    server = PooledServer(tmp_path_factory.mktemp("pooled") / "postgres")
    yield server
    server.close()


@pytest.fixture(scope="module")
def served(server: PooledServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pooled]:
    with pooled(server, tmp_path_factory.mktemp("faults"), POOLER, **TABLES) as served:
        yield served


class Load:
    """Clients that continuously send requests, each with its own cached key, and record the responses."""

    def __init__(self, served: Pooled, data: Lane) -> None:
        self.users = [served.latch.create_user("acme", "shop") for _ in range(6)]
        self.answers: Counter[tuple[int, str]] = Counter()
        self._served = served
        self._data = data
        self._clients: set[asyncio.Task[None]] = set()
        self._cached = 0

    async def begin(self) -> None:
        """Start, and wait until every key is cached. On a slow machine, the first lookups may time out."""
        self._clients = {asyncio.create_task(self._send_requests(user)) for user in self.users}
        await until(lambda: self._cached == len(self.users) or self._failed, "all keys are cached", 30)
        await self.more()

    async def more(self, count: int = 100) -> None:
        """Wait for this number of further responses."""
        wanted = self.answers.total() + count
        await until(lambda: self.answers.total() >= wanted or self._failed, "answers")

    @property
    def _failed(self) -> bool:
        return any(task.done() for task in self._clients)

    async def end(self) -> None:
        for client in self._clients:
            client.cancel()
        await asyncio.wait(self._clients)
        assert all(client.cancelled() for client in self._clients)

    async def _send_requests(self, user: User) -> None:
        request = self._data.request("GET", "/sites/shop/x", user=user)
        async with connect(self._served.latch.address) as wire:
            while (answer := await send_request(wire, request)) != (200, ""):
                assert answer == (503, "scope_unavailable")
            self._cached += 1
            while True:
                self.answers[await send_request(wire, request)] += 1
                await asyncio.sleep(0.005)


@asynccontextmanager
async def loaded(served: Pooled) -> AsyncIterator[tuple[Load, Lane]]:
    """Run a load whose requests must all pass, and whose activity must all be written in the end."""
    async with lane(served) as data:
        load = Load(served, data)
        await load.begin()
        yield load, data
        await load.more()
        await load.end()
        assert set(load.answers) == {(200, "")}, load.answers
        used = time.time()
        latch = served.latch
        await until(lambda: latch.metric("sitelatch_activity_pending") == 0, "all activity is written", 20)
        direct = await open_connection(served.dsn, role="tests")
        ages = await direct.fetch(
            "SELECT extract(epoch FROM last_used_at)::float8 AS at FROM sitelatch.api_user_activity"
            " WHERE user_id::text = ANY($1)",
            [user.id for user in load.users],
        )
        await direct.close()
        assert [abs(row["at"] - used) < 5 for row in ages] == [True] * len(load.users)
        # Lookups that timed out have released their server connections.
        await until(lambda: idle(served), "all server connections are released")


def idle(served: Pooled) -> bool:
    rows = [row for row in served.pooler.run_command("SHOW POOLS") if row["user"] != "pgbouncer"]
    return all(int(row[what]) == 0 for row in rows for what in ("cl_waiting", "sv_active"))


async def send_on_new_connection(served: Pooled, data: Lane, user: User) -> tuple[int, str]:
    async with connect(served.latch.address) as wire:
        return await send_request(wire, data.request("GET", "/sites/shop/x", user=user))


async def recovered(served: Pooled, data: Lane, cold: User) -> float:
    """Wait until cold keys are looked up and revokes take effect again, and return the seconds that this took."""
    began = time.perf_counter()
    while (answer := await send_on_new_connection(served, data, cold)) != (200, ""):
        assert answer == (503, "scope_unavailable")
        assert time.perf_counter() - began < RECOVERY_SECONDS
        await asyncio.sleep(0.05)
    latch = served.latch
    await until(lambda: latch.metric("sitelatch_feed_up", mode="polling") == 1, "the feed is read")
    await until(lambda: latch.metric("sitelatch_database_up") == 1, "the health check succeeds")
    took = time.perf_counter() - began
    with latch.admin_client() as admin:
        assert admin.delete(f"/users/{cold.id}").status_code == 204
    await asyncio.sleep(latch.metric("sitelatch_revocation_bound_seconds") + 0.5)
    assert await send_on_new_connection(served, data, cold) == (401, "invalid_key")
    return took


async def test_a_killed_pooler_counts_as_an_outage(served: Pooled) -> None:
    cold = served.latch.create_user("acme", "shop")
    async with loaded(served) as (load, data):
        served.pooler.stop(signal.SIGKILL)
        await until(lambda: served.latch.metric("sitelatch_database_up") == 0, "the health check fails")
        assert await send_on_new_connection(served, data, cold) == (503, "scope_unavailable")
        with served.latch.admin_client() as admin:
            assert admin.get("/users").status_code == 503
        await asyncio.sleep(3)
        await load.more()
        served.pooler.start()
        took = await recovered(served, data, cold)
    print(f"after a pooler's restart: {took:.2f} s")  # noqa: T201 - for the record


async def test_a_frozen_pooler_counts_as_an_outage(served: Pooled) -> None:
    cold = served.latch.create_user("acme", "shop")
    async with loaded(served) as (load, data):
        served.pooler.signal(signal.SIGSTOP)
        try:
            assert await send_on_new_connection(served, data, cold) == (503, "scope_unavailable")
            await asyncio.sleep(3)
            await load.more()
        finally:
            served.pooler.signal(signal.SIGCONT)
        await recovered(served, data, cold)


async def test_a_server_restart_behind_the_pooler_counts_as_an_outage(served: Pooled, server: PooledServer) -> None:
    cold = served.latch.create_user("acme", "shop")
    async with loaded(served) as (load, data):
        await asyncio.to_thread(server.stop)
        await until(lambda: served.latch.metric("sitelatch_database_up") == 0, "the health check fails", 20)
        assert await send_on_new_connection(served, data, cold) == (503, "scope_unavailable")
        await asyncio.sleep(3)
        await load.more()
        await asyncio.to_thread(server.start)
        took = await recovered(served, data, cold)
    print(f"after a restart behind the pooler: {took:.2f} s")  # noqa: T201 - for the record


async def test_connections_closed_behind_the_pooler_go_unnoticed(served: Pooled) -> None:
    cold = [served.latch.create_user("acme", "shop") for _ in range(10)]
    direct = await open_connection(served.dsn, role="tests")
    async with loaded(served) as (_, data):
        for user in cold:
            await direct.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'sitelatch_doors' AND datname = current_database()"
            )
            # A query whose connection was closed is retried. If that one is closed too, the key is briefly unavailable.
            assert await send_on_new_connection(served, data, user) in ((200, ""), (503, "scope_unavailable"))
        await recovered(served, data, cold[0])
    await direct.close()


async def test_cached_keys_work_while_the_pool_is_exhausted(served: Pooled) -> None:
    cold = served.latch.create_user("acme", "shop")
    url = served.pooler.dsn("sitelatch_doors", database_name(served.dsn))
    async with loaded(served) as (load, data):
        others: list[asyncpg.Connection] = []
        for _ in range(2):
            others.append(await open_connection(url, role="tests"))
            await others[-1].execute("BEGIN")
        latch = served.latch
        # The feed cannot be read in time, so the bound is worse.
        await until(
            lambda: latch.metric("sitelatch_revocation_bound_seconds") > 1.5, "the metric shows the worse bound"
        )
        assert await send_on_new_connection(served, data, cold) == (503, "scope_unavailable")
        await asyncio.sleep(3)
        await load.more()
        for other in others:
            await other.execute("ROLLBACK")
            await other.close()
        await recovered(served, data, cold)


async def test_a_startup_parameter_rejected_by_the_pooler_is_logged(served: Pooled, tmp_path: Path) -> None:
    name = database_name(served.dsn)
    url = served.pooler.dsn("sitelatch_doors", name) + "?statement_timeout=5000"
    latch = Sitelatch(tmp_path, url, served.lanes.routes())
    latch.launch()
    try:
        latch.wait_for_readiness(503)
        await until(
            lambda: {"database_down", "feed_down"} <= {line["event"] for line in latch.log_lines()},
            "both kinds of connections are rejected",
        )
        reasons = {line["event"]: line["reason"] for line in latch.log_lines() if "reason" in line}
    finally:
        latch.stop()
    for event in ("database_down", "feed_down"):
        assert "unsupported startup parameter: statement_timeout" in reasons[event]
    done = sitelatch("users", "list", "--config", str(latch.config))
    assert done.code == 1
    assert "unsupported startup parameter: statement_timeout" in done.log[0]["reason"]
    with served.server.pooler(ignore_startup_parameters="statement_timeout") as lenient:
        environ = {"SITELATCH_DATABASE__URL": lenient.dsn("sitelatch_admin", name) + "?statement_timeout=5000"}
        assert sitelatch("users", "list", "--config", str(latch.config), environ=environ).code == 0


@pytest.mark.parametrize("words", [("sites", "list"), ("users", "list", "--json"), ("migrate",), ("audit",)])
def test_a_command_reports_the_error_of_a_server_that_then_closes_the_connection(
    served: Pooled, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """The admin console of PgBouncer closes the connection after an error. Closing it must not hide that error."""
    file = tmp_path / "sitelatch.toml"
    route = {"name": "data", "upstream": "http://127.0.0.1:1", "without_site": "any-key"}
    database = {"url": served.pooler.dsn("postgres", "pgbouncer")}
    file.write_text(toml({"proxy": {"routes": [route]}, "database": database}))
    done = sitelatch(*words, "--config", str(file))
    assert (done.code, done.out) == (1, "")
    [line] = done.log
    assert line["event"] == "database_failed"
