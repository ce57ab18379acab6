"""Writing the log in the background, to descriptors that block or fail."""

import asyncio
import fcntl
import io
import json
import logging
import os
import select
import tempfile
import termios
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

import pytest
import structlog

from proxy.observe.background_writer import BackgroundHandler, BackgroundWriter
from proxy.observe.logging_setup import configure_logging

SECONDS = 20
PIPE_BYTES = 4096


@dataclass
class Pipe:
    """A pipe that holds 4 KiB."""

    reader: int = field(init=False)
    descriptor: int = field(init=False)
    writers: list[BackgroundWriter] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reader, self.descriptor = os.pipe()
        fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def writer(self, queue_bytes: int = 1 << 20, reserved_bytes: int = 0) -> BackgroundWriter:
        self.writers.append(BackgroundWriter(self.descriptor, queue_bytes=queue_bytes, reserved_bytes=reserved_bytes))
        return self.writers[-1]

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            ready, _, _ = select.select([self.reader], [], [], SECONDS)
            assert ready, f"only {len(data)} of {size} bytes arrived"
            data += os.read(self.reader, size - len(data))
        return data

    def close_reader(self) -> None:
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1


@pytest.fixture
def logging_setup() -> Iterator[None]:
    """Restore the logging of the test process afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close_reader()  # this ends a write that blocks
    for writer in pipe.writers:
        writer.finish()
    os.close(pipe.descriptor)


@pytest.fixture
def full() -> Iterator[int]:
    """A file on a full disk."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


def lines(count: int) -> bytes:
    return b"".join(b"line %06d\n" % number for number in range(count))


def test_a_pipe_that_nobody_reads_does_not_block_and_dropped_lines_are_counted(pipe: Pipe) -> None:
    writer = pipe.writer(40_000, 10_000)
    batch = lines(1000)
    for _ in range(10):
        writer.write(batch)
    assert writer.dropped == 8000
    # Single lines fit into the reserved part.
    writer.write_line("important")
    assert writer.dropped == 8000
    assert pipe.read(2 * len(batch) + 10) == batch + batch + b"important\n"


def test_a_line_that_must_be_kept_is_queued_beyond_the_limit(pipe: Pipe) -> None:
    writer = pipe.writer(40_000)
    batch = lines(3000)
    writer.write(batch)
    writer.write_line("x" * 10_000)
    assert writer.dropped == 1
    writer.write_line("y" * 60_000, keep=True)
    assert writer.dropped == 1
    assert pipe.read(len(batch) + 60_001) == batch + b"y" * 60_000 + b"\n"


def test_dropped_lines_are_reported_in_the_log_once_everything_is_written(pipe: Pipe, logging_setup: None) -> None:
    writer = pipe.writer(10_000)
    configure_logging(BackgroundHandler(writer))
    batch = lines(800)
    for _ in range(3):
        writer.write(batch)
    assert pipe.read(len(batch)) == batch
    line = b""
    while not line.endswith(b"\n"):
        line += pipe.read(1)
    report = json.loads(line)
    assert (report["event"], report["level"], report["lines"]) == ("log_lines_dropped", "warning", 1600)


@pytest.mark.parametrize("descriptor", ["/dev/full", "closed pipe", "closed"])
def test_a_descriptor_that_cannot_be_written_drops_lines(pipe: Pipe, full: int, descriptor: str) -> None:
    if descriptor == "closed pipe":
        pipe.close_reader()
        writer = pipe.writer()
    elif descriptor == "closed":
        writer = BackgroundWriter(9999)
    else:
        writer = BackgroundWriter(full)
    writer.write(lines(100))
    writer.write_line("one more")
    writer.flush()
    assert writer.dropped == 101
    if descriptor == "closed pipe":
        writer.write_line("the last words", keep=True)
        writer.finish()  # no retry, because the reader is gone for good
        assert writer.dropped == 102


def test_a_line_that_must_be_kept_is_written_once_the_disk_has_space(pipe: Pipe, full: int) -> None:
    writer = BackgroundWriter(full)
    writer.write_line("dropped")
    writer.flush()
    writer.write_line("kept", keep=True)
    os.dup2(pipe.descriptor, full)  # now it can be written
    assert pipe.read(5) == b"kept\n"
    assert writer.dropped == 1


def test_a_line_after_a_line_that_was_cut_off_begins_on_a_new_line(pipe: Pipe) -> None:
    writer = pipe.writer()
    writer.write(b"x" * PIPE_BYTES + b" the end\n")
    assert pipe.read(5) == b"xxxxx"
    pipe.close_reader()
    writer.flush()
    assert writer.dropped == 1
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), pipe.descriptor)
        writer.write(b"the next line\n")
        writer.flush()
        assert os.pread(file.fileno(), 100, 0) == b"\nthe next line\n"


def test_a_nonblocking_pipe_gets_every_line(pipe: Pipe) -> None:
    os.set_blocking(pipe.descriptor, False)
    writer = pipe.writer()
    batch = lines(5000)
    writer.write(batch)
    assert pipe.read(len(batch)) == batch
    writer.flush()
    assert writer.dropped == 0


def test_a_terminal_that_was_stopped_with_ctrl_s_does_not_block() -> None:
    reader, terminal = os.openpty()
    termios.tcflow(terminal, termios.TCOOFF)
    writer = BackgroundWriter(terminal, queue_bytes=20_000, reserved_bytes=0)
    for _ in range(50):
        writer.write(lines(100))
    assert writer.dropped > 0
    termios.tcflow(terminal, termios.TCOON)
    assert os.read(reader, 11) == b"line 000000"
    os.close(reader)
    writer.finish()
    os.close(terminal)


def test_flush_waits_for_the_reader(pipe: Pipe) -> None:
    writer = pipe.writer()
    batch = lines(5000)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read(len(batch))))
    reader.start()
    writer.write(batch)
    writer.finish()
    reader.join(SECONDS)
    assert received == [batch]


async def test_flush_does_not_wait_in_an_event_loop(pipe: Pipe) -> None:
    writer = pipe.writer()
    writer.write(lines(5000))
    before = asyncio.get_running_loop().time()
    for _ in range(100):
        writer.flush()
    assert asyncio.get_running_loop().time() - before < 3  # one wait alone would take that long


def test_a_text_stream_over_the_writer_takes_what_python_prints(pipe: Pipe) -> None:
    stream = io.TextIOWrapper(
        cast(BinaryIO, pipe.writer()), encoding="utf-8", errors="backslashreplace", write_through=True
    )
    print("größer \ud800", file=stream)
    expected = "größer \\ud800\n".encode()
    assert pipe.read(len(expected)) == expected


def test_only_critical_log_lines_are_kept(pipe: Pipe) -> None:
    writer = pipe.writer(PIPE_BYTES + 10)
    logger = logging.Logger("test")
    logger.addHandler(BackgroundHandler(writer))
    for _ in range(3):
        logger.error("e" * PIPE_BYTES)
    logger.critical("last words")
    assert writer.dropped >= 1
    kept = 3 - writer.dropped
    expected = (b"e" * PIPE_BYTES + b"\n") * kept + b"last words\n"
    assert pipe.read(len(expected)) == expected
