"""A request target in every reading that a lenient backend might take. Bytes in, readings out. No I/O.

The literal reading is RFC 3986: split, then decode once. Everything here is linear in the target's length, and the
depth of decoding is bounded.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from proxy.http.percent_encoding import decode, decode_leniently, rounds, text
from proxy.refusals import AMBIGUOUS_REQUEST, BAD_REQUEST, Refused

_LONG_PATH = 1024
"""A longer path (bytes) must not be encoded twice: it would have too many readings."""
_MAX_SEPARATORS = 64
"""Each of `;`, `&`, `?` and `#` in a path, after any decoding: servers may split it there, so each costs time."""

_FORM = re.compile(rb"/[\x21\x22\x24-\x7E\x80-\xFF]*\Z")
"""Origin form (RFC 9112 §3.2.1): no control bytes, spaces or fragment."""

_PLAIN_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~!$'()*+,=:@.-/"

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_FORBIDDEN_BYTES = bytes([*range(0x20), 0x7F, *b"\\"])
_DOT_SEGMENT = re.compile(rb"/\.\.?(?:;[^/]*)?(?:/|\Z)")  # those with parameters too
_OVERLONG = re.compile(rb"[\xC0\xC1][\x80-\xBF.]|\xE0[\x80-\x9F][\x80-\xBF]|\xF0[\x80-\x8F][\x80-\xBF]")
"""Overlong UTF-8: a decoder that accepts it finds dots and slashes that others do not see."""

_LOOK_ALIKES = (
    "\u037e\u2024\u2025\u2026\u2100\u2101\u2105\u2106\ufe14\ufe19\ufe30\ufe52\ufe54\ufe68\uff0e\uff0f\uff1b\uff3c"
)
_BEST_FIT = {"\u2044": "/", "\u2215": "/", "\u2216": "\\"}
"""Characters that Windows turns into separators where a code page lacks them."""
_COMPATIBLE = _BEST_FIT | {each: unicodedata.normalize("NFKC", each) for each in _LOOK_ALIKES}
"""Characters that turn into `.`, `/`, `\\` or `;` under NFKC, which some backends apply."""
_HAS_COMPATIBLE = re.compile("[" + "".join(_COMPATIBLE) + "]")

_CONTROL_IN_QUERY = re.compile("[\x80-\x9f]")

_DOTS = AMBIGUOUS_REQUEST.because(
    "The path holds a dot segment, a backslash, a control character or a `//` at its start, perhaps encoded. Servers "
    "differ in what they make of it: send the path that it stands for."
)
_ESCAPES = AMBIGUOUS_REQUEST.because(
    "The path holds a `%` without two hexadecimal digits after it. Send a literal `%` as `%25`."
)
_SLASH_IN_PARAMETERS = AMBIGUOUS_REQUEST.because(
    "The path holds an encoded slash after a `;`. Encode the `;` as `%3B`, or send the path without it."
)
_SEPARATORS = AMBIGUOUS_REQUEST.because(
    f"The path holds more than {_MAX_SEPARATORS} of `;`, `&`, `?` or `#`. Send parameters in the query."
)
_ORIGIN_FORM = BAD_REQUEST.because(
    "The request target must begin with `/` and hold no spaces, control characters or `#`. Percent-encode them."
)
_RAW_BYTES = BAD_REQUEST.because(
    "The request target holds bytes outside ASCII that are not UTF-8 in the value of a query parameter. "
    "Percent-encode them."
)


@dataclass(slots=True)
class Target:
    """A request target, split (RFC 9112 §3.2.1)."""

    path: bytes
    query: bytes


def split(target: bytes) -> Target:
    """Split a target at its first `?`. Raises Refused unless it is in origin form."""
    if not _FORM.match(target):
        raise Refused(_ORIGIN_FORM)
    path, _, query = target.partition(b"?")
    if not target.isascii():
        _check_raw_bytes(path, query)
    return Target(path, query)


def is_plain(path: bytes) -> bool:
    """Tell whether all readings of a path split it alike, without a slash at its end to drop."""
    return not (path.translate(None, _PLAIN_CHARACTERS) or b"//" in path or b"/." in path or path.endswith(b"/"))


SEGMENT_END = "\0"
"""Ends each segment of a reading: no path that passes holds it, at any depth of decoding."""


@dataclass(slots=True)
class PathReadings:
    """A path in every reading."""

    texts: list[bytes]
    """The path as it came, then decoded once, twice, …"""
    split: list[str]
    """The literal reading first: the path's segments decoded, each after SEGMENT_END."""


