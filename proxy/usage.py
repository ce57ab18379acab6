"""Writes the usage of API users to the database in batches, each exactly once."""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import islice

import structlog

from proxy.grants.connections import DATABASE_FAILURES, Pool, ScopeIncomplete, acquire, describe
from proxy.settings import ActivitySettings
from proxy.usage_counts import UsageCounts, Users, UserUsage
from proxy.write_through import WriteThrough
from sql.queries import query

_RECORD_USAGE = query("record_usage")

_BATCH_USERS = 1_000
"""The maximum number of API users in a batch. It is small, because a batch cannot be divided once it was sent."""

_WRITE_SECONDS = 10.0
"""How long acquiring a connection and writing a batch may take."""

_USERS_PER_LINE = 500
"""The maximum number of API users in a log line, as in activity.py."""

_HOUR = 3600

_log = structlog.get_logger()


@dataclass(slots=True)
class _Gathered:
    """Usage that no batch contains yet, from one hour of the process's clock."""

    hour: int
    ended_at: float
    """When the last of it was gathered, in seconds of the monotonic clock."""
    users: dict[str, UserUsage]

    def add(self, users: Mapping[str, UserUsage], ended_at: float) -> None:
        for user_id, usage in users.items():
            mine = self.users.setdefault(user_id, usage)
            if mine is not usage:
                mine.add(usage)
        self.ended_at = ended_at


@dataclass(frozen=True, slots=True)
class _Batch:
    """Usage that is written in one transaction. It never changes, because it may have been written already."""

    sequence: int
    ended_at: float
    users: Mapping[str, UserUsage]


def _ignore_flush(result: str) -> None:
    pass


def _ignore_totals(day: date, totals: Mapping[str, int]) -> None:
    pass


class Usage:
    """Writes what `counts` counts every `usage_seconds`.

    Each batch has a number, which the database stores in the same transaction. After a failure, it is not known
    whether a batch was written: the answer to its commit may be lost. So the same batch is sent again, with the same
    number, until its result is known, and the database skips it if it has the number. Usage gathers in the meantime.

    A request counts in the hour (UTC, by the database's clock) in which it was gathered.
    """

    def __init__(
        self,
        settings: ActivitySettings,
        pool: Pool,
        counts: UsageCounts,
        *,
        on_flush: Callable[[str], None] = _ignore_flush,
        on_totals: Callable[[date, Mapping[str, int]], None] = _ignore_totals,
        write_seconds: float = _WRITE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`on_flush` is called for each batch with its result (`ok` or `error`).

        `on_totals` is called after each batch with its UTC day, and with how many requests of each of its users have
        passed on this day, in all processes. It is not called if no request of the batch has passed, or if the
        answer to the first attempt was lost.
        """
        self.counts = counts
        self._pool = pool
        self._seconds = settings.usage_seconds
        self._on_flush = on_flush
        self._on_totals = on_totals
        self._write_seconds = write_seconds
        self._clock = clock
        self._wall = wall
        self._process = str(uuid.uuid4())
        self._sequence = 0
        # Usage is in one of these three: being counted, gathered, or in the batch that is being written.
        self._gathered: deque[_Gathered] = deque()
        self._batch: _Batch | None = None
        self._failing = False
        self._one_flush = asyncio.Lock()
        self._writer = WriteThrough(self.flush, lambda: self.pending)

    @property
    def pending(self) -> int:
        """The number of API users with usage that may not have been written yet."""
        return len(set[str]().union(*self._parts()))

    async def flush(self) -> bool:
        """Write all usage. Returns False if some was not written; the next flush tries again."""
        async with self._one_flush:
            self._gather()
            while (batch := self._next_batch()) is not None:
                if not await self._try_to_write(batch):
                    return False
            return True

    async def run(self) -> None:
        """Flush every `usage_seconds` until canceled."""
        while True:
            await asyncio.sleep(self._seconds)
            await self.flush()

    async def written(self) -> None:
        """Write all usage, after the listeners have closed. Canceling this does not cancel the writes."""
        self._writer.start()
        await self._writer.written()

    async def drain(self, seconds: float) -> bool:
        """Write all usage within this time. Returns False, and logs what is left, if some could not be written."""
        if await self._writer.finish(seconds):
            return True
        self._log_pending()
        return False

    def _gather(self) -> None:
        """Take what was counted. During an outage, usage of the same hour is added up."""
        users = self.counts.take()
        if not users:
            return
        hour, now = int(self._wall() // _HOUR), self._clock()
        if self._gathered and self._gathered[-1].hour == hour:
            self._gathered[-1].add(users, now)
        else:
            self._gathered.append(_Gathered(hour, now, dict(users)))

    def _next_batch(self) -> _Batch | None:
        """Return the batch whose result is not known yet, or else a new one, or None if there is nothing to write."""
        if self._batch is None and self._gathered:
            first = self._gathered[0]
            users = {user_id: first.users.pop(user_id) for user_id in list(islice(first.users, _BATCH_USERS))}
            if not first.users:
                self._gathered.popleft()
            self._sequence += 1
            self._batch = _Batch(self._sequence, first.ended_at, users)
        return self._batch

    async def _try_to_write(self, batch: _Batch) -> bool:
        written = False
        try:
            await self._write(batch)
            written = True
        except DATABASE_FAILURES as error:
            if not self._failing:
                _log.warning("usage_kept", users=len(batch.users), reason=describe(error))
        except Exception:
            if not self._failing:
                _log.exception("usage_kept", users=len(batch.users))
        if written:
            self._batch = None
            if self._failing:
                _log.info("usage_written_again", users=len(batch.users))
        self._failing = not written
        self._on_flush("ok" if written else "error")
        return written

    async def _write(self, batch: _Batch) -> None:
        counts = [(user_id, *counted) for user_id, usage in batch.users.items() for counted in usage.counts()]
        async with asyncio.timeout(self._write_seconds), acquire(self._pool, self._write_seconds) as connection:
            age = self._clock() - batch.ended_at  # read the clock after acquiring the connection
            columns = [[str(row[column]) for row in counts] for column in range(4)]
            [row] = await connection.fetch(_RECORD_USAGE, self._process, batch.sequence, age, *columns)
        if not row["whole"]:
            raise ScopeIncomplete("triggers are missing, so a dump is being restored")
        if row["users"]:
            self._on_totals(row["day"], dict(zip(row["users"], map(int, row["totals"]), strict=True)))

    def _unwritten(self) -> Users:
        """Return a copy of all usage that may not have been written."""
        unwritten = Users()
        for users in self._parts():
            for user_id, usage in users.items():
                unwritten[user_id].add(usage)
        return unwritten

    def _parts(self) -> list[Mapping[str, UserUsage]]:
        batch = [self._batch.users] if self._batch is not None else []
        return [*batch, *(gathered.users for gathered in self._gathered), self.counts.users]

    def _log_pending(self) -> None:
        unwritten = self._unwritten()
        users = sorted(unwritten)
        for start in range(0, len(users), _USERS_PER_LINE):
            pending = {
                user_id: {outcome: [requests, size] for outcome, requests, size in unwritten[user_id].counts()}
                for user_id in users[start : start + _USERS_PER_LINE]
            }
            _log.critical("usage_not_written", pending=pending)
