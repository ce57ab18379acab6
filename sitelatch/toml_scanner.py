"""The line of every key, table and list item in a TOML file, which `tomllib` does not tell.

The scanner finds where things are. It does not check them, so it also works on a file that `tomllib` rejects.
"""

import re
import tomllib
from bisect import bisect_right
from typing import NamedTuple

Place = tuple[str | int, ...]
"""The keys and indexes that lead to a value, such as `("proxy", "routes", 0, "name")`."""

_PART = r"""(?:[\w-]+|"(?:[^"\\\n]|\\[^\n])*"|'[^'\n]*')"""
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
_HEADER = re.compile(rf"(?P<bracket>\[\[?)[ \t]*(?P<key>{_KEY.pattern})[ \t]*\]")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_SPACE = re.compile(r"(?:\s|#[^\n]*)*")
_BETWEEN_ITEMS = re.compile(r"(?:[\s,]|#[^\n]*)*")
_REST_OF_LINE = re.compile(r"[^\n]*")
_SCALAR = re.compile(
    r'"{3}(?:[^\\]|\\.)*?(?:"{3,5}|\Z)'
    r"|'{3}.*?(?:'{3,5}|\Z)"
    r'|"(?:[^"\\\n]|\\[^\n])*"?'
    r"|'[^'\n]*'?"
    r"|[^,\]}#\n]*",
    re.DOTALL,
)
_DEEPEST = 100
"""No option is a list or table that is nested as deeply."""


class Statement(NamedTuple):
    """A table header, or a key with its value. `start` and `end` are offsets in the text."""

    start: int
    end: int
    key: str
    """The key as the file writes it. Empty if there is none, and for a header."""


class TomlScanner:
    """The statements of a TOML file, and the line of each place."""

    def __init__(self, text: str) -> None:
        self.statements: list[Statement] = []
        self.lines: dict[Place, int] = {}
        """The line of each key, table and list item. The line of a table without a header is where it occurs first."""
        self._text = text
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._sizes: dict[Place, int] = {}
        """The number of tables in each array of tables so far."""
        self._scan()

    def line_at(self, offset: int) -> int:
        """Return the number of the line at an offset."""
        return bisect_right(self._newlines, offset - 1) + 1

    def _scan(self) -> None:
        text, table, at = self._text, Place(), 0
        while (at := _after(_SPACE, text, at)) < len(text):
            start, key = at, ""
            if header := _HEADER.match(text, at):
                table = self._open_table(header["key"], at, is_list=header["bracket"] == "[[")
                at = header.end()
            elif name := _KEY.match(text, at):
                key = name[0]
                if equals := _EQUALS.match(text, name.end()):
                    at = self._after_value(equals.end(), self._note(table, key_path(key), at))
            at = _after(_REST_OF_LINE, text, at)
            self.statements.append(Statement(start, at, key))

    def _open_table(self, key: str, at: int, *, is_list: bool) -> Place:
        place: Place = ()
        *outer, last = key_path(key) or ("",)
        for part in outer:
            place = self._current((*place, part))
        place = (*place, last)
        if is_list:
            self.lines.setdefault(place, self.line_at(at))
            self._sizes[place] = self._sizes.get(place, 0) + 1
        place = self._current(place)
        self._note(place[:-1], place[-1:], at)
        return place

    def _current(self, place: Place) -> Place:
        """Return the last table of an array of tables, or the place itself."""
        size = self._sizes.get(place)
        return place if size is None else (*place, size - 1)

    def _note(self, outer: Place, path: Place, at: int) -> Place:
        """Note that `path` below `outer` is written here. Returns the whole place."""
        place, line = (*outer, *path), self.line_at(at)
        for length in range(1, len(place)):
            self.lines.setdefault(place[:length], line)
        self.lines[place] = line
        return place

    def _after_value(self, at: int, place: Place) -> int:
        """Note the places inside the value that begins at an offset. Returns the offset behind it."""
        text = self._text
        containers: list[tuple[Place, str]] = []
        sizes: list[int] = []
        while True:
            if text[at : at + 1] in ("[", "{") and len(containers) < _DEEPEST:
                containers.append((place, text[at]))
                sizes.append(0)
                at += 1
            else:
                at = _after(_SCALAR, text, at)
            while containers and text[(at := _after(_BETWEEN_ITEMS, text, at)) : at + 1] in ("]", "}"):
                containers.pop()
                sizes.pop()
                at += 1
            if not containers or at >= len(text):
                return at
            outer, bracket = containers[-1]
            if bracket == "[":
                place = self._note(outer, (sizes[-1],), at)
                sizes[-1] += 1
            elif (name := _KEY.match(text, at)) and (equals := _EQUALS.match(text, name.end())):
                place = self._note(outer, key_path(name[0]), at)
                at = equals.end()
            else:
                return at


def key_path(key: str) -> Place:
    """Return the parts of a dotted key as the file writes it. Empty if it is not a valid key."""
    try:
        table = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    path = []
    while isinstance(table, dict):
        [(part, table)] = table.items()
        path.append(part)
    return tuple(path)


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
