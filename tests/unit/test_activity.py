"""When uses are written, and what happens to them when they cannot be."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from proxy.activity import Activity
from proxy.settings import ActivitySettings
from tests.scopes import Clock, VirtualLoop, until


class Written:
    """A pool that records statements as (when, {user: time of the last use})."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.statements: list[tuple[float, dict[str, float]]] = []
        self.down: Exception | None = None
        self.locked: set[str] = set()
        """Users whose rows are locked by another transaction, so that they are not written."""
        self.whole = True
        self.in_flight = 0
        self._open = asyncio.Event()
        self._open.set()

    def hold(self) -> None:
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    def last_uses(self) -> dict[str, float]:
        """Return the last uses as the database would have them."""
        uses: dict[str, float] = {}
        for _, statement in self.statements:
            for user, used_at in statement.items():
                uses[user] = max(used_at, uses.get(user, used_at))
        return uses

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator["Written"]:  # noqa: ASYNC109
        yield self

    def terminate(self) -> None:
        raise NotImplementedError

    async def execute(self, query: str, /, *args: Any) -> str:
        raise NotImplementedError

    async def fetch(self, query: str, /, *args: Any) -> Sequence[Any]:
        users, ages = args
        sent_at = self.clock.now
        self.in_flight += 1
        try:
            await self._open.wait()
        finally:
            self.in_flight -= 1
        if self.down is not None:
            raise self.down
        if not self.whole:
            return [{"whole": False, "held": []}]
        uses = {user: sent_at - float(age) for user, age in zip(users, ages, strict=True)}
        self.statements.append((sent_at, {user: at for user, at in uses.items() if user not in self.locked}))
        return [{"whole": True, "held": [user for user in users if user in self.locked]}]


