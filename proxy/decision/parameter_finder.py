"""Finds parameters (`name=value`) of queries and cookies in every spelling that some backend accepts. No I/O.

Clients choose these bytes, so everything here takes at most linear time. The number of parameters that are handled one
by one in Python is bounded. `make test-cost` counts the instructions.
"""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from proxy.decision.parameter_names import BEFORE, DOT_BEFORE, Name, spellings
from proxy.http.percent_encoding import PERCENT, rounds, text
from proxy.refusals import AMBIGUOUS_REQUEST, Refused

_MAX_PARAMETERS = 1000
"""Servers ignore further parameters: PHP (`max_input_vars`), Node.js, qs and Tomcat all stop at 1,000."""

_MAX_COOKIES = 256
"""Browsers keep at most 180 cookies per domain."""

_MAX_NAMES_BYTES = 8192
"""The maximum total length, in bytes, of all distinct names."""

_MAX_ENCODED_NAMES = 256
"""The maximum number of distinct percent-encoded names. DataTables sends 240."""

MAX_FOUND = 64
"""The maximum number of occurrences of wanted parameters."""
MAX_FOUND_ODD = 16
"""The limit if values are encoded, or if the query can be split in several ways."""
MAX_FOUND_DEEP = 4
"""The limit if values may be encoded twice."""

_FEW_NAMES, _MAX_UNUSUAL = 7, 28
"""At most 7 names that contain an encoded line end are read one by one. At most 28 unusual names may be wanted."""

_LONG_NAMES, _MANY_NAMES = 1024, 64
"""Names that take more than 1024 bytes in total, or more than 64 names, must not be encoded twice. A wanted name must
not be longer than 1024 bytes."""

_LONG_FOREIGN_NAMES = 1024
"""The maximum total length, in bytes, of all names if some are not ASCII, because case folding is slow for these."""

_SHORT = 512
"""Up to this length, in bytes, one regular expression over the whole text is the fastest way."""

_PLAIN_NAME = re.compile(rb"[A-Za-z0-9_-]*\Z")

_IN_NAMES = frozenset("&;?#=")
"""Characters that end a name or a parameter. A server that decodes a query and parses it again also finds encoded
ones."""
_TO_AMPERSAND = bytes(ord("&") if chr(byte) in "&;?#" else byte for byte in range(256))
_HIDDEN_NAME = AMBIGUOUS_REQUEST.because(
    "A parameter name contains an encoded `&`, `;`, `?`, `#` or `=` and the name of a parameter that Sitelatch checks. "
    "Servers that rewrite queries may find two parameters there. Use these characters only in values."
)

TOO_MANY_PARAMETERS = AMBIGUOUS_REQUEST.because(
    f"The request has more than {_MAX_PARAMETERS} parameters or {_MAX_COOKIES} cookies, more than {_MAX_ENCODED_NAMES} "
    "percent-encoded names, names outside ASCII that are too long, or too many parameters that Sitelatch checks: "
    f"{MAX_FOUND} are allowed, {MAX_FOUND_ODD} if their values are percent-encoded or the query contains `;` or `?`, "
    f"and {MAX_FOUND_DEEP} if values are encoded twice. Split it into several requests."
)


class Found(NamedTuple):
    """The position of a raw name, and the wanted names that some backend reads it as."""

    start: int
    end: int
    meant: tuple[Name, ...]


