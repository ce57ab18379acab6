"""Follows the change feed: a revoked key leaves the cache within milliseconds of the commit.

The feed is polled. A notification only triggers the next poll early. So a change is delayed by at most `poll_seconds`
if a pooler swallows notifications or a connection is half-open.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg
import structlog

from proxy.grants.cache import GrantCache
from proxy.grants.changes import Changes
from proxy.grants.connections import DATABASE_FAILURES, describe_connecting
from proxy.grants.entries import random_jitter
from proxy.grants.feed_connection import PAGE, FeedConnection, FeedUnavailable, Row
from sql.connect import NoMatchingServer

_PAUSE_SECONDS = 0.25
"""Pause between two attempts while the feed cannot be read."""

_LONGEST_PAUSE_SECONDS = 2.0
"""The maximum pause. It doubles while connections lead to the wrong server, because connecting is not cheap."""

_UNNOTIFIED_SECONDS = 0.25
"""If a poll finds a change that is older than this, no notification arrived for it."""

_log = structlog.get_logger(__name__)


class ChangeFeed:
    """Reads changes, drops the affected grants, and then calls `on_changes`, which must not raise.

    `on_dropped` is called with the reason and the number of dropped grants. The reason is `key`, `user` or `all` (the
    kind of change), or `feed` (changes may have been missed: the feed was replaced, or its older rows were pruned).
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        grants: GrantCache,
        *,
        poll_seconds: float,
        on_dropped: Callable[[str, int], None],
        on_changes: Callable[[Changes], None],
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random_jitter,
    ) -> None:
        self._connect = connect
        self._jitter = jitter
        self._grants = grants
        self._database = grants.database
        self._poll_seconds = poll_seconds
        self._on_dropped = on_dropped
        self._on_changes = on_changes
        self._clock = clock
        self.read_at = clock()
        """All changes that were committed before this time (in the clock's seconds) have been read."""
        self._last: Row | None = None
        """The newest row that was read."""
        self._source: tuple[str, str] | None = None
        self._wake = asyncio.Event()
        self._reconnect = asyncio.Event()
        self._pause_seconds = _PAUSE_SECONDS
        self._woken = False
        """Whether a notification has arrived since the last read."""
        grants.feed_reads.on_wanted = self._wake.set
        self._logged: tuple[str, str] | None = None

    @property
    def position(self) -> int:
        """The number of the newest change that was read, or 0."""
        return 0 if self._last is None else self._last.seq

    @property
    def lag_seconds(self) -> float:
        """How long ago the feed was last read to its end."""
        return self._clock() - self.read_at

    async def run(self) -> None:
        """Follow the feed until canceled, through outages of the database."""
        while True:
            self._reconnect.clear()
            try:
                await self._follow()
                continue  # `reconnect` was called, so open a new connection
            except FeedUnavailable as error:
                self._log("feed_down", str(error))
                self._back_off()
            except NoMatchingServer as error:
                self._log("feed_down", describe_connecting(error))
                self._back_off()
            except DATABASE_FAILURES as error:
                self._log("feed_down", describe_connecting(error))
            except Exception:
                _log.exception("feed_failed")
            with suppress(TimeoutError):
                # The jitter keeps many processes from reconnecting together.
                async with asyncio.timeout(self._pause_seconds * (1 - self._jitter() / 5)):
                    await self._reconnect.wait()

    def reconnect(self) -> None:
        """Open a new connection now, because the address leads to another server, or the database answers again."""
        self._reconnect.set()
        self._wake.set()

    def _back_off(self) -> None:
        """Double the pause after a connection that led to the wrong server."""
        self._pause_seconds = min(2 * self._pause_seconds, _LONGEST_PAUSE_SECONDS)

    async def _follow(self) -> None:
        """Follow the feed over one connection. Returns once `reconnect` is called."""
        connection = FeedConnection(await self._connect())
        try:
            source, self._database.feed_notified = await connection.attach(
                on_notification=self._notified, on_end=self._wake.set
            )
            if self._source is not None and source is not None and source != self._source:
                self._lose("it belongs to another server, or to another timeline")
            self._source = source or self._source
            woken = True
            while not self._reconnect.is_set():
                await self._catch_up(connection, woken=woken)
                self._pause_seconds = _PAUSE_SECONDS
                self._log("feed_up", self._database.feed_mode.value)
                woken = await self._wait()
        finally:
            self._database.feed_notified = False
            self._grants.feed_down()
            connection.terminate()

    def _notified(self) -> None:
        self._database.feed_notified = True
        self._woken = True
        self._wake.set()

    async def _wait(self) -> bool:
        """Wait until it is time to read the feed again. Returns whether there was a notification."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds):
                await self._wake.wait()
        woken, self._woken = self._woken, False
        return woken

    async def _catch_up(self, connection: FeedConnection, *, woken: bool) -> None:
        """Read the feed to its end."""
        self._wake.clear()
        while True:
            last = self._last or await self._start(connection)
            asked_at, seen_by_lookups = self._clock(), self._grants.newest_position
            self._grants.feed_reads.begun()
            rows = await connection.read(last)
            if rows is None:
                self._lose("the last row that was read is gone, so the feed was restored or pruned")
                continue
            self._last = Row(rows[-1]["seq"], rows[-1]["at"])
            if len(rows) > 1:
                self._apply(Changes.read(rows[1:]))
                if not woken and rows[1]["age"] > _UNNOTIFIED_SECONDS:
                    self._database.feed_notified = False
            self._grants.feed_at(self._last.seq)
            if len(rows) < PAGE:
                if self._last.seq < seen_by_lookups:
                    self._lose("lookups have seen later changes: this feed was restored or belongs to an old primary")
                    await self._start(connection)
                    raise FeedUnavailable("reconnecting, because this server may be an old primary")
                self.read_at = asked_at
                if not self._database.feed_up:
                    self._grants.feed_resumed(self._clock() - asked_at)
                self._grants.feed_reads.ended()
                return

    def _lose(self, why: str) -> None:
        """Forget the position in the feed. Grants are dropped later, once there is a new position to start from."""
        _log.warning("feed_lost", reason=why)
        self._last = None
        self._grants.feed_at(0)

    async def _start(self, connection: FeedConnection) -> Row:
        """Start at the newest row. Cached grants may be older, so they are dropped."""
        self._last = await connection.newest()
        self._grants.answered()
        self._on_dropped("feed", self._grants.drop_all())
        # Set the position without awaiting, because no later row invalidates the answers of lookups from here on.
        self._grants.feed_at(self._last.seq)
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

    def _log(self, event: str, detail: str) -> None:
        """Log a change in the state of the feed, once."""
        if self._logged == (event, detail):
            return
        self._logged = (event, detail)
        if event == "feed_up":
            _log.info(event, mode=detail)
        else:
            _log.warning(event, reason=detail)
