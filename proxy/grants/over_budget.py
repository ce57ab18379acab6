"""Finds out whether a key exists, for clients that are over their budget of unknown keys."""

from collections.abc import Callable

from proxy.grants.answers import UNKNOWN
from proxy.grants.feed_reads import FeedReads
from proxy.grants.key_checks import EXISTS, Check, KeyChecks
from proxy.grants.key_filter import KeyFilter


class OverBudget:
    """Queries the filter of all keys, or the slow lane while the filter is not usable.

    The filter is as current as the change feed. So before a key counts as unknown, the feed is read once more: a key
    that was committed before the request is never refused. `on_lookup` is called with `filtered` or `checked`.
    """

    def __init__(
        self, key_filter: KeyFilter, feed_reads: FeedReads, checks: KeyChecks, on_lookup: Callable[[str], None]
    ) -> None:
        self._filter = key_filter
        self._feed_reads = feed_reads
        self._checks = checks
        self._on_lookup = on_lookup

    async def check(self, digest: bytes, network: str) -> Check:
        """Return whether a key exists. OVER_BUDGET means that too many keys of this client network are waiting."""
        if not self._filter.usable:
            self._filter.load()
        elif digest in self._filter:
            return EXISTS
        elif await self._feed_reads.next() and self._filter.usable:
            if digest in self._filter:
                return EXISTS
            self._on_lookup("filtered")
            return UNKNOWN
        self._on_lookup("checked")
        return await self._checks.check(digest, network)
