"""Hourly work in the database: moves old usage from hours to days, deletes the oldest, and counts expiring keys."""

import asyncio
import math
import random

import structlog

from proxy.grants.connections import DATABASE_FAILURES, Pool, acquire, describe
from sql.queries import query

_ROLL_UP = query("roll_up_usage")
_PRUNE_DAYS = query("prune_usage_days")
_PRUNE_WRITERS = query("prune_usage_writers")
_COUNT_EXPIRING_KEYS = query("count_expiring_keys")

HOURS_KEPT_DAYS = 7
"""How many days before today have hours."""

DAYS_KEPT = 400
"""How many days before today have usage."""

_WRITERS_KEPT_DAYS = 30
"""How long a process may take to find out whether its last batch was written."""

_EXPIRING_DAYS = 7

_FIRST_SECONDS, _SECONDS = 60.0, 3600.0
"""The time before the first upkeep, and between two."""

_SPREAD = 0.1
"""The part of these times that is random, so that processes take turns."""

_BATCH_ROWS = 2_000
_PAUSE_SECONDS = 0.1
"""How many rows are moved or deleted at a time, and the pause in between, which leaves room for other work."""

_STATEMENT_SECONDS = 30.0

_log = structlog.get_logger()


class Upkeep:
    """Keeps usage by hour for a week and by day for 400 days. Every process does this; they skip each other's rows."""

    def __init__(self, pool: Pool, *, batch_rows: int = _BATCH_ROWS, pause_seconds: float = _PAUSE_SECONDS) -> None:
        self._pool = pool
        self._batch_rows = batch_rows
        self._pause_seconds = pause_seconds
        self.keys_expiring = math.nan
        """How many keys expire within seven days. It is not a number until it is known."""

    async def run(self) -> None:
        """Work every hour until canceled."""
        seconds = _FIRST_SECONDS
        while True:
            await asyncio.sleep(seconds * random.uniform(1 - _SPREAD, 1 + _SPREAD))  # noqa: S311 - not for security
            seconds = _SECONDS
            try:
                await self.count_expiring_keys()
                await self.tidy()
            except DATABASE_FAILURES as error:
                _log.warning("upkeep_failed", reason=describe(error))

    async def tidy(self) -> None:
        """Move and delete everything that is old enough. Raises one of DATABASE_FAILURES."""
        await self._repeat(_ROLL_UP, HOURS_KEPT_DAYS)
        await self._repeat(_PRUNE_DAYS, DAYS_KEPT)
        await self._fetch(_PRUNE_WRITERS, _WRITERS_KEPT_DAYS)

    async def count_expiring_keys(self) -> None:
        """Update `keys_expiring`. Raises one of DATABASE_FAILURES."""
        self.keys_expiring = await self._fetch(_COUNT_EXPIRING_KEYS, _EXPIRING_DAYS)

    async def _repeat(self, statement: str, days: int) -> None:
        while True:
            if await self._fetch(statement, days, self._batch_rows) < self._batch_rows:
                return
            await asyncio.sleep(self._pause_seconds)

    async def _fetch(self, statement: str, *arguments: object) -> int:
        async with asyncio.timeout(_STATEMENT_SECONDS), acquire(self._pool, _STATEMENT_SECONDS) as connection:
            rows = await connection.fetch(statement, *arguments)
        return rows[0][0] if rows else 0
