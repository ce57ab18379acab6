"""Whether the database answers: one object for readiness, metrics, the grant cache, the change feed and activity."""

import time
from collections.abc import Callable
from enum import Enum

from proxy.grants.circuit_breaker import CircuitBreaker

_FEED_RETURNS_SECONDS = 1.0
"""How long stale answers are still used after an outage, to give the feed time to report which ones are valid."""


class Health(Enum):
    """The result of the last health check."""

    UNREACHED = "not reached yet"
    WRONG_SCHEMA = "wrong schema version"
    UP = "up"
    READ_ONLY = "read-only"
    DOWN = "down"


class FeedMode(Enum):
    """How changes arrive."""

    WOKEN = "woken"
    POLLING = "polling"
    DOWN = "down"


class DatabaseStatus:
    """The state of the database.

    | state                         | values                              | set by       | read by                     |
    |-------------------------------|-------------------------------------|--------------|-----------------------------|
    | `health`                      | a `Health`                          | health check | `/readyz`, metrics          |
    | `schema_proven`               | whether lookups could ever be made  | health check | `/readyz`, every lookup     |
    | `standby`                     | whether a standby answered          | health check | every lookup, metrics       |
    | `key_breaker`, `site_breaker` | closed or open                      | lookups      | the grant cache, revocation |
    | `feed_mode`                   | woken, polling, down                | change feed  | the grant cache, metrics    |
    | `writes_failing`              | whether the last write failed       | activity     | activity, metrics           |

    Keys and sites have separate circuit breakers because one table may be locked while the other can be read. The
    health check does not replace them. It has its own connection, and may succeed while the connections of the pool
    fail, for example when a pooler has run out of server connections.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.health = Health.UNREACHED
        self.schema_proven = False
        self.standby = False
        self.key_breaker = CircuitBreaker("keys", clock)
        self.site_breaker = CircuitBreaker("sites", clock)
        self.feed_up: bool | None = None
        """Whether the feed can be read. None until the first attempt to read it has succeeded or failed."""
        self.feed_notified = False
        """Whether notifications are believed to arrive."""
        self.writes_failing = False
        self._clock = clock

    @property
    def answers_lookups(self) -> bool:
        """Whether the last health check found a usable database: a primary, even if it is read-only."""
        return self.health in (Health.UP, Health.READ_ONLY) and not self.standby

    @property
    def writable(self) -> bool:
        """Whether the database accepts writes."""
        return self.health is Health.UP and not self.writes_failing

    @property
    def feed_mode(self) -> FeedMode:
        """How changes arrive now."""
        if not self.feed_up:
            return FeedMode.DOWN
        return FeedMode.WOKEN if self.feed_notified else FeedMode.POLLING

    @property
    def keys_cut_off(self) -> bool:
        """Whether stale grants are used: the database is down, or it has just come back and the feed has not."""
        return self._cut_off(self.key_breaker)

    @property
    def sites_cut_off(self) -> bool:
        """Whether stale site owners are used. Key lookups that find the database down are enough for that."""
        return self._cut_off(self.site_breaker) or self._cut_off(self.key_breaker)

    @property
    def cut_off(self) -> bool:
        """Whether stale answers may be used. Without lookups, only the health check notices an outage."""
        return self.sites_cut_off or self.health is not Health.UP

    @property
    def keys_worth_asking(self) -> bool:
        """Whether to look up keys that are still cached. False while the feed is expected to confirm them soon."""
        return self._worth_asking(self.key_breaker)

    @property
    def sites_worth_asking(self) -> bool:
        """Whether to look up sites that are still cached, like `keys_worth_asking`."""
        return self._worth_asking(self.site_breaker)

    def answered(self) -> None:
        """Record that the database answers, so that lookups need no probe."""
        self.key_breaker.succeeded()
        self.site_breaker.succeeded()

    def _cut_off(self, lookups: CircuitBreaker) -> bool:
        return lookups.is_open or (self.feed_up is False and self._clock() < lookups.closed_at + _FEED_RETURNS_SECONDS)

    def _worth_asking(self, lookups: CircuitBreaker) -> bool:
        return lookups.ready and (lookups.is_open or not self._cut_off(lookups))
