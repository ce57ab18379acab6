"""Limits the total work of checking one head. No I/O.

Each part is limited where it is read. A head that reaches every limit would still cost more than thirty plain heads, so
the sum is limited too. `make test-cost` counts the instructions that heads cost.
"""

from collections.abc import Collection

from proxy.http.headers import FOLDED, Head
from proxy.refusals import AMBIGUOUS_REQUEST, Refused

# One unit of work is a hundredth of the cost of a plain head that no shortcut reads (proxy/http/plain_requests.py).
MOST_WORK = 1700
_FIELD, _COOKIE, _PARAMETER, _ODD_PARAMETER, _FOUND, _FOUND_ODD_NAME, _SITE = 10, 4, 1, 2, 8, 28, 24
_DEEP_BYTE = 2
"""The work of each byte in a wanted value that is encoded more than once. Every reading of the value is compared."""
_PATH_READING = 64
_PATH_BYTES, _TARGET_BYTES, _VALUE_BYTES, _COOKIE_BYTES, _ODD_BYTES, _SITE_BYTES = 5, 16, 64, 24, 4, 4
"""The number of bytes that count as one unit of work, by kind: readings of a path that is not plain, targets, values of
header fields, cookies, bytes of queries and cookies that are `%` or outside ASCII, and the ids of named sites."""
_NO_MARKS = bytes(byte for byte in range(128) if byte not in b"&;?%")
_NO_PERCENTS = bytes(byte for byte in range(128) if byte not in b"%")

MANY_FIELDS, LONG_TARGET = 24, 512
"""A head with more fields, or with more bytes in its target, is checked even if it has few parameters and sites."""
FEW_SITES = 4
"""A head that names more sites is checked."""

_TOO_MUCH = AMBIGUOUS_REQUEST.because(
    "The request is too complex: together, its header fields, cookies, parameters, named sites and percent-encoding "
    "would take too long to check. Send fewer of them, or split it into several requests."
)


def check_work(work: int) -> None:
    """Raise Refused if a head takes too much work."""
    if work > MOST_WORK:
        raise Refused(_TOO_MUCH)


def most_readings(length: int, work: int) -> int:
    """Return how many readings of a path can be checked if the rest of the head takes this much work."""
    return (MOST_WORK - work + _PATH_READING) // (length // _PATH_BYTES + _PATH_READING)


def path_work(length: int, readings: int) -> int:
    """Return the work that a path takes: 0 for a plain one."""
    return length // _PATH_BYTES * readings + _PATH_READING * (readings - 1)


def found_work(values: Collection[bytes], *, deep: bool, odd_names: int) -> int:
    """Return the work that finding and reading parameters or cookies with these values takes.

    `deep` is whether some value may be encoded more than once, and `odd_names` the number of names that are decoded.
    """
    deep_bytes = sum(map(len, set(values))) if deep else 0
    return _FOUND * len(values) + _FOUND_ODD_NAME * odd_names + _DEEP_BYTE * deep_bytes


def sites_work(sites: Collection[str]) -> int:
    """Return the work that the named sites take. A long value that is encoded can name many long sites."""
    return _SITE * len(sites) + sum(map(len, sites)) // _SITE_BYTES


def head_work(head: Head) -> int:
    """Return the work that a head takes, except for its path and for the parameters and sites that are found in it."""
    marks = head.target.partition(b"?")[2].translate(None, _NO_MARKS)
    odd_bytes = len(marks.translate(None, b"&;?"))
    parameters = len(marks) - odd_bytes
    cookies = b";".join([value for name, value in head.fields if FOLDED[name] == b"cookie"])
    odd_cookie_bytes = len(cookies.translate(None, _NO_PERCENTS))
    return (
        _FIELD * (len(head.fields) + len(head.dropped))
        + _COOKIE * cookies.count(b";")
        + _PARAMETER * parameters
        + _ODD_PARAMETER * min(parameters, odd_bytes)
        + (odd_bytes + odd_cookie_bytes) // _ODD_BYTES
        + len(head.target) // _TARGET_BYTES
        + sum([len(value) for _, value in head.fields]) // _VALUE_BYTES
        + len(cookies) // _COOKIE_BYTES
    )
