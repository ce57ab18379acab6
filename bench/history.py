"""The figures of earlier commits, in bench/HISTORY.md."""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from bench.instructions import Count

_FILE = Path(__file__).with_name("HISTORY.md")
_FIXED = 4
"""The number of columns before those of the exchanges: date, commit, Python, reference."""


def append(subject: str, reference: int, counts: Mapping[str, Count], microseconds: Mapping[str, float]) -> None:
    """Add the figures after the commit with this subject. Raises ValueError if other exchanges were recorded."""
    if list(counts) != _names():
        raise ValueError("the exchanges have changed: start a new table in bench/HISTORY.md")
    cells = [f"{each.instructions:,} ({microseconds[name]:.1f})" for name, each in counts.items()]
    start = [datetime.now(UTC).date().isoformat(), subject, platform.python_version(), f"{reference:,}"]
    with _FILE.open("a") as file:
        file.write(f"| {' | '.join([*start, *cells])} |\n")


def last() -> dict[str, float]:
    """Return the last recorded instructions of each exchange, as multiples of the reference."""
    cells = _rows()[-1]
    reference = _number(cells[_FIXED - 1])
    return {name: _number(cell) / reference for name, cell in zip(_names(), cells[_FIXED:], strict=True)}


def _rows() -> list[list[str]]:
    lines = [line for line in _FILE.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _names() -> list[str]:
    return [cells for cells in _rows() if cells[0] == "date"][-1][_FIXED:]


def _number(cell: str) -> int:
    return int(cell.partition(" ")[0].replace(",", ""))
