"""Rows and columns of CSV files with sites, as people and spreadsheet programs write them. No I/O.

The columns are separated by commas, semicolons or tabs. The first line has the headings, in any order and case. A file
without headings is a bare column of site ids.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from io import StringIO
from types import MappingProxyType
from typing import Final, NamedTuple

DELIMITERS: Final = ",;\t"
_HEADINGS: Final = MappingProxyType(
    {
        "site": ("site", "site_id", "id"),
        "workspace": ("workspace",),
        "display_name": ("display_name", "name"),
    }
)
"""The headings of each column, in the order in which they are preferred."""
_SEPARATOR_LINE: Final = re.compile(rf'\A"?sep=([{DELIMITERS}])"?[{DELIMITERS}]*(?=\n)', re.IGNORECASE)
"""The line that declares the column separator to Excel."""
_NOTHING: Final = DELIMITERS + " \n\xa0"
_FIRST_LINE: Final = (
    'The first line must have the heading "site" and, optionally, "workspace" and "display_name". '
    "A file without headings must have only one column, with the ids of sites."
)
_WHY_NOT_CSV: Final = MappingProxyType(
    {
        "unexpected end of data": "A value begins with a quote that is never closed. Close it, or remove it.",
        "expected after '\"'": 'Text follows a closing quote. Write "" for a quote inside a quoted value.',
        "field larger than field limit": "A value is too long.",
    }
)
"""Clearer texts for the errors of Python's csv module."""


class Unreadable(Exception):  # noqa: N818 - names what is wrong
    """A line cannot be read, and neither can the rest of the file. Without a line, it is the whole file."""

    def __init__(self, line: int | None, detail: str) -> None:
        super().__init__(detail)
        self.line = line
        self.detail = detail


class Row(NamedTuple):
    """A row that is not empty, with the number of its first line."""

    line: int
    values: list[str]


class Table:
    """The rows of a file below the headings, and its columns."""

    def __init__(self, text: str) -> None:
        """Find the delimiter and the columns. Raises Unreadable."""
        if not text.strip(_NOTHING):
            raise Unreadable(None, f"The file is empty. {_FIRST_LINE}")
        delimiters = DELIMITERS
        if separator := _SEPARATOR_LINE.match(text):
            delimiters, text = separator[1], text[separator.end() :]
        first = {each: _first_values(text, each) for each in delimiters}
        delimiter = max(first, key=lambda each: _known_headings(first[each]))
        has_headings = any(_known_headings(first[delimiter]))
        if not has_headings:
            delimiter = max(first, key=lambda each: len(first[each]))
        self.rows = read_rows(text, delimiter)
        self.columns = _named_columns(*next(self.rows)) if has_headings else _bare_column(first[delimiter])


class Columns:
    """The positions of the columns `site`, `workspace` and `display_name`, if they exist."""

    def __init__(self, positions: dict[str, int], unnamed: Sequence[int], ignored: Sequence[str], width: int) -> None:
        self._positions = positions
        self._unnamed = unnamed
        self._width = width
        self._least = 1 + max(at for column, at in positions.items() if column != "display_name")
        self.ignored = tuple(ignored)
        """The headings of all other columns."""

    def fault(self, values: Sequence[str]) -> str | None:
        """Return a sentence if a row lacks a column, or has a value in a column without a heading."""
        if len(values) < self._least or any(value.strip() for value in values[self._width :]):
            return "The number of columns differs from the first line."
        for at in self._unnamed:
            if at < len(values) and values[at].strip():
                return f"Column {at + 1} has a value, but no heading in the first line."
        return None

    def value(self, values: Sequence[str], column: str) -> str:
        """Return the value of a row in this column, without surrounding spaces; "" if there is none."""
        at = self._positions.get(column, len(values))
        return values[at].strip() if at < len(values) else ""


def _named_columns(line: int, headings: Sequence[str]) -> Columns:
    """Return the columns with these headings. Raises Unreadable if `site` is missing, or a heading occurs twice."""
    names = [heading(each) for each in headings]
    positions: dict[str, int] = {}
    for column, known in _HEADINGS.items():
        if name := next((name for name in known if name in names), None):
            if names.count(name) > 1:
                raise Unreadable(line, f'The heading "{name}" occurs twice.')
            positions[column] = names.index(name)
    if "site" not in positions:
        raise Unreadable(line, f'The heading "site" is missing. {_FIRST_LINE}')
    used = set(positions.values())
    ignored = [" ".join(headings[at].split()) for at, name in enumerate(names) if name and at not in used]
    return Columns(positions, [at for at, name in enumerate(names) if not name], ignored, len(names))


def _bare_column(first: Sequence[str]) -> Columns:
    """Return the only column of a file without headings. Raises Unreadable if the first row has several values."""
    if sum(bool(value.strip()) for value in first) > 1:
        raise Unreadable(None, f"The headings are missing. {_FIRST_LINE}")
    at = next((at for at, value in enumerate(first) if value.strip()), 0)
    return Columns({"site": at}, range(at), (), 1 + at)


def heading(text: str) -> str:
    """Return a heading normalized for comparison."""
    return re.sub(r"[\s_-]+", "_", text.strip().casefold())


def _known_headings(values: Sequence[str]) -> tuple[bool, int]:
    """Return whether a first row has the heading `site`, and how many known headings it has."""
    names = {heading(value) for value in values}
    found = [column for column, known in _HEADINGS.items() if names.intersection(known)]
    return "site" in found, len(found)


def _first_values(text: str, delimiter: str) -> list[str]:
    """Return the values of the first row, or none if it is not CSV with this delimiter."""
    try:
        return next(read_rows(text, delimiter)).values
    except Unreadable:
        return []


def read_rows(text: str, delimiter: str) -> Iterator[Row]:
    """Yield each row that is not empty. Raises Unreadable where the text is not CSV."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    line = 1
    try:
        for values in reader:
            if any(value.strip(_NOTHING) for value in values):
                yield Row(line, values)
            line = reader.line_num + 1
    except csv.Error as error:
        why = next((text for part, text in _WHY_NOT_CSV.items() if part in str(error)), f"{error}.")
        raise Unreadable(line, f"This is not valid CSV. {why}") from None
