"""The last activity of each API user: collected in memory, written in batches, never lost.

The subject of a use is an API user, or one key of a user that has several (`Grant.subject`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import islice

import asyncpg
import structlog

from proxy.grants.connections import DATABASE_FAILURES, Pool, ScopeIncomplete, acquire, describe
from proxy.grants.database_status import DatabaseStatus
from proxy.settings import ActivitySettings
from proxy.write_through import WriteThrough
from sql.queries import query

_RECORD_ACTIVITY = query("record_activity")

_FIRST_BATCH, _MAX_BATCH = 1_000, 10_000
"""The number of API users per statement. It adapts to the speed of the database."""

_FAST_SECONDS, _SLOW_SECONDS = 0.5, 2.0
"""After a faster statement the next batch is twice as large, and after a slower one half as large."""

_WRITE_SECONDS = 5.0
"""How long acquiring a connection and writing a batch may take."""

_USERS_PER_LINE = 500
"""The maximum number of API users in a log line, which takes at most 64 KiB then. Log collectors cut longer lines."""

_log = structlog.get_logger()


def _ignore(result: str, seconds: float) -> None:
    pass


class Activity:
    """Collects the last use of each API user and writes it to the database.

    A user's first use is written at the next tick. Ticks are `flush_seconds` apart. After that, the user is throttled
    for `resolution_seconds`: only the latest use is kept, and it is written when the throttle ends. So a busy user
    costs one row version per `resolution_seconds`, and the last use is always written. `on_flush` is called for each
    batch with its result (`ok` or `error`) and its duration in seconds.
    """

    def __init__(
        self,
        settings: ActivitySettings,
        pool: Pool,
        *,
        database: DatabaseStatus | None = None,
        on_flush: Callable[[str, float], None] = _ignore,
        write_seconds: float = _WRITE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._database = database or DatabaseStatus(clock)
        self._flush_seconds = settings.flush_seconds
        self._throttle_seconds = settings.resolution_seconds
        # Throttles that end within this many seconds are ended at the same wake-up, to save wake-ups.
        self._slack = min(settings.flush_seconds, settings.resolution_seconds or settings.flush_seconds) / 10
        self._on_flush = on_flush
        self._write_seconds = write_seconds
        self._batch_size = _FIRST_BATCH
        self._clock = clock
        self._wall = wall
        # Times of last use, keyed by subject, in seconds of `clock`. Each unwritten use is in one of these four: due at
        # the next tick; being written; locked (another transaction holds the row, so the next flush retries it); or
        # deferred until the user's throttle ends.
        self._due: dict[str, float] = {}
        self._writing: dict[str, float] = {}
        self._locked: dict[str, float] = {}
        self._deferred: dict[str, float] = {}
        self._throttled: set[str] = set()
        self._throttles: deque[tuple[float, list[str]]] = deque()
        """The end of each throttle, and the users that it applies to, earliest first."""
        self._one_flush = asyncio.Lock()
        self._stopping = False
        self._writer = WriteThrough(partial(self.flush, everything=True), lambda: self.pending)

    @property
    def pending(self) -> int:
        """The number of API users with a use that may not have been written yet."""
        return len(self._due.keys() | self._writing.keys() | self._locked.keys() | self._deferred.keys())

    def touch(self, subject: str) -> None:
        """Record a use at this moment. Hot."""
        if subject in self._throttled:
            self._deferred[subject] = self._clock()
        else:
            self._due[subject] = self._clock()
        if self._stopping:
            self._writer.start()

    async def flush(self, *, everything: bool = False) -> bool:
        """Write the due uses, or all uses. Returns False if some were not written; the next flush retries them."""
        async with self._one_flush:
            self._end_throttles(everything=everything)
            self._retry_locked()
            # The number of users is fixed in advance: without a throttle, a busy user is due again immediately, and the
            # loop would never end.
            left = len(self._due)
            while left > 0:
                size = min(left, self._batch_size)
                if not await self._flush_batch(size):
                    return False
                left -= size
            return not self._locked

    async def run(self) -> None:
        """Flush at each tick, and when throttles end, until canceled."""
        tick_at = self._clock() + self._flush_seconds
        while True:
            wake_at = min(tick_at, self._throttles[0][0]) if self._throttles else tick_at
            await asyncio.sleep(max(wake_at - self._clock(), self._slack))
            await self.flush()
            if self._clock() >= tick_at:
                tick_at = max(tick_at + self._flush_seconds, self._clock())

    def write_through(self) -> None:
        """Write all uses now and each later use at once, because the process is stopping.

        Failed writes are retried until `drain` gives up.
        """
        self._stopping = True
        self._writer.start()

    async def written(self) -> None:
        """Wait until all uses are written, after `write_through`. Canceling this does not cancel the writes."""
        await self._writer.written()

    async def drain(self, seconds: float) -> bool:
        """Write all uses within this time, after the listeners have closed.

        Returns False, and logs the uses that are left, if some could not be written.
        """
        self.write_through()
        if await self._writer.finish(seconds):
            return True
        self._log_pending()
        return False

    def _log_pending(self) -> None:
        uses = dict(self._writing)
        _keep_latest(uses, self._locked)
        _keep_latest(uses, self._deferred)
        _keep_latest(uses, self._due)
        epoch = self._wall() - self._clock()
        # For a user with several keys, the digest of the key stays out of the log.
        latest: dict[str, float] = {}
        for subject, used_at in uses.items():
            _keep_latest(latest, {subject.partition("/")[0]: used_at})
        uses, users = latest, sorted(latest)
        for start in range(0, len(users), _USERS_PER_LINE):
            pending = {
                user_id: datetime.fromtimestamp(epoch + uses[user_id], UTC).isoformat(timespec="milliseconds")
                for user_id in users[start : start + _USERS_PER_LINE]
            }
            _log.critical("activity_not_written", pending=pending)

    def _end_throttles(self, *, everything: bool) -> None:
        now = self._clock()
        while self._throttles and (everything or self._throttles[0][0] <= now + self._slack):
            _, users = self._throttles.popleft()
            self._throttled.difference_update(users)
            self._make_due(users)

    def _retry_locked(self) -> None:
        """Make the uses whose rows were locked due again, together with later uses of the same users."""
        locked, self._locked = self._locked, {}
        _keep_latest(self._due, locked)
        self._throttled.difference_update(locked)
        self._make_due(list(locked))

    def _make_due(self, users: list[str]) -> None:
        """Make the deferred uses of these users due."""
        _keep_latest(self._due, {user: self._deferred.pop(user) for user in users if user in self._deferred})

    async def _flush_batch(self, size: int) -> bool:
        """Write the due uses of the first `size` users. Return False if that failed, and keep them due."""
        started = self._clock()
        # Swap before the first await, and throttle these users from here on: uses in the meantime are deferred.
        if len(self._due) <= size:
            self._writing, self._due = self._due, {}
        else:
            self._writing = {user: self._due.pop(user) for user in list(islice(self._due, size))}
        users = list(self._writing)
        if self._throttle_seconds:
            self._throttled.update(users)
        written = False
        failed_before = self._database.writes_failing
        try:
            locked = await self._write(self._writing)
            self._locked |= {user: self._writing[user] for user in locked}
            written = True
            self._adapt_batch(size, self._clock() - started)
        except DATABASE_FAILURES as error:
            if isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
                # A statement that was too long has written nothing, so the next one must be much shorter.
                self._batch_size = max(size // 10, 1)
            if not failed_before:
                _log.warning("activity_kept", users=len(users), reason=describe(error))
        except Exception:
            if not failed_before:
                _log.exception("activity_kept", users=len(users))
        finally:
            # A canceled batch is kept too: it may have been written, but writing it again is harmless.
            if not written:
                _keep_latest(self._due, self._writing)
                self._throttled.difference_update(users)
                self._make_due(users)
            elif self._throttle_seconds:
                self._throttles.append(
                    (started + self._throttle_seconds, [user for user in users if user not in self._locked])
                )
            self._writing = {}
        if written and failed_before:
            _log.info("activity_written_again", users=len(users))
        self._database.writes_failing = not written
        self._on_flush("ok" if written else "error", self._clock() - started)
        return written

    def _adapt_batch(self, size: int, seconds: float) -> None:
        """Choose the size of the next batch after one of `size` users took this long."""
        if seconds < _FAST_SECONDS:
            self._batch_size = max(self._batch_size, min(2 * size, _MAX_BATCH))
        elif seconds > _SLOW_SECONDS:
            self._batch_size = max(size // 2, 1)

    async def _write(self, uses: Mapping[str, float]) -> list[str]:
        """Write these uses. Return the users that were skipped because their rows are locked."""
        async with asyncio.timeout(self._write_seconds), acquire(self._pool, self._write_seconds) as connection:
            now = self._clock()  # read the clock after acquiring the connection, because uses age during the wait
            ages = [str(now - used_at) for used_at in uses.values()]
            (row,) = await connection.fetch(_RECORD_ACTIVITY, list(uses), ages)
            if not row["whole"]:
                raise ScopeIncomplete("triggers are missing, so a dump is being restored")
            return list(row["held"])


def _keep_latest(uses: dict[str, float], others: Mapping[str, float]) -> None:
    """Merge `others` into `uses`, keeping the later use of each user."""
    for user_id, used_at in others.items():
        if used_at > uses.get(user_id, float("-inf")):
            uses[user_id] = used_at
