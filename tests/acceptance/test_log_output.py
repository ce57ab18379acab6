"""`serve` with a standard error that blocks or fails: it serves, counts dropped log lines, and stops cleanly."""

import contextlib
import fcntl
import json
import os
import signal
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.acceptance.harness import Sitelatch
from tests.acceptance.wire import until
from tests.ports import free_port

REQUESTS = 400
LONG_PATH = "/x" * 3000
"""Each of these requests leaves a log line of more than 6 KB, so they fill the queue quickly."""
STOP_SECONDS = 30
Launch = Callable[[int], Sitelatch]


@dataclass
class Pipe:
    """A pipe that nobody reads until `read_lines` is called."""

    reader: int = field(init=False)
    writer: int = field(init=False)

    def __post_init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def close(self, *names: str) -> None:
        for name in names:
            with contextlib.suppress(OSError):
                os.close(getattr(self, name))
            setattr(self, name, -1)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close("reader", "writer")


@pytest.fixture
def launch(tmp_path: Path, database_url: str) -> Iterator[Launch]:
    """Starts `serve` in a new interpreter with this standard error, and waits until it is ready."""
    with contextlib.ExitStack() as stack:

        def launch(stderr: int) -> Sitelatch:
            route = {"name": "data", "upstream": f"http://127.0.0.1:{free_port()}", "sites": ["path:/{site}/**"]}
            latch = Sitelatch(tmp_path, database_url, [route])
            stack.callback(latch.stop)
            latch.launch_alone(stderr=stderr)
            latch.wait_for_readiness(200)
            return latch

        yield launch


def send_requests(latch: Sitelatch, count: int = REQUESTS) -> None:
    with httpx.Client(trust_env=False, timeout=20) as client:
        for _ in range(count):
            assert client.get(latch.url + LONG_PATH).status_code == 401


def is_alive(latch: Sitelatch) -> bool:
    with httpx.Client(trust_env=False, timeout=20) as client:
        return client.get(f"http://{latch.ops}/livez").status_code == 200 and latch.ready() == 200


async def until_dropped(latch: Sitelatch) -> None:
    """Send requests until log lines are dropped."""

    def dropped() -> bool:
        send_requests(latch, 100)
        return latch.metric("sitelatch_log_lines_dropped_total") > 0

    await until(dropped, "log lines are dropped", 60)


def stop(latch: Sitelatch) -> int:
    latch.signal(signal.SIGTERM)
    return latch.wait(STOP_SECONDS)


async def test_a_pipe_that_nobody_reads_does_not_stop_the_service(launch: Launch, pipe: Pipe) -> None:
    latch = launch(pipe.writer)
    await until_dropped(latch)
    assert is_alive(latch)
    assert stop(latch) == 0


async def test_the_log_continues_when_a_stuck_reader_continues(launch: Launch, pipe: Pipe) -> None:
    latch = launch(pipe.writer)
    pipe.close("writer")  # otherwise the pipe never ends
    await until_dropped(latch)
    received: list[bytes] = []

    def read() -> None:
        while data := os.read(pipe.reader, 1 << 20):
            received.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    await until(lambda: b'"log_lines_dropped"' in b"".join(received), "the gap is reported")
    send_requests(latch, 1)
    dropped = latch.metric("sitelatch_log_lines_dropped_total")
    assert stop(latch) == 0
    reader.join()
    lines = [json.loads(line) for line in b"".join(received).splitlines()]
    assert sum(line["lines"] for line in lines if line["event"] == "log_lines_dropped") == dropped
    assert {line["event"] for line in lines[-3:]} == {"signal", "exchange", "stopped"}


@pytest.mark.parametrize("kind", ["a closed pipe", "a full disk"])
def test_a_failing_standard_error_does_not_stop_the_service(launch: Launch, pipe: Pipe, kind: str) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    latch = launch(pipe.writer if kind == "a closed pipe" else full)
    os.close(full)
    pipe.close("reader")
    send_requests(latch)
    assert is_alive(latch)
    assert latch.metric("sitelatch_log_lines_dropped_total") > 0
    assert stop(latch) == 0


async def test_a_terminal_that_was_stopped_with_ctrl_s_does_not_stop_the_service(launch: Launch) -> None:
    controller, terminal = os.openpty()
    latch = launch(terminal)
    termios.tcflow(terminal, termios.TCOOFF)
    await until_dropped(latch)
    assert is_alive(latch)
    assert stop(latch) == 0
    os.close(terminal)
    os.close(controller)


def test_a_nonblocking_pipe_gets_all_lines(launch: Launch, pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    fcntl.fcntl(pipe.writer, fcntl.F_SETPIPE_SZ, 4096)
    received: list[bytes] = []

    def read() -> None:
        while data := os.read(pipe.reader, 1000):
            received.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    latch = launch(pipe.writer)
    pipe.close("writer")
    send_requests(latch)
    assert stop(latch) == 0
    reader.join()
    events = [json.loads(line)["event"] for line in b"".join(received).splitlines()]
    assert events.count("exchange") == REQUESTS
