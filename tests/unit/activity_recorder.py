"""An Activity whose writes are recorded, for unit tests."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.activity import Activity
from proxy.settings import ActivitySettings
from tests.scopes import Clock


class RecordingPool:
    """A pool that records statements as (when, {user: time of the last use})."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.statements: list[tuple[float, dict[str, float]]] = []
        self.down: Exception | None = None
        self.locked: set[str] = set()
        """Users whose rows are locked by another transaction, so that they are not written."""
        self.whole = True
        self.seconds = 0.0
        """How long each statement takes."""
        self.in_flight = 0
        self._open = asyncio.Event()
        self._open.set()

    def hold(self) -> None:
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    def last_uses(self) -> dict[str, float]:
        """Return the last uses as the database would store them."""
        uses: dict[str, float] = {}
        for _, statement in self.statements:
            for user, used_at in statement.items():
                uses[user] = max(used_at, uses.get(user, used_at))
        return uses

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator["RecordingPool"]:  # noqa: ASYNC109
        yield self

    def terminate(self) -> None:
        raise NotImplementedError

    async def execute(self, query: str, /, *args: Any) -> str:
        raise NotImplementedError

    async def fetch(self, query: str, /, *args: Any) -> Sequence[Any]:
        users, ages = args
        sent_at = self.clock.now
        self.in_flight += 1
        try:
            await self._open.wait()
        finally:
            self.in_flight -= 1
        self.clock.now += self.seconds
        if self.down is not None:
            raise self.down
        if not self.whole:
            return [{"whole": False, "held": []}]
        uses = {user: sent_at - float(age) for user, age in zip(users, ages, strict=True)}
        self.statements.append((sent_at, {user: at for user, at in uses.items() if user not in self.locked}))
        return [{"whole": True, "held": [user for user in users if user in self.locked]}]


class Recorder:
    """An Activity whose writes are recorded."""

    def __init__(self, **settings: float) -> None:
        self.clock = Clock()
        self.written = RecordingPool(self.clock)
        self.results: list[str] = []
        self.activity = Activity(
            ActivitySettings.model_validate({"flush_seconds": 5, "resolution_seconds": 60} | settings),
            self.written,
            on_flush=lambda result, seconds: self.results.append(result),
            clock=self.clock,
            wall=lambda: self.clock.now + 1_700_000_000,
        )

    async def pass_time(self, seconds: float) -> None:
        """Advance the clock as `run` would, with a tick every five seconds."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now += 5
            await self.activity.flush()


@pytest.fixture
async def recorder() -> Recorder:
    return Recorder()
