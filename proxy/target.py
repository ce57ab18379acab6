"""A request target in every reading that a lenient backend might take. Bytes in, readings out. No I/O.

The literal reading is RFC 3986: split, then decode once. Everything here is linear in the target's length, and the
depth of decoding is bounded: what is encoded more often than anybody does in good faith is refused.
"""

import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_to_bytes

from proxy.refusals import AMBIGUOUS_REQUEST, BAD_REQUEST, Refused

_MAX_ROUNDS = 4

_FORM = re.compile(
    rb"/[\x21\x22\x24-\x7E]*\Z"
)  # origin form (RFC 9112 §3.2.1): no controls, no fragment, no bytes > 7F
_PLAIN_PATH = re.compile(rb"(?:/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9_~!$&'()*+,=:@.-]*)+\Z")
"""A path that every reading (but the one that ignores case) takes alike."""

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_FORBIDDEN_IN_PATH = re.compile(
    rb"[\x00-\x1F\x7F\\]"  # controls and backslash
    rb"|(?:^|/)\.\.?(?:;[^/]*)?(?:/|\Z)"  # dot segments, those with parameters too
    # Overlong UTF-8: a decoder that takes it finds dots and slashes that nobody else saw.
    rb"|[\xC0\xC1][\x80-\xBF]|\xE0[\x80-\x9F][\x80-\xBF]|\xF0[\x80-\x8F][\x80-\xBF]"
)
_UNICODE_ESCAPE = re.compile(rb"%[uU]([0-9A-Fa-f]{4})")


def split(target: bytes) -> tuple[bytes, bytes | None]:
    """Return path and query (None: no `?`). Raises Refused unless the target is in origin form and plain ASCII."""
    if not _FORM.match(target):
        raise Refused(BAD_REQUEST)
    path, mark, query = target.partition(b"?")
    return path, query if mark else None


def _decode_leniently(raw: bytes) -> bytes:
    """Decode once; `%uXXXX` (IIS) too."""
    if b"%u" in raw or b"%U" in raw:
        raw = _UNICODE_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)).encode("utf-8", "surrogatepass"), raw)
    return unquote_to_bytes(raw)


def rounds(raw: bytes) -> list[bytes]:
    """Return `raw`, and it decoded once, twice, … until nothing is left to decode. Raises Refused past the bound."""
    found = [raw]
    while b"%" in raw:
        decoded = _decode_leniently(raw)
        if decoded == raw:
            break
        if len(found) > _MAX_ROUNDS:
            raise Refused(AMBIGUOUS_REQUEST)
        found.append(decoded)
        raw = decoded
    return found


def text(raw: bytes) -> str:
    """Return bytes as text; what is no UTF-8 becomes text that is no site's id."""
    return raw.decode("utf-8", "surrogateescape")


def is_plain(path: bytes) -> bool:
    """Tell whether all readings of a path split it alike, without a trailing slash to drop."""
    return _PLAIN_PATH.match(path) is not None


SEGMENT_END = "\0"
"""Ends each segment of a reading: no path that passes holds it, at any depth of decoding."""


def path_readings(path: bytes) -> list[str]:
    """Return the readings of a path, the literal one first: its segments decoded, each after SEGMENT_END.

    Readings: split after any number of decoding rounds, segments decoded further any number of rounds, with and
    without `;params`, with `//` merged or not, with a trailing slash or not.
    Raises Refused on what is never ordinary in a path: dot segments, backslashes and controls at any depth, invalid
    escapes, a `//` at its start (an authority to some).
    """
    if is_plain(path):
        return [text(path).replace("/", SEGMENT_END)]
    if path.startswith(b"//") or _BAD_ESCAPE.search(path):
        raise Refused(AMBIGUOUS_REQUEST)
    texts = rounds(path)
    for decoded in texts:
        if _FORBIDDEN_IN_PATH.search(decoded) or decoded.startswith(b"//"):
            raise Refused(AMBIGUOUS_REQUEST)
    readings: dict[str, None] = {SEGMENT_END + SEGMENT_END.join(map(_literal, path.split(b"/")[1:])): None}
    for split_at, split_text in enumerate(texts):
        for segments in _splits(split_text):
            for further in range(0 if split_at or len(texts) == 1 else 1, len(texts) - split_at):
                for reading in _decoded(segments, further):
                    readings[SEGMENT_END + SEGMENT_END.join(map(text, reading))] = None
    return list(readings)


