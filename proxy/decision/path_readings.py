"""Computes every reading of a path that some lenient server may use. No I/O.

The literal reading is the one of RFC 3986: split, then decode once. Everything here takes time that is linear in the
path's length, and the depth of decoding is bounded.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from proxy.decision.forbidden_paths import refuse_forbidden, refuse_session_segment
from proxy.decision.work import check_work, most_readings, path_work
from proxy.http.percent_encoding import (
    MAX_ROUNDS,
    PERCENT,
    decode,
    decode_if_cheap,
    decode_leniently,
    is_utf_8,
    rounds,
    text,
    without_foreign_bytes,
)
from proxy.refusals import AMBIGUOUS_REQUEST, Refused

_LONG_PATH = 1024
"""A path with more bytes must not be encoded twice, because it would have too many readings."""

_MAX_READINGS = 32
"""The maximum number of readings of a path, in all orders of splitting, decoding, dropping parameters and merging
slashes. A long path may have fewer, because each takes work (work.py)."""
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
    work: int = 0
    """The work that checking the path takes (work.py)."""

    def add(self, more: "PathReadings") -> None:
        """Add the readings of another spelling of the path."""
        self.texts += more.texts
        self.split = list(dict.fromkeys([*self.split, *more.split]))
        self.work += more.work + path_work(len(more.texts[0]), 2)


def read_path(path: bytes, work: int = 0) -> PathReadings:
    """Return the readings of a path. `work` is the work that the rest of the head takes.

    They cover all orders of decoding, splitting, dropping `;params` and merging `//`, with any number of rounds of
    decoding, with and without bytes that are not UTF-8. Path templates handle case and a final slash.
    Raises Refused on dot segments, backslashes and control characters at any depth, on invalid escapes, on a `//` at
    the start, which some servers read as an authority, and if the readings take too much work.
    """
    if is_plain(path):
        refuse_session_segment(path)
        return PathReadings([path], [text(path).replace("/", SEGMENT_START)])
    found = _read(path, work)
    if not all(map(is_utf_8, found.texts)):
        check_work(work + found.work + path_work(len(path), 2))
        for rest in without_foreign_bytes(path):
            found.add(_read(rest, work + found.work))
    return found


def _read(path: bytes, work: int) -> PathReadings:
    check_work(work + path_work(len(path), 1))
    texts = _decoded(path)
    for decoded in texts:
        refuse_forbidden(decoded)
    if b";" in texts[-1] or b"//" in texts[-1]:
        if len(path) > _LONG_IN_EVERY_ORDER:
            raise Refused(_TOO_LONG_FOR_EVERY_ORDER)
        most = min(most_readings(len(path), work), _MAX_READINGS)
        readings, counted = _in_every_order(path, len(texts) - 1, most)
    else:
        # A `%` that does not begin an escape is slow to decode, so it counts as another reading.
        counted = len(splits := _splits(texts)) + (PERCENT in texts[-1])
        check_work(work + path_work(len(path), counted))
        readings = _decoded_and_split(texts, splits)
    return PathReadings(texts, [text(reading) for reading in readings], path_work(len(path), counted))


def _decoded(path: bytes) -> list[bytes]:
    """Return a path raw, decoded once, twice, and so on. Raises Refused on invalid escapes."""
    if b"%" not in path:
        return [path]
    decoded = decode_if_cheap(path)
    # Each escape becomes two bytes shorter. A `%` that does not begin an escape shrinks by less.
    if decoded is None or len(decoded) != len(path) - 2 * path.count(b"%"):
        raise Refused(_ESCAPES)
    return [path, *(rounds(decoded, 0) if len(path) > _LONG_PATH else rounds(decoded, MAX_ROUNDS - 1))]


_START = SEGMENT_START.encode()
_PARAMETERS = re.compile(rb";[^/]*+")
_PARAMETERS_OF_SEGMENTS = re.compile(rb";[^\x00]*+")


def _splits(texts: list[bytes]) -> list[tuple[int, int]]:
    """Return the ways to split a path without `;` and `//`, the literal one first.

    Each is the number of rounds of decoding before the path is split, and the number of rounds after that. The literal
    reading decodes once, so no reading decodes less.
    """
    slashes = [decoded.count(b"/") for decoded in texts]
    splits = [
        (before, after)
        for before in range(len(texts))
        for after in range(0 if before or len(texts) == 1 else 1, len(texts) - before)
        # If decoding reveals no slash, splitting before or after it makes no difference.
        if not after or slashes[before] != slashes[before + after]
    ]
    return sorted(splits, key=sum)


def _decoded_and_split(texts: list[bytes], splits: Iterable[tuple[int, int]]) -> list[bytes]:
    """Return the readings of a path that is split in these ways."""
    readings: dict[bytes, None] = {}
    for before, after in splits:
        segments = texts[before].replace(b"/", _START)
        for _ in range(after):
            segments = decode_leniently(segments)
        readings[segments] = None
    return list(readings)


def _in_every_order(path: bytes, rounds_left: int, most: int) -> tuple[list[bytes], int]:
    """Return the readings of a path in every order of splitting, decoding, dropping parameters and merging slashes.

    The literal reading comes first. Also return how many readings of a path without `;` and `//` take as much work.
    Raises Refused if there are more than `most`.
    """
    literal = decode(path.replace(b"/", _START))
    readings = {literal: None}
    level = {path: None}
    steps = 0
    for round_ in range(rounds_left + 1):
        new = list(level)
        while new:
            reading = new.pop()
            for after in _next_steps(reading):
                if after not in level:
                    level[after] = None
                    new.append(after)
            if max(len(readings), (steps + len(level)) // 2) > most:
                raise Refused(_TOO_MANY_READINGS)
        steps += len(level)
        # The literal reading decodes once, so no reading decodes less.
        if round_ or not rounds_left:
            readings |= dict.fromkeys(reading for reading in level if reading.startswith(_START))
        level = dict.fromkeys(decode_leniently(reading) for reading in level)
    counted = max(len(readings), steps // 2)
    if counted > most:
        raise Refused(_TOO_MANY_READINGS)
    return list(readings), counted


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
