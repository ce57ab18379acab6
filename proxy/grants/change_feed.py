"""The change feed, followed: what a revoke takes away is forgotten here, milliseconds after it was committed.

The poll is the heartbeat. A notification only makes it come sooner, so a pooler that swallows them, or a connection
that is half open, costs `poll_seconds` and not a silence.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import NamedTuple

import asyncpg
import structlog

from proxy.grants.cache import Grants
from proxy.grants.changes import Changes
from proxy.grants.scope_table import DATABASE_FAILURES, reason, reason_not_connected
from proxy.settings import GrantSettings
from sql.queries import query

_FEED_SOURCE = query("feed_source")
_FEED_BACKEND = query("feed_backend")
_FEED_HEAD = query("feed_head")
_READ_FEED = query("read_feed")
_CHANNEL = "sitelatch_scope"

ANSWER_SECONDS = 0.5
"""Within these the database must answer a read, else the feed counts as down."""

_ATTACH_SECONDS = 2.0
"""For the questions that begin a connection."""

_PAGE = 1000
"""Changes read at once: 100,000 of them hold the event loop for some milliseconds at a time."""

_PAUSE_SECONDS = 0.25
"""Before the next try where the database cannot be reached."""

_WOKEN_SECONDS = 0.05
"""From a commit to its effect where notifications arrive: 99 of 100 are quicker (docs/metrics.md has the figures)."""

_UNHEARD_SECONDS = 0.25
"""A change so old that only the poll finds was not notified."""

_log = structlog.get_logger(__name__)


class FeedMode(Enum):
    """How changes arrive."""

    WOKEN = "woken"
    POLLING = "polling"
    DOWN = "down"


class Row(NamedTuple):
    """A row of the feed. Another feed has no row with the same number and time."""

    seq: int
    at: float


class NoFeed(Exception):  # noqa: N818 - it says what is
    """Nobody would tell what changes: the table is empty, nothing writes it, as in a restore, or it is a standby's."""


