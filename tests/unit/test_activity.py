"""When uses are due, and what happens to them when they cannot be written."""

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
    """Stands where the pool does, and keeps what is written: (when, {user: time of last use}) a statement."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.statements: list[tuple[float, dict[str, float]]] = []
        self.down: Exception | None = None
        self.held: set[str] = set()
        """Users whose rows another transaction holds, so that they are not written."""
        self.whole = True
        self.on_its_way = 0
        self._open = asyncio.Event()
        self._open.set()

    def hold(self) -> None:
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    def last_uses(self) -> dict[str, float]:
        """What the database would say."""
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
        self.on_its_way += 1
        try:
            await self._open.wait()
        finally:
            self.on_its_way -= 1
        if self.down is not None:
            raise self.down
        if not self.whole:
            return [{"whole": False, "held": []}]
        uses = {user: sent_at - float(age) for user, age in zip(users, ages, strict=True)}
        self.statements.append((sent_at, {user: at for user, at in uses.items() if user not in self.held}))
        return [{"whole": True, "held": [user for user in users if user in self.held]}]


class Desk:
    """Activity whose writes are watched."""

    def __init__(self, **settings: float) -> None:
        self.clock = Clock()
        self.written = Written(self.clock)
        self.heard: list[str] = []
        self.activity = Activity(
            ActivitySettings.model_validate({"flush_seconds": 5, "resolution_seconds": 60} | settings),
            self.written,
            on_flush=lambda result, seconds: self.heard.append(result),
            clock=self.clock,
            wall=lambda: self.clock.now + 1_700_000_000,
        )

    async def pass_time(self, seconds: float) -> None:
        """Let time pass as `run` does: with a tick every five seconds."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now += 5
            await self.activity.flush()


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_a_first_use_is_written_at_the_next_tick_with_its_own_time(desk: Desk) -> None:
    desk.activity.touch("ada")
    desk.clock.now += 3
    await desk.activity.flush()
    assert desk.written.statements == [(1003.0, {"ada": 1000.0})]
    assert desk.activity.pending == 0
    assert desk.heard == ["ok"]


async def test_all_due_users_are_written_in_one_statement(desk: Desk) -> None:
    for number in range(1000):
        desk.activity.touch(f"user-{number}")
    await desk.activity.flush()
    assert [len(uses) for _, uses in desk.written.statements] == [1000]


async def test_a_crowd_is_written_in_a_few_statements(desk: Desk) -> None:
    for number in range(25_000):
        desk.activity.touch(f"user-{number}")
    await desk.activity.flush()
    assert [len(uses) for _, uses in desk.written.statements] == [10_000, 10_000, 5_000]
    assert desk.activity.pending == 0


async def test_nothing_is_written_without_uses(desk: Desk) -> None:
    await desk.activity.flush()
    await desk.activity.flush(everything=True)
    assert desk.written.statements == []
    assert desk.heard == []


async def test_a_busy_user_is_written_once_per_resolution(desk: Desk) -> None:
    for _ in range(600):
        desk.activity.touch("ada")
        await desk.pass_time(5)
    assert [when for when, _ in desk.written.statements] == [1005.0 + 60 * number for number in range(50)]


async def test_the_last_use_is_written_when_the_throttle_ends(desk: Desk) -> None:
    desk.activity.touch("ada")
    await desk.activity.flush()
    desk.clock.now += 3
    desk.activity.touch("ada")
    await desk.pass_time(55)
    assert desk.written.last_uses() == {"ada": 1000.0}
    assert desk.activity.pending == 1
    await desk.pass_time(5)
    assert desk.written.last_uses() == {"ada": 1003.0}
    await desk.pass_time(600)
    assert len(desk.written.statements) == 2
    assert desk.activity.pending == 0


