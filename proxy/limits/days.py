"""How many requests of each API user have passed today, in all processes. No I/O."""

import math
from collections.abc import Callable, Mapping
from datetime import date

_DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1).toordinal()


class Days:
    """Counts the requests of today (UTC) for API users with a limit per day.

    A count is at least what has passed in this process, and at least the last known total of all processes. Both only
    grow during a day, so the larger one is nearer to the truth.
    """

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._day = 0
        self._counts: dict[str, int] = {}
        self._left: tuple[int, dict[str, int]] = (0, {})
        """The day before the last change of the day, and its counts, because the clock may be set back to it."""

    def seconds_left(self, user_id: str, limit: int) -> int:
        """Return 0 if the API user may make another request today, or the seconds until the day ends."""
        wall = self._wall_clock()
        day = int(wall // _DAY_SECONDS)
        if day != self._day:
            left, (before, counts) = (self._day, self._counts), self._left
            self._day, self._counts, self._left = day, counts if before == day else {}, left
        if self._counts.setdefault(user_id, 0) < limit:
            return 0
        return math.ceil((day + 1) * _DAY_SECONDS - wall)

    def count(self, user_id: str) -> None:
        """Count a request that passes, after `seconds_left` has returned 0 for it."""
        self._counts[user_id] += 1

    def learn(self, day: date, totals: Mapping[str, int]) -> None:
        """Take over how many requests of API users have passed on a day, in all processes."""
        if day.toordinal() - _EPOCH != self._day:
            return
        for user_id, total in totals.items():
            known = self._counts.get(user_id)
            if known is not None and known < total:
                self._counts[user_id] = total
