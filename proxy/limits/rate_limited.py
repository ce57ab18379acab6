"""The refusal of a request beyond a limit, with `Retry-After` and the RateLimit fields.

The fields are those of draft-ietf-httpapi-ratelimit-headers-10. Only refusals have them: on other responses, the
remaining requests would be those of this process, and the data API may send fields of its own.
"""

import math

from proxy.decision.limits import Limits, described_limits
from proxy.refusals import RATE_LIMITED, Refusal


def beyond_rate(limits: Limits, seconds: int) -> Refusal:
    """Return the refusal of a request for which there is no token. There is one again in `seconds`."""
    return _refusal(limits, limits._replace(per_day=None), "rate", seconds)


def beyond_day(limits: Limits, seconds: int) -> Refusal:
    """Return the refusal of a request of an API user that has made all requests of a day. It ends in `seconds`."""
    return _refusal(limits, limits._replace(rate=None), "day", seconds)


def _refusal(limits: Limits, exceeded: Limits, policy: str, seconds: int) -> Refusal:
    detail = f"The limit of this API key is {described_limits(exceeded)}."
    lines = f'RateLimit-Policy: {", ".join(_policies(limits))}\r\nRateLimit: "{policy}";r=0;t={seconds}\r\n'
    return RATE_LIMITED.because(detail, lines.encode(), retry_after_seconds=seconds)


def _policies(limits: Limits) -> list[str]:
    """Return the limits as items of RateLimit-Policy. For a rate, the window is the time in which a bucket fills."""
    policies = []
    if limits.rate is not None:
        per_second, burst = limits.rate
        window = math.ceil(burst / per_second)
        policies.append(f'"rate";q={max(math.floor(per_second * window), 1)};w={window}')
    if limits.per_day is not None:
        policies.append(f'"day";q={limits.per_day};w=86400')
    return policies
