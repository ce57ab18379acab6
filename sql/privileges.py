"""The privileges that grants.sql gives to each role."""

import re
from typing import Final, NamedTuple

from sql.queries import query

_GRANT: Final = re.compile(
    r"GRANT (?P<privileges>[A-Z, ]+?)(?: \((?P<columns>[^)]*)\))?\s+ON\s+(?P<tables>sitelatch\.[^;]*?)\s+TO \w+;"
)
"""Matches one statement of grants.sql for tables. Those for the schema and for functions have another form."""


class Privilege(NamedTuple):
    """A privilege on a table, or on one of its columns."""

    name: str
    table: str
    column: str | None = None

    def __str__(self) -> str:
        return f"{self.name} on {self.table}" if self.column is None else f"{self.name} on {self.table}.{self.column}"


def granted_to_doors() -> frozenset[Privilege]:
    """Return the privileges that the front door needs."""
    return _granted(query("grant_to_doors"))


def granted_to_admin() -> frozenset[Privilege]:
    """Return the privileges that the admin API and the command need."""
    return _granted(query("grant_to_admin"))


def _granted(statements: str) -> frozenset[Privilege]:
    return frozenset(
        Privilege(name, table.removeprefix("sitelatch."), column)
        for grant in _GRANT.finditer(statements)
        for name in _listed(grant["privileges"])
        for table in _listed(grant["tables"])
        for column in (_listed(grant["columns"]) if grant["columns"] else [None])
    )


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]
