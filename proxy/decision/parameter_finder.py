"""Finds parameters (`name=value`) of queries and cookies in every spelling that some backend accepts. No I/O.

Clients choose these bytes, so everything here takes at most linear time. The number of parameters that are handled one
by one in Python is bounded. `make test-cost` counts the instructions.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from proxy.decision.parameter_limits import (
    DEEP_UNUSUAL,
    LONG_UNUSUAL_NAME,
    LONGEST_UNUSUAL,
    MAX_UNUSUAL,
    MAX_UNUSUAL_BYTES,
    TOO_MANY_UNUSUAL,
)
from proxy.decision.parameter_names import Name, search_pattern, spellings
from proxy.decision.pieces import QUERY, Pieces
from proxy.decision.value_readings import is_deep
from proxy.refusals import AMBIGUOUS_REQUEST, Refused

_SHORT = 512
"""Up to this length, in bytes, one regular expression over the whole text is the fastest way."""

_PLAIN_NAME = re.compile(rb"[A-Za-z0-9_-]*\Z")

_IN_NAMES = re.compile("[&;?#=]")
"""Characters that end a name or a parameter. A server that decodes a query and parses it again also finds encoded
ones."""
_HIDDEN_NAME = AMBIGUOUS_REQUEST.because(
    "A parameter name contains an encoded `&`, `;`, `?`, `#` or `=` and the name of a parameter that Sitelatch checks. "
    "Servers that rewrite queries may find two parameters there. Use these characters only in values."
)


class Found(NamedTuple):
    """The position of a raw name, and the wanted names that some backend reads it as."""

    start: int
    end: int
    meant: tuple[Name, ...]


class Finder:
    """Finds the parameters with wanted names, in every spelling, in a query or in cookies."""

    __slots__ = (
        "_decoded",
        "_meant_by_plain",
        "_most_unusual",
        "_names",
        "_plain",
        "_prefixes",
        "_separators",
        "_simple",
    )

    def __init__(self, names: Sequence[Name], separators: bytes = QUERY, *, most_unusual: int = MAX_UNUSUAL) -> None:
        """`separators` are all characters at which some backend separates parameters, the usual one first.

        `most_unusual` is how many unusual names may be wanted.
        """
        self._names = names
        self._separators = separators
        self._most_unusual = most_unusual
        self._meant_by_plain = {
            spelling.encode(): tuple(name for name in names if name.means(spelling.encode()))
            for each in names
            for spelling in each.plain_spellings
        }
        self._prefixes = [name for name in names if name.plain_prefix]
        self._plain = search_pattern(names)
        self._decoded = search_pattern(names, deeper=True)
        # Most queries have only plain names, and at most one wanted name.
        every = separators.decode()
        usual = every[0]
        plain = "|".join(re.escape(spelling.decode()) for spelling in self._meant_by_plain)
        wanted = [f"(?i:{plain})(?:[={every}]|\\Z)"] if plain else []
        wanted += [f"(?i:{name.plain_prefix})" for name in self._prefixes]
        # Checking the first letter is faster, and excludes most names.
        letters = {spelling[:1].decode() for spelling in self._meant_by_plain}
        letters |= {str(name.plain_prefix)[0] for name in self._prefixes}
        first = "" if "" in letters else f"(?=(?i:[{re.escape(''.join(sorted(letters)))}]))"
        others = f"(?!{first}(?:{'|'.join(wanted)}))" if wanted else ""
        pair = f"{others}[A-Za-z0-9_-]*+(?>(?:=[^{every}]*+)?)"
        ours = f"|((?i:{plain}))=([A-Za-z0-9._~-]*+)(?>(?:{usual} ?{pair})*)" if plain else ""
        self._simple = re.compile(f"(?>(?:{pair}{usual} ?){{0,99}})(?:{pair}{ours})\\Z".encode() if names else b"")

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

    def split(self, raw: bytes, work: int = 0) -> Pieces:
        """Split a text at every separator. Raises Refused if there are too many pieces, or if they take too much work.

        `work` is the work that the rest of the head takes.
        """
        return Pieces(raw, self._separators, work)

    def find(self, pieces: Pieces) -> list[Found]:
        """Return the positions of wanted names, in their order.

        Raises Refused if there are too many, or if they are encoded too deeply.
        """
        found = pieces.names_like(self._plain, self._decoded)
        meant = self._meanings(name for _, name in found)
        return [Found(start, start + len(name), meant[name]) for start, name in found if meant[name]]

    def meant(self, raw_name: bytes) -> tuple[Name, ...]:
        """Return the wanted names that some backend reads a raw name as. Raises Refused if only a part is wanted."""
        plain = self._meant_by_plain.get(raw_name.lower())
        if plain is not None:
            return plain
        if _PLAIN_NAME.match(raw_name):
            return self._with_prefix(raw_name)
        if len(raw_name) > LONGEST_UNUSUAL:
            raise Refused(LONG_UNUSUAL_NAME)
        found = spellings(raw_name)
        if _IN_NAMES.search(found[-1]):
            if not any(self._plain.search(f"&{_at_ampersands(spelling)}") for spelling in found):
                return ()
            # Decoding reveals separators, and removes none.
            if len(_IN_NAMES.findall(found[0])) < len(_IN_NAMES.findall(found[-1])):
                raise Refused(_HIDDEN_NAME)
        whole = [spelling for spelling in found if self._plain.match(f"&{spelling}")]
        return tuple({name: None for spelling in whole for name in self._names if name.pattern.match(spelling)})

    def _with_prefix(self, plain_name: bytes) -> tuple[Name, ...]:
        """Return the wanted names that are a prefix of a plain one."""
        if not self._prefixes:
            return ()
        spelling = plain_name.decode("ascii").lower()
        return tuple([name for name in self._prefixes if name.pattern.match(spelling)])

    def _meanings(self, names: Iterable[bytes]) -> dict[bytes, tuple[Name, ...]]:
        """Return the wanted names that each raw name means. Raises Refused if too many of them are unusual."""
        distinct = dict.fromkeys(names)
        unusual = [name for name in distinct if not _PLAIN_NAME.match(name)]
        if unusual:
            joined = b"\n".join(unusual)
            if len(joined) > MAX_UNUSUAL_BYTES or len(unusual) > self._most_unusual:
                raise Refused(TOO_MANY_UNUSUAL)
            if len(unusual) * DEEP_UNUSUAL > self._most_unusual and is_deep(joined):
                raise Refused(TOO_MANY_UNUSUAL)
        return {name: self.meant(name) for name in distinct}


def _at_ampersands(name: str) -> str:
    # str.translate would be slow, because it raises a KeyError internally for each character outside ASCII.
    return name.replace(";", "&").replace("?", "&").replace("#", "&")
