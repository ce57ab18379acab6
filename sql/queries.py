"""The named queries of `sql/*.sql`: each a line `-- name: find_grant`, comment lines of purpose, then the statement.

They are read once, at import; modules keep theirs as constants, so that a misspelt name fails at start.
"""

import re
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)$", re.MULTILINE)


class UnknownQuery(KeyError):  # noqa: N818 - it says what it is
    """No `sql/*.sql` holds a query of this name."""

    def __str__(self) -> str:
        return f"no file of sql/*.sql has a line `-- name: {self.args[0]}`"


def read_blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and statement of each block of one file; ValueError where a block has no purpose or no statement."""
    parts = _NAME.split(text)
    for name, block in zip(parts[1::2], parts[2::2], strict=True):
        lines = block.strip().splitlines()
        statement = "\n".join(line for line in lines if not line.startswith("--")).strip()
        if not lines or not lines[0].startswith("-- ") or not statement:
            raise ValueError(f"the query {name} needs a comment line of purpose and a statement")
        yield name, statement.removesuffix(";")


def read_folder(folder: Path) -> dict[str, str]:
    """Return the named queries of all .sql files of a folder; ValueError where two have one name."""
    queries: dict[str, str] = {}
    for file in sorted(folder.glob("*.sql")):
        for name, statement in read_blocks(file.read_text(encoding="utf-8")):
            if name in queries:
                raise ValueError(f"two queries are named {name}")
            queries[name] = statement
    return queries


_QUERIES = read_folder(Path(__file__).parent)


def query(name: str) -> str:
    """Return the statement of this name; UnknownQuery where there is none."""
    try:
        return _QUERIES[name]
    except KeyError:
        raise UnknownQuery(name) from None
