"""Splits a request target into its path and its query. No I/O."""

import re
from dataclasses import dataclass

from proxy.refusals import BAD_REQUEST, Refused

_NO_FORM_BYTES = bytes([*range(0x21), *b"#", 0x7F])
"""Bytes that origin form (RFC 9112 §3.2.1) does not allow: controls, spaces and a fragment."""

_CONTROL_IN_QUERY = re.compile("[\x80-\x9f]")

_RAW_NAME = re.compile(rb"&[^=&\x80-\xFF]*+[\x80-\xFF]")
"""A parameter name, after a `&`, that contains a raw byte over 0x7F."""

_NO_PATH = BAD_REQUEST.because("The request target does not begin with `/`. Send the path and the query.")
_FRAGMENT = BAD_REQUEST.because(
    "The request target contains a `#`. Leave the fragment out of the request, or send `%23` for a `#` in the path or "
    "the query."
)
_CONTROLS = BAD_REQUEST.because(
    "The request target contains a space or a control character. Percent-encode it, for example as `%20`."
)
_NOT_UTF_8 = BAD_REQUEST.because(
    "The query contains bytes that are not UTF-8, or control characters outside ASCII. Send text as percent-encoded "
    "UTF-8."
)
_RAW_PATH = BAD_REQUEST.because("The path contains characters outside ASCII. Percent-encode them, as UTF-8.")
_RAW_PARAMETER_NAME = BAD_REQUEST.because(
    "The name of a query parameter contains characters outside ASCII. Percent-encode them, as UTF-8."
)


@dataclass(slots=True)
class Target:
    """A request target, split (RFC 9112 §3.2.1)."""

    path: bytes
    query: bytes


def split(target: bytes) -> Target:
    """Split a target at its first `?`. Raises Refused unless it is in origin form."""
    if not target.startswith(b"/"):
        raise Refused(_NO_PATH)
    if len(target.translate(None, _NO_FORM_BYTES)) < len(target):
        raise Refused(_FRAGMENT if b"#" in target else _CONTROLS)
    path, _, query = target.partition(b"?")
    if not target.isascii():
        _check_raw_bytes(path, query)
    return Target(path, query)


def _check_raw_bytes(path: bytes, query: bytes) -> None:
    """Raise Refused on raw bytes over 0x7F, except for UTF-8 in the values of a query.

    Site rules refuse even that in the values that they read.
    """
    if not path.isascii():
        raise Refused(_RAW_PATH)
    if _RAW_NAME.search(b"&" + query):
        raise Refused(_RAW_PARAMETER_NAME)
    try:
        characters = query.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(_NOT_UTF_8) from None
    if _CONTROL_IN_QUERY.search(characters):
        raise Refused(_NOT_UTF_8)
