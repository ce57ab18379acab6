"""A circuit breaker: while the database is down, one lookup at a time probes it."""

import math
from collections.abc import Callable

import structlog

_PAUSE_SECONDS = 0.25
"""The time between two probes. It is short, because probes are cheap: a refused connection costs almost nothing."""

_log = structlog.get_logger()


class CircuitBreaker:
    """Opens when the database fails a lookup, and closes when it answers one. `lookups` is their name in the log."""

    def __init__(self, lookups: str, clock: Callable[[], float]) -> None:
        self.is_open = False
        self.closed_at = -math.inf
        """When the breaker last closed, in the clock's seconds."""
        self._lookups = lookups
        self._clock = clock
        self._probing = False
        self._next_probe_at = 0.0

    @property
    def ready(self) -> bool:
        """Whether `admits` would return True now."""
        return not self.is_open or (not self._probing and self._clock() >= self._next_probe_at)

    def admits(self) -> bool:
        """Return whether a lookup may use the database. While the breaker is open, only one at a time may, as a probe.

        The lookup then calls `succeeded` or `failed`. A probe also calls `probe_ended`, whatever its outcome.
        """
        if not self.ready:
            return False
        self._probing = self.is_open
        return True

    def succeeded(self) -> None:
        """Record that the database answered."""
        if self.is_open:
            _log.info("database_answers_again", lookups=self._lookups)
            self.closed_at = self._clock()
        self.is_open = False

    def failed(self, reason: str) -> None:
        """Record that the database did not answer. `reason` is logged once per outage."""
        if not self.is_open:
            _log.warning("database_does_not_answer", lookups=self._lookups, reason=reason)
        self.is_open = True
        self._next_probe_at = self._clock() + _PAUSE_SECONDS

    def probe_ended(self) -> None:
        """Let another lookup probe the database."""
        self._probing = False
