"""How much work one head may make, all its parts together. No I/O.

What each part may hold is bounded where it is read. A head that has the most of everything would still cost more than
thirty plain heads, so the parts are weighed together too. `make test-cost` counts what they cost.
"""

from proxy.heads import FOLDED, Head
from proxy.refusals import AMBIGUOUS_REQUEST, Refused

# In hundredths of what a plain head costs.
MOST_WORK = 2300
FIELD, COOKIE, PARAMETER, ODD_PARAMETER, FOUND_PARAMETER, SITE = 10, 4, 1, 6, 8, 24
_PATH_READING = 50
_PATH_BYTES = 5
"""So many bytes of a path that is not plain weigh one."""

MANY_FIELDS, LONG_TARGET = 24, 512
"""A head with no more fields and no longer target (bytes) is weighed only if it has many parameters or sites."""

_TOO_MUCH = AMBIGUOUS_REQUEST.because(
    "The request is too complex: together, its header fields, cookies, parameters, named sites and percent-encoding "
    "would take too long to check. Send fewer of them, or split it into several requests."
)


def check_work(work: int) -> None:
    """Raise Refused if a head makes too much work."""
    if work > MOST_WORK:
        raise Refused(_TOO_MUCH)


def path_work(length: int, readings: int) -> int:
    """Return how much work a path makes that is not plain."""
    return length // _PATH_BYTES + _PATH_READING * (readings - 1)


def head_work(head: Head) -> int:
    """Return how much work a head makes besides its path, without the parameters and sites that are found in it."""
    query = head.target.partition(b"?")[2]
    parameters = query.count(b"&") + query.count(b";") + query.count(b"?")
    is_odd = any(each in query for each in (b"%", b"[", b"+", b"."))
    cookies = sum(value.count(b";") for name, value in head.fields if FOLDED[name] == b"cookie")
    return (
        FIELD * (len(head.fields) + len(head.dropped))
        + COOKIE * cookies
        + (ODD_PARAMETER if is_odd else PARAMETER) * parameters
    )
