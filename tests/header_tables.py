"""Generates the tables in docs/backends.md from the data in the code: `python -m tests.header_tables`."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from proxy.decision.method_override import OVERRIDE_HEADERS, OVERRIDE_PARAMETERS
from proxy.decision.second_resource import SECOND_RESOURCE_HEADERS
from proxy.http.steering_headers import STEERING_HEADERS, STEERING_PARAMETERS

PAGE = Path(__file__).parents[1] / "docs" / "backends.md"
_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+):(\S+)(.*)\Z")


def _linked(source: str) -> str:
    """Return a source as a link if it is a URL or a file in a repository."""
    if source.startswith("https://"):
        return f"<{source}>"
    found = _REPOSITORY.match(source)
    return f"[{found[1]}](https://github.com/{found[1]}) `{found[2]}`{found[3]}" if found else source


def _table(columns: str, rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {columns} |", "|" + "---|" * len(columns.split(" | "))]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """Return the generated tables by the names in their markers in the page."""
    return {
        "steering headers": _table(
            "header | software | what it sets | source | certainty",
            (
                (f"`{row.name}`", row.software, row.effect, _linked(row.source), row.certainty)
                for row in STEERING_HEADERS
            ),
        ),
        "steering parameters": _table(
            "parameter | software | source",
            ((f"`{name}`", software, _linked(source)) for name, software, source in STEERING_PARAMETERS),
        ),
        "second resources": _table(
            "header | software | what it names | source | certainty",
            (
                (f"`{row.name}`", row.software, row.effect, _linked(row.source), row.certainty)
                for row in SECOND_RESOURCE_HEADERS
            ),
        ),
        "method overrides": _table(
            "kind | name | software | source | certainty",
            (
                (kind, f"`{row.name}`", row.software, _linked(row.source), row.certainty)
                for kind, rows in (("header", OVERRIDE_HEADERS), ("parameter", OVERRIDE_PARAMETERS))
                for row in rows
            ),
        ),
    }


def generated(page: str) -> str:
    """Return the page with its generated tables replaced by current ones."""
    for name, table in tables().items():
        start, end = f"<!-- table: {name} -->\n", "<!-- end of table -->"
        before, _, rest = page.partition(start)
        page = before + start + "\n" + table + "\n\n" + end + rest.partition(end)[2]
    return page


if __name__ == "__main__":
    PAGE.write_text(generated(PAGE.read_text()))