def _literal(segment: bytes) -> str:
    return text(unquote_to_bytes(segment))


def _splits(path: bytes) -> Iterator[list[bytes]]:
    """Yield a path's segments: as they are, with `//` merged, without a trailing slash."""
    segments = path.split(b"/")[1:]
    yield segments
    merged = [segment for segment in segments[:-1] if segment] + segments[-1:]
    if merged != segments:
        yield merged
    if len(merged) > 1 and not merged[-1]:
        yield merged[:-1]
        if merged != segments:
            yield segments[:-1]


def _decoded(segments: list[bytes], times: int) -> Iterator[list[bytes]]:
    """Yield segments decoded so many times: with parameters, without them from the start, and from the end."""
    yield _decode_all(segments, times)
    if any(b";" in segment for segment in segments):
        bare = [segment.partition(b";")[0] for segment in segments]
        yield _decode_all(bare, times)
        yield [segment for segment in _decode_all(bare, times) if segment]
    decoded = _decode_all(segments, times)
    if any(b";" in segment for segment in decoded):
        yield [segment.partition(b";")[0] for segment in decoded]


def _decode_all(segments: list[bytes], times: int) -> list[bytes]:
    for _ in range(times):
        segments = [_decode_leniently(segment) for segment in segments]
    return segments


# Queries and other lists of names with values.

_PLAIN_NAME = re.compile(rb"[A-Za-z0-9_-]*\Z")
_TO_UNDERSCORE = str.maketrans(". ", "__")


def folded(name: str) -> str:
    """Return a parameter's name as the most lenient backends know it, but for brackets."""
    return name.split("\0", 1)[0].lstrip().translate(_TO_UNDERSCORE).casefold()


def means(raw_name: bytes, wanted: str) -> bool:
    """Tell whether some reading of a raw parameter name is `wanted`, a name that was `folded`.

    Readings: any number of decoding rounds, `+` as space, left-trimmed, cut at NUL and at `[`, with `.`, space and
    `[` as `_`, without case.
    """
    if _PLAIN_NAME.match(raw_name):
        return raw_name.decode("ascii").lower() == wanted
    for raw in (raw_name, raw_name.replace(b"+", b" ")):
        for decoded in rounds(raw):
            for spaced in {decoded, decoded.replace(b"+", b" ")}:
                name = folded(text(spaced))
                if (
                    name == wanted
                    or name.startswith(wanted + "[")
                    or name.replace("[", "_") == wanted
                    or name.replace("[", "_", 1) == wanted
                ):
                    return True
    return False


def silent_query(wanted: Iterable[str]) -> re.Pattern[bytes]:
    """Return what matches only queries that have none of the `wanted` parameters (folded names) in any reading.

    Those are of plain names, without `;`. It need not match all of them: the rest takes the slow way.
    """
    plain = [re.escape(name.encode()) for name in wanted if _PLAIN_NAME.match(name.encode())]
    others = b"(?!(?i:%b)(?:[=&]|\\Z))" % b"|".join(plain) if plain else b""
    pair = others + rb"[A-Za-z0-9_-]*(?:=[^&;]*)?"
    return re.compile(rb"%b(?:&%b)*\Z" % (pair, pair))


def pairs(query: bytes, separators: bytes = b"&") -> list[tuple[bytes, bytes]]:
    """Return a query's raw names and values, split at any of `separators` before anything is decoded."""
    if separators == b"&;":
        query = query.replace(b";", b"&")
    found = []
    for piece in query.split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            found.append((name, value))
    return found


def value_readings(raw: bytes) -> list[str]:
    """Return the readings of a raw value, the literal one (RFC 3986) first: decoded once or oftener, `+` as space."""
    if b"%" not in raw and b"+" not in raw:
        return [text(raw)]
    readings = {text(unquote_to_bytes(raw)): None}
    for variant in (raw, raw.replace(b"+", b" ")):
        decoded = rounds(variant)
        for reading in decoded[1:] or decoded:
            readings[text(reading)] = None
    return list(readings)
