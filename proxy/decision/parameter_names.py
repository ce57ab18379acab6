"""The names of parameters, in every spelling that some backend accepts. No I/O."""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence

from proxy.http.percent_encoding import PERCENT, rounds, text

_PLAIN_NAME = re.compile(rb"[A-Za-z0-9_-]*\Z")
_SIMILAR = list(zip("ıđłħŧαγδεθπστφω", "idlhtagdetpstfo", strict=True))
_MARKS = re.compile(
    "[\u0300-\u036f"  # accents, and the dot that case folding leaves above the `i` of `İ`
    "\xad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"  # characters without a width
    "\udc80-\udcff]"  # bytes that are not UTF-8 (`percent_encoding.text`)
)
"""Characters that some decoders and comparisons drop. A `+` behind the class would make the search much slower."""
DROPPED_BYTES = bytes([*range(1, 9), *range(0x0E, 0x1C), 0x7F, *b"%"])
"""Control characters, and a `%` that does not begin an escape: classic ASP drops both. White space and NUL are not
listed, because other backends keep or cut them."""

_EACH_MARK = _MARKS.findall("".join(map(chr, range(0x10000))))
_LONG_NAME = 128
_SLOW_CHARACTERS = [
    character
    for character in map(chr, (*range(0x300, 0x3400), *range(0xA600, 0xAC00), *range(0xFB00, 0x10000)))
    if unicodedata.combining(character) or len(unicodedata.normalize("NFKD", character)) > 4
]
_SLOW_TO_FOLD = re.compile(f"[{''.join(map(re.escape, _SLOW_CHARACTERS))}]")
"""Accents that follow a letter, which normalization sorts, and characters that it replaces with more than four."""
_MOST_SLOW = 256

# Possessive quantifiers (`*+`) never backtrack, so hostile names cost linear time.
_SAME_AS_UNDERSCORE = r"(?:[_. +]|\[(?![^\]&=]{0,64}\]))"
"""In a name, PHP reads `.`, a space, and a `[` without a matching `]` as `_`."""
_BEFORE = r"[\s+?!\[\]]*+"
"""PHP trims a name on its left; Rack ignores a bracket there; URLSearchParams ignores the `?` of a `??`; Spring reads
`!site` as the default of `site`."""
_DOT_BEFORE = r"\.?"
"""qs with `allowDots` reads `.site` as `[site]`, which is `site`."""

_AFTER = r"[\s+]*+(?=[\[\]\0&=:]|\.[0-9]|\Z)"
"""PHP, Rack and qs read `site[x]` as part of `site`, and qs also `site.0`; C strings end at a NUL. Zope reads
`site:utf8` as `site`."""
_AFTER_BASE = r"(?=[\0&=\n]|\Z)"
_PERHAPS_SAME = r"[_. +\[]"
"""The same as `_SAME_AS_UNDERSCORE`, with or without a matching `]`."""

_CLASSES = (_SAME_AS_UNDERSCORE, _PERHAPS_SAME)


def folded(name: str) -> str:
    """Return a name normalized for comparison, without surrounding spaces."""
    return fold_letters(name.strip())


def fold_letters(name: str) -> str:
    """Return text with case folded, each letter in its plainest form, and without what decoders drop.

    Java compares names without case letter by letter, and so reads `ı` and `İ` as `i`. Windows replaces letters that a
    code page lacks by similar ones, such as full-width, accented and Greek ones.
    """
    if name.isascii():
        return name.lower()
    # Case folding can undo the normal form, so the text is normalized again.
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    plain = _without_marks(plain)
    # str.translate would be slow, because it raises a KeyError internally for each other character outside ASCII.
    for letter, similar in _SIMILAR:
        plain = plain.replace(letter, similar)
    return plain


def _without_marks(name: str) -> str:
    """Return text without the characters in `_MARKS`. In long text, a search for each of them is faster."""
    if len(name) < _LONG_NAME:
        return _MARKS.sub("", name)
    for mark in _EACH_MARK:
        if mark in name:
            name = name.replace(mark, "")
    return name


def is_slow_to_fold(name: str) -> bool:
    """Return whether text contains so many accents and ligatures that `fold_letters` takes long."""
    return next(itertools.islice(_SLOW_TO_FOLD.finditer(name), _MOST_SLOW, None), None) is not None


