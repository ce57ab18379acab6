"""The limits on the requests of an API user. No I/O."""

import math
from typing import NamedTuple

from proxy.settings import MIN_PER_SECOND


class Rate(NamedTuple):
    """A token bucket: it gains `per_second` tokens, holds at most `burst`, and each request takes one."""

    per_second: float
    burst: int


class Limits(NamedTuple):
    """The limits of one API user, or those of a route for each of its API users. None: unlimited."""

    rate: Rate | None = None
    per_day: int | None = None
    """How many requests may pass in a day (UTC)."""


def read_limits(per_second: float | None, burst: int | None, per_day: int | None) -> Limits | None:
    """Return the limits with these values, or None if there are none. By default, a burst is a second's worth."""
    if per_second is None:
        return None if per_day is None else Limits(per_day=per_day)
    per_second = max(per_second, MIN_PER_SECOND)
    return Limits(Rate(per_second, burst or max(math.ceil(per_second), 1)), per_day)


def described_limits(limits: Limits) -> str:
    """Return the limits as text for people."""
    texts = []
    if limits.rate is not None:
        texts.append(f"{limits.rate.per_second:.12g} requests per second, in bursts of {limits.rate.burst:,}")
    if limits.per_day is not None:
        texts.append(f"{limits.per_day:,} requests per day (UTC)")
    return ", and ".join(texts)


def limits_that_apply(own: Limits | None, route: Limits | None) -> Limits | None:
    """Return the limits of an API user on a route. Its `own` rate and day limit each replace that of the route."""
    if own is None or route is None:
        return own or route
    return Limits(own.rate or route.rate, own.per_day or route.per_day)
