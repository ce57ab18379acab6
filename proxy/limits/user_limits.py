"""The limits on the requests of API users: which one applies to a request, and whether it passes."""

import math
import time
from collections.abc import Callable, Mapping
from datetime import date

from cachetools import LRUCache

from proxy.decision.grant import Grant
from proxy.decision.limits import Limits, Rate, limits_that_apply
from proxy.decision.routes import Route
from proxy.limits.buckets import Bucket
from proxy.limits.days import Days
from proxy.limits.demand import Demand
from proxy.limits.rate_limited import beyond_day, beyond_rate
from proxy.refusals import Refusal

_REFUSALS = 1_000
"""How many refusals are remembered, because rendering one takes longer than the decision."""

_SHARE_SECONDS = 5.0
"""How long it may take until this process has a larger share of a limit, because others have less demand."""

_FORGET_SECONDS = 60.0
"""The interval in which buckets are forgotten that hold as much as new ones."""


class UserLimits:
    """Judges each request that passes the decision. A request that is refused here takes no token."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        # By API user, for its own limit, or by API user and route, for the limit of the route.
        self._buckets: dict[str, Bucket] = {}
        now = clock()
        self._forget_at = now + _FORGET_SECONDS
        self._demand = Demand(now)
        self._days = Days(wall_clock)
        self.used = False
        """Whether any request had a limit per second yet."""
        self._refusals: LRUCache[tuple[Callable[[Limits, int], Refusal], Limits, int], Refusal] = LRUCache(_REFUSALS)

    def __len__(self) -> int:
        """Return how many buckets there are."""
        return len(self._buckets)

    def take(self, grant: Grant, route: Route) -> Refusal | None:
        """Count a request of this API user on this route, and take its token. Otherwise, return the refusal."""
        limits = limits_that_apply(grant.limits, route.limits)
        if limits is None:
            return None
        if limits.per_day is not None and (left := self._days.seconds_left(grant.user_id, limits.per_day)):
            return self._refusal(beyond_day, limits, left)
        if limits.rate is not None:
            own = grant.limits is not None and grant.limits.rate is not None
            wait = self._take_token(grant.user_id if own else f"{grant.user_id}/{route.name}", limits.rate)
            if wait:
                return self._refusal(beyond_rate, limits, math.ceil(wait))
        if limits.per_day is not None:
            self._days.count(grant.user_id)
        return None

    def take_plainly(self, grant: Grant, route: Route) -> bool:
        """Do what `take` does for an API user without limits of its own, if the request passes and a bucket exists.

        Otherwise, return False without any effect.
        """
        limits = route.limits
        if limits is None:
            return True
        if limits.per_day is not None and self._days.seconds_left(grant.user_id, limits.per_day):
            return False
        if limits.rate is not None:
            bucket = self._buckets.get(f"{grant.user_id}/{route.name}")
            if bucket is None or not bucket.has_token(self._clock()):
                return False
        return self.take(grant, route) is None

    def _take_token(self, party: str, limit: Rate) -> float:
        """Take a token and return 0, or return the seconds until there may be one."""
        now = self._clock()
        bucket = self._bucket(party, limit, now)
        if not bucket.asked:
            self._demand.notice(bucket)
        return min(bucket.take(now), max(1 / limit.per_second, _SHARE_SECONDS))

    def _refusal(self, make: Callable[[Limits, int], Refusal], limits: Limits, seconds: int) -> Refusal:
        known = (make, limits, seconds)
        refusal = self._refusals.get(known)
        if refusal is None:
            refusal = self._refusals[known] = make(limits, seconds)
        return refusal

    def learn_totals(self, day: date, totals: Mapping[str, int]) -> None:
        """Take over how many requests of API users have passed on a day (UTC), in all processes."""
        self._days.learn(day, totals)

    def measure(self) -> dict[str, float]:
        """Return the demand since the last call: the requests per second of each party that has a limit."""
        return self._demand.measure(self._clock())

    def divide(self, others: Mapping[str, float], processes: int) -> None:
        """Set what this process gets of each measured party's limit, given the demand in all other processes."""
        self._demand.divide(others, processes, self._clock())

    def _bucket(self, party: str, limit: Rate, now: float) -> Bucket:
        bucket = self._buckets.get(party)
        if bucket is None:
            if now >= self._forget_at:
                self._forget_unused(now)
            bucket = self._buckets[party] = Bucket(party, limit, self._demand.first_share, now)
            self.used = True
        elif bucket.limit is not limit and bucket.limit != limit:
            bucket.change(limit, bucket.share, now)
        return bucket

    def _forget_unused(self, now: float) -> None:
        share = self._demand.first_share
        self._buckets = {party: bucket for party, bucket in self._buckets.items() if not bucket.is_like_new(share, now)}
        self._forget_at = now + _FORGET_SECONDS