class Wanted(NamedTuple):
    """The number of a parameter among all, its raw name, and the wanted names that some backend reads it as."""

    number: int
    name: bytes
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
        "_starts",
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
        self._lenient = re.compile(f"&{BEFORE}(?=[{starts}.]){DOT_BEFORE}(?:{lenient})" if names else r"\Z.")
        self._starts = {separators[0].encode() + spelling[:2] for spelling in self._meant_by_plain}
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

    def near_misses(self, raw: bytes) -> int:
        """Return how many names begin like a wanted one: the search takes longer for these than for other names."""
        return sum(map(raw.translate(self._to_one_separator).lower().count, self._starts))

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
        wanted = self.wanted(split)
        if not wanted:
            return []
        pieces = split.split(self._separators[0])
        found = []
        start = before = 0
        for number, name, meant in wanted:
            start += sum(map(len, pieces[before:number])) + number - before
            before = number
            piece = pieces[number]
            at = start + len(piece) - len(piece.lstrip(b" "))
            found.append(Found(at, at + len(name), meant))
        return found

    def wanted(self, split: bytes) -> list[Wanted]:
        """Return the parameters with wanted names in a text with one kind of separator, in their order.

        Raises Refused if there are too many, or if they are encoded too deeply.
        """
        separator = self._separators[0]
        if not self._names or not split:
            return []
        if split.count(separator) >= self._most:
            raise Refused(TOO_MANY_PARAMETERS)
        # There may be a thousand names, so this leaves as much as possible to functions in C.
        if PERCENT not in split and separator == b"&" and split.isascii():
            # Values may be searched too, because they contain no `&`.
            numbers = self._may_be_wanted(split.replace(separator, b"\n&"))
            if not numbers:
                return []
            pieces = split.split(separator)
            names = [pieces[number].partition(b"=")[0] for number in numbers]
            meant = self._meanings(names)
            return [
                Wanted(number, name.lstrip(b" "), meant[name])
                for number, name in zip(numbers, names, strict=True)
                if meant[name]
            ]
        names = [piece.partition(b"=")[0] for piece in split.split(separator)]
        meant = self._meanings(self._candidates(list(dict.fromkeys(names))))
        if not any(meant.values()):
            return []
        numbers = list(itertools.compress(itertools.count(), map(meant.get, names)))
        if len(numbers) > MAX_FOUND:
            raise Refused(TOO_MANY_PARAMETERS)
        return [Wanted(number, names[number].lstrip(b" "), meant[names[number]]) for number in numbers]

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

    def _candidates(self, names: list[bytes]) -> list[bytes]:
        """Return those of different names that may be wanted in some depth of decoding."""
        lines = b"\n&".join(names)
        if len(lines) - len(names) > _MAX_NAMES_BYTES:
            raise Refused(TOO_MANY_PARAMETERS)
        found = [names[number] for number in self._may_be_wanted(lines)]
        if PERCENT not in lines:
            return found
        encoded = [name for name in names if PERCENT in name]
        many = len(lines) > _LONG_NAMES or len(names) > _MANY_NAMES
        if many and len(encoded) > _MAX_ENCODED_NAMES:
            raise Refused(TOO_MANY_PARAMETERS)
        joined = b"\n".join(encoded)
        for decoded in (rounds(joined, 1) if many else rounds(joined))[1:]:
            numbers = self._may_be_wanted(decoded.translate(_TO_AMPERSAND).replace(b"\n", b"\n&"))
            if numbers and decoded.count(b"\n") != len(encoded) - 1:
                # A name contains an encoded line end, so the numbers are wrong.
                if len(encoded) > _FEW_NAMES:
                    raise Refused(TOO_MANY_PARAMETERS)
                return found + encoded
            found += [encoded[number] for number in numbers]
        return found

    def _may_be_wanted(self, lines: bytes) -> list[int]:
        """Return the numbers of the lines that may begin with a wanted name. All are searched in one text.

        Each line but the first begins with `&`. A name after another `&` in a line counts too.
        """
        if len(lines) > _LONG_FOREIGN_NAMES and not lines.isascii():
            raise Refused(TOO_MANY_PARAMETERS)
        spelled = _without_case(b"&" + lines)
        matches = list(itertools.islice(self._lenient.finditer(spelled), MAX_FOUND + 1))
        if len(matches) > MAX_FOUND:
            raise Refused(TOO_MANY_PARAMETERS)
        numbers: dict[int, None] = {}
        at = number = 0
        for match in matches:
            number += spelled.count("\n", at, match.start())
            at = match.start()
            numbers[number] = None
        return list(numbers)

    def _meanings(self, names: list[bytes]) -> dict[bytes, tuple[Name, ...]]:
        """Return the wanted names that each raw name means. Raises Refused if too many of them are unusual."""
        meant: dict[bytes, tuple[Name, ...]] = {}
        unusual = 0
        for name in names:
            if name in meant:
                continue
            unusual += not _PLAIN_NAME.match(name)
            if unusual > _MAX_UNUSUAL:
                raise Refused(TOO_MANY_PARAMETERS)
            meant[name] = self.meant(name.lstrip(b" "))
        return meant


def _at_ampersands(name: str) -> str:
    # str.translate would be slow, because it raises a KeyError internally for each character outside ASCII.
    return name.replace(";", "&").replace("?", "&").replace("#", "&")


def _separators_in(name: str) -> int:
    return sum(map(name.count, _IN_NAMES))


def _without_case(raw: bytes) -> str:
    return raw.lower().decode("ascii") if raw.isascii() else text(raw).casefold()
