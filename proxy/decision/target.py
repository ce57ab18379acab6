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
_MAX_SEPARATORS = 32
"""Each of `;`, `&`, `?` and `#` in a path, after any decoding: servers may split it there, so each costs time."""

_MAX_READINGS, _FEW_READINGS = 32, 10
"""Of a path, by the order of splitting, decoding, dropping parameters and merging slashes. A long one may have few."""
_READ_BYTES = 16384
"""All of these readings together, if they are more than a few."""
_LONG_IN_EVERY_ORDER = 2048
"""A longer path (bytes) must not hold `;` or `//`, encoded or not."""

_NO_FORM_BYTES = bytes([*range(0x21), *b"#", 0x7F])
"""What origin form (RFC 9112 §3.2.1) does not hold: control bytes, spaces and a fragment."""

_PLAIN_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~!$'()*+,=:@.-/"

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
_COMPATIBLE_LEADS = frozenset(each.encode()[:1] for each in _COMPATIBLE)
"""The first bytes of these characters as UTF-8."""

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
_TOO_MANY_READINGS = AMBIGUOUS_REQUEST.because(
    f"This path of more than {_LONG_IN_EVERY_ORDER} bytes, or with much percent-encoding, holds `;` or `//`, encoded "
    "or not, so servers read it in too many ways. Send it without these."
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
    if not target.startswith(b"/") or len(target.translate(None, _NO_FORM_BYTES)) < len(target):
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
    without `;params`, with `//` merged or not, in every order of these. That case and a trailing slash may not matter
    is for rules to say.
    Raises Refused on what is never ordinary in a path: dot segments, backslashes and controls at any depth, invalid
    escapes, a `//` at its start (an authority to some).
    """
    if is_plain(path):
        return PathReadings([path], [text(path).replace("/", SEGMENT_END)])
    if len(decode(path)) != len(path) - 2 * path.count(b"%"):
        raise Refused(_ESCAPES)  # each escape becomes two bytes shorter
    texts = rounds(path, 1) if len(path) > _LONG_PATH else rounds(path)
    for decoded in texts:
        _refuse_forbidden(decoded)
    if b";" in texts[-1] or b"//" in texts[-1]:
        if len(path) > _LONG_IN_EVERY_ORDER:
            raise Refused(_TOO_MANY_READINGS)
        readings = _in_every_order(path, len(texts) - 1)
    else:
        readings = _decoded_and_split(texts)
    return PathReadings(texts, [text(reading) for reading in readings])


_END = SEGMENT_END.encode()
_PARAMETERS = re.compile(rb";[^/]*+")
_PARAMETERS_OF_SEGMENTS = re.compile(rb";[^\x00]*+")


def _decoded_and_split(texts: list[bytes]) -> list[bytes]:
    """Return a path that holds no `;` and no doubled slash, split after each round of decoding.

    Segments are decoded further. The literal reading comes first.
    """
    slashes = [decoded.count(b"/") for decoded in texts]
    # Where decoding brings no slash, it makes no difference whether a path is split before or after.
    as_whole = slashes[:2] == slashes[:1] * 2
    literal = texts[1].replace(b"/", _END) if as_whole else decode(texts[0].replace(b"/", _END))
    readings = {literal: None}
    for split_at, split_text in enumerate(texts):
        # The literal reading decodes once, so none decodes less.
        for times in range(0 if split_at or len(texts) == 1 else 1, len(texts) - split_at):
            if times and slashes[split_at] == slashes[split_at + times]:
                continue  # the same as splitting after these rounds
            segments = split_text.replace(b"/", _END)
            for _ in range(times):
                segments = decode_leniently(segments)
            readings[segments] = None
    return list(readings)


def _in_every_order(path: bytes, rounds_left: int) -> list[bytes]:
    """Return what splitting, decoding, dropping parameters and merging slashes make of a path, in any order.

    The literal reading comes first. Raises Refused if there are too many.
    """
    most = max(_FEW_READINGS, min(_MAX_READINGS, _READ_BYTES // len(path)))
    literal = decode(path.replace(b"/", _END))
    readings = {literal: None}
    level = {path: None}
    for round_ in range(rounds_left + 1):
        new = list(level)
        while new:
            reading = new.pop()
            for after in _next_steps(reading):
                if after not in level:
                    level[after] = None
                    new.append(after)
            if len(level) > most:
                raise Refused(_TOO_MANY_READINGS)
        # The literal reading decodes once, so none decodes less.
        if round_ or not rounds_left:
            readings |= dict.fromkeys(reading for reading in level if reading.startswith(_END))
        level = dict.fromkeys(decode_leniently(reading) for reading in level)
    if len(readings) > most:
        raise Refused(_TOO_MANY_READINGS)
    return list(readings)


def _next_steps(reading: bytes) -> Iterator[bytes]:
    """Yield a path, or its segments, with one further step that does not decode."""
    is_split = reading.startswith(_END)
    if not is_split:
        yield reading.replace(b"/", _END)
    if b";" in reading:
        yield (_PARAMETERS_OF_SEGMENTS if is_split else _PARAMETERS).sub(b"", reading)
    slash = _END if is_split else b"/"
    if slash + slash in reading:
        yield _merged(reading, slash)


def _merged(path: bytes, slash: bytes) -> bytes:
    """Return a path without empty segments between others."""
    while slash + slash in path:
        path = path.replace(slash + slash, slash)
    return path


def _refuse_forbidden(decoded: bytes) -> None:
    if decoded.startswith(b"//") or len(decoded.translate(None, _FORBIDDEN_BYTES)) < len(decoded):
        raise Refused(_DOTS)
    if b"/." in decoded and _DOT_SEGMENT.search(decoded):
        raise Refused(_DOTS)
    if any(each in decoded and decoded.count(each) > _MAX_SEPARATORS for each in (b";", b"&", b"?", b"#")):
        raise Refused(_SEPARATORS)
    if b";" in decoded and _has_slash_in_parameters(decoded.lower()):
        raise Refused(_SLASH_IN_PARAMETERS)
    if not decoded.isascii():
        _refuse_look_alikes(decoded)


def _refuse_look_alikes(decoded: bytes) -> None:
    """Raise Refused on characters in which some decoder finds a dot segment or a backslash."""
    try:
        characters = decoded.decode("utf-8")
    except UnicodeDecodeError:
        if _OVERLONG.search(decoded):
            raise Refused(_DOTS) from None
        characters = text(decoded)
    if any(lead in decoded for lead in _COMPATIBLE_LEADS) and _HAS_COMPATIBLE.search(characters):
        for look_alike, compatible in _COMPATIBLE.items():
            characters = characters.replace(look_alike, compatible)
        _refuse_forbidden(characters.encode("utf-8", "surrogateescape"))


_PARAMETER = re.compile(rb"[&?#][^&?#/=;!'()*,]++=")  # no parameter's name holds the other sub-delimiters


def separators_in(text: bytes) -> int:
    """Return how many of `&`, `?`, `#` and `;` a path holds, as it came or decoded."""
    return sum([text.count(separator) for separator in (b"&", b"?", b"#", b";") if separator in text])


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
