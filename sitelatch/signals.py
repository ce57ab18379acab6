"""SIGTERM and SIGINT as events, and work that is canceled when an event is set."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import structlog

Result = TypeVar("Result")

_log = structlog.get_logger("sitelatch")


class Signals:
    """The first signal sets `stop`, and the second one sets `hurry`."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()

    def listen(self) -> None:
        """Handle the signals in the running loop, instead of Python's default handling."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number.name)

    def _on_signal(self, name: str) -> None:
        _log.info("signal", signal=name)
        (self.hurry if self.stop.is_set() else self.stop).set()


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Return the result of `work`. If the event is set first, cancel the work and return None."""
    task = asyncio.get_running_loop().create_task(work)
    waiter = asyncio.get_running_loop().create_task(event.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    await cancel(waiter)
    if task.done():
        return task.result()
    await cancel(task)
    return None


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has finished."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