def read_path(path: bytes) -> PathReadings:
    """Return the readings of a path.

    They are: split after any number of decoding rounds, segments decoded further any number of rounds, with and
    without `;params`, with `//` merged or not. That case and a trailing slash may not matter is for rules to say.
    Raises Refused on what is never ordinary in a path: dot segments, backslashes and controls at any depth, invalid
    escapes, a `//` at its start (an authority to some).
    """
    if is_plain(path):
        return PathReadings([path], [text(path).replace("/", SEGMENT_END)])
    if _BAD_ESCAPE.search(path):
        raise Refused(_ESCAPES)
    texts = rounds(path, 1) if len(path) > _LONG_PATH else rounds(path)
    for decoded in texts:
        _refuse_forbidden(decoded)
    slashes = [decoded.count(b"/") for decoded in texts]
    # Where decoding brings no slash, it makes no difference whether a path is split before or after.
    literal = texts[1].replace(b"/", _END) if slashes[:2] == slashes[:1] * 2 else decode(path.replace(b"/", _END))
    readings: dict[bytes, None] = {literal: None}
    for split_at, split_text in enumerate(texts):
        # The literal reading decodes once, so none decodes less.
        for times in range(0 if split_at or len(texts) == 1 else 1, len(texts) - split_at):
            if times and b";" not in split_text and slashes[split_at] == slashes[split_at + times]:
                continue  # the same as splitting after these rounds
            for segments in _variants(split_text.replace(b"/", _END), times):
                readings[segments] = None
                if _END + _END in segments:
                    readings[_merged(segments)] = None
    return PathReadings(texts, [text(reading) for reading in readings])


_END = SEGMENT_END.encode()
_PARAMETERS = re.compile(rb";[^\x00]*")


def _variants(segments: bytes, times: int) -> Iterator[bytes]:
    """Yield segments decoded so many times: with parameters, without them from the start, and from the end."""
    decoded = _decode_times(segments, times)
    yield decoded
    if b";" in segments:
        yield _decode_times(_PARAMETERS.sub(b"", segments), times)
    if b";" in decoded:
        yield _PARAMETERS.sub(b"", decoded)


def _merged(segments: bytes) -> bytes:
    """Return a path's segments without empty ones between them."""
    while _END + _END in segments:
        segments = segments.replace(_END + _END, _END)
    return segments


def _decode_times(raw: bytes, times: int) -> bytes:
    for _ in range(times):
        raw = decode_leniently(raw)
    return raw


def _refuse_forbidden(decoded: bytes) -> None:
    if decoded.startswith(b"//") or len(decoded.translate(None, _FORBIDDEN_BYTES)) < len(decoded):
        raise Refused(_DOTS)
    if b"/." in decoded and _DOT_SEGMENT.search(decoded):
        raise Refused(_DOTS)
    if any(decoded.count(separator) > _MAX_SEPARATORS for separator in (b";", b"&", b"?", b"#")):
        raise Refused(_SEPARATORS)
    if b";" in decoded and _has_slash_in_parameters(decoded.lower()):
        raise Refused(_SLASH_IN_PARAMETERS)
    if not decoded.isascii():
        if _OVERLONG.search(decoded):
            raise Refused(_DOTS)
        characters = text(decoded)
        if _HAS_COMPATIBLE.search(characters):
            for look_alike, compatible in _COMPATIBLE.items():
                characters = characters.replace(look_alike, compatible)
            _refuse_forbidden(characters.encode("utf-8", "surrogateescape"))


_PARAMETER = re.compile(rb"[&?#][^&?#/=;!'()*,]++=")  # no parameter's name holds the other sub-delimiters


def separators_in(text: bytes) -> int:
    """Return how many of `&`, `?`, `#` and `;` a path holds, as it came or decoded."""
    return text.count(b"&") + text.count(b"?") + text.count(b"#") + text.count(b";")


def holds_parameter(text: bytes) -> bool:
    """Tell whether a path, as it came or decoded, holds what becomes a parameter where a path is put into a query.

    Rewriting backends do that (Apache's `[QSA]`, nginx's `proxy_pass` with variables): after `&`, `?` or `#`, a pair.
    """
    return _PARAMETER.search(text) is not None


def _has_slash_in_parameters(lower: bytes) -> bool:
    """Tell whether an encoded slash stands behind a `;` in its segment.

    Tomcat drops `;params` first, and the slash in them is gone; to others it splits the path.
    """
    begin = lower.find(b";")
    while begin >= 0:
        end = lower.find(b"/", begin)
        if lower.find(b"%2f", begin, end if end >= 0 else len(lower)) >= 0:
            return True
        begin = lower.find(b";", end) if end >= 0 else -1
    return False


def _check_raw_bytes(path: bytes, query: bytes) -> None:
    """Refuse raw bytes over 0x7F but for UTF-8 in values of a query. Whether such a value is read, rules say."""
    try:
        characters = query.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(_RAW_BYTES) from None
    if not path.isascii() or _CONTROL_IN_QUERY.search(characters) or _RAW_NAME.search(query):
        raise Refused(_RAW_BYTES)


_RAW_NAME = re.compile(rb"(?:\A|&)[^=&\x80-\xFF]*+[\x80-\xFF]")
"""A name with a raw byte over 0x7F."""
