"""Finds parameters (`name=value`) of queries and cookies in every spelling that some backend accepts. No I/O.

Clients choose these bytes, so everything here takes at most linear time. The number of parameters that are handled one
by one in Python is bounded. `make test-cost` counts the instructions.
"""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from proxy.decision.parameter_names import BEFORE, Name, spellings
from proxy.http.percent_encoding import PERCENT, rounds, text
from proxy.refusals import AMBIGUOUS_REQUEST, Refused

_MAX_PARAMETERS = 1000
"""Servers ignore further parameters: PHP (`max_input_vars`), Node.js, qs and Tomcat all stop at 1,000."""

_MAX_COOKIES = 256
"""Browsers keep at most 180 cookies per domain."""

_MAX_NAMES_BYTES = 8192
"""The maximum total length, in bytes, of all distinct names."""

_MAX_ODD_NAMES = 256
"""The maximum number of distinct names with unusual characters, if one is encoded or wanted. DataTables sends 240."""

MAX_FOUND = 64
"""The maximum number of occurrences of wanted parameters."""
MAX_FOUND_ODD = 16
"""The limit if values are encoded, or if the query can be split in several ways."""
MAX_FOUND_DEEP = 4
"""The limit if values may be encoded twice."""

_FEW_NAMES, _MAX_WANTED = 7, 28
"""More than 7 unusual names are joined and searched as one text. Then at most 28 of them may be wanted."""

_LONG_NAMES, _MANY_NAMES = 1024, 64
"""Names that take more than 1024 bytes in total, or more than 64 names, must not be encoded twice. A wanted name must
not be longer than 1024 bytes."""

_LONG_FOREIGN_NAMES = 1024
"""The maximum total length, in bytes, of all names if some are not ASCII, because case folding is slow for these."""

_SHORT = 512
"""Up to this length, in bytes, one regular expression over the whole text is the fastest way."""

_ODD_NAME = re.compile(rb"[^A-Za-z0-9_-]")
_PLAIN_NAME = re.compile(rb"[A-Za-z0-9_-]*\Z")
_PLAIN_BYTES = bytes(byte for byte in range(256) if not _ODD_NAME.match(bytes([byte])))

_IN_NAMES = frozenset("&;?#=")
"""Characters that end a name or a parameter. A server that decodes a query and parses it again also finds encoded
ones."""
_TO_AMPERSAND = bytes(ord("&") if chr(byte) in "&;?#" else byte for byte in range(256))
_HIDDEN_NAME = AMBIGUOUS_REQUEST.because(
    "The name of a parameter contains an encoded `&`, `;`, `?`, `#` or `=`, and the name of a parameter that matters "
    "here. Servers that rewrite queries find two parameters there. Use these characters in values only."
)

TOO_MANY_PARAMETERS = AMBIGUOUS_REQUEST.because(
    f"The request has more than {_MAX_PARAMETERS} parameters or {_MAX_COOKIES} cookies, more than {_MAX_ODD_NAMES} "
    f"unusual names, names outside ASCII that are too long, or too many parameters that matter here: {MAX_FOUND} are "
    f"allowed, {MAX_FOUND_ODD} if their values are percent-encoded or the query contains `;` or `?`, and "
    f"{MAX_FOUND_DEEP} if values are encoded twice. Split it into several requests."
)


class Found(NamedTuple):
    """The position of a raw name, and the wanted names that some backend reads it as."""

    start: int
    end: int
    meant: tuple[Name, ...]


