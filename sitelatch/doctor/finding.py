"""The result of one check."""

from enum import Enum
from typing import NamedTuple


class Status(Enum):
    """How a check ended. Only problems make `sitelatch doctor` fail."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


class Finding(NamedTuple):
    """What a check found. The message of a warning or a problem also says how to fix it."""

    status: Status
    check: str
    message: str