async def test_a_use_during_a_write_is_written_too(desk: Desk) -> None:
    desk.written.hold()
    desk.activity.touch("ada")
    flushing = asyncio.create_task(desk.activity.flush())
    await until(lambda: desk.written.on_its_way == 1)
    desk.clock.now += 1
    desk.activity.touch("ada")
    desk.activity.touch("bob")
    assert desk.activity.pending == 2
    desk.written.let_go()
    assert await flushing
    assert desk.activity.pending <= 2
    await desk.pass_time(65)
    assert desk.written.last_uses() == {"ada": 1001.0, "bob": 1001.0}


async def test_without_a_resolution_every_tick_writes(desk: Desk) -> None:
    desk = Desk(resolution_seconds=0)
    for _ in range(10):
        desk.activity.touch("ada")
        await desk.pass_time(5)
    assert len(desk.written.statements) == 10


async def test_without_a_resolution_a_flush_ends_while_uses_continue(desk: Desk) -> None:
    class Busy(Written):
        async def fetch(self, query: str, /, *args: Any) -> Sequence[Any]:
            rows = await super().fetch(query, *args)
            if len(self.statements) < 10:
                activity.touch("ada")
            return rows

    busy = Busy(desk.clock)
    activity = Activity(ActivitySettings(resolution_seconds=0), busy, clock=desk.clock)
    activity.touch("ada")
    assert await activity.flush()
    assert len(busy.statements) == 1
    assert activity.pending == 1
    assert await activity.drain()
    assert activity.pending == 0


async def test_ages_are_computed_when_the_statement_is_sent(desk: Desk) -> None:
    class Slow(Written):
        @asynccontextmanager
        async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[Written]:  # noqa: ASYNC109
            self.clock.now += 4
            yield self

    slow = Slow(desk.clock)
    activity = Activity(ActivitySettings(), slow, clock=desk.clock)
    activity.touch("ada")
    await activity.flush()
    assert slow.statements == [(1004.0, {"ada": 1000.0})]


# Another transaction holds somebody's row.


async def test_a_locked_row_is_written_at_the_next_flush_with_its_latest_use(desk: Desk) -> None:
    desk.written.held = {"ada"}
    for user in ("ada", "bob"):
        desk.activity.touch(user)
    assert not await desk.activity.flush()
    desk.clock.now += 1
    desk.activity.touch("ada")
    assert desk.written.last_uses() == {"bob": 1000.0}
    assert desk.activity.pending == 1
    desk.clock.now += 4
    assert not await desk.activity.flush()
    desk.written.held = set()
    desk.clock.now += 5
    assert await desk.activity.flush()
    assert desk.written.last_uses() == {"ada": 1001.0, "bob": 1000.0}
    assert desk.activity.pending == 0


async def test_users_are_throttled_from_when_they_were_written(desk: Desk) -> None:
    desk.written.held = {"ada"}
    for user in ("ada", "bob"):
        desk.activity.touch(user)
    await desk.activity.flush()
    desk.written.held = set()
    await desk.pass_time(10)
    for user in ("ada", "bob"):
        desk.activity.touch(user)
    await desk.pass_time(600)
    assert [statement for statement in desk.written.statements if statement[1]] == [
        (1000.0, {"bob": 1000.0}),
        (1005.0, {"ada": 1000.0}),
        (1060.0, {"bob": 1010.0}),
        (1065.0, {"ada": 1010.0}),
    ]


async def test_uses_of_locked_rows_are_logged_if_the_drain_fails(desk: Desk) -> None:
    desk.written.held = {"ada", "bob"}
    for user in ("ada", "bob"):
        desk.activity.touch(user)
    assert not await desk.activity.flush()
    desk.clock.now += 1
    desk.activity.touch("ada")
    with structlog.testing.capture_logs() as lines:
        desk.activity._log_pending()
    assert lines[0]["pending"] == {"ada": "2023-11-14T22:30:01.000+00:00", "bob": "2023-11-14T22:30:00.000+00:00"}


# The database is away.


