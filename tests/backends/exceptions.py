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


_KNOWN: tuple[_Exception, ...] = (
    _known(
        "bottle",
        r"^other site by merged: .* params\.get",
        rb"(?i)\r\ncontent-length: [1-9]|\r\ntransfer-encoding: chunked",
        "Bottle's request.params takes every body for a form, of any type and method; its users read request.query",
    ),
    _known(
        "waitress",
        r"^no answer",
        rb"(?i)\r\nexpect: 100-continue",
        "waitress waits without end where `Expect: 100-continue` comes without a body",
    ),
    _known(
        "puma",
        r"^no answer",
        rb'\A[^\r]*"',
        "Puma answers a raw quotation mark in the target with 400, and on a kept connection not at all",
    ),
    _known(
        r"\Aphp\Z",
        r"^no answer",
        rb"\A[^\r]*[\x80-\xff]",
        "PHP's own server closes the connection on a raw byte beyond ASCII in the target",
    ),
    _known(
        "apache-php-front",
        r"^other site by path",
        rb"(?i)\A[^\r]*[?&]q=",
        "a front controller that takes its path from `q`: docs/backends.md says to refuse that parameter",
    ),
    _known(
        "sanic",
        r"^other site by path: the backend serves '[^']*%",
        rb"",
        "Sanic hands over path parameters undecoded, and no site's id holds a %",
    ),
)


def excuse(backend: str, request: Request, fault: Fault) -> str | None:
    """Return why this backend may do this with this request, or None."""
    for known in _KNOWN:
        if known.backends.search(backend) and known.fault.search(str(fault)) and known.request.search(request.raw(b"")):
            return known.reason
    return None
