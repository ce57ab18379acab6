"""When each API user was last active: kept here at first, written in batches, lost never."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import structlog

from proxy.grants.connections import DATABASE_FAILURES, Pool, ScopeIncomplete, acquire, describe
from proxy.grants.database_status import DatabaseStatus
from proxy.settings import ActivitySettings
from sql.queries import query

_RECORD_ACTIVITY = query("record_activity")

_BATCH = 10_000
"""API users in one statement. More than one is for a crowd only: so that each ends in time, and keeps some progress."""

_WRITE_SECONDS = 5.0
"""How long getting a connection and writing a batch may take."""

_DRAIN_SECONDS = 2.0
_DRAIN_PAUSE_SECONDS = 0.1

_log = structlog.get_logger()


def _no_one(result: str, seconds: float) -> None:
    """Hear of a flush, and do nothing."""


class Activity:
    """The last use of each API user, by id, as seconds of the clock.

    A first use is due at the next tick (every `flush_seconds`). A user that was written rests for
    `resolution_seconds`: its uses meanwhile come to one, due when the rest ends. So a busy user costs one row version
    a rest, and the last use of each lands. `on_flush` hears of each batch: `ok` or `error`, and how many seconds.
    """

    def __init__(
        self,
        settings: ActivitySettings,
        pool: Pool,
        *,
        database: DatabaseStatus | None = None,
        on_flush: Callable[[str, float], None] = _no_one,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._database = database or DatabaseStatus(clock)
        self._flush_seconds = settings.flush_seconds
        self._rest_seconds = settings.resolution_seconds
        # Rests that end this close together end together; else each flush would make a wake-up of its own for good.
        self._slack = min(settings.flush_seconds, settings.resolution_seconds or settings.flush_seconds) / 10
        self._on_flush = on_flush
        self._clock = clock
        self._wall = wall
        # A use is in one of these: due at the next tick, on its way to the database, held up (another transaction holds
        # the row: due at the next flush), or late (due after the rest).
        self._due: dict[str, float] = {}
        self._writing: dict[str, float] = {}
        self._held_up: dict[str, float] = {}
        self._late: dict[str, float] = {}
        self._resting: set[str] = set()
        self._rests: deque[tuple[float, list[str]]] = deque()
        """When the next rests end, and whose."""
        self._one_flush = asyncio.Lock()
        self._write_through = False
        self._writer: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """How many API users have a use that is not known to be written."""
        return len(self._due.keys() | self._writing.keys() | self._held_up.keys() | self._late.keys())

    def touch(self, user_id: str) -> None:
        """Note a use of this moment. Hot."""
        if user_id in self._resting:
            self._late[user_id] = self._clock()
        else:
            self._due[user_id] = self._clock()
        if self._write_through and (self._writer is None or self._writer.done()):
            self._writer = asyncio.get_running_loop().create_task(self._write_on())

    async def flush(self, *, everything: bool = False) -> bool:
        """Write what is due by now, or everything. False: not all could be written; it is kept for the next flush."""
        async with self._one_flush:
            self._end_rests(everything=everything)
            self._try_held_up_again()
            # Not until none are due: where nobody rests, a busy user is due again at once, and would be for ever.
            for _ in range(0, len(self._due), _BATCH):
                if not await self._flush_batch():
                    return False
            return not self._held_up

    async def run(self) -> None:
        """Flush at each tick, and where rests end, until cancelled."""
        tick_at = self._clock() + self._flush_seconds
        while True:
            wake_at = min(tick_at, self._rests[0][0]) if self._rests else tick_at
            await asyncio.sleep(max(wake_at - self._clock(), self._slack))
            await self.flush()
            if self._clock() >= tick_at:
                tick_at = max(tick_at + self._flush_seconds, self._clock())

    def write_through(self) -> None:
        """Write each use at once from now on: the process is stopping, and there may be no next tick."""
        self._write_through = True

    async def drain(self) -> bool:
        """Write everything, within 2 s. False: what could not be written has gone to the log.

        To be called when the doors are shut. Uses that come nevertheless are written through.
        """
        self.write_through()
        draining = asyncio.get_running_loop().create_task(self._write_out())
        await asyncio.wait({draining}, timeout=_DRAIN_SECONDS)
        if draining.done():
            return True
        self._log_pending()
        draining.cancel()
        return False

    async def _write_out(self) -> None:
        while self.pending:
            if not await self.flush(everything=True):
                await asyncio.sleep(_DRAIN_PAUSE_SECONDS)

    async def _write_on(self) -> None:
        while self.pending:
            if not await self.flush(everything=True):
                return  # the next use tries again, and so does the drain

    def _log_pending(self) -> None:
        uses = dict(self._writing)
        _keep_latest(uses, self._held_up)
        _keep_latest(uses, self._late)
        _keep_latest(uses, self._due)
        epoch = self._wall() - self._clock()
        pending = {
            user_id: datetime.fromtimestamp(epoch + used_at, UTC).isoformat(timespec="milliseconds")
            for user_id, used_at in sorted(uses.items())
        }
        _log.error("activity_not_written", pending=pending)

    def _end_rests(self, *, everything: bool) -> None:
        now = self._clock()
        while self._rests and (everything or self._rests[0][0] <= now + self._slack):
            _, users = self._rests.popleft()
            self._resting.difference_update(users)
            self._make_due(users)

    def _try_held_up_again(self) -> None:
        """Move what was held up, and what the same users did since, to what is due."""
        held_up, self._held_up = self._held_up, {}
        _keep_latest(self._due, held_up)
        self._resting.difference_update(held_up)
        self._make_due(list(held_up))

    def _make_due(self, users: list[str]) -> None:
        """Move what these users did late to what is due."""
        _keep_latest(self._due, {user: self._late.pop(user) for user in users if user in self._late})

    async def _flush_batch(self) -> bool:
        started = self._clock()
        # Swapped before the first await, and at rest from here on: uses that come meanwhile are late ones.
        if len(self._due) <= _BATCH:
            self._writing, self._due = self._due, {}
        else:
            self._writing = {user: self._due.pop(user) for user in list(self._due)[:_BATCH]}
        users = list(self._writing)
        if self._rest_seconds:
            self._resting.update(users)
        written = False
        try:
            held = await self._write(self._writing)
            self._held_up |= {user: self._writing[user] for user in held}
            written = True
        except DATABASE_FAILURES as error:
            if not self._database.writes_failing:
                _log.warning("activity_kept", users=len(users), reason=describe(error))
        except Exception:
            if not self._database.writes_failing:
                _log.exception("activity_kept", users=len(users))
        finally:
            # Also when cancelled. Whether it was written is not known then, but to write it again changes nothing.
            if not written:
                _keep_latest(self._due, self._writing)
                self._resting.difference_update(users)
                self._make_due(users)
            elif self._rest_seconds:
                self._rests.append(
                    (started + self._rest_seconds, [user for user in users if user not in self._held_up])
                )
            self._writing = {}
        if written and self._database.writes_failing:
            _log.info("activity_written_again", users=len(users))
        self._database.writes_failing = not written
        self._on_flush("ok" if written else "error", self._clock() - started)
        return written

    async def _write(self, uses: Mapping[str, float]) -> list[str]:
        """Write, and return whose rows somebody holds, so that they were not written."""
        async with asyncio.timeout(_WRITE_SECONDS), acquire(self._pool, _WRITE_SECONDS) as connection:
            now = self._clock()  # only now: while we waited for a connection the uses got older
            ages = [str(now - used_at) for used_at in uses.values()]
            (row,) = await connection.fetch(_RECORD_ACTIVITY, list(uses), ages)
            if not row["whole"]:
                raise ScopeIncomplete("triggers are missing, so a dump is being restored")
            return list(row["held"])


def _keep_latest(uses: dict[str, float], others: Mapping[str, float]) -> None:
    """Put `others` into `uses`, the later one of each."""
    for user_id, used_at in others.items():
        if used_at > uses.get(user_id, float("-inf")):
            uses[user_id] = used_at
