"""Splits a request target into its path and its query. No I/O."""

import re
from dataclasses import dataclass

from proxy.refusals import BAD_REQUEST, Refused

_NO_FORM_BYTES = bytes([*range(0x21), *b"#", 0x7F])
"""Bytes that origin form (RFC 9112 §3.2.1) does not allow: controls, spaces and a fragment."""

_CONTROL_IN_QUERY = re.compile("[\x80-\x9f]")

_RAW_NAME = re.compile(rb"(?:\A|&)[^=&\x80-\xFF]*+[\x80-\xFF]")
"""A parameter name that contains a raw byte over 0x7F."""

_ORIGIN_FORM = BAD_REQUEST.because(
    "The request target must begin with `/`, without spaces, control characters or `#`. Percent-encode these."
)
_RAW_BYTES = BAD_REQUEST.because(
    "The request target contains bytes outside ASCII that are not UTF-8 in the value of a query parameter. "
    "Percent-encode them."
)


@dataclass(slots=True)
class Target:
    """A request target, split (RFC 9112 §3.2.1)."""

    path: bytes
    query: bytes


def split(target: bytes) -> Target:
    """Split a target at its first `?`. Raises Refused unless it is in origin form."""
    if not target.startswith(b"/") or len(target.translate(None, _NO_FORM_BYTES)) < len(target):
        raise Refused(_ORIGIN_FORM)
    path, _, query = target.partition(b"?")
    if not target.isascii():
        _check_raw_bytes(path, query)
    return Target(path, query)


def _check_raw_bytes(path: bytes, query: bytes) -> None:
    """Raise Refused on raw bytes over 0x7F, except for UTF-8 in the values of a query.

    Site rules refuse even that in the values that they read.
    """
    try:
        characters = query.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(_RAW_BYTES) from None
    if not path.isascii() or _CONTROL_IN_QUERY.search(characters) or _RAW_NAME.search(query):
        raise Refused(_RAW_BYTES)
