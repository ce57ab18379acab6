"""The row type of the tables of request headers that known software reads."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

Certainty = Literal["verified", "documented", "reported"]


class KnownHeader(NamedTuple):
    """One row. `name` is in lowercase. A final `*` makes it a prefix.

    `source` is a CVE, an address, or OWNER/REPOSITORY:PATH of a repository on GitHub. `certainty` is "verified" if the
    source code was read or the software was tried, "documented" if its makers describe the header, and "reported" if
    only third parties do.
    """

    name: str
    software: str
    effect: str
    source: str
    certainty: Certainty


def known_headers(rows: Iterable[tuple[str, str, str, str, Certainty]]) -> tuple[KnownHeader, ...]:
    """Convert tuples to rows."""
    return tuple(KnownHeader(*row) for row in rows)
