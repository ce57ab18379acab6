"""The signals of a service as events, and work that is canceled when an event is set."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any, TypeVar

import structlog

from sitelatch.early_signals import IGNORED, LOGGED, RELOAD, STOP

Result = TypeVar("Result")

_log = structlog.get_logger("sitelatch")


class Signals:
    """The first signal to stop sets `stop`, and the second one sets `hurry`. SIGHUP sets `reload`.

    Other signals that would end the process are only logged. docs/operating.md lists them.
    """

    def __init__(self, *, hangup_stops: bool = False) -> None:
        """With `hangup_stops`, SIGHUP is a signal to stop, for a program that belongs to its terminal."""
        self.stop = asyncio.Event()
        self.hurry = asyncio.Event()
        self.reload = asyncio.Event()
        self._stopping = (*STOP, RELOAD) if hangup_stops else STOP
        self._logged: set[int] = set()

    def listen(self) -> None:
        """Handle the signals in the running loop, until the process ends.

        The handlers of `loop.add_signal_handler` would be removed when the loop closes, while the log is flushed.
        """
        loop = asyncio.get_running_loop()

        def handle(number: int, _frame: FrameType | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._on_signal, number)

        for number in {*STOP, RELOAD, *LOGGED}:
            signal.signal(number, handle)
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)

    def _on_signal(self, number: int) -> None:
        if number in self._stopping:
            _log.info("signal", signal=_name(number))
            (self.hurry if self.stop.is_set() else self.stop).set()
        elif number == RELOAD:
            _log.info("signal", signal=_name(number))
            self.reload.set()
        elif number not in self._logged:  # a timer may send this signal very often
            self._logged.add(number)
            _log.warning("signal_ignored", signal=_name(number))


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


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
