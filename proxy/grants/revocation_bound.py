"""How long a revoked key may still be accepted."""

from proxy.grants.database_status import DatabaseStatus, FeedMode
from proxy.grants.feed_connection import ANSWER_SECONDS
from proxy.settings import GrantSettings

_WOKEN_SECONDS = 0.05
"""From a commit to its effect when notifications arrive: 99 of 100 are faster (docs/metrics.md has the figures)."""


def revocation_bound(database: DatabaseStatus, settings: GrantSettings) -> float:
    """Return the upper bound, in seconds, on how long a revoked key is still accepted."""
    if database.feed_mode is FeedMode.WOKEN:
        return _WOKEN_SECONDS
    if database.feed_mode is FeedMode.POLLING:
        return settings.poll_seconds + ANSWER_SECONDS
    return settings.ttl_seconds + (settings.stale_seconds if database.cut_off else 0)