async def test_a_failed_write_keeps_the_later_use(desk: Desk) -> None:
    desk.written.down = ConnectionRefusedError("refused")
    desk.activity.touch("ada")
    desk.activity.touch("bob")
    assert not await desk.activity.flush()
    desk.clock.now += 5
    desk.activity.touch("ada")
    assert not await desk.activity.flush()
    assert desk.activity.pending == 2
    desk.written.down = None
    assert await desk.activity.flush()
    assert desk.written.last_uses() == {"ada": 1005.0, "bob": 1000.0}
    assert desk.heard == ["error", "error", "ok"]


async def test_a_use_after_a_failed_write_replaces_the_kept_one(desk: Desk) -> None:
    desk.written.down = ConnectionRefusedError("refused")
    desk.activity.touch("ada")
    assert not await desk.activity.flush()
    desk.clock.now += 5
    desk.activity.touch("ada")
    desk.written.down = None
    assert await desk.activity.flush()
    assert desk.written.last_uses() == {"ada": 1005.0}
    assert desk.activity.pending == 0


async def test_uses_during_a_restore_are_kept_until_it_is_complete(desk: Desk) -> None:
    desk.written.whole = False
    desk.activity.touch("ada")
    assert not await desk.activity.flush()
    assert desk.activity.pending == 1
    desk.written.whole = True
    assert await desk.activity.flush()
    assert desk.written.last_uses() == {"ada": 1000.0}


async def test_an_outage_is_logged_in_two_lines(desk: Desk) -> None:
    desk.activity.touch("ada")
    with structlog.testing.capture_logs() as lines:
        assert await desk.activity.flush()
        desk.clock.now += 60
        desk.activity.touch("ada")
        for _ in range(2):
            for failure in (ConnectionRefusedError("refused"), TimeoutError(), ZeroDivisionError()):
                desk.written.down = failure
                assert not await desk.activity.flush()
            desk.written.down = None
            assert await desk.activity.flush()
            desk.clock.now += 60
            desk.activity.touch("ada")
    assert [line["event"] for line in lines] == ["activity_kept", "activity_written_again"] * 2


@pytest.mark.parametrize("resolution_seconds", [60, 0])
async def test_a_use_during_a_failing_write_replaces_the_kept_one(resolution_seconds: float) -> None:
    desk = Desk(resolution_seconds=resolution_seconds)
    desk.written.hold()
    desk.activity.touch("ada")
    flushing = asyncio.create_task(desk.activity.flush())
    await until(lambda: desk.written.on_its_way == 1)
    desk.clock.now += 1
    desk.activity.touch("ada")
    desk.written.down = ConnectionResetError("reset")
    desk.written.let_go()
    assert not await flushing
    desk.written.down = None
    await desk.activity.flush()
    assert desk.written.last_uses() == {"ada": 1001.0}
    assert desk.activity.pending == 0


async def test_a_canceled_write_loses_nothing(desk: Desk) -> None:
    desk.written.hold()
    desk.activity.touch("ada")
    flushing = asyncio.create_task(desk.activity.flush())
    await until(lambda: desk.written.on_its_way == 1)
    desk.activity.touch("bob")
    flushing.cancel()
    await asyncio.wait({flushing})
    desk.written.let_go()
    assert await desk.activity.flush()
    assert desk.written.last_uses().keys() == {"ada", "bob"}


async def test_a_long_outage_takes_memory_per_user_not_per_use(desk: Desk) -> None:
    desk.written.down = ConnectionRefusedError("refused")
    for _ in range(200):
        for number in range(10):
            desk.activity.touch(f"user-{number}")
        await desk.pass_time(5)
    assert desk.activity.pending == 10


async def test_an_unexpected_error_keeps_due_uses(desk: Desk) -> None:
    desk.written.down = ZeroDivisionError()
    desk.activity.touch("ada")
    assert not await desk.activity.flush()
    assert desk.activity.pending == 1