class Name:
    """The name of one parameter: its literal spelling, and all spellings that some backend reads as it."""

    __slots__ = ("_base", "_literal", "parts", "pattern", "plain_prefix", "plain_spellings")

    def __init__(self, name: str, *, array: bool = False, prefix: bool = False, unless: str = "") -> None:
        """`array` also accepts `name[]` and `name[0]` as literal spellings.

        `prefix` means every name that begins with `name`, unless the pattern `unless` matches after it.
        """
        literal = "".join(map(_literal_character, name))
        if array:
            # qs parses an index above 20 as a key of an object, not of a list.
            literal += r"(?:(?:\[|%5[Bb])(?:1?[0-9]|20)?(?:\]|%5[Dd]))?"
        self._literal = re.compile(literal.encode() + rb"\Z")
        core = folded(name).rstrip("[]")
        after = unless if prefix else _AFTER
        self.parts = [[*map(_lenient_part, re.findall(r"[\[\]]+|[^\[\]]", core)), after]]
        """The patterns of this name and of the name that replaces it, split into parts."""
        # In PHP and qs, `filter=x` replaces `filter[site]=shop`.
        base = core.partition("[")[0]
        self._base: re.Pattern[str] | None = None
        if base != core:
            self.parts.append([*map(_lenient_part, base), _AFTER_BASE])
            self._base = re.compile(_BEFORE + _DOT_BEFORE + "".join(self.parts[1]))
        # Spellings without special characters, which can be searched for literally.
        plain = [each for each in (re.sub("[. +]", "_", core), base) if _PLAIN_NAME.match(each.encode())]
        self.plain_spellings = [] if prefix else plain
        self.plain_prefix = "".join(self.parts[0]) if prefix and plain else None
        """The pattern of names with this prefix, if they may be plain."""
        self.pattern = re.compile(_BEFORE + _DOT_BEFORE + _one_of(self.parts))

    def replaces(self, raw: bytes) -> bool:
        """Return whether raw bytes spell a parameter that replaces this one: `filter` replaces `filter[site]`."""
        base = self._base
        return base is not None and any(base.match(spelling) for spelling in spellings(raw))

    def is_literal(self, raw: bytes) -> bool:
        """Return whether raw bytes spell this name literally. Reserved characters may be percent-encoded."""
        return self._literal.match(raw) is not None

    def means(self, raw: bytes) -> bool:
        """Return whether some backend reads raw bytes as this name. Raises Refused if they are encoded too deeply."""
        return any(self.pattern.match(spelling) for spelling in spellings(raw))


def search_pattern(names: Iterable[Name], *, deeper: bool = False) -> re.Pattern[str]:
    """Return a pattern for these names after a `&`, in case-folded text.

    With `deeper`, it matches a name even if the text was decoded more deeply than the backend decodes it.
    """
    alternatives = [parts for name in names for parts in name.parts]
    if deeper:
        alternatives = [
            [_PERHAPS_SAME if part == _SAME_AS_UNDERSCORE else part for part in itertools.takewhile(_is_decoded, parts)]
            for parts in alternatives
        ]
    if not alternatives:
        return re.compile(r"\Z.")
    return re.compile(f"&{_first_of(alternatives)}{_BEFORE}{_DOT_BEFORE}{_one_of(alternatives)}")


def _first_of(alternatives: Iterable[Sequence[str]]) -> str:
    """Return a check of the first character behind a `&`, which excludes most names and is faster than the pattern."""
    firsts = {parts[0] if parts else "" for parts in alternatives}
    characters = "".join("_" if first in _CLASSES else first for first in sorted(firsts))
    is_known = all(first in _CLASSES or re.fullmatch(r"\\?.", first) for first in firsts)
    return rf"(?=[\s+?!\[\].{characters}])" if is_known else ""


def spellings(raw: bytes) -> list[str]:
    """Return a folded name: raw, decoded once, twice, and so on, and at last without `DROPPED_BYTES`.

    Raises Refused if it is encoded too deeply.
    """
    if PERCENT not in raw and raw.isascii():
        return [raw.decode("ascii").lower()]
    found = rounds(raw)
    kept = found[-1].translate(None, DROPPED_BYTES)
    if kept != found[-1]:
        found.append(kept)
    return [fold_letters(text(decoded)) for decoded in found]


def _literal_character(character: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9._~-]", character):
        return re.escape(character)
    encoded = "".join(f"%{byte:02X}" for byte in character.encode())
    return f"(?:{re.escape(character) + '|' if character.isascii() and character.isprintable() else ''}(?i:{encoded}))"


def _lenient_part(part: str) -> str:
    if part[0] in "[]":
        return r"[\[\].]++"  # qs with `allowDots` reads `a.b` as `a[b]`
    return _SAME_AS_UNDERSCORE if part in "_. +" else re.escape(part)


def _is_decoded(part: str) -> bool:
    return part != "%"


def _one_of(alternatives: Iterable[Sequence[str]]) -> str:
    """Return a pattern for any of these sequences of parts. A part that several sequences begin with is tried once."""
    rests: dict[str, list[Sequence[str]]] = {}
    for parts in alternatives:
        rests.setdefault(parts[0] if parts else "", []).append(parts[1:])
    found = [first + (_one_of(rest) if first else "") for first, rest in rests.items()]
    return found[0] if len(found) == 1 else f"(?:{'|'.join(found)})"
