"""Limits the total work of checking one head. No I/O.

Each part is limited where it is read. A head that reaches every limit would still cost more than thirty plain heads, so
the sum is limited too. `make test-cost` counts the instructions that heads cost.
"""

from collections.abc import Collection

from proxy.http.headers import FOLDED, Head
from proxy.refusals import AMBIGUOUS_REQUEST, Refused

# One unit of work is a hundredth of the cost of a plain head that no shortcut reads (proxy/http/plain_requests.py).
MOST_WORK = 1450
_FIELD, _COOKIE, _FOUND, _FOUND_ODD_NAME, _SITE = 10, 2, 16, 28, 16
_PARAMETER, _ODD_NAMES, _ODD_VALUES = 0.75, 2, 4
"""The work of a parameter, and the numbers of odd names and odd values that count as another unit: those that contain
`%` or bytes outside ASCII."""
_DIFFERENT_NAME, _FOLDED = 1, 6
"""The additional work of each different odd name, and the number of their characters that count as one unit of work if
some of them are outside ASCII."""
_DEEP_BYTE = 2
"""The work of each byte in a wanted value that is encoded more than once. Every reading of the value is compared."""
_PATH_BYTES, _READING_BYTES, _READING = 8, 5, 48
"""For paths that are not plain: the number of bytes of the first reading that count as one unit of work, the number for
each further reading, and the additional work of each further reading."""
_TARGET_BYTES, _VALUE_BYTES, _COOKIE_BYTES, _ODD_BYTES, _SITE_BYTES = 24, 96, 40, 16, 4
"""The number of bytes that count as one unit of work, by kind: targets, values of header fields, cookies, bytes of
queries and cookies that are `%` or outside ASCII, and the ids of named sites."""
_TO_MARKS = bytes.maketrans(b";?" + bytes(range(128, 256)), b"&&" + b"%" * 128)
_NO_MARKS = bytes(byte for byte in range(128) if byte not in b"&;?=%")

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
    return 1 + (MOST_WORK - work - length // _PATH_BYTES) // (length // _READING_BYTES + _READING)


def path_work(length: int, readings: int) -> int:
    """Return the work that a path takes: 0 for a plain one."""
    return length // _PATH_BYTES + (length // _READING_BYTES + _READING) * (readings - 1)


def found_work(values: Collection[bytes], *, deep: bool, odd_names: int) -> int:
    """Return the work that finding and reading parameters or cookies with these values takes.

    `deep` is whether some value may be encoded more than once, and `odd_names` the number of names that are decoded.
    """
    deep_bytes = sum(map(len, set(values))) if deep else 0
    return _FOUND * len(values) + _FOUND_ODD_NAME * odd_names + _DEEP_BYTE * deep_bytes


def names_work(names: int, folded: int) -> int:
    """Return the additional work of different odd names, and of their `folded` characters if some are outside ASCII."""
    return _DIFFERENT_NAME * names + folded // _FOLDED


def sites_work(sites: Collection[str]) -> int:
    """Return the work that the named sites take. A long value that is encoded can name many long sites."""
    return _SITE * len(sites) + sum(map(len, sites)) // _SITE_BYTES


def head_work(head: Head) -> int:
    """Return the work that a head takes, except for its path and for the parameters and sites that are found in it."""
    cookies = b";".join([value for name, value in head.fields if FOLDED[name] == b"cookie"])
    query = head.target.partition(b"?")[2].translate(_TO_MARKS, _NO_MARKS)
    return (
        _FIELD * max(head.received, len(head.fields) + len(head.dropped))
        + len(head.target) // _TARGET_BYTES
        + sum([len(value) for _, value in head.fields]) // _VALUE_BYTES
        + len(cookies) // _COOKIE_BYTES
        + int(_PARAMETER * query.count(b"&"))
        + _COOKIE * (cookies.count(b";") + cookies.count(b","))
        + _encoding_work(query)
        + _encoding_work(cookies.translate(_TO_MARKS, _NO_MARKS))
    )


def _encoding_work(marks: bytes) -> int:
    """Return the additional work for encoded names and values.

    `marks` are the separators, the `=` and the `%` of a query or of cookies: `&=%%&%=` for `a=%41%42&%43=d`.
    """
    odd = marks.count(b"%")
    if not odd:
        return 0
    odd_names = marks.count(b"&%") + marks.startswith(b"%")
    return odd_names // _ODD_NAMES + marks.count(b"=%") // _ODD_VALUES + odd // _ODD_BYTES
