"""A filter of all keys that exist, in memory, so that most unknown keys of a flood need no query."""

import asyncio
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable

import structlog

from proxy.grants.connections import DATABASE_FAILURES, describe
from proxy.grants.database_status import DatabaseStatus
from proxy.grants.scope_table import ScopeTable

_PREFIX_BYTES = 8
"""How many bytes of each digest the filter holds. With 1,000,000 keys, one unknown key in 10¹³ seems to exist."""

_PAGE = 5_000
"""How many keys one query loads."""

_PAGE_SECONDS = 10.0
"""How long one query may take."""

_RETRY_SECONDS = 1.0

_MAX_AGE_SECONDS = 600.0
"""The filter is loaded again after this time, if it is still needed. So a key that the feed did not report, because
triggers were disabled, is in the filter after this time at the latest."""

_MAX_ADDED = 100_000
"""How many keys the feed may add before the filter is loaded again, because sets take ten times the memory."""

_log = structlog.get_logger()


class KeyFilter:
    """Contains every key that exists, and keys that were deleted since it was loaded.

    It is loaded in pages when it is first needed. The change feed keeps it current: every key that the feed reports is
    added, starting before the first page is read. So a key that is missing did not exist when the feed was last read.
    """

    def __init__(self, scope: ScopeTable, database: DatabaseStatus, clock: Callable[[], float]) -> None:
        self._scope = scope
        self._database = database
        self._clock = clock
        self._loaded = array("Q")
        """The prefixes of the digests that were loaded, in ascending order. They take 8 bytes per key."""
        self._added: set[int] = set()
        """The prefixes of the keys that the feed has reported since the load began."""
        self._loaded_at: float | None = None
        self._generation = 0
        """Incremented when the filter is dropped, so that a page that is being read is not used."""
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Return how many keys the filter contains, or 0 while it is not complete."""
        return 0 if self._loaded_at is None else len(self._loaded) + len(self._added)

    @property
    def idle(self) -> bool:
        """Whether nothing is being loaded."""
        return self._task is None

    @property
    def usable(self) -> bool:
        """Whether the filter contains every key that was committed before the feed was last read."""
        return self._fresh and self._database.feed_up is True

    @property
    def _fresh(self) -> bool:
        return self._loaded_at is not None and self._clock() < self._loaded_at + _MAX_AGE_SECONDS

    def __contains__(self, digest: bytes) -> bool:
        """Return whether the key may exist. Only meaningful while the filter is `usable`."""
        prefix = int.from_bytes(digest[:_PREFIX_BYTES])
        if prefix in self._added:
            return True
        at = bisect_left(self._loaded, prefix)
        return at < len(self._loaded) and self._loaded[at] == prefix

    def add(self, digest: bytes) -> None:
        """Add a key that the feed has reported: it was created, changed or deleted."""
        if self._loaded_at is None and self._task is None:
            return
        self._added.add(int.from_bytes(digest[:_PREFIX_BYTES]))
        if len(self._added) > _MAX_ADDED:
            self.drop()

    def expect(self, digest: bytes, position: int) -> None:
        """Check that the filter contains a key that exists at this position of the feed."""
        if self._loaded_at is not None and position <= self._scope.feed_position and digest not in self:
            _log.warning("key_filter_incomplete", reason="the change feed did not report a key; are triggers disabled?")
            self.drop()

    def drop(self) -> None:
        """Drop all keys, because the feed did not report every change. A load in progress starts again."""
        self._generation += 1
        self._loaded = array("Q")
        self._added = set()
        self._loaded_at = None

    def load(self) -> None:
        """Load the filter in the background if it is missing or too old. While the feed cannot be read, keep it."""
        if self._task is None and not self._fresh:
            self.drop()
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Cancel loading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=_PAGE_SECONDS)

    async def _run(self) -> None:
        try:
            while not await self._load():
                pass
            _log.info("key_filter_loaded", keys=len(self))
        except Exception:
            _log.exception("key_filter_failed")
        finally:
            self._task = None

    async def _load(self) -> bool:
        """Load all pages. Return False if the filter was dropped in the meantime."""
        generation = self._generation
        failed = False
        after = b""
        while True:
            try:
                if not self._database.feed_up:
                    raise ConnectionError("the change feed cannot be read")
                async with asyncio.timeout(_PAGE_SECONDS):
                    page = await self._scope.list_keys(after, _PREFIX_BYTES, _PAGE)
            except DATABASE_FAILURES as error:
                if not failed:
                    _log.warning("key_filter_not_loaded", reason=describe(error))
                failed = True
                await asyncio.sleep(_RETRY_SECONDS)
                page = None
            if self._generation != generation:
                return False
            if page is None:
                continue
            if not page:
                self._loaded_at = self._clock()
                return True
            prefixes = array("Q", page)
            if sys.byteorder == "little":
                prefixes.byteswap()
            self._loaded += prefixes
            # Other keys with the last prefix need not be loaded: the filter cannot tell them apart.
            after = page[-_PREFIX_BYTES:] + b"\xff" * 32
