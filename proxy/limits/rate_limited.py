"""The refusal of a request beyond a limit, with `Retry-After` and the RateLimit fields.

The fields are those of draft-ietf-httpapi-ratelimit-headers-10. Only refusals have them: on other responses, the
remaining requests would be those of this process, and the data API may send fields of its own.
"""

import math

from proxy.decision.limits import Limits, Rate, described_limits
from proxy.refusals import RATE_LIMITED, Refusal


def rate_limited(limits: Limits, exceeded: Rate, seconds: int) -> Refusal:
    """Return the refusal of a request that exceeds one of the limits. It may be repeated after `seconds`."""
    detail = f"The limit of this API key is {described_limits(Limits(exceeded))}."
    policies = ", ".join(_policies(limits))
    lines = f'RateLimit-Policy: {policies}\r\nRateLimit: "rate";r=0;t={seconds}\r\n'
    return RATE_LIMITED.because(detail, lines.encode(), retry_after_seconds=seconds)


def _policies(limits: Limits) -> list[str]:
    """Return the limits as items of RateLimit-Policy. A window is the time in which an empty bucket becomes full."""
    policies = []
    if limits.rate is not None:
        per_second, burst = limits.rate
        window = math.ceil(burst / per_second)
        policies.append(f'"rate";q={max(math.floor(per_second * window), 1)};w={window}')
    return policies
