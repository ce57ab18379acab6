"""Tables of text. No I/O.

On a terminal, a line never exceeds its width. For programs, no cell is shortened.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

_GAP: Final = "  "
_ELLIPSIS: Final = "…"
_JOINERS: Final = "\u200c\u200d"
"""Characters without a width that several scripts and emoji need."""


@dataclass(frozen=True)
class Column(Generic[Item]):
    """A column of a table, with the function that returns the text of a cell."""

    title: str
    cell: Callable[[Item], str]
    least: int | None = None
    """The width to which the column may shrink. Without it, the column does not shrink."""
    is_optional: bool = False
    """Whether the column is left out if the table is too wide for the terminal."""


class Table(Generic[Item]):
    """A table that is printed in parts. The first part decides how wide the columns are."""

    def __init__(self, columns: Sequence[Column[Item]], width: int | None) -> None:
        """`width` is that of the terminal, None for programs."""
        self._columns = columns
        self._width = width
        self._widths: list[int] = []

    def lines(self, items: Sequence[Item], *, is_last: bool) -> list[str]:
        """Return the next lines, which include the titles the first time."""
        rows = [[printable(column.cell(item)) for column in self._columns] for item in items]
        if not self._widths:
            rows.insert(0, [column.title for column in self._columns])
            natural = [max(map(cells, column)) for column in zip(*rows, strict=True)]
            self._widths = natural if self._width is None else fitted(self._columns, natural, self._width, is_last)
        return [self._line(row) for row in rows]

    def _line(self, row: Sequence[str]) -> str:
        if self._width is None:
            shown = [pad(text, width) for text, width in zip(row, self._widths, strict=True)]
            return _GAP.join(shown).rstrip()
        shown = [pad(shortened(text, width), width) for text, width in zip(row, self._widths, strict=True) if width]
        return shortened(_GAP.join(shown).rstrip(), self._width)


def fitted(columns: Sequence[Column[Item]], natural: Sequence[int], width: int, is_last: bool) -> list[int]:
    """Return the widths of the columns on a terminal. 0 means that the column is left out.

    If later parts of the table may have longer texts, the columns that can shrink get the remaining space.
    """
    widths = list(natural)
    least = [
        least if column.least is None else min(column.least, least)
        for column, least in zip(columns, natural, strict=True)
    ]
    optional = [at for at, column in enumerate(columns) if column.is_optional]
    while _total(least) > width and optional:
        left_out = optional.pop()
        least[left_out] = widths[left_out] = 0
    while (excess := _total(widths) - width) > 0:
        slack, at = max((have - need, at) for at, (have, need) in enumerate(zip(widths, least, strict=True)))
        if not slack:
            break
        second = max(have - need for other, (have, need) in enumerate(zip(widths, least, strict=True)) if other != at)
        widths[at] -= min(excess, max(1, slack - second))
    growing = [at for at, column in enumerate(columns) if column.least is not None and widths[at]]
    if not is_last and growing and (space := width - _total(widths)) > 0:
        for at in growing:
            widths[at] += space // len(growing)
    return widths


def _total(widths: Sequence[int]) -> int:
    shown = [width for width in widths if width]
    return sum(shown) + len(_GAP) * (len(shown) - 1)


def printable(text: str) -> str:
    """Return the text with control characters escaped, because a terminal would obey them."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in _JOINERS else repr(each)[1:-1] for each in text)


def cells(text: str) -> int:
    """Return how many cells of a terminal the text takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def pad(text: str, width: int) -> str:
    """Return the text with spaces after it, up to this number of cells."""
    return text + " " * (width - cells(text))


def shortened(text: str, width: int) -> str:
    """Return the text if it fits, or else its beginning with an ellipsis."""
    if cells(text) <= width:
        return text
    kept, left = 0, width - 1
    for character in text:
        left -= _cells(character)
        if left < 0:
            break
        kept += 1
    return text[:kept] + _ELLIPSIS
