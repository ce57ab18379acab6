"""Whether the database answers: while it does not, one lookup at a time finds out when it does again."""

import math
from collections.abc import Callable

import structlog

_PAUSE_SECONDS = 0.25
"""Between two tries of a database that is down. A connection that is refused costs next to nothing."""

_log = structlog.get_logger()


class Breaker:
    """Open (`down`) from the first lookup that the database failed until the first that it answered."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._probing = False
        self._next_probe_at = 0.0
        self.down = False
        self.up_since = -math.inf
        """When (the clock's seconds) it answered again after an outage."""

    @property
    def ready(self) -> bool:
        """Whether a lookup would be admitted now."""
        return not self.down or (not self._probing and self._clock() >= self._next_probe_at)

    def admits(self) -> bool:
        """Return whether a lookup may go to the database now; while it is down that is one at a time, the probe.

        The lookup reports to `worked` or `failed`; the probe calls `probed` when it ends, however it does.
        """
        if not self.ready:
            return False
        self._probing = self.down
        return True

    def worked(self) -> None:
        """Note that the database answered."""
        if self.down:
            _log.info("database_answers_again")
            self.up_since = self._clock()
        self.down = False

    def failed(self, reason: str) -> None:
        """Note that the database did not answer. `reason` goes to the log, once an outage."""
        if not self.down:
            _log.warning("database_does_not_answer", reason=reason)
        self.down = True
        self._next_probe_at = self._clock() + _PAUSE_SECONDS

    def probed(self) -> None:
        """Note that the probe has ended, so that another lookup may try."""
        self._probing = False
