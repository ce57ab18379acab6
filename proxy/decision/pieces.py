"""Splits queries and cookies into pieces, and searches the pieces' names at every depth of decoding. No I/O.

Clients choose these bytes. So everything here takes at most linear time, and functions in C do most of it.
"""

import itertools
import re
from collections.abc import Iterable

from proxy.decision.parameter_limits import (
    FEW_NAMES,
    LINE_ENDS_IN_NAMES,
    LONG_BARE_PERCENTS,
    LONG_COOKIE_NAMES,
    LONG_FOREIGN_NAMES,
    LONG_NAMES,
    LONG_ODD_NAMES,
    MANY_NAMES,
    MAX_COOKIES,
    MAX_FOUND,
    MAX_ODD_BYTES,
    MAX_PARAMETERS,
    MAX_SEPARATORS,
    SEPARATORS_IN_NAMES,
    TOO_MANY_COOKIES,
    TOO_MANY_FOUND,
    TOO_MANY_PARAMETERS,
)
from proxy.decision.parameter_names import DROPPED_BYTES, fold_letters, is_slow_to_fold
from proxy.decision.work import check_work, names_work
from proxy.http.percent_encoding import MAX_ROUNDS, PERCENT, decode_if_cheap, rounds, text
from proxy.refusals import Refused

QUERY, COOKIES, LENIENT_COOKIES, PATH = b"&;?", b";", b";,", b"&?#;"
"""All characters at which some backend separates parameters: in a query, in cookies, and in a path. Backends that split
cookies at commas follow RFC 2965, as Zope does."""

_JOINT = b"\x1f"
"""Joins names that are decoded together. Decoding a text with line breaks would take longer."""
_TO_LINES = bytes.maketrans(_JOINT + b";?#", b"\n&&&")
_ODD_NAMES = {
    usual: re.compile(rb"%b([^=%%\x80-\xFF%b]*+[%%\x80-\xFF][^=%b]*+)" % (usual, usual, usual))
    for usual in (b"&", b";")
}
"""Odd names after a separator, by the usual separator."""
_OF_COOKIES = bytes.maketrans(b";&", b"&=")
"""In cookies, a `&` ends a name like a `=`, but does not separate pieces."""


