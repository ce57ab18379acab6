"""The audit log as a CSV file that is safe to open in a spreadsheet program. No I/O."""

import csv
import json
from collections.abc import Sequence
from io import StringIO
from types import MappingProxyType
from typing import Final

from admin.api.csv_cells import plain_cell
from admin.api.response_models import AuditLine

AUDIT_CSV_HEADERS: Final = MappingProxyType(
    {
        "Content-Type": "text/csv; charset=utf-8; header=present",
        "Content-Disposition": 'attachment; filename="sitelatch-audit.csv"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
)
_TITLES: Final = ("id", "at", "name", "email", "address", "action", "workspace", "subject", "detail")


def audit_csv(entries: Sequence[AuditLine], *, with_titles: bool = False) -> bytes:
    """Return the lines of these entries. With titles, it is the beginning of a file."""
    text = StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)  # so that spreadsheet programs keep spaces and leading zeros
    if with_titles:
        text.write("\ufeff")  # without it, Excel reads the file in its own encoding
        writer.writerow(_TITLES)
    for entry in entries:
        writer.writerow(map(plain_cell, _values(entry)))
    return text.getvalue().encode("utf-8", "replace")


def _values(entry: AuditLine) -> tuple[str, ...]:
    return (
        str(entry.id),
        entry.at.isoformat(),
        entry.actor.name,
        entry.actor.email,
        entry.address,
        entry.action,
        entry.workspace or "",
        entry.subject or "",
        json.dumps(entry.detail, ensure_ascii=False) if entry.detail else "",
    )
