"""How long a revoked key may still be accepted."""

from proxy.grants.database_status import DatabaseStatus, FeedMode, Health
from proxy.grants.feed_connection import ANSWER_SECONDS
from proxy.settings import GrantSettings

_WOKEN_SECONDS = 0.05
"""Time from commit to effect if notifications arrive. 99 % of the changes are faster (figures in docs/metrics.md)."""


def revocation_bound(database: DatabaseStatus, settings: GrantSettings) -> float:
    """Return the upper bound, in seconds, on how long a revoked key is still accepted."""
    if database.health is Health.READ_ONLY:
        # A standby, or an old primary that was fenced: revocations that are made elsewhere do not arrive here.
        return settings.ttl_seconds + settings.stale_seconds
    if database.feed_mode is FeedMode.WOKEN:
        return _WOKEN_SECONDS
    if database.feed_mode is FeedMode.POLLING:
        return settings.poll_seconds + ANSWER_SECONDS
    return settings.ttl_seconds + (settings.stale_seconds if database.cut_off else 0)