class Pieces:
    """A raw query, or raw cookies, in the forms in which parameters are searched.

    A plain name is ASCII without `%`. Plain names are searched in the whole text, because values cannot match. Odd
    names are extracted and decoded first.
    """

    __slots__ = ("_decoded", "_odd", "_split", "_text", "_usual", "raw")

    def __init__(self, raw: bytes, separators: bytes = QUERY, work: int = 0) -> None:
        """`separators` are all characters at which some backend separates parameters, the usual one first.

        `work` is the work that the head takes otherwise. Raises Refused if there are too many pieces, or if names are
        encoded too deeply or take too much work.
        """
        self.raw = raw
        self._usual = usual = separators[:1]
        self._split = split = (
            raw if len(separators) == 1 else raw.translate(bytes.maketrans(separators, usual * len(separators)))
        )
        if split.count(usual) >= (MAX_COOKIES if usual == COOKIES else MAX_PARAMETERS):
            raise Refused(TOO_MANY_COOKIES if usual == COOKIES else TOO_MANY_PARAMETERS)
        self._text = "&" + (split if usual == b"&" else split.translate(_OF_COOKIES)).lower().decode("latin-1")
        self._odd: dict[bytes, None] = {}
        """The odd names."""
        self._decoded = ""
        if PERCENT in split or not split.isascii():
            names = dict.fromkeys([piece.partition(b"=")[0] for piece in split.split(usual)])
            self._odd = {name: None for name in names if PERCENT in name or not name.isascii()}
            if self._odd:
                long = LONG_COOKIE_NAMES if usual == COOKIES else LONG_NAMES
                self._decoded = _decoded(list(self._odd), long, work)

    def names_like(self, plain: re.Pattern[str], decoded: re.Pattern[str]) -> list[tuple[int, bytes]]:
        """Return the positions and the raw names that contain a pattern, in their order.

        Both patterns begin with a `&`, which precedes each name. They contain no `%`, so if `decoded` matches at some
        depth of decoding, it also matches at the deepest one. Only the deepest one is searched. Raises Refused if there
        are too many.
        """
        found: list[tuple[int, bytes]] = []
        for match in _first(plain, self._text):
            start = match.start()
            end = self._split.find(self._usual, start)
            name = self.raw[start : end if end >= 0 else len(self.raw)].partition(b"=")[0]
            if name not in self._odd:
                found.append((start, name))
        if self._odd:
            wanted = set(self._odd_names_like(decoded))
            if wanted:
                odd = _ODD_NAMES[self._usual].finditer(self._usual + self._split)
                found += [(name.start(), name[1]) for name in odd if name[1] in wanted]
                found.sort()
        if len(found) > MAX_FOUND:
            raise Refused(TOO_MANY_FOUND)
        return [(start + len(name) - len(name.lstrip(b" ")), name.lstrip(b" ")) for start, name in found]

    def has_name_with(self, word: str, pattern: re.Pattern[str]) -> bool:
        """Return whether a pattern that begins with `word` matches in a plain or decoded name.

        Most queries do not contain the word, and finding that out is much cheaper than searching for the pattern.
        Raises Refused if values match too often.
        """
        searched = self._text
        if word in searched:
            for match in _first(pattern, searched):
                if searched.rfind("=", 0, match.start()) < searched.rfind("&", 0, match.start()):
                    return True
        return word in self._decoded and pattern.search(self._decoded) is not None

    def _odd_names_like(self, pattern: re.Pattern[str]) -> Iterable[bytes]:
        lines = self._decoded
        matches = _first(pattern, lines)
        names = list(self._odd)
        if matches and lines.count("\n") != len(names):
            # A name contains an encoded line break or joint, so lines cannot be counted.
            if len(names) > FEW_NAMES:
                raise Refused(LINE_ENDS_IN_NAMES)
            return names
        numbers: dict[int, None] = {}
        at = number = 0
        for match in matches:
            number += lines.count("\n", at, match.start())
            at = match.start()
            numbers[number] = None
        return [names[number] for number in numbers]


def _first(pattern: re.Pattern[str], searched: str) -> list[re.Match[str]]:
    """Return all matches. Raises Refused if there are too many."""
    matches = list(itertools.islice(pattern.finditer(searched), MAX_FOUND + 1))
    if len(matches) > MAX_FOUND:
        raise Refused(TOO_MANY_FOUND)
    return matches


def _decoded(names: list[bytes], long: int, work: int) -> str:
    """Return a line for each name: a `&` and the name, decoded as deeply as possible, with case folded.

    Names with more than `long` bytes together must be encoded simply. `work` is the work of the rest of the head.
    """
    joined = _JOINT.join(names)
    if len(joined) > MAX_ODD_BYTES:
        raise Refused(LONG_ODD_NAMES)
    check_work(work + names_work(len(names), 0))
    if len(joined) > long:
        decoded = decode_if_cheap(joined)
        if decoded is None or len(decoded) != len(joined) - 2 * joined.count(b"%"):
            raise Refused(LONG_BARE_PERCENTS)
        deepest = rounds(decoded, 0)[-1]
    else:
        deepest = rounds(joined, 1 if len(names) > MANY_NAMES else MAX_ROUNDS)[-1]
    lines = b"&" + deepest.translate(_TO_LINES, DROPPED_BYTES).replace(b"\n", b"\n&") + b"\n"
    if lines.count(b"&") > len(names) + MAX_SEPARATORS:
        raise Refused(SEPARATORS_IN_NAMES)
    if lines.isascii():
        return lines.lower().decode("ascii")
    if len(joined) <= long:
        return fold_letters(text(lines))
    try:
        foreign = lines.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(LONG_FOREIGN_NAMES) from None
    check_work(work + names_work(len(names), len(foreign)))
    if long < LONG_NAMES or is_slow_to_fold(foreign):
        raise Refused(LONG_FOREIGN_NAMES)
    return fold_letters(foreign)
