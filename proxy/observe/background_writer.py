"""Writes to a file descriptor in a thread of its own, because a full pipe or a stopped terminal blocks writes."""

import asyncio
import errno
import io
import logging
import os
import select
import threading
import time
from queue import SimpleQueue
from typing import Any, Final

import structlog

QUEUE_BYTES: Final = 4 << 20
"""The maximum size of the queue. Only lines that must be kept are queued beyond it."""
RESERVED_BYTES: Final = 1 << 20
"""The part of the queue that only single lines may use, so that the access log cannot displace the application log."""

_FLUSH_SECONDS: Final = 3.0
_RETRY_SECONDS: Final = 0.1
_NO_READER: Final = (errno.EPIPE, errno.EBADF)

_log = structlog.get_logger(__name__)


class BackgroundWriter(io.RawIOBase):
    """A binary stream whose `write` never blocks and never fails.

    A thread writes the queued data. Lines that do not fit into the queue, or that cannot be written, are dropped and
    counted. Lines that must be kept are always queued, and are retried as long as the descriptor has a reader.
    """

    def __init__(
        self, descriptor: int, *, queue_bytes: int = QUEUE_BYTES, reserved_bytes: int = RESERVED_BYTES
    ) -> None:
        self._descriptor = descriptor
        self._queue_bytes = queue_bytes
        self._reserved_bytes = reserved_bytes
        # Writing can be interrupted by a garbage collection whose warnings are logged. So the queue and the lock are
        # reentrant.
        self._queue: SimpleQueue[tuple[bytes, bool] | threading.Event] = SimpleQueue()
        self._lock = threading.RLock()
        self._queued_bytes = 0
        self._dropped = self._reported = 0
        self._in_line = False
        self._finished = False
        threading.Thread(target=self._run, name="background-writer", daemon=True).start()

    @property
    def dropped(self) -> int:
        """The number of lines that were dropped."""
        return self._dropped

    # Called by any thread.

    def write(self, data: Any) -> int:
        """Queue whole lines, such as a batch of the access log."""
        lines = bytes(data)
        self._put(lines, self._queue_bytes - self._reserved_bytes)
        return len(lines)

    def write_line(self, text: str, *, keep: bool = False) -> None:
        """Queue one line. With `keep`, it is queued even if the queue is full."""
        self._put(text.encode("utf-8", "backslashreplace") + b"\n", self._queue_bytes, keep=keep)

    def _put(self, data: bytes, maximum: int, *, keep: bool = False) -> None:
        with self._lock:
            if not keep and self._queued_bytes + len(data) > maximum:
                self._dropped += data.count(b"\n")
                return
            self._queued_bytes += len(data)
            self._queue.put((data, keep))

    def flush(self) -> None:
        """Wait until everything is written, for up to 3 s. In an event loop, which must not block, return at once."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if not self._finished:
                written = threading.Event()
                self._queue.put(written)
                written.wait(_FLUSH_SECONDS)

    def finish(self) -> None:
        """Flush for the last time, because the process ends."""
        self.flush()
        self._finished = True

    # The attributes that other code expects of a standard stream.

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether the descriptor is a terminal."""
        return os.isatty(self._descriptor)

    # The thread.

    def _run(self) -> None:
        while True:
            item = self._queue.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            data, keep = item
            lost = self._write_out(data, keep=keep)
            with self._lock:
                self._queued_bytes -= len(data)
                self._dropped += lost
            if not lost and self._dropped > self._reported and self._queue.empty():
                lines, self._reported = self._dropped - self._reported, self._dropped
                _log.warning("log_lines_dropped", lines=lines)

    def _write_out(self, data: bytes, *, keep: bool) -> int:
        """Write all of `data`. Return how many lines could not be written."""
        if self._in_line:  # the previous line was cut off, for example by a full disk
            data = b"\n" + data
        rest = memoryview(data)
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            except BlockingIOError:  # another process has made the descriptor nonblocking
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
            except OSError as error:
                if not keep or error.errno in _NO_READER:
                    return bytes(rest).count(b"\n")
                time.sleep(_RETRY_SECONDS)
            else:
                self._in_line = rest[written - 1] != ord("\n")
                rest = rest[written:]
        return 0


class BackgroundHandler(logging.Handler):
    """Logs through a BackgroundWriter. Critical lines are never dropped: they list what a stop could not save."""

    def __init__(self, writer: BackgroundWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write_line(self.format(record), keep=record.levelno >= logging.CRITICAL)
        except Exception:
            self.handleError(record)
