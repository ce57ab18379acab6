"""Lets callers wait for the next read of the change feed, which shows every change that was committed before."""

import asyncio
from collections.abc import Callable

_PAUSE_SECONDS = 0.01
"""How long the first caller waits for others that can share the read. So there are at most a hundred reads a second."""


def _ignore() -> None:
    pass


class FeedReads:
    """Callers of `next` share the next read of the feed. The feed calls `begun`, then `ended` or `failed`."""

    def __init__(self) -> None:
        self.on_wanted: Callable[[], None] = _ignore
        """A function that makes the feed read now. The feed sets it."""
        self._waiting: list[asyncio.Future[bool]] = []
        self._reading: list[asyncio.Future[bool]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def next(self) -> bool:
        """Wait for a read that begins after this call and reaches the end of the feed. Return whether it succeeded."""
        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(outcome)
        self._request()
        return await outcome

    def begun(self) -> None:
        """Record that a read begins."""
        self._reading += self._waiting
        self._waiting = []

    def ended(self) -> None:
        """Record that the feed was read to its end."""
        self._resolve(succeeded=True)
        if self._waiting:
            self._request()

    def failed(self) -> None:
        """Record that the feed cannot be read for now."""
        self.begun()
        self._resolve(succeeded=False)

    def _request(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.on_wanted()

    def _resolve(self, *, succeeded: bool) -> None:
        reading, self._reading = self._reading, []
        for outcome in reading:
            if not outcome.done():  # otherwise the caller was canceled
                outcome.set_result(succeeded)
