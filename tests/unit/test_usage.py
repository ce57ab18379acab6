"""The usage of API users: what is counted, and how it is written."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import structlog

from proxy.decision.api_keys import digest, new_key
from proxy.decision.route_table import RouteTable
from proxy.decision.verdict import Verdict
from proxy.enforcement import Enforcement, Pending
from proxy.grants.cache import GrantCache
from proxy.http.headers import Head
from proxy.observe.metrics import Metrics
from proxy.settings import ActivitySettings, GrantSettings, KeySettings, RouteSettings
from proxy.usage import Usage
from proxy.usage_counts import UsageCounts
from tests.scopes import Clock, MemoryScope, VirtualLoop, until

KEY, EXPIRED_KEY = new_key(), new_key()
ROUTE = RouteSettings(
    name="data", upstream="http://x", sites=("path:/{site}/**",), public=("GET /health",), refuse=("GET /shop/dump",)
)
NOW = 1_800_000_000.0

Counted = dict[str, list[tuple[str, int, int]]]


class Front:
    """An enforcement over a scope table in memory."""

    def __init__(self) -> None:
        self.scope = MemoryScope()
        self.scope.add(digest(KEY.encode()), "ada", "shop")
        self.scope.add(digest(EXPIRED_KEY.encode()), "ada", "shop", expires_at=NOW, several_keys=True)
        metrics = Metrics()
        self.grants = GrantCache(GrantSettings(), self.scope, on_lookup=metrics.lookup)
        self.enforcement = Enforcement(
            RouteTable([ROUTE], KeySettings()),
            self.grants,
            metrics,
            on_use=lambda _: None,
            accept_foreign=False,
            wall_clock=lambda: NOW,
        )

    async def send(self, target: bytes, *keys: str) -> str:
        fields = [(b"X-API-Key", key.encode()) for key in keys]
        verdict = self.enforcement.judge(Head(b"GET", target, [(b"Host", b"h"), *fields]))
        if isinstance(verdict, Pending):
            verdict = await self.enforcement.judge_slowly(verdict, "192.0.2.1")
        assert isinstance(verdict, Verdict)
        return "passed" if verdict.refusal is None else verdict.refusal.code

    @property
    def counted(self) -> Counted:
        return {user: sorted(usage.counts()) for user, usage in self.enforcement.usage.users.items()}


async def test_verdicts_on_known_keys_count_by_outcome() -> None:
    front = Front()
    sent = [
        await front.send(b"/shop/x", KEY),
        await front.send(b"/shop/x", KEY),
        await front.send(b"/blog/x", KEY),
        await front.send(b"/shop/x", EXPIRED_KEY),
        await front.send(b"/shop/dump", KEY),  # refused before its key is checked
    ]
    assert front.counted == {"ada": [(outcome, sent.count(outcome), 0) for outcome in sorted(set(sent))]}
    assert set(sent) == {"passed", "site_not_allowed", "expired_key", "endpoint_refused"}


async def test_requests_without_a_known_key_count_for_nobody() -> None:
    front = Front()
    assert await front.send(b"/health") == "passed"
    assert await front.send(b"/shop/x") == "missing_key"
    assert await front.send(b"/shop/x", new_key()) == "invalid_key"
    assert await front.send(b"/shop/x", "not-a-key") == "invalid_key"
    assert front.counted == {}


async def test_a_refreshed_grant_counts_for_the_same_user() -> None:
    front = Front()
    await front.send(b"/shop/x", KEY)
    front.grants.drop_all()
    await front.send(b"/shop/x", KEY)
    assert front.counted == {"ada": [("passed", 2, 0)]}


class RecordingPool:
    """A pool that stores batches as the database does: once for each number."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.batches: list[tuple[int, float, list[tuple[str, ...]]]] = []
        """The number, age and rows of each batch that arrived."""
        self.down: Exception | None = None
        self.whole = True
        self._open = asyncio.Event()
        self._open.set()
        self.in_flight = 0

    def hold(self) -> None:
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    @property
    def stored(self) -> Counted:
        stored: dict[str, dict[str, tuple[int, int]]] = {}
        for _, _, rows in {batch[0]: batch for batch in self.batches}.values():
            for user, outcome, requests, size in rows:
                before = stored.setdefault(user, {}).get(outcome, (0, 0))
                stored[user][outcome] = (before[0] + int(requests), before[1] + int(size))
        return {user: sorted((outcome, *counts) for outcome, counts in each.items()) for user, each in stored.items()}

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator["RecordingPool"]:  # noqa: ASYNC109
        yield self

    def terminate(self) -> None:
        raise NotImplementedError

    async def execute(self, query: str, /, *args: Any) -> str:
        raise NotImplementedError

    async def fetch(self, query: str, /, *args: Any) -> Sequence[Any]:
        _, sequence, age, *columns = args
        self.in_flight += 1
        try:
            await self._open.wait()
        finally:
            self.in_flight -= 1
        if self.whole:
            self.batches.append((sequence, age, list(zip(*columns, strict=True))))
        if self.down is not None:
            raise self.down
        return [{"whole": self.whole, "day": date(2026, 12, 1), "users": [], "totals": []}]


