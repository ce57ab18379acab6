"""A database connection that reads the change feed."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import asyncpg
import structlog

from proxy.grants.connections import describe
from sql.queries import query

_FEED_SOURCE = query("feed_source")
_FEED_BACKEND = query("feed_backend")
_FEED_HEAD = query("feed_head")
_READ_FEED = query("read_feed")
_CHANNEL = "sitelatch_scope"

ANSWER_SECONDS = 0.5
"""How long a read may take before the feed counts as down."""

PAGE = 1000
"""The maximum number of changes per query. A backlog of 100,000 then blocks the event loop for only some
milliseconds at a time."""

_ATTACH_SECONDS = 2.0
"""How long the queries at the start of a connection may take."""

_log = structlog.get_logger(__name__)


class Row(NamedTuple):
    """A row of the feed. Its number and time together identify it, even if the feed was replaced by another one."""

    seq: int
    at: float


class FeedUnavailable(Exception):  # noqa: N818 - names what happened
    """This connection cannot report changes: the feed is empty, nothing writes to it, or the server is a standby."""


class FeedConnection:
    """Reads the feed over a connection, which the caller must `terminate`."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def attach(
        self, *, on_notification: Callable[[], None], on_end: Callable[[], None]
    ) -> tuple[tuple[str, str] | None, bool]:
        """Return the feed's source, and whether notifications can be relied on. Raises FeedUnavailable on a standby.

        The source is the server's identifier and timeline; None if the role may not query them.
        """
        async with asyncio.timeout(_ATTACH_SECONDS):
            (backend,) = await self._connection.fetch(_FEED_BACKEND)
            _refuse_standby(backend)
            source = await self._source()
            self._connection.add_termination_listener(lambda *_: on_end())
            return source, await self._listen(backend["pid"], on_notification)

    async def newest(self) -> Row:
        """Return the newest row. Raises FeedUnavailable if there is none."""
        async with asyncio.timeout(ANSWER_SECONDS):
            rows = await self._connection.fetch(_FEED_HEAD)
        if not rows:
            raise FeedUnavailable("the feed is empty, or its triggers are missing")
        _refuse_standby(rows[0])
        return Row(rows[0]["seq"], rows[0]["at"])

    async def read(self, last: Row) -> Sequence[Any] | None:
        """Return up to PAGE rows, starting with `last`. None if that row is gone."""
        async with asyncio.timeout(ANSWER_SECONDS):
            rows: Sequence[Any] = await self._connection.fetch(_READ_FEED, last.seq, PAGE)
        if not rows:
            return None
        _refuse_standby(rows[0])
        return rows if Row(rows[0]["seq"], rows[0]["at"]) == last else None

    def terminate(self) -> None:
        """Close the connection without notifying the server."""
        self._connection.terminate()

    async def _source(self) -> tuple[str, str] | None:
        try:
            (row,) = await self._connection.fetch(_FEED_SOURCE)
        except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedFunctionError, asyncpg.FeatureNotSupportedError):
            return None
        return row["system_identifier"], row["timeline"]

    async def _listen(self, backend: int, on_notification: Callable[[], None]) -> bool:
        """Subscribe to notifications. `backend` is the process that answers queries."""
        if backend != self._connection.get_server_pid():
            return False  # behind a pooler, LISTEN would remain on a server connection that other clients use next
        try:
            await self._connection.add_listener(_CHANNEL, lambda *_: on_notification())
        except asyncpg.PostgresError as error:
            _log.warning("feed_not_woken", reason=describe(error))
            return False
        return True


def _refuse_standby(row: Any) -> None:
    """Raise FeedUnavailable if a standby answered. It has the same feed with a delay, so earlier changes stay valid."""
    if row["standby"]:
        raise FeedUnavailable("the server is a standby, which may lag behind")
