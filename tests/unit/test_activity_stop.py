"""Last activity while the process stops."""

import asyncio
import json

import structlog

from tests.scopes import VirtualLoop, until
from tests.unit.activity_recorder import Recorder, recorder

__all__ = ["recorder"]


async def test_a_drain_writes_due_and_deferred_uses(recorder: Recorder) -> None:
    recorder.activity.touch("ada")
    await recorder.activity.flush()
    recorder.clock.now += 3
    recorder.activity.touch("ada")
    recorder.activity.touch("bob")
    assert await recorder.activity.drain(2)
    assert recorder.written.last_uses() == {"ada": 1003.0, "bob": 1003.0}


async def test_uses_during_a_drain_are_written(recorder: Recorder) -> None:
    recorder.written.hold()
    recorder.activity.touch("ada")
    draining = asyncio.create_task(recorder.activity.drain(2))
    await until(lambda: recorder.written.in_flight == 1)
    recorder.activity.touch("bob")
    recorder.written.resume()
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
    recorder.written.resume()
    await until(lambda: recorder.activity.pending == 0)
    assert recorder.written.last_uses().keys() == {"ada", "bob", "cy"}


async def test_a_stop_immediately_writes_deferred_uses(recorder: Recorder) -> None:
    recorder.activity.touch("ada")
    await recorder.activity.flush()
    recorder.clock.now += 3
    recorder.activity.touch("ada")  # deferred, because the user is throttled
    recorder.activity.touch("bob")
    recorder.activity.write_through()
    await recorder.activity.written()
    assert recorder.written.last_uses() == {"ada": 1003.0, "bob": 1003.0}


def test_while_stopping_without_a_database_writes_are_retried_until_it_answers() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        recorder.written.down = ConnectionRefusedError("refused")
        recorder.activity.touch("ada")
        recorder.activity.write_through()
        await asyncio.sleep(20)
        for _ in range(100):
            recorder.activity.touch("bob")
        assert recorder.activity.pending == 2
        assert 100 < len(recorder.results) < 300, "paced, regardless of the number of uses"
        recorder.written.down = None
        await recorder.activity.written()
        assert recorder.written.last_uses().keys() == {"ada", "bob"}

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())


async def test_canceling_the_wait_for_the_writes_does_not_cancel_them(recorder: Recorder) -> None:
    recorder.written.hold()
    recorder.activity.touch("ada")
    recorder.activity.write_through()
    waiting = asyncio.create_task(recorder.activity.written())
    await until(lambda: recorder.written.in_flight == 1)
    waiting.cancel()
    await asyncio.wait({waiting})
    recorder.written.resume()
    assert await recorder.activity.drain(2)
    assert [uses for _, uses in recorder.written.statements] == [{"ada": 1000.0}]


async def test_a_drain_retries_until_its_deadline(recorder: Recorder) -> None:
    recorder.written.down = ConnectionResetError("cut")
    recorder.activity.touch("ada")
    draining = asyncio.create_task(recorder.activity.drain(2))
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
        assert not await recorder.activity.drain(2)
    left = [line for line in lines if line["event"] == "activity_not_written"]
    assert left == [
        {
            "event": "activity_not_written",
            "log_level": "critical",
            "pending": {"ada": "2023-11-14T22:30:03.250+00:00", "bob": "2023-11-14T22:30:03.250+00:00"},
        }
    ]
    # If the process continues, nothing is lost.
    recorder.written.down = None
    assert await recorder.activity.drain(2)
    assert recorder.written.last_uses() == {"ada": 1003.25, "bob": 1003.25}


async def test_the_pending_uses_of_many_users_are_logged_in_lines_of_at_most_64_kib(recorder: Recorder) -> None:
    users = {f"6f1c9a52-7a51-4a67-8f39-{number:012}" for number in range(1234)}
    for user in users:
        recorder.activity.touch(user)
    recorder.written.down = ConnectionRefusedError("refused")
    with structlog.testing.capture_logs() as lines:
        assert not await recorder.activity.drain(2)
    left = [line for line in lines if line["event"] == "activity_not_written"]
    assert max(len(json.dumps(line)) for line in left) < 64 * 1024
    assert [user for line in left for user in line["pending"]] == sorted(users)