class Writer:
    """A Usage whose batches are recorded."""

    def __init__(self, **settings: float) -> None:
        self.clock = Clock()
        self.pool = RecordingPool(self.clock)
        self.counts = UsageCounts()
        self.results: list[str] = []
        self.usage = Usage(
            ActivitySettings.model_validate(settings),
            self.pool,
            self.counts,
            on_flush=self.results.append,
            clock=self.clock,
            wall=lambda: NOW + self.clock.now,
        )

    def count(self, *users: str) -> None:
        for user in users:
            self.counts.users[user].passed += 1
            self.counts.users[user].bytes_out += 10


async def test_a_batch_is_sent_again_unchanged_until_its_result_is_known() -> None:
    writer = Writer()
    writer.pool.down = ConnectionResetError("cut")  # after the batch has arrived
    writer.count("ada", "bob")
    assert not await writer.usage.flush()
    writer.clock.now += 10
    writer.count("ada", "cy")
    assert not await writer.usage.flush()
    writer.pool.down = None
    assert await writer.usage.flush()
    first = [("ada", "passed", "1", "10"), ("bob", "passed", "1", "10")]
    assert writer.pool.batches == [
        (1, 0.0, first),
        (1, 10.0, first),
        (1, 10.0, first),
        (2, 0.0, [("ada", "passed", "1", "10"), ("cy", "passed", "1", "10")]),
    ]
    assert writer.results == ["error", "error", "ok", "ok"]


async def test_usage_during_a_write_goes_into_the_next_batch() -> None:
    writer = Writer()
    writer.count("ada")
    writer.pool.hold()
    flush = asyncio.create_task(writer.usage.flush())
    await until(lambda: writer.pool.in_flight == 1)
    writer.count("ada")
    assert writer.usage.pending == 1
    writer.pool.resume()
    assert await flush
    assert writer.usage.pending == 1
    assert await writer.usage.flush()
    assert writer.usage.pending == 0
    assert [(sequence, rows) for sequence, _, rows in writer.pool.batches] == [
        (1, [("ada", "passed", "1", "10")]),
        (2, [("ada", "passed", "1", "10")]),
    ]


async def test_a_canceled_batch_is_sent_again() -> None:
    writer = Writer()
    writer.count("ada")
    writer.pool.hold()
    flush = asyncio.create_task(writer.usage.flush())
    await until(lambda: writer.pool.in_flight == 1)
    flush.cancel()
    await asyncio.wait({flush})
    writer.pool.resume()
    assert await writer.usage.flush()
    assert [sequence for sequence, _, _ in writer.pool.batches] == [1]
    assert writer.pool.stored == {"ada": [("passed", 1, 10)]}


async def test_many_users_are_written_in_several_batches() -> None:
    writer = Writer()
    users = [f"user {number}" for number in range(2345)]
    writer.count(*users)
    assert await writer.usage.flush()
    assert [(sequence, len(rows)) for sequence, _, rows in writer.pool.batches] == [(1, 1000), (2, 1000), (3, 345)]
    assert writer.pool.stored.keys() == set(users)


async def test_a_flush_without_usage_sends_nothing() -> None:
    writer = Writer()
    assert await writer.usage.flush()
    assert writer.pool.batches == []


async def test_a_long_outage_uses_memory_per_user_and_hour() -> None:
    writer = Writer()
    writer.pool.whole = False  # a dump is being restored
    writer.clock.now += 3600 - (NOW + writer.clock.now) % 3600
    for _ in range(1000):  # 2.8 hours
        writer.clock.now += 10
        writer.count("ada", "bob")
        assert not await writer.usage.flush()
    writer.pool.whole = True
    assert await writer.usage.flush()
    # The batch that was tried, and one for each hour.
    assert len(writer.pool.batches) == 4
    assert writer.pool.stored == {user: [("passed", 1000, 10_000)] for user in ("ada", "bob")}


async def test_an_outage_is_logged_once() -> None:
    writer = Writer()
    writer.pool.down = ConnectionRefusedError("refused")
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            writer.count("ada")
            await writer.usage.flush()
        writer.pool.down = None
        await writer.usage.flush()
    assert [line["event"] for line in lines] == ["usage_kept", "usage_written_again"]


async def test_a_stop_logs_usage_that_could_not_be_written() -> None:
    writer = Writer()
    writer.pool.down = ConnectionRefusedError("refused")
    writer.count("ada")
    await writer.usage.flush()
    writer.count("ada", "bob")
    writer.counts.users["bob"].refuse("site_not_allowed", 3)
    with structlog.testing.capture_logs() as lines:
        assert not await writer.usage.drain(0.05)
    assert [line for line in lines if line["event"] == "usage_not_written"] == [
        {
            "event": "usage_not_written",
            "log_level": "critical",
            "pending": {"ada": {"passed": [2, 20]}, "bob": {"site_not_allowed": [3, 0], "passed": [1, 10]}},
        }
    ]
    writer.pool.down = None
    assert await writer.usage.drain(2)


def test_usage_is_written_at_the_configured_interval() -> None:
    async def scenario() -> None:
        writer = Writer(usage_seconds=20)
        running = asyncio.create_task(writer.usage.run())
        writer.count("ada")
        await asyncio.sleep(19)
        assert writer.pool.batches == []
        await asyncio.sleep(2)
        assert len(writer.pool.batches) == 1
        writer.count("bob")
        await asyncio.sleep(20)
        assert len(writer.pool.batches) == 2
        running.cancel()
        await asyncio.wait({running})

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())
