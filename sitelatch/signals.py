"""SIGTERM and SIGINT as events, and work that gives way to them."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import structlog

Result = TypeVar("Result")

_log = structlog.get_logger("sitelatch")


class Signals:
    """The first signal asks to `stop`, the next to `hurry`."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()

    def listen(self) -> None:
        """Take the signals from now on, instead of what Python does with them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._came, number.name)

    def _came(self, name: str) -> None:
        _log.info("signal", signal=name)
        (self.hurry if self.stop.is_set() else self.stop).set()


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Return the result of `work`, or None if the event came first; then the work is cancelled."""
    task = asyncio.get_running_loop().create_task(work)
    waiter = asyncio.get_running_loop().create_task(event.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    await cancel(waiter)
    if task.done():
        return task.result()
    await cancel(task)
    return None


async def cancel(task: asyncio.Task[Any]) -> None:
    """End a task and wait until it has ended."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