class Recorder:
    """An Activity whose writes are recorded."""

    def __init__(self, **settings: float) -> None:
        self.clock = Clock()
        self.written = Written(self.clock)
        self.results: list[str] = []
        self.activity = Activity(
            ActivitySettings.model_validate({"flush_seconds": 5, "resolution_seconds": 60} | settings),
            self.written,
            on_flush=lambda result, seconds: self.results.append(result),
            clock=self.clock,
            wall=lambda: self.clock.now + 1_700_000_000,
        )

    async def pass_time(self, seconds: float) -> None:
        """Advance the clock as `run` would, with a tick every five seconds."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now += 5
            await self.activity.flush()


@pytest.fixture
async def recorder() -> Recorder:
    return Recorder()


async def test_a_first_use_is_written_at_the_next_tick_with_its_own_time(recorder: Recorder) -> None:
    recorder.activity.touch("ada")
    recorder.clock.now += 3
    await recorder.activity.flush()
    assert recorder.written.statements == [(1003.0, {"ada": 1000.0})]
    assert recorder.activity.pending == 0
    assert recorder.results == ["ok"]


async def test_all_due_users_are_written_in_one_statement(recorder: Recorder) -> None:
    for number in range(1000):
        recorder.activity.touch(f"user-{number}")
    await recorder.activity.flush()
    assert [len(uses) for _, uses in recorder.written.statements] == [1000]


async def test_a_crowd_is_written_in_a_few_statements(recorder: Recorder) -> None:
    for number in range(25_000):
        recorder.activity.touch(f"user-{number}")
    await recorder.activity.flush()
    assert [len(uses) for _, uses in recorder.written.statements] == [10_000, 10_000, 5_000]
    assert recorder.activity.pending == 0


async def test_nothing_is_written_without_uses(recorder: Recorder) -> None:
    await recorder.activity.flush()
    await recorder.activity.flush(everything=True)
    assert recorder.written.statements == []
    assert recorder.results == []


async def test_a_busy_user_is_written_once_per_resolution(recorder: Recorder) -> None:
    for _ in range(600):
        recorder.activity.touch("ada")
        await recorder.pass_time(5)
    assert [when for when, _ in recorder.written.statements] == [1005.0 + 60 * number for number in range(50)]


async def test_the_last_use_is_written_when_the_throttle_ends(recorder: Recorder) -> None:
    recorder.activity.touch("ada")
    await recorder.activity.flush()
    recorder.clock.now += 3
    recorder.activity.touch("ada")
    await recorder.pass_time(55)
    assert recorder.written.last_uses() == {"ada": 1000.0}
    assert recorder.activity.pending == 1
    await recorder.pass_time(5)
    assert recorder.written.last_uses() == {"ada": 1003.0}
    await recorder.pass_time(600)
    assert len(recorder.written.statements) == 2
    assert recorder.activity.pending == 0


async def test_a_use_during_a_write_is_written_too(recorder: Recorder) -> None:
    recorder.written.hold()
    recorder.activity.touch("ada")
    flushing = asyncio.create_task(recorder.activity.flush())
    await until(lambda: recorder.written.in_flight == 1)
    recorder.clock.now += 1
    recorder.activity.touch("ada")
    recorder.activity.touch("bob")
    assert recorder.activity.pending == 2
    recorder.written.let_go()
    assert await flushing
    assert recorder.activity.pending <= 2
    await recorder.pass_time(65)
    assert recorder.written.last_uses() == {"ada": 1001.0, "bob": 1001.0}


async def test_without_a_resolution_every_tick_writes(recorder: Recorder) -> None:
    recorder = Recorder(resolution_seconds=0)
    for _ in range(10):
        recorder.activity.touch("ada")
        await recorder.pass_time(5)
    assert len(recorder.written.statements) == 10


async def test_without_a_resolution_a_flush_ends_while_uses_continue(recorder: Recorder) -> None:
    class Busy(Written):
        async def fetch(self, query: str, /, *args: Any) -> Sequence[Any]:
            rows = await super().fetch(query, *args)
            if len(self.statements) < 10:
                activity.touch("ada")
            return rows

    busy = Busy(recorder.clock)
    activity = Activity(ActivitySettings(resolution_seconds=0), busy, clock=recorder.clock)
    activity.touch("ada")
    assert await activity.flush()
    assert len(busy.statements) == 1
    assert activity.pending == 1
    assert await activity.drain()
    assert activity.pending == 0


async def test_ages_are_computed_when_the_statement_is_sent(recorder: Recorder) -> None:
    class Slow(Written):
        @asynccontextmanager
        async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[Written]:  # noqa: ASYNC109
            self.clock.now += 4
            yield self

    slow = Slow(recorder.clock)
    activity = Activity(ActivitySettings(), slow, clock=recorder.clock)
    activity.touch("ada")
    await activity.flush()
    assert slow.statements == [(1004.0, {"ada": 1000.0})]


# Another transaction has locked a row.


async def test_a_locked_row_is_written_at_the_next_flush_with_its_latest_use(recorder: Recorder) -> None:
    recorder.written.locked = {"ada"}
    for user in ("ada", "bob"):
        recorder.activity.touch(user)
    assert not await recorder.activity.flush()
    recorder.clock.now += 1
    recorder.activity.touch("ada")
    assert recorder.written.last_uses() == {"bob": 1000.0}
    assert recorder.activity.pending == 1
    recorder.clock.now += 4
    assert not await recorder.activity.flush()
    recorder.written.locked = set()
    recorder.clock.now += 5
    assert await recorder.activity.flush()
    assert recorder.written.last_uses() == {"ada": 1001.0, "bob": 1000.0}
    assert recorder.activity.pending == 0


async def test_users_are_throttled_from_when_they_were_written(recorder: Recorder) -> None:
    recorder.written.locked = {"ada"}
    for user in ("ada", "bob"):
        recorder.activity.touch(user)
    await recorder.activity.flush()
    recorder.written.locked = set()
    await recorder.pass_time(10)
    for user in ("ada", "bob"):
        recorder.activity.touch(user)
    await recorder.pass_time(600)
    assert [statement for statement in recorder.written.statements if statement[1]] == [
        (1000.0, {"bob": 1000.0}),
        (1005.0, {"ada": 1000.0}),
        (1060.0, {"bob": 1010.0}),
        (1065.0, {"ada": 1010.0}),
    ]


def test_uses_of_locked_rows_are_logged_if_the_drain_fails() -> None:
    async def play() -> None:
        recorder = Recorder()
        recorder.written.locked = {"ada", "bob"}
        for user in ("ada", "bob"):
            recorder.activity.touch(user)
        assert not await recorder.activity.flush()
        recorder.clock.now += 1
        recorder.activity.touch("ada")
        assert not await recorder.activity.drain()

    with structlog.testing.capture_logs() as lines, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())
    assert lines[0]["pending"] == {"ada": "2023-11-14T22:30:01.000+00:00", "bob": "2023-11-14T22:30:00.000+00:00"}


# The database is down.


async def test_a_failed_write_keeps_the_later_use(recorder: Recorder) -> None:
    recorder.written.down = ConnectionRefusedError("refused")
    recorder.activity.touch("ada")
    recorder.activity.touch("bob")
    assert not await recorder.activity.flush()
    recorder.clock.now += 5
    recorder.activity.touch("ada")
    assert not await recorder.activity.flush()
    assert recorder.activity.pending == 2
    recorder.written.down = None
    assert await recorder.activity.flush()
    assert recorder.written.last_uses() == {"ada": 1005.0, "bob": 1000.0}
    assert recorder.results == ["error", "error", "ok"]


async def test_a_use_after_a_failed_write_replaces_the_kept_one(recorder: Recorder) -> None:
    recorder.written.down = ConnectionRefusedError("refused")
    recorder.activity.touch("ada")
    assert not await recorder.activity.flush()
    recorder.clock.now += 5
    recorder.activity.touch("ada")
    recorder.written.down = None
    assert await recorder.activity.flush()
    assert recorder.written.last_uses() == {"ada": 1005.0}
    assert recorder.activity.pending == 0


async def test_uses_during_a_restore_are_kept_until_it_is_complete(recorder: Recorder) -> None:
    recorder.written.whole = False
    recorder.activity.touch("ada")
    assert not await recorder.activity.flush()
    assert recorder.activity.pending == 1
    recorder.written.whole = True
    assert await recorder.activity.flush()
    assert recorder.written.last_uses() == {"ada": 1000.0}


async def test_an_outage_is_logged_in_two_lines(recorder: Recorder) -> None:
    recorder.activity.touch("ada")
    with structlog.testing.capture_logs() as lines:
        assert await recorder.activity.flush()
        recorder.clock.now += 60
        recorder.activity.touch("ada")
        for _ in range(2):
            for failure in (ConnectionRefusedError("refused"), TimeoutError(), ZeroDivisionError()):
                recorder.written.down = failure
                assert not await recorder.activity.flush()
            recorder.written.down = None
            assert await recorder.activity.flush()
            recorder.clock.now += 60
            recorder.activity.touch("ada")
    assert [line["event"] for line in lines] == ["activity_kept", "activity_written_again"] * 2


@pytest.mark.parametrize("resolution_seconds", [60, 0])
async def test_a_use_during_a_failing_write_replaces_the_kept_one(resolution_seconds: float) -> None:
    recorder = Recorder(resolution_seconds=resolution_seconds)
    recorder.written.hold()
    recorder.activity.touch("ada")
    flushing = asyncio.create_task(recorder.activity.flush())
    await until(lambda: recorder.written.in_flight == 1)
    recorder.clock.now += 1
    recorder.activity.touch("ada")
    recorder.written.down = ConnectionResetError("reset")
    recorder.written.let_go()
    assert not await flushing
    recorder.written.down = None
    await recorder.activity.flush()
    assert recorder.written.last_uses() == {"ada": 1001.0}
    assert recorder.activity.pending == 0


async def test_a_canceled_write_loses_nothing(recorder: Recorder) -> None:
    recorder.written.hold()
    recorder.activity.touch("ada")
    flushing = asyncio.create_task(recorder.activity.flush())
    await until(lambda: recorder.written.in_flight == 1)
    recorder.activity.touch("bob")
    flushing.cancel()
    await asyncio.wait({flushing})
    recorder.written.let_go()
    assert await recorder.activity.flush()
    assert recorder.written.last_uses().keys() == {"ada", "bob"}


async def test_a_long_outage_takes_memory_per_user_not_per_use(recorder: Recorder) -> None:
    recorder.written.down = ConnectionRefusedError("refused")
    for _ in range(200):
        for number in range(10):
            recorder.activity.touch(f"user-{number}")
        await recorder.pass_time(5)
    assert recorder.activity.pending == 10


async def test_an_unexpected_error_keeps_due_uses(recorder: Recorder) -> None:
    recorder.written.down = ZeroDivisionError()
    recorder.activity.touch("ada")
    assert not await recorder.activity.flush()
    assert recorder.activity.pending == 1


# The background loop.


async def test_the_loop_writes_at_ticks_and_when_throttles_end() -> None:
    clock = Clock()
    written = Written(clock)
    activity = Activity(ActivitySettings(flush_seconds=0.02, resolution_seconds=0.1), written)
    running = asyncio.create_task(activity.run())
    activity.touch("ada")
    await until(lambda: len(written.statements) == 1)
    activity.touch("ada")
    await until(lambda: len(written.statements) == 2)
    assert activity.pending == 0
    running.cancel()
    await asyncio.wait({running})


def test_between_ticks_the_loop_writes_only_when_a_throttle_ends() -> None:
    class LoopClock(Clock):
        @property
        def now(self) -> float:
            return asyncio.get_running_loop().time()

        @now.setter
        def now(self, seconds: float) -> None:
            pass

    async def play() -> None:
        clock = LoopClock()
        written = Written(clock)
        activity = Activity(ActivitySettings(flush_seconds=5, resolution_seconds=61), written, clock=clock)
        running = asyncio.create_task(activity.run())
        activity.touch("ada")
        await asyncio.sleep(12)
        activity.touch("ada")
        activity.touch("bob")
        await asyncio.sleep(200)
        running.cancel()
        await asyncio.wait({running})
        assert written.statements == [
            (1005.0, {"ada": 1000.0}),
            (1015.0, {"bob": 1012.0}),
            (1066.0, {"ada": 1012.0}),
        ]

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(play())


async def test_the_loop_survives_an_outage() -> None:
    written = Written(Clock())
    written.down = ConnectionRefusedError("refused")
    results: list[str] = []
    activity = Activity(
        ActivitySettings(flush_seconds=0.01), written, on_flush=lambda result, seconds: results.append(result)
    )
    activity.touch("ada")
    running = asyncio.create_task(activity.run())
    await until(lambda: len(results) >= 2)
    written.down = None
    await until(lambda: len(written.statements) == 1)
    running.cancel()
    await asyncio.wait({running})


# Stopping.


async def test_a_drain_writes_due_and_deferred_uses(recorder: Recorder) -> None:
    recorder.activity.touch("ada")
    await recorder.activity.flush()
    recorder.clock.now += 3
    recorder.activity.touch("ada")
    recorder.activity.touch("bob")
    assert await recorder.activity.drain()
    assert recorder.written.last_uses() == {"ada": 1003.0, "bob": 1003.0}


async def test_uses_during_a_drain_are_written(recorder: Recorder) -> None:
    recorder.written.hold()
    recorder.activity.touch("ada")
    draining = asyncio.create_task(recorder.activity.drain())
    await until(lambda: recorder.written.in_flight == 1)
    recorder.activity.touch("bob")
    recorder.written.let_go()
    assert await draining
    recorder.clock.now += 1
    recorder.activity.touch("ada")
    await until(lambda: recorder.activity.pending == 0)
    assert recorder.written.last_uses() == {"ada": 1001.0, "bob": 1000.0}


async def test_while_stopping_each_use_is_written_immediately(recorder: Recorder) -> None:
    recorder.activity.write_through()
    for number in range(3):
        recorder.clock.now += 1
        recorder.activity.touch("ada")
        expected = {"ada": 1001.0 + number}
        await until(lambda expected=expected: recorder.written.last_uses() == expected)  # type: ignore[misc]
    recorder.written.hold()
    recorder.activity.touch("bob")
    await until(lambda: recorder.written.in_flight == 1)
    tasks = asyncio.all_tasks()
    recorder.activity.touch("bob")
    recorder.activity.touch("cy")
    assert asyncio.all_tasks() == tasks, "one task writes all of them"
    recorder.written.let_go()
    await until(lambda: recorder.activity.pending == 0)
    assert recorder.written.last_uses().keys() == {"ada", "bob", "cy"}


async def test_while_stopping_without_a_database_each_use_tries_once(recorder: Recorder) -> None:
    recorder.written.down = ConnectionRefusedError("refused")
    recorder.activity.write_through()
    for tries in (1, 2):
        recorder.activity.touch("ada")
        await until(lambda tries=tries: len(recorder.results) == tries)  # type: ignore[misc]
        for _ in range(10):
            await asyncio.sleep(0)
    assert recorder.results == ["error", "error"]
    assert recorder.activity.pending == 1


async def test_a_drain_retries_until_its_deadline(recorder: Recorder) -> None:
    recorder.written.down = ConnectionResetError("cut")
    recorder.activity.touch("ada")
    draining = asyncio.create_task(recorder.activity.drain())
    await until(lambda: recorder.results == ["error"])
    recorder.written.down = None
    assert await draining
    assert recorder.written.last_uses() == {"ada": 1000.0}


async def test_a_failed_drain_logs_the_pending_uses(recorder: Recorder) -> None:
    recorder.activity.touch("ada")
    await recorder.activity.flush()
    recorder.clock.now += 3.25
    recorder.activity.touch("ada")
    recorder.activity.touch("bob")
    recorder.written.down = ConnectionRefusedError("refused")
    with structlog.testing.capture_logs() as lines:
        assert not await recorder.activity.drain()
    left = [line for line in lines if line["event"] == "activity_not_written"]
    assert left == [
        {
            "event": "activity_not_written",
            "log_level": "error",
            "pending": {"ada": "2023-11-14T22:30:03.250+00:00", "bob": "2023-11-14T22:30:03.250+00:00"},
        }
    ]
    # If the process continues, nothing is lost.
    recorder.written.down = None
    assert await recorder.activity.drain()
    assert recorder.written.last_uses() == {"ada": 1003.25, "bob": 1003.25}