class Feed:
    """Reads what changed, has grants forget it, and then tells `on_changes`. Both must not raise.

    `on_dropped` hears why how many grants were dropped: `key`, `user`, `all` (as the change is called), `feed` (no
    telling what changed: it is another feed, or it does not reach back).
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        grants: Grants,
        *,
        poll_seconds: float,
        on_dropped: Callable[[str, int], None],
        on_changes: Callable[[Changes], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._grants = grants
        self._poll_seconds = poll_seconds
        self._on_dropped = on_dropped
        self._on_changes = on_changes
        self._clock = clock
        self.read_at = clock()
        """Whatever was committed before this (the clock's seconds) is known here."""
        self._last: Row | None = None
        """The newest row that was seen."""
        self._source: tuple[str, str] | None = None
        self._up = False
        self._heard = False
        """Whether notifications arrive, as far as can be told."""
        self._wake = asyncio.Event()
        self._said: str | None = None

    @property
    def mode(self) -> FeedMode:
        """How changes arrive now."""
        if not self._up:
            return FeedMode.DOWN
        return FeedMode.WOKEN if self._heard else FeedMode.POLLING

    @property
    def lag_seconds(self) -> float:
        """How long ago the feed was last read to its end."""
        return self._clock() - self.read_at

    async def run(self) -> None:
        """Follow for ever, whatever becomes of the database."""
        while True:
            try:
                await self._follow()
            except NoFeed as error:
                self._say("feed_down", str(error))
            except DATABASE_FAILURES as error:
                self._say("feed_down", reason_not_connected(error))
            except Exception:
                _log.exception("feed_failed")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _follow(self) -> None:
        connection = await self._connect()
        try:
            await self._attach(connection)
            woken = True
            while True:
                await self._catch_up(connection, woken=woken)
                self._say("feed_up", self.mode.value)
                woken = await self._wait()
        finally:
            self._up = self._heard = False
            self._grants.feed_left()
            connection.terminate()

    async def _attach(self, connection: asyncpg.Connection) -> None:
        async with asyncio.timeout(_ATTACH_SECONDS):
            (backend,) = await connection.fetch(_FEED_BACKEND)
            if backend["standby"]:  # it has no other feed, but less of this one: what was followed still counts
                raise NoFeed("this is a standby, which may lag behind for long")
            source = await _source(connection)
            if self._source is not None and source is not None and source != self._source:
                self._lose("another server, or another timeline of it")
            self._source = source or self._source
            connection.add_termination_listener(self._ended)
            self._heard = await self._listen(connection, backend["pid"])

    async def _listen(self, connection: asyncpg.Connection, backend: int) -> bool:
        """Ask to be woken; return whether it can be relied on. `backend` is the process that answers."""
        if backend != connection.get_server_pid():
            return False  # behind a pooler this would listen on a connection that others get next
        try:
            await connection.add_listener(_CHANNEL, self._notified)
        except asyncpg.PostgresError as error:
            _log.warning("feed_not_woken", reason=reason(error))
            return False
        return True

    def _notified(self, *_: object) -> None:
        self._heard = True
        self._wake.set()

    def _ended(self, *_: object) -> None:
        self._wake.set()  # the next read finds out why

    async def _wait(self) -> bool:
        """Wait until woken, or for as long as a change may stay unseen; return whether woken."""
        try:
            async with asyncio.timeout(self._poll_seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    async def _catch_up(self, connection: asyncpg.Connection, *, woken: bool) -> None:
        """Read to the end."""
        self._wake.clear()
        while True:
            last = self._last or await self._begin(connection)
            asked_at, known_position = self._clock(), self._grants.newest_position
            async with asyncio.timeout(ANSWER_SECONDS):
                rows = await connection.fetch(_READ_FEED, last.seq, _PAGE)
            if not rows or Row(rows[0]["seq"], rows[0]["at"]) != last:
                self._lose("it went back, or does not reach back to where it was left")
                continue
            self._last = Row(rows[-1]["seq"], rows[-1]["at"])
            if len(rows) > 1:
                self._apply(Changes.read(rows[1:]))
                if not woken and rows[1]["age"] > _UNHEARD_SECONDS:
                    self._heard = False
            self._grants.feed_at(self._last.seq)
            if len(rows) < _PAGE:
                if self._last.seq < known_position:
                    self._lose("it went back to where it was left, behind what look-ups have seen since")
                    await self._begin(connection)
                    raise NoFeed("it is looked for anew, for this may be an old primary's")
                self.read_at = asked_at
                if not self._up:
                    self._up = True
                    self._grants.feed_back(self._clock() - asked_at)
                return

    def _lose(self, why: str) -> None:
        """Follow no further from the last row. What is held is dropped when there is a head to begin at."""
        _log.warning("feed_lost", reason=why)
        self._last = None
        self._grants.feed_at(0)

    async def _begin(self, connection: asyncpg.Connection) -> Row:
        """Begin at the head. What is held may be from before it, so it is dropped."""
        async with asyncio.timeout(ANSWER_SECONDS):
            rows = await connection.fetch(_FEED_HEAD)
        if not rows:
            raise NoFeed("the table of changes is empty, or has no triggers")
        self._last = Row(rows[0]["seq"], rows[0]["at"])
        self._grants.answered()
        self._on_dropped("feed", self._grants.drop_all())
        self._grants.feed_at(self._last.seq)  # at once: what is asked from here on is not recalled any more
        self._on_changes(Changes(everything=True))
        return self._last

    def _apply(self, changes: Changes) -> None:
        grants = self._grants
        if changes.everything:
            self._on_dropped("all", grants.drop_all())
        else:
            self._on_dropped("key", sum(grants.drop(key, seq) is not None for key, seq in changes.keys.items()))
            self._on_dropped("user", sum(len(grants.drop_user(user, seq)) for user, seq in changes.users.items()))
            for site in changes.sites:
                grants.drop_site(site)
        self._on_changes(changes)

    def _say(self, event: str, why: str) -> None:
        """Log what changes about the feed itself: once, not at each try."""
        if self._said == event + why:
            return
        self._said = event + why
        if event == "feed_up":
            _log.info(event, mode=why)
        else:
            _log.warning(event, reason=why)


def revocation_bound(mode: FeedMode, settings: GrantSettings, *, cut_off: bool) -> float:
    """Return within how many seconds a revoked key stops passing. `cut_off`: no lookup is answered either."""
    if mode is FeedMode.WOKEN:
        return _WOKEN_SECONDS
    if mode is FeedMode.POLLING:
        return settings.poll_seconds + ANSWER_SECONDS
    return settings.ttl_seconds + (settings.stale_seconds if cut_off else 0)


async def _source(connection: asyncpg.Connection) -> tuple[str, str] | None:
    """Return which server this is and which of its pasts it continues; None where it may not be asked."""
    try:
        (row,) = await connection.fetch(_FEED_SOURCE)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedFunctionError, asyncpg.FeatureNotSupportedError):
        return None
    return row["system_identifier"], row["timeline"]
