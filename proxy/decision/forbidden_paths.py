"""Refuses dot segments, backslashes and control characters in paths, at any depth of encoding. No I/O."""

import itertools
import re
import unicodedata
from collections.abc import Iterable

from proxy.refusals import AMBIGUOUS_REQUEST, Refused

_MAX_SEPARATORS = 32
"""The maximum count of each of `;`, `&`, `?` and `#` in a path, at any depth of decoding.

Servers may split the path at each of them, so each costs time to check.
"""


_FORBIDDEN_BYTES = bytes([*range(0x20), 0x7F, *b"\\"])
_DOT_SEGMENT = re.compile(rb"/\.\.?(?:;[^/]*)?(?:/|\Z)")  # a dot segment can have parameters
_SESSION = re.compile(rb"/\((?>(?:[A-Z]\([^()/]*+\)){1,64})\)(?:[;/]|\Z)")
"""A segment such as `(S(x))`, in which ASP.NET looks for a session without a cookie. It drops the segment."""
_OVERLONG = re.compile(
    rb"[\xC0\xC1\xE0\xF0]"  # the search skips all other bytes quickly
    rb"(?:(?<=[\xC0\xC1])[\x80-\xBF.]|(?<=\xE0)[\x80-\x9F][\x80-\xBF]|(?<=\xF0)[\x80-\x8F][\x80-\xBF])"
)
"""Overlong UTF-8: a decoder that accepts it finds dots and slashes that other decoders do not."""

_LOOK_ALIKES = (
    "\u037e\u2024\u2025\u2026\u2100\u2101\u2105\u2106\ufe14\ufe19\ufe30\ufe52\ufe54\ufe68\uff0e\uff0f\uff1b\uff3c"
)
_MAX_LOOK_ALIKES = 32
_BEST_FIT = {"\u2044": "/", "\u2215": "/", "\u2216": "\\", "\u00a5": "\\", "\u20a9": "\\"}
"""Characters that Windows maps to `/` or `\\` when the code page lacks them. The code pages 932 (Japanese) and 949
(Korean) map the signs of the yen and the won to `\\`."""
_COMPATIBLE = {
    look_alike.encode(): compatible.encode()
    for look_alike, compatible in (
        _BEST_FIT | {each: unicodedata.normalize("NFKC", each) for each in _LOOK_ALIKES}
    ).items()
}
"""UTF-8 of the characters that NFKC, which some backends apply, turns into `.`, `/`, `\\` or `;`."""


def _any_of(encoded: Iterable[bytes]) -> re.Pattern[bytes]:
    last_bytes: dict[bytes, bytes] = {}
    for each in encoded:
        last_bytes[each[:-1]] = last_bytes.get(each[:-1], b"") + each[-1:]
    return re.compile(b"|".join(re.escape(start) + b"[" + re.escape(last) + b"]" for start, last in last_bytes.items()))


_HAS_COMPATIBLE = _any_of(_COMPATIBLE)

_DOTS = AMBIGUOUS_REQUEST.because(
    "The path contains a dot segment (`.` or `..`), plain or encoded, and servers resolve it at different times. Send "
    "the resolved path."
)
_BACKSLASH = AMBIGUOUS_REQUEST.because(
    "The path contains a backslash, plain or encoded, which some servers read as a slash. Send `/` between two "
    "segments."
)
_CONTROL = AMBIGUOUS_REQUEST.because(
    "The path contains a control character, plain or encoded, which some servers drop. Send the path without it."
)
_HOST_IN_PATH = AMBIGUOUS_REQUEST.because(
    "The path begins with `//`, plain or encoded, which some servers read as the beginning of a host name. Send one "
    "slash at the beginning."
)
_OVERLONG_BYTES = AMBIGUOUS_REQUEST.because(
    "The path contains overlong UTF-8, which some servers read as a dot or a slash. Send UTF-8 in its shortest form."
)
_LOOK_ALIKE = AMBIGUOUS_REQUEST.because(
    "The path contains a character that some servers convert to `.`, `/`, `\\` or `;`, such as a full-width dot or "
    "slash. Send the path without it."
)
_SESSION_SEGMENT = AMBIGUOUS_REQUEST.because(
    "The path contains a segment such as `(S(x))`, plain or encoded, which ASP.NET drops. Send the path without it."
)
_SLASH_IN_PARAMETERS = AMBIGUOUS_REQUEST.because(
    "The path contains an encoded slash after a `;`. Encode the `;` as `%3B`, or send the path without it."
)
_SEPARATORS = AMBIGUOUS_REQUEST.because(
    f"The path contains more than {_MAX_SEPARATORS} of `;`, `&`, `?` or `#`. Send parameters in the query."
)


def refuse_forbidden(decoded: bytes) -> None:
    """Raise Refused if a path, raw or decoded, contains something that no ordinary path contains."""
    _refuse_ascii(decoded)
    if not decoded.isascii():
        _refuse_look_alikes(decoded)


def refuse_session_segment(decoded: bytes) -> None:
    """Raise Refused if a path, raw or decoded, contains a segment that ASP.NET drops."""
    if b"/(" in decoded and _SESSION.search(decoded):
        raise Refused(_SESSION_SEGMENT)


def _refuse_ascii(decoded: bytes) -> None:
    """Raise Refused if a path contains something forbidden in ASCII."""
    if decoded.startswith(b"//"):
        raise Refused(_HOST_IN_PATH)
    if len(decoded.translate(None, _FORBIDDEN_BYTES)) < len(decoded):
        raise Refused(_BACKSLASH if b"\\" in decoded else _CONTROL)
    if b"/." in decoded and _DOT_SEGMENT.search(decoded):
        raise Refused(_DOTS)
    refuse_session_segment(decoded)
    if any(each in decoded and decoded.count(each) > _MAX_SEPARATORS for each in (b";", b"&", b"?", b"#")):
        raise Refused(_SEPARATORS)
    if b";" in decoded and _has_slash_in_parameters(decoded.lower()):
        raise Refused(_SLASH_IN_PARAMETERS)


def _refuse_look_alikes(decoded: bytes) -> None:
    """Raise Refused on characters that some decoder reads as a dot segment or a backslash."""
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        if _OVERLONG.search(decoded):
            raise Refused(_OVERLONG_BYTES) from None
    found = list(itertools.islice(_HAS_COMPATIBLE.finditer(decoded), _MAX_LOOK_ALIKES + 1))
    if not found:
        return
    if len(found) > _MAX_LOOK_ALIKES:
        raise Refused(_LOOK_ALIKE)  # comparing more would take long
    try:
        _refuse_ascii(_HAS_COMPATIBLE.sub(lambda look_alike: _COMPATIBLE[look_alike[0]], decoded))
    except Refused:
        raise Refused(_LOOK_ALIKE) from None


def _has_slash_in_parameters(lower: bytes) -> bool:
    """Return whether a segment has an encoded slash after a `;`.

    Tomcat drops `;params` first, and the slash with them. For other servers the slash splits the path.
    """
    begin = lower.find(b";")
    while begin >= 0:
        end = lower.find(b"/", begin)
        if lower.find(b"%2f", begin, end if end >= 0 else len(lower)) >= 0:
            return True
        begin = lower.find(b";", end) if end >= 0 else -1
    return False
