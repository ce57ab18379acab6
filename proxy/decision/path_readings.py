"""Computes every reading of a path that some lenient server may use. No I/O.

The literal reading is the one of RFC 3986: split, then decode once. Everything here takes time that is linear in the
path's length, and the depth of decoding is bounded.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from proxy.decision.forbidden_paths import refuse_forbidden
from proxy.http.percent_encoding import decode, decode_leniently, has_only_escapes, rounds, text
from proxy.refusals import AMBIGUOUS_REQUEST, Refused

_LONG_PATH = 1024
"""A path with more bytes must not be encoded twice, because it would have too many readings."""

_MAX_READINGS, _FEW_READINGS = 32, 8
"""The maximum number of readings of a path, in all orders of splitting, decoding, dropping parameters and merging
slashes. A long path may have only a few."""
_READ_BYTES = 8192
"""The maximum total length, in bytes, of these readings, if there are more than a few."""
_LONG_IN_EVERY_ORDER = 1024
"""A path with more bytes must not contain `;` or `//`, encoded or not."""

_PLAIN_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_~!$'()*+,=:@.-/"

_ESCAPES = AMBIGUOUS_REQUEST.because(
    "The path contains a `%` without two hexadecimal digits after it. Send a literal `%` as `%25`."
)
_TOO_LONG_FOR_EVERY_ORDER = AMBIGUOUS_REQUEST.because(
    f"The path has more than {_LONG_IN_EVERY_ORDER} bytes and contains `;` or `//`, plain or encoded. Send it without "
    "these, or send a shorter path."
)
_TOO_MANY_READINGS = AMBIGUOUS_REQUEST.because(
    "The path combines percent-encoding with `;` or `//`, plain or encoded, so servers may read it in too many ways. "
    "Send it without `;` and `//`, and encode each part once."
)


def is_plain(path: bytes) -> bool:
    """Return True only if a path has no reading but the literal one, and does not end with a slash."""
    return not (path.translate(None, _PLAIN_CHARACTERS) or b"//" in path or b"/." in path or path.endswith(b"/"))


SEGMENT_START = "\0"
"""Precedes each segment in a reading. A NUL, at any depth of decoding, makes `read_path` refuse the path."""


@dataclass(slots=True)
class PathReadings:
    """All readings of a path."""

    texts: list[bytes]
    """The raw path, then the path decoded once, twice, and so on."""
    split: list[str]
    """The readings, the literal one first. In each, SEGMENT_START precedes every decoded segment."""


def read_path(path: bytes) -> PathReadings:
    """Return the readings of a path.

    They cover all orders of decoding, splitting, dropping `;params` and merging `//`, with any number of rounds of
    decoding. Path templates handle case and a final slash. Raises Refused on dot segments, backslashes and control
    characters at any depth, on invalid escapes, and on a `//` at the start, which some servers read as an authority.
    """
    if is_plain(path):
        return PathReadings([path], [text(path).replace("/", SEGMENT_START)])
    if not has_only_escapes(path):
        raise Refused(_ESCAPES)
    texts = rounds(path, 1) if len(path) > _LONG_PATH else rounds(path)
    for decoded in texts:
        refuse_forbidden(decoded)
    if b";" in texts[-1] or b"//" in texts[-1]:
        if len(path) > _LONG_IN_EVERY_ORDER:
            raise Refused(_TOO_LONG_FOR_EVERY_ORDER)
        readings = _in_every_order(path, len(texts) - 1)
    else:
        readings = _decoded_and_split(texts)
    return PathReadings(texts, [text(reading) for reading in readings])


_START = SEGMENT_START.encode()
_PARAMETERS = re.compile(rb";[^/]*+")
_PARAMETERS_OF_SEGMENTS = re.compile(rb";[^\x00]*+")


def _decoded_and_split(texts: list[bytes]) -> list[bytes]:
    """Return the readings of a path without `;` and `//`, the literal one first.

    Each reading splits the path after a different round of decoding, and may decode the segments further.
    """
    slashes = [decoded.count(b"/") for decoded in texts]
    # If decoding reveals no slash, splitting before or after it makes no difference.
    as_whole = slashes[:2] == slashes[:1] * 2
    literal = texts[1].replace(b"/", _START) if as_whole else decode(texts[0].replace(b"/", _START))
    readings = {literal: None}
    for split_at, split_text in enumerate(texts):
        # The literal reading decodes once, so no reading decodes less.
        for times in range(0 if split_at or len(texts) == 1 else 1, len(texts) - split_at):
            if times and slashes[split_at] == slashes[split_at + times]:
                continue  # the same as splitting after these rounds
            segments = split_text.replace(b"/", _START)
            for _ in range(times):
                segments = decode_leniently(segments)
            readings[segments] = None
    return list(readings)


def _in_every_order(path: bytes, rounds_left: int) -> list[bytes]:
    """Return the readings of a path in every order of splitting, decoding, dropping parameters and merging slashes.

    The literal reading comes first. Raises Refused if there are too many.
    """
    most = max(_FEW_READINGS, min(_MAX_READINGS, _READ_BYTES // len(path)))
    literal = decode(path.replace(b"/", _START))
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
        # The literal reading decodes once, so no reading decodes less.
        if round_ or not rounds_left:
            readings |= dict.fromkeys(reading for reading in level if reading.startswith(_START))
        level = dict.fromkeys(decode_leniently(reading) for reading in level)
    if len(readings) > most:
        raise Refused(_TOO_MANY_READINGS)
    return list(readings)


def _next_steps(reading: bytes) -> Iterator[bytes]:
    """Yield the results of one more step other than decoding: splitting, dropping parameters, merging slashes."""
    is_split = reading.startswith(_START)
    if not is_split:
        yield reading.replace(b"/", _START)
    if b";" in reading:
        yield (_PARAMETERS_OF_SEGMENTS if is_split else _PARAMETERS).sub(b"", reading)
    slash = _START if is_split else b"/"
    if slash + slash in reading:
        yield _merged(reading, slash)


def _merged(path: bytes, slash: bytes) -> bytes:
    """Return a path with repeated slashes merged."""
    while slash + slash in path:
        path = path.replace(slash + slash, slash)
    return path
