"""The names of parameters, in every spelling that some backend accepts. No I/O."""

import re

from proxy.http.percent_encoding import PERCENT, rounds, text

_PLAIN_NAME = re.compile(rb"[A-Za-z0-9_-]*\Z")

# Possessive quantifiers (`*+`) never backtrack, so hostile names cost linear time.
_SAME_AS_UNDERSCORE = r"(?:[_. +]|\[(?![^\]&]{0,64}\]))"
"""In a name, PHP reads `.`, a space, and a `[` without a matching `]` as `_`."""

BEFORE = r"[\s+?!\[\]]*+"
"""PHP trims a name on its left; Rack ignores a bracket there; URLSearchParams ignores the `?` of a `??`; Spring reads
`!site` as the default of `site`."""
DOT_BEFORE = r"\.?"
"""qs with `allowDots` reads `.site` as `[site]`, which is `site`."""

_AFTER = r"[\s+]*+(?=[\[\]\0&=]|\.[0-9]|\Z)"
"""PHP, Rack and qs read `site[x]`, and qs `site.0`, as part of `site`; C strings end at a NUL."""


def folded(name: str) -> str:
    """Return a name normalized for comparison: casefolded, and without surrounding spaces."""
    return name.strip().casefold()


class Name:
    """The name of one parameter: its literal spelling, and all spellings that some backend reads as it."""

    __slots__ = ("_base", "_literal", "base", "first_characters", "lenient", "pattern", "plain_spellings")

    def __init__(self, name: str, *, array: bool = False) -> None:
        """`array` also accepts `name[]` and `name[0]` as literal spellings."""
        literal = "".join(map(_literal_character, name))
        if array:
            # qs parses an index above 20 as a key of an object, not of a list.
            literal += r"(?:(?:\[|%5[Bb])(?:1?[0-9]|20)?(?:\]|%5[Dd]))?"
        self._literal = re.compile(literal.encode() + rb"\Z")
        core = folded(name).rstrip("[]")
        self.lenient = "".join(map(_lenient_part, re.findall(r"[\[\]]+|[^\[\]]", core))) + _AFTER
        self.first_characters = "_. +[" if core[:1] in "_. +" else core[:1]
        # In PHP and qs, `filter=x` replaces `filter[site]=shop`.
        base = core.partition("[")[0]
        self.base = "".join(map(_lenient_part, base)) + r"(?=[\0&=]|\Z)" if base != core else ""
        self._base = re.compile(BEFORE + DOT_BEFORE + self.base)
        # Spellings without special characters, which can be searched for literally.
        self.plain_spellings = [each for each in (re.sub("[. +]", "_", core), base) if _PLAIN_NAME.match(each.encode())]
        self.pattern = re.compile(f"{BEFORE}{DOT_BEFORE}(?:{self.lenient}" + (f"|{self.base})" if self.base else ")"))

    def replaces(self, raw: bytes) -> bool:
        """Return whether raw bytes spell a parameter that replaces this one: `filter` replaces `filter[site]`."""
        return bool(self.base) and any(self._base.match(text(decoded).casefold()) for decoded in rounds(raw))

    def is_literal(self, raw: bytes) -> bool:
        """Return whether raw bytes spell this name literally. Reserved characters may be percent-encoded."""
        return self._literal.match(raw) is not None

    def means(self, raw: bytes) -> bool:
        """Return whether some backend reads raw bytes as this name. Raises Refused if they are encoded too deeply."""
        return any(self.pattern.match(spelling) for spelling in spellings(raw))


def spellings(raw: bytes) -> list[str]:
    """Return a name casefolded: raw, decoded once, twice, and so on. Raises Refused if it is encoded too deeply."""
    if PERCENT not in raw and raw.isascii():
        return [raw.decode("ascii").lower()]
    return [text(decoded).casefold() for decoded in rounds(raw)]


def _literal_character(character: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9._~-]", character):
        return re.escape(character)
    encoded = "".join(f"%{byte:02X}" for byte in character.encode())
    return f"(?:{re.escape(character) + '|' if character.isascii() and character.isprintable() else ''}(?i:{encoded}))"


def _lenient_part(part: str) -> str:
    if part[0] in "[]":
        return r"[\[\].]++"  # qs with `allowDots` reads `a.b` as `a[b]`
    return _SAME_AS_UNDERSCORE if part in "_. +" else re.escape(part)
