"""Last activity when rows are locked, or the database is down."""

import asyncio

import pytest
import structlog

from tests.scopes import VirtualLoop, until
from tests.unit.activity_recorder import Recorder, recorder

__all__ = ["recorder"]


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


async def test_activity_writes_are_throttled_per_user_from_its_last_write(recorder: Recorder) -> None:
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
    async def scenario() -> None:
        recorder = Recorder()
        recorder.written.locked = {"ada", "bob"}
        for user in ("ada", "bob"):
            recorder.activity.touch(user)
        assert not await recorder.activity.flush()
        recorder.clock.now += 1
        recorder.activity.touch("ada")
        assert not await recorder.activity.drain(2)

    with structlog.testing.capture_logs() as lines, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())
    assert lines[0]["pending"] == {"ada": "2023-11-14T22:30:01.000+00:00", "bob": "2023-11-14T22:30:00.000+00:00"}


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


async def test_a_newer_use_replaces_the_one_kept_from_a_failed_write(recorder: Recorder) -> None:
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
    recorder.written.resume()
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
    recorder.written.resume()
    assert await recorder.activity.flush()
    assert recorder.written.last_uses().keys() == {"ada", "bob"}


async def test_a_long_outage_uses_memory_per_user_and_not_per_use(recorder: Recorder) -> None:
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
