"""The demand of each API user in this process, and the share of its limit that this process gets. No I/O."""

from collections.abc import Mapping

from proxy.limits.buckets import Bucket
from proxy.limits.shares import share

_WEIGHT = 0.5
"""The weight of the newest measurement in the demand. It smooths random arrivals, and follows the load in seconds."""

_NEGLIGIBLE = 0.01
"""The part of a limit up to which demand is not reported, in all processes together. This keeps reports small, because
most API users stay far below their limit. A bucket that lacks tokens is reported all the same: it must not fill while
others use the whole limit."""


class Demand:
    """Measures how often buckets are asked for tokens, and sets their shares."""

    def __init__(self, now: float) -> None:
        self.processes = 1
        """How many processes apply limits, as far as this one knows."""
        self._measured_at = now
        self._divided = True
        """Whether the demand of the others was known after the last measurement."""
        self._asked: list[Bucket] = []
        self._demand: dict[str, tuple[Bucket, float]] = {}

    @property
    def first_share(self) -> float:
        """The share of a bucket whose demand is not known yet."""
        return 1 / self.processes

    def notice(self, bucket: Bucket) -> None:
        """Note that a bucket is about to be asked for the first time since the last measurement."""
        self._asked.append(bucket)

    def measure(self, now: float) -> dict[str, float]:
        """Return the demand of each party that has any, or lacks tokens, in requests per second since the last call."""
        seconds = max(now - self._measured_at, 1e-3)
        asked, self._asked, self._measured_at = self._asked, [], now
        measured = {bucket.party: (bucket, bucket.asked / seconds) for bucket in asked}
        for bucket in asked:
            bucket.asked = 0
        for party, (bucket, before) in self._demand.items():
            used, newest = measured.get(party, (bucket, 0.0))
            measured[party] = (used, before + _WEIGHT * (newest - before))
        self._demand = {}
        for party, (bucket, demand) in measured.items():
            negligible = demand <= _NEGLIGIBLE * bucket.limit.per_second / self.processes
            if not negligible or not bucket.is_like_new(self.first_share, now):
                self._demand[party] = (bucket, demand)
            if negligible and (party not in self._demand or not self._divided):
                # While the others' demand is unknown, a share of almost nothing would refuse a load that moves here.
                bucket.change(bucket.limit, self.first_share, now)
        self._divided = False
        return {party: demand for party, (_, demand) in self._demand.items()}

    def divide(self, others: Mapping[str, float], processes: int, now: float) -> None:
        """Set the shares of the measured parties, given their demand in all other processes."""
        self.processes = processes
        self._divided = True
        for party, (bucket, mine) in self._demand.items():
            if party in others:
                bucket.change(bucket.limit, share(bucket.limit.per_second, mine, others[party], processes), now)
