"""The limits on the requests of an API user. No I/O."""

import math
from typing import NamedTuple


class Rate(NamedTuple):
    """A token bucket: it gains `per_second` tokens, holds at most `burst`, and each request takes one."""

    per_second: float
    burst: int


class Limits(NamedTuple):
    """The limits of one API user, or those of a route for each of its API users. None: unlimited."""

    rate: Rate | None = None


def read_limits(per_second: float | None, burst: int | None) -> Limits | None:
    """Return the limits with these values, or None if there are none. By default, a burst is a second's worth."""
    if per_second is None:
        return None
    return Limits(Rate(per_second, burst or max(math.ceil(per_second), 1)))


def described_limits(limits: Limits) -> str:
    """Return the limits as text for people."""
    rate = limits.rate
    return "" if rate is None else f"{rate.per_second:.12g} requests per second, in bursts of {rate.burst:,}"


def limits_that_apply(own: Limits | None, route: Limits | None) -> Limits | None:
    """Return the limits that apply to an API user on a route: its `own` limit replaces that of the route."""
    return own or route
