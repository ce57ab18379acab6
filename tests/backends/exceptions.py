"""Known and accepted differences between backends and decisions, with reasons. All other differences fail the test."""

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
        "Bottle's request.params reads every body as a form; applications should use request.query",
    ),
    _known(
        "webpy",
        r"^other site by merged: .* input",
        rb"(?i)\r\ncontent-length: [1-9]|\r\ntransfer-encoding: chunked",
        "web.py's web.input() reads every body as a form; applications should use web.input(_method='GET')",
    ),
    _known(
        "waitress",
        r"^no response",
        rb"(?i)\r\nexpect: 100-continue",
        "waitress waits forever if a request with `Expect: 100-continue` has no body",
    ),
    _known(
        "puma",
        r"^no response",
        rb'\A[^\r]*"',
        "Puma responds with 400 to a raw quotation mark in the target, and not at all on a persistent connection",
    ),
    _known(
        r"\Aphp\Z",
        r"^no response",
        rb"\A[^\r]*[\x80-\xff]",
        "the built-in server of PHP closes the connection if the target contains a raw non-ASCII byte",
    ),
    _known(
        "apache-php-front",
        r"^other site by path",
        rb"(?i)\A[^\r]*[?&]q=",
        "a front controller that reads its path from `q`; docs/backends.md says to refuse that parameter",
    ),
    _known(
        "sanic",
        r"^other site by path: the backend serves '[^']*%",
        rb"",
        "Sanic does not decode path parameters, and site IDs never contain %",
    ),
)


def excuse(backend: str, request: Request, fault: Fault) -> str | None:
    """Return the reason why this fault is accepted for this backend and request, or None."""
    for known in _KNOWN:
        if known.backends.search(backend) and known.fault.search(str(fault)) and known.request.search(request.raw(b"")):
            return known.reason
    return None
