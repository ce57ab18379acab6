"""Writes everything that is pending while the process stops."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

_RETRY_SECONDS = 0.1
"""The pause after a failed write."""


class WriteThrough:
    """Flushes until nothing is pending, and retries failed writes until `finish` gives up."""

    def __init__(self, flush: Callable[[], Awaitable[bool]], pending: Callable[[], int]) -> None:
        """`flush` returns False if something was not written. `pending` counts what is not written yet."""
        self._flush = flush
        self._pending = pending
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Write what is pending in the background, unless that is going on."""
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def written(self) -> None:
        """Wait until everything is written, after `start`. Canceling this does not cancel the writes."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait({self._writer})

    async def finish(self, seconds: float) -> bool:
        """Write everything within this time. Return False, and stop writing, if something is left."""
        self.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.written()
        if not self._pending():
            return True
        if self._writer is not None:
            self._writer.cancel()
            self._writer = None
        return False

    async def _write(self) -> None:
        while self._pending():
            if not await self._flush():
                await asyncio.sleep(_RETRY_SECONDS)