class Finder:
    """Finds the parameters with wanted names, in every spelling, in a query or in cookies."""

    __slots__ = (
        "_lenient",
        "_meant_by_plain",
        "_most",
        "_names",
        "_separators",
        "_simple",
        "_to_one_separator",
    )

    def __init__(self, names: Sequence[Name], separators: str = "&;?") -> None:
        """`separators` are all characters at which some backend separates parameters, the usual one first."""
        self._names = names
        self._separators = [separator.encode() for separator in separators]
        self._most = _MAX_COOKIES if separators == ";" else _MAX_PARAMETERS
        self._meant_by_plain = {
            spelling.encode(): tuple(name for name in names if name.means(spelling.encode()))
            for each in names
            for spelling in each.plain_spellings
        }
        first = ord(separators[0])
        self._to_one_separator = bytes(first if chr(byte) in separators else byte for byte in range(256))
        lenient = "|".join(part for name in names for part in (name.lenient, name.base) if part)
        # Most names can be skipped at their first character.
        starts = "".join({re.escape(character) for name in names for character in name.first_characters})
        self._lenient = re.compile(f"&{BEFORE}(?=[{starts}])(?:{lenient})" if names else r"\Z.")
        # Most queries have only plain names, and at most one wanted name.
        plain = "|".join(re.escape(spelling.decode()) for spelling in self._meant_by_plain)
        others = f"(?!(?i:{plain})(?:[={separators}]|\\Z))" if plain else ""
        pair = f"{others}[A-Za-z0-9_-]*+(?:=[^{separators}]*+)?+"
        ours = f"|((?i:{plain}))=([A-Za-z0-9._~-]*+)(?:{separators[0]} ?{pair})*+" if plain else ""
        self._simple = re.compile(f"(?:{pair}{separators[0]} ?){{0,99}}+(?:{pair}{ours})\\Z".encode() if names else b"")

    def glance(self, raw: bytes) -> tuple[bytes, bytes] | tuple[()] | None:
        """Search a short, plain text quickly. Hot.

        Returns the name and value of the only wanted parameter, `()` if there is none, or None if a full search is
        needed.
        """
        if len(raw) > _SHORT:
            return None
        simple = self._simple.match(raw)
        if simple is None:
            return None
        return (simple[1], simple[2]) if simple.lastindex else ()

    def is_silent(self, raw: bytes) -> bool:
        """Return True if there is definitely no wanted parameter. False means that there may be one."""
        return self.glance(raw) == ()

    def means_only(self, raw_name: bytes, name: Name) -> bool:
        """Return whether a plain raw name means this wanted name and no other one."""
        return self._meant_by_plain.get(raw_name.lower()) == (name,)

    def find(self, raw: bytes) -> list[Found]:
        """Return the positions of wanted names, with the text split at every separator.

        Raises Refused if there are too many, or if they are encoded too deeply.
        """
        split = raw.translate(self._to_one_separator)
        names, meant = self.meant_in(split)
        if not meant:
            return []
        numbers = list(itertools.compress(itertools.count(), map(meant.__contains__, names)))
        if len(numbers) > MAX_FOUND:
            raise Refused(TOO_MANY_PARAMETERS)
        pieces = split.split(self._separators[0])
        found = []
        start = before = 0
        for number in numbers:
            start += sum(map(len, pieces[before:number])) + number - before
            before = number
            piece, name = pieces[number], names[number]
            at = start + len(piece) - len(piece.lstrip(b" "))
            found.append(Found(at, at + len(name), meant[name]))
        return found

    def meant_in(self, split: bytes) -> tuple[list[bytes], dict[bytes, tuple[Name, ...]]]:
        """Return all raw names in a text with one kind of separator, and the wanted names that each may stand for.

        Both are empty if no raw name means a wanted name. Raises Refused if there are too many, or if they are encoded
        too deeply.
        """
        separator = self._separators[0]
        if not self._names or not split:
            return [], {}
        if split.count(separator) >= self._most:
            raise Refused(TOO_MANY_PARAMETERS)
        # There may be a thousand names, so this leaves as much as possible to functions in C. Most searches end at
        # `_may_be_meant`.
        names = split.split(separator)
        if b"=" in split:
            names = [name.partition(b"=")[0] for name in names]
        together = separator.join(names)
        if not self._may_be_meant(together, separator):
            return [], {}
        if b" " in together:
            names = [name.lstrip(b" ") for name in names]
            together = separator.join(names)
        meant = self._meant_among(names, together)
        return (names, meant) if meant else ([], {})

    def meant(self, raw_name: bytes) -> tuple[Name, ...]:
        """Return the wanted names that some backend reads a raw name as. Raises Refused if only a part of it is one."""
        plain = self._meant_by_plain.get(raw_name.lower())
        if plain is not None:
            return plain
        if _PLAIN_NAME.match(raw_name):
            return ()
        found = spellings(raw_name)
        if not any(self._lenient.search(f"&{_at_ampersands(spelling)}") for spelling in found):
            return ()
        if len(raw_name) > _LONG_NAMES:
            raise Refused(TOO_MANY_PARAMETERS)
        if len(found) > 1 and _separators_in(found[0]) < max(map(_separators_in, found[1:])):
            raise Refused(_HIDDEN_NAME)
        return tuple(name for name in self._names if any(map(name.pattern.match, found)))

    def _may_be_meant(self, together: bytes, separator: bytes) -> bool:
        """Return whether one of these names, joined by `separator`, may be wanted. All are searched in one text."""
        if len(together) > _MAX_NAMES_BYTES:
            together = separator.join(set(together.split(separator)))
            if len(together) > _MAX_NAMES_BYTES:
                raise Refused(TOO_MANY_PARAMETERS)
        decoded = [together]
        if PERCENT in together:
            if len(together) > _LONG_NAMES or together.count(separator) >= _MANY_NAMES:
                encoded = [name for name in set(together.split(separator)) if PERCENT in name]
                decoded += _rounds_of_names(encoded, separator)[1:]
            else:
                decoded = rounds(together)
        separators = _TO_AMPERSAND if separator == b"&" else _SEMICOLON_TO_AMPERSAND
        first = decoded[0] if separator == b"&" else decoded[0].translate(separators)
        every = [first, *(each.translate(_TO_AMPERSAND) for each in decoded[1:])]
        found = False
        for each in every:
            if len(each) > _LONG_FOREIGN_NAMES and not each.isascii():
                raise Refused(TOO_MANY_PARAMETERS)
            matches = self._lenient.finditer(_without_case(b"&" + each))
            if next(matches, None) is not None:
                found = True
                if next(itertools.islice(matches, MAX_FOUND - 1, None), None) is not None:
                    raise Refused(TOO_MANY_PARAMETERS)
        return found

    def _meant_among(self, names: list[bytes], together: bytes) -> dict[bytes, tuple[Name, ...]]:
        """Return the raw names that mean wanted names, with those names. `together` is all raw names joined."""
        plain, separator = self._meant_by_plain, self._separators[0]
        are_plain = map(plain.__contains__, together.lower().split(separator))
        meant = {name: plain[name.lower()] for name in set(itertools.compress(names, are_plain))}
        if not together.translate(None, _PLAIN_BYTES + separator):
            return meant
        odd = list(filter(_ODD_NAME.search, set(names)))
        if len(odd) > _MAX_ODD_NAMES:
            raise Refused(TOO_MANY_PARAMETERS)
        if odd:
            meant |= self._meant_among_odd(odd)
        return meant

    def _meant_among_odd(self, names: list[bytes]) -> dict[bytes, tuple[Name, ...]]:
        """Like `_meant_among`, for unusual names. Many names are joined and searched as one text first."""
        wanted = names
        if len(names) > _FEW_NAMES:
            lines = b"\n".join(names)
            decoded = [lines]
            if PERCENT in lines:
                many = len(lines) > _LONG_NAMES or len(names) > _MANY_NAMES
                decoded = rounds(lines, 1) if many else rounds(lines)
            if any(each.count(b"\n") != len(names) - 1 for each in decoded):
                raise Refused(TOO_MANY_PARAMETERS)
            numbers: set[int] = set()
            for each in decoded:
                spelled = "&" + _without_case(each.translate(_TO_AMPERSAND)).replace("\n", "\n&")
                at = number = 0
                for match in self._lenient.finditer(spelled):
                    number += spelled.count("\n", at, match.start())
                    at = match.start()
                    numbers.add(number)
                    if len(numbers) > _MAX_WANTED:
                        raise Refused(TOO_MANY_PARAMETERS)
            wanted = [names[number] for number in sorted(numbers)]
        return {name: meant for name in wanted if (meant := self.meant(name))}


_SEMICOLON_TO_AMPERSAND = bytes(ord("&") if byte == ord(";") else byte for byte in range(256))


def _at_ampersands(name: str) -> str:
    # str.translate would be slow, because it raises a KeyError internally for each character outside ASCII.
    return name.replace(";", "&").replace("?", "&").replace("#", "&")


def _separators_in(name: str) -> int:
    return sum(map(name.count, _IN_NAMES))


def _rounds_of_names(names: list[bytes], separator: bytes) -> list[bytes]:
    """Decode many encoded names. Raises Refused if there are too many, or if they are encoded twice."""
    if len(names) > _MAX_ODD_NAMES:
        raise Refused(TOO_MANY_PARAMETERS)
    return rounds(separator.join(names), 1)


def _without_case(raw: bytes) -> str:
    return raw.lower().decode("ascii") if raw.isascii() else text(raw).casefold()
