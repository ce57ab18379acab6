"""The form of the tables of request headers that known software reads."""

from typing import Literal, NamedTuple

Certainty = Literal["verified", "documented", "reported"]


class KnownHeader(NamedTuple):
    """One row. `name` is in lower case; one that ends in `*` stands for every name that begins so.

    `source` is a CVE, an address, or OWNER/REPOSITORY:PATH of a repository on GitHub. `certainty` is "verified" where
    that source code was read or the software was tried, "documented" where its makers describe the header, and
    "reported" where only third parties do.
    """

    name: str
    software: str
    effect: str
    source: str
    certainty: Certainty
