"""A request target in every reading that a lenient backend might take. Bytes in, readings out. No I/O.

The literal reading is RFC 3986: split, then decode once. Everything here is linear in the target's length, and the
depth of decoding is bounded: what is encoded more often than anybody does in good faith is refused.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from proxy.refusals import AMBIGUOUS_REQUEST, BAD_REQUEST, Refused

_MAX_ROUNDS = 4
_LONG_PATH = 1024
"""A longer path that is encoded twice over has more readings than anybody's good faith is worth (bytes)."""

_FORM = re.compile(
    rb"/[\x21\x22\x24-\x7E]*\Z"
)  # origin form (RFC 9112 §3.2.1): no controls, no fragment, no bytes > 7F
_PLAIN_PATH = re.compile(rb"(?:/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9_~!$&'()*+,=:@.-]*)+\Z")
"""A path that every reading takes alike, but for case."""

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_FORBIDDEN_IN_PATH = re.compile(
    rb"[\x00-\x1F\x7F\\]"  # controls and backslash
    rb"|(?:^|/)\.\.?(?:;[^/]*)?(?:/|\Z)"  # dot segments, those with parameters too
    # Overlong UTF-8: a decoder that takes it finds dots and slashes that nobody else saw.
    rb"|[\xC0\xC1][\x80-\xBF.]|\xE0[\x80-\x9F][\x80-\xBF]|\xF0[\x80-\x8F][\x80-\xBF]"
    # A slash in `;params` is gone with them to who drops them first (Tomcat), and splits the path to who decodes first.
    rb"|;[^/]*%2[Ff]"
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
    without `;params`, with `//` merged or not. That case and a trailing slash may not matter is for rules to say.
    Raises Refused on what is never ordinary in a path: dot segments, backslashes and controls at any depth, invalid
    escapes, a `//` at its start (an authority to some).
    """
    if is_plain(path):
        return [text(path).replace("/", SEGMENT_END)]
    if _BAD_ESCAPE.search(path):
        raise Refused(AMBIGUOUS_REQUEST)
    texts = rounds(path)
    if len(texts) > 2 and len(path) > _LONG_PATH:
        raise Refused(AMBIGUOUS_REQUEST)
    for decoded in texts:
        _refuse_forbidden(decoded)
    literal = unquote_to_bytes(path.replace(b"/", _END))
    readings: dict[bytes, None] = {literal: None}
    for split_at, split_text in enumerate(texts):
        # The literal reading decodes once, so none decodes less.
        for times in range(0 if split_at or len(texts) == 1 else 1, len(texts) - split_at):
            for segments in _variants(split_text.replace(b"/", _END), times):
                readings[segments] = None
                readings[_MERGED.sub(_END, segments)] = None
    return [text(reading) for reading in readings]


_END = SEGMENT_END.encode()
_PARAMETERS = re.compile(rb";[^\x00]*")
_MERGED = re.compile(rb"\x00{2,}")


def _variants(segments: bytes, times: int) -> Iterator[bytes]:
    """Yield segments decoded so many times: with parameters, without them from the start, and from the end."""
    decoded = _decode_times(segments, times)
    yield decoded
    if b";" in segments:
        yield _decode_times(_PARAMETERS.sub(b"", segments), times)
    if b";" in decoded:
        yield _PARAMETERS.sub(b"", decoded)


def _decode_times(raw: bytes, times: int) -> bytes:
    for _ in range(times):
        raw = _decode_leniently(raw)
    return raw


def _refuse_forbidden(decoded: bytes) -> None:
    if decoded.startswith(b"//") or _FORBIDDEN_IN_PATH.search(decoded):
        raise Refused(AMBIGUOUS_REQUEST)
    if not decoded.isascii():
        # Some backends fold compatibility forms: fullwidth dots and slashes become plain ones.
        compatible = unicodedata.normalize("NFKC", text(decoded)).encode("utf-8", "surrogateescape")
        if compatible.startswith(b"//") or _FORBIDDEN_IN_PATH.search(compatible):
            raise Refused(AMBIGUOUS_REQUEST)


def hidden_queries(path: bytes) -> list[bytes]:
    """Return what a backend that decodes before it splits off the query would take for a query in this path."""
    if b"%" not in path:
        return []
    return [decoded.partition(b"?")[2] for decoded in rounds(path) if b"?" in decoded]


# Queries and other lists of names with values.

_PLAIN_NAME = re.compile(rb"[A-Za-z0-9_-]*\Z")
_TO_UNDERSCORE = str.maketrans(". ", "__")


def folded(name: str) -> str:
    """Return a parameter's name as the most lenient backends know it, but for brackets."""
    return name.split("\0", 1)[0].lstrip().translate(_TO_UNDERSCORE).casefold()


def means(raw_name: bytes, wanted: str) -> bool:
    """Tell whether some reading of a raw parameter name is `wanted`, a name that was `folded`.

    Readings: any number of decoding rounds, `+` as space, left-trimmed, cut at NUL and at `[`, with `.`, space and
    `[` as `_`, without case, without brackets that open or close nothing, without a `?` before it.
    """
    if _PLAIN_NAME.match(raw_name):
        return raw_name.decode("ascii").lower() == wanted
    if len(raw_name) < len(wanted) and "[" not in wanted:
        return False  # no reading is longer, but for brackets left out
    return any(_is_called(name, wanted) for name in _name_readings(raw_name))


@lru_cache(maxsize=512)  # a name is compared with every one that is wanted
def _name_readings(raw_name: bytes) -> frozenset[str]:
    names = set()
    for raw in _spaced(raw_name):
        for decoded in rounds(raw):
            for spaced in _spaced(decoded):
                name = folded(text(spaced))
                # Who cuts a target after its `?` and hands the rest to URLSearchParams loses a second one.
                names |= {name, name.lstrip("?")}
    return frozenset(names)


def _is_called(name: str, wanted: str) -> bool:
    if name == wanted:
        return True
    if "[" not in name and "]" not in name:
        return False
    return (
        name.startswith(wanted + "[")
        or name.replace("[", "_") == wanted
        # Rack takes `]site`, `site]` and `[site]` for `site` (QueryParser#normalize_params), qs takes the last.
        or _bracketed(name)[: len(_bracketed(wanted))] == _bracketed(wanted)
    )


def _bracketed(name: str) -> list[str]:
    return re.findall(r"[^\[\]]+", name) or [name]


def _spaced(raw: bytes) -> tuple[bytes, ...]:
    """Return `raw`, and it with `+` as space where that makes a difference."""
    return (raw, raw.replace(b"+", b" ")) if b"+" in raw else (raw,)


def silent_query(wanted: Sequence[str]) -> re.Pattern[bytes]:
    """Return what matches only queries that have none of the `wanted` parameters (folded names) in any reading.

    Those are of plain names, without `;`. It need not match all of them: the rest takes the slow way.
    """
    if not wanted:
        return re.compile(b"")
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
