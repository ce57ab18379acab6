"""Usage as a CSV file that is safe to open in a spreadsheet program. No I/O."""

import csv
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from types import MappingProxyType
from typing import Final

from admin.api.csv_cells import plain_cell
from admin.api.response_models import UsageLine

USAGE_CSV_HEADERS: Final = MappingProxyType(
    {
        "Content-Type": "text/csv; charset=utf-8; header=present",
        "Content-Disposition": 'attachment; filename="sitelatch-usage.csv"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
)

USAGE_COLUMNS: Final[Mapping[str, Callable[[UsageLine], str]]] = {
    "at": lambda line: line.at.isoformat(),
    "id": lambda line: line.id,
    "name": lambda line: line.name or "",
    "workspace": lambda line: line.workspace or "",
    "outcome": lambda line: line.outcome,
    "requests": lambda line: str(line.requests),
    "bytes_out": lambda line: "" if line.bytes_out is None else str(line.bytes_out),
}
"""The columns of the file, which the command prints too."""


def usage_csv(lines: Sequence[UsageLine], *, with_titles: bool = False) -> bytes:
    """Return these lines. With titles, it is the beginning of a file."""
    text = StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    if with_titles:
        text.write("\ufeff")  # without it, Excel reads the file in its own encoding
        writer.writerow(USAGE_COLUMNS)
    writer.writerows([plain_cell(cell(line)) for cell in USAGE_COLUMNS.values()] for line in lines)
    return text.getvalue().encode("utf-8", "replace")
