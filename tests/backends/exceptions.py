"""What backends may do in spite of the decision, each with its reason. Everything else fails the test."""

import re
from dataclasses import dataclass

from tests.backends.oracle import Fault
from tests.backends.request import Request


@dataclass(frozen=True)
class _Exception:
    backends: re.Pattern[str]
    fault: re.Pattern[str]
    request: re.Pattern[bytes]
    reason: str


def _known(backends: str, fault: str, request: bytes, reason: str) -> _Exception:
    return _Exception(re.compile(backends), re.compile(fault), re.compile(request, re.DOTALL), reason)


_KNOWN: tuple[_Exception, ...] = ()


def excuse(backend: str, request: Request, fault: Fault, report: object) -> str | None:
    """Return why this backend may do this with this request, or None."""
    for known in _KNOWN:
        if known.backends.search(backend) and known.fault.search(str(fault)) and known.request.search(request.raw(b"")):
            return known.reason
    return None