# The loop.


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
    heard: list[str] = []
    activity = Activity(
        ActivitySettings(flush_seconds=0.01), written, on_flush=lambda result, seconds: heard.append(result)
    )
    activity.touch("ada")
    running = asyncio.create_task(activity.run())
    await until(lambda: len(heard) >= 2)
    written.down = None
    await until(lambda: len(written.statements) == 1)
    running.cancel()
    await asyncio.wait({running})


# The end.


async def test_a_drain_writes_due_and_deferred_uses(desk: Desk) -> None:
    desk.activity.touch("ada")
    await desk.activity.flush()
    desk.clock.now += 3
    desk.activity.touch("ada")
    desk.activity.touch("bob")
    assert await desk.activity.drain()
    assert desk.written.last_uses() == {"ada": 1003.0, "bob": 1003.0}


async def test_uses_during_a_drain_are_written(desk: Desk) -> None:
    desk.written.hold()
    desk.activity.touch("ada")
    draining = asyncio.create_task(desk.activity.drain())
    await until(lambda: desk.written.on_its_way == 1)
    desk.activity.touch("bob")
    desk.written.let_go()
    assert await draining
    desk.clock.now += 1
    desk.activity.touch("ada")
    await until(lambda: desk.activity.pending == 0)
    assert desk.written.last_uses() == {"ada": 1001.0, "bob": 1000.0}


async def test_while_stopping_each_use_is_written_immediately(desk: Desk) -> None:
    desk.activity.write_through()
    for number in range(3):
        desk.clock.now += 1
        desk.activity.touch("ada")
        await until(lambda number=number: desk.written.last_uses() == {"ada": 1001.0 + number})  # type: ignore[misc]
    desk.written.hold()
    desk.activity.touch("bob")
    await until(lambda: desk.written.on_its_way == 1)
    writer = desk.activity._writer
    desk.activity.touch("bob")
    desk.activity.touch("cy")
    assert desk.activity._writer is writer, "one writes for all"
    desk.written.let_go()
    await until(lambda: desk.activity.pending == 0)
    assert desk.written.last_uses().keys() == {"ada", "bob", "cy"}


async def test_while_stopping_without_a_database_each_use_tries_once(desk: Desk) -> None:
    desk.written.down = ConnectionRefusedError("refused")
    desk.activity.write_through()
    for tries in (1, 2):
        desk.activity.touch("ada")
        await until(lambda tries=tries: len(desk.heard) == tries)  # type: ignore[misc]
        for _ in range(10):
            await asyncio.sleep(0)
    assert desk.heard == ["error", "error"]
    assert desk.activity.pending == 1


async def test_a_drain_retries_until_its_deadline(desk: Desk) -> None:
    desk.written.down = ConnectionResetError("cut")
    desk.activity.touch("ada")
    draining = asyncio.create_task(desk.activity.drain())
    await until(lambda: desk.heard == ["error"])
    desk.written.down = None
    assert await draining
    assert desk.written.last_uses() == {"ada": 1000.0}


async def test_a_failed_drain_logs_the_pending_uses(desk: Desk) -> None:
    desk.activity.touch("ada")
    await desk.activity.flush()
    desk.clock.now += 3.25
    desk.activity.touch("ada")
    desk.activity.touch("bob")
    desk.written.down = ConnectionRefusedError("refused")
    with structlog.testing.capture_logs() as lines:
        assert not await desk.activity.drain()
    left = [line for line in lines if line["event"] == "activity_not_written"]
    assert left == [
        {
            "event": "activity_not_written",
            "log_level": "error",
            "pending": {"ada": "2023-11-14T22:30:03.250+00:00", "bob": "2023-11-14T22:30:03.250+00:00"},
        }
    ]
    # Should the process live on, nothing is lost.
    desk.written.down = None
    assert await desk.activity.drain()
    assert desk.written.last_uses() == {"ada": 1003.25, "bob": 1003.25}
