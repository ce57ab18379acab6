"""The possible results of a lookup."""

from enum import Enum
from typing import Final, NamedTuple

from proxy.decision.grant import Grant


class Unknown(Enum):
    """The type of UNKNOWN."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN
"""The key is not in the scope table."""


class NoAnswer(Enum):
    """Why a lookup ended without an answer."""

    UNAVAILABLE = "unavailable"
    OVER_BUDGET = "over_budget"


class Found(NamedTuple):
    """A grant, and the change feed's position when it was read."""

    grant: Grant
    position: int
