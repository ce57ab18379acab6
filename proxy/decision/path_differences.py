"""Says why servers may read a path differently, and how to send it instead. For refusals only. No I/O."""

import re
from collections.abc import Callable, Sequence

from proxy.decision.path_readings import SEGMENT_START, PathReadings
from proxy.http.percent_encoding import decode, decode_leniently, text, without_foreign_bytes

Meaning = Callable[[str, bool], object]
"""What a reading of a path means, such as its route or its site. The flag makes the match lenient."""

_DOUBLED_SLASH = "The path contains `//`, which some servers merge into one slash. Send one slash between two segments."
_ENCODED_SLASH = (
    "The path contains an encoded slash (`%2F`), and only some servers split a path there. Send `/` between two "
    "segments, and no slash inside a segment."
)
_PARAMETERS = (
    "The path contains `;`, plain or encoded, and some servers ignore the rest of the segment. Send the path without "
    "it."
)
_ENCODED_TWICE = (
    "A part of the path is percent-encoded more than once, and servers differ in how often they decode it. Encode each "
    "part once."
)
_NOT_UTF_8 = (
    "The path contains bytes that are not UTF-8, and some servers drop them. Send text as percent-encoded UTF-8."
)
_FINAL_SLASH = (
    "The path ends with a slash that the documented path does not have, and some servers ignore it. Send the path "
    "without it."
)
_NO_FINAL_SLASH = "The path lacks the slash at its end, and some servers add it. Send the path with it."
_CASE = (
    "The path differs from the documented path in letter case, and some servers ignore case. Send the path in "
    "the documented case."
)


def path_difference(path: bytes, found: PathReadings, meaning: Meaning) -> str:
    """Return what makes the readings of a path differ in their meaning, and how to send the path instead."""
    literal, *others = found.split
    meant = meaning(literal, False)
    if any(meaning(reading, False) != meant for reading in others):
        return _spelling(path, found.texts, lambda reading: meaning(reading, False) != meant)
    reading = next((each for each in found.split if meaning(each, True) != meant), literal)
    lenient = meaning(reading, True)
    return _lenient_spelling(reading, lambda other: meaning(other, False) == lenient)


def _spelling(path: bytes, texts: Sequence[bytes], differs: Callable[[str], bool]) -> str:
    """Return the first spelling that changes the meaning by itself, or else the first one that the path contains."""
    slashes = texts[0].count(b"/")
    foreign = without_foreign_bytes(path)
    causes: list[tuple[str, bool, Callable[[bytes], bytes]]] = [
        (_DOUBLED_SLASH, any(b"//" in each for each in texts), lambda path: re.sub(rb"/{2,}", b"/", path)),
        (
            _ENCODED_SLASH,
            any(each.count(b"/") > slashes for each in texts),
            lambda path: path.replace(b"%2F", b"/").replace(b"%2f", b"/"),
        ),
        (_PARAMETERS, any(b";" in each for each in texts), lambda path: re.sub(rb"(?:;|%3[Bb])[^/]*+", b"", path)),
        (_NOT_UTF_8, bool(foreign), lambda path: foreign[0]),
        (_ENCODED_TWICE, len(texts) > 1, decode_leniently),
    ]
    present = [(cause, respell) for cause, is_present, respell in causes if is_present]
    for cause, respell in present:
        if differs(text(decode(respell(path).replace(b"/", SEGMENT_START.encode())))):
            return cause
    return present[0][0] if present else _ENCODED_TWICE


def _lenient_spelling(reading: str, is_meant: Callable[[str], bool]) -> str:
    if reading.endswith(SEGMENT_START):
        return _FINAL_SLASH if is_meant(reading.removesuffix(SEGMENT_START)) else _CASE
    return _NO_FINAL_SLASH if is_meant(reading + SEGMENT_START) else _CASE
