"""Whether the database answers: while it does not, one lookup at a time finds out when it does again.

And what follows for what is held: whether it is used past its time, and whether it is worth asking for.
"""

import math
from collections.abc import Callable

import structlog

_PAUSE_SECONDS = 0.25
"""Between two tries of a database that is down. A connection that is refused costs next to nothing."""

_FEED_RETURNS_SECONDS = 1.0
"""After an outage stale answers are used for so much longer at most, for the feed to say which of them still hold."""

_log = structlog.get_logger()


class Breaker:
    """Open (`down`) from the first lookup that the database failed until the first that it answered.

    `of` is what it is asked for: keys may be answered while the table of sites is locked, and the other way round.
    """

    def __init__(self, of: str, clock: Callable[[], float]) -> None:
        self._of = of
        self._clock = clock
        self._probing = False
        self._next_probe_at = 0.0
        self._up_since = -math.inf
        """When (the clock's seconds) it answered again after an outage."""
        self.down = False
        self.feed_away = False
        """Whether nobody tells for now what changes. Whoever follows the feed says so."""

    @property
    def ready(self) -> bool:
        """Whether a lookup would be admitted now."""
        return not self.down or (not self._probing and self._clock() >= self._next_probe_at)

    @property
    def cut_off(self) -> bool:
        """Whether stale answers are used: the database is down, or was just now and what changed is not known yet."""
        return self.down or (self.feed_away and self._clock() < self._up_since + _FEED_RETURNS_SECONDS)

    @property
    def worth_asking(self) -> bool:
        """Whether the database can be asked what still holds, and the feed is not about to make that needless."""
        return self.ready and (self.down or not self.cut_off)

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
            _log.info("database_answers_again", asked_for=self._of)
            self._up_since = self._clock()
        self.down = False

    def failed(self, reason: str) -> None:
        """Note that the database did not answer. `reason` goes to the log, once an outage."""
        if not self.down:
            _log.warning("database_does_not_answer", asked_for=self._of, reason=reason)
        self.down = True
        self._next_probe_at = self._clock() + _PAUSE_SECONDS

    def probed(self) -> None:
        """Note that the probe has ended, so that another lookup may try."""
        self._probing = False
