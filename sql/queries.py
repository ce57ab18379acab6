"""The named queries in `sql/*.sql`. Each is a line `-- name: find_grant`, comment lines with its purpose, and the SQL.

They are read once, at import. Modules keep their queries as constants, so a misspelled name fails at startup.
"""

import re
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)$", re.MULTILINE)


class UnknownQuery(KeyError):  # noqa: N818 - names what happened
    """There is no query with this name in `sql/*.sql`."""

    def __str__(self) -> str:
        return f"there is no `-- name: {self.args[0]}` in sql/*.sql"


def read_blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name and statement of each query in a file. Raises ValueError if a purpose or statement is missing."""
    parts = _NAME.split(text)
    for name, block in zip(parts[1::2], parts[2::2], strict=True):
        lines = block.strip().splitlines()
        statement = "\n".join(line for line in lines if not line.startswith("--")).strip()
        if not lines or not lines[0].startswith("-- ") or not statement:
            raise ValueError(f"the query {name} needs a comment with its purpose and a statement")
        yield name, statement.removesuffix(";")


def read_folder(folder: Path) -> dict[str, str]:
    """Return the named queries in a folder's .sql files. Raises ValueError if two have the same name."""
    queries: dict[str, str] = {}
    for file in sorted(folder.glob("*.sql")):
        for name, statement in read_blocks(file.read_text(encoding="utf-8")):
            if name in queries:
                raise ValueError(f"two queries are named {name}")
            queries[name] = statement
    return queries


_QUERIES = read_folder(Path(__file__).parent)


def query(name: str) -> str:
    """Return the statement with this name. Raises UnknownQuery if there is none."""
    try:
        return _QUERIES[name]
    except KeyError:
        raise UnknownQuery(name) from None
