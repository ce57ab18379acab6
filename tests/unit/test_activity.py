"""The times at which uses are written, and the handling of uses that cannot be written."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from proxy.activity import Activity
from proxy.settings import ActivitySettings
from tests.scopes import Clock, VirtualLoop, until
from tests.unit.activity_recorder import Recorder, RecordingPool, recorder

__all__ = ["recorder"]


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


async def test_many_users_are_written_in_a_few_statements_that_grow_while_they_are_fast(recorder: Recorder) -> None:
    for number in range(40_000):
        recorder.activity.touch(f"user-{number}")
    await recorder.activity.flush()
    sizes = [len(uses) for _, uses in recorder.written.statements]
    assert sizes == [1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 5_000]
    assert recorder.activity.pending == 0


@pytest.mark.parametrize("too_slow", [TimeoutError(), asyncpg.QueryCanceledError("statement timeout")])
async def test_a_statement_that_timed_out_is_split(recorder: Recorder, too_slow: Exception) -> None:
    users = {f"user-{number}" for number in range(1_500)}
    for user in users:
        recorder.activity.touch(user)
    recorder.written.down = too_slow
    assert not await recorder.activity.flush()
    recorder.written.down = None
    assert await recorder.activity.flush()
    assert [len(uses) for _, uses in recorder.written.statements] == [100, 200, 400, 800]
    assert recorder.written.last_uses().keys() == users


async def test_statements_shrink_while_they_are_slow(recorder: Recorder) -> None:
    for number in range(1_750):
        recorder.activity.touch(f"user-{number}")
    recorder.written.seconds = 3
    assert await recorder.activity.flush()
    assert [len(uses) for _, uses in recorder.written.statements] == [1_000, 500, 250]


async def test_nothing_is_written_if_there_are_no_uses(recorder: Recorder) -> None:
    await recorder.activity.flush()
    await recorder.activity.flush(everything=True)
    assert recorder.written.statements == []
    assert recorder.results == []


async def test_a_busy_user_is_written_once_per_resolution_interval(recorder: Recorder) -> None:
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
    recorder.written.resume()
    assert await flushing
    assert recorder.activity.pending <= 2
    await recorder.pass_time(65)
    assert recorder.written.last_uses() == {"ada": 1001.0, "bob": 1001.0}


async def test_with_a_resolution_of_zero_every_tick_writes(recorder: Recorder) -> None:
    recorder = Recorder(resolution_seconds=0)
    for _ in range(10):
        recorder.activity.touch("ada")
        await recorder.pass_time(5)
    assert len(recorder.written.statements) == 10


async def test_with_a_resolution_of_zero_a_flush_ends_while_uses_continue(recorder: Recorder) -> None:
    class Busy(RecordingPool):
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
    assert await activity.drain(2)
    assert activity.pending == 0


async def test_ages_are_computed_when_the_statement_is_sent(recorder: Recorder) -> None:
    class Slow(RecordingPool):
        @asynccontextmanager
        async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[RecordingPool]:  # noqa: ASYNC109
            self.clock.now += 4
            yield self

    slow = Slow(recorder.clock)
    activity = Activity(ActivitySettings(), slow, clock=recorder.clock)
    activity.touch("ada")
    await activity.flush()
    assert slow.statements == [(1004.0, {"ada": 1000.0})]


# The background loop.


async def test_the_loop_writes_at_ticks_and_when_throttles_end() -> None:
    clock = Clock()
    written = RecordingPool(clock)
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

    async def scenario() -> None:
        clock = LoopClock()
        written = RecordingPool(clock)
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
        runner.run(scenario())


async def test_the_loop_survives_an_outage() -> None:
    written = RecordingPool(Clock())
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
