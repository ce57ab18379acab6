"""Problem details (RFC 9457): the responses for problems."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import quote

from aiohttp import web
from pydantic import BaseModel

from admin.problems import Fault, Problem
from proxy.observe.redaction import mask

HEADERS: Mapping[int, Mapping[str, str]] = MappingProxyType(
    {
        HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'Bearer realm="admin"'},
        HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": "60"},
        HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "2"},
    }
)
"""Response headers for each status."""


class ProblemError(BaseModel, frozen=True, extra="forbid"):
    """One error: at the JSON pointer `pointer` in the body, or in the parameter `parameter`."""

    pointer: str | None = None
    parameter: str | None = None
    detail: str


class ProblemDetails(BaseModel, frozen=True, extra="forbid"):
    """The reason for a refusal (RFC 9457): `code` is for programs, `detail` for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemError] | None = None


def problem_response(problem: Problem) -> web.Response:
    """Return the response for `problem`."""
    return _response(problem.status, problem.code, problem.detail, problem.faults, HEADERS.get(problem.status, {}))


def plain_problem(status: int, headers: dict[str, str] | None = None) -> web.Response:
    """Return the response for a bare status. It quotes nothing from the request."""
    phrase = HTTPStatus(status).phrase
    code = phrase.lower().replace(" ", "_").replace("-", "_").replace("'", "")
    return _response(status, code, f"{phrase}.", (), headers or {})


def _response(
    status: int, code: str, detail: str, faults: tuple[Fault, ...], headers: Mapping[str, str]
) -> web.Response:
    details = ProblemDetails(
        type=f"urn:sitelatch:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=_shortened(detail, 20 * _MAX_LENGTH),
        code=code,
        errors=[_error(fault) for fault in faults] or None,
    )
    # Sentences quote the request, and people paste keys into the wrong fields.
    text = mask(json.dumps(details.model_dump(exclude_none=True), ensure_ascii=False))
    return web.Response(
        body=text.encode("utf-8", "replace"),
        status=status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", **headers},
    )


_MAX_LENGTH = 1000
"""Limit for a sentence, which may quote the request. Escaping and masking megabytes would block the event loop."""


def _shortened(text: str, limit: int = _MAX_LENGTH) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"


def _error(fault: Fault) -> ProblemError:
    detail = _shortened(fault.detail)
    if fault.in_parameter:
        return ProblemError(parameter=_shortened(str(fault.place[0])), detail=detail)
    # A JSON pointer as a URI fragment (RFC 6901 §6), as in the example of RFC 9457.
    pointer = "".join(
        "/" + quote(_shortened(str(part)).replace("~", "~0").replace("/", "~1"), errors="replace")
        for part in fault.place
    )
    return ProblemError(pointer=f"#{pointer}", detail=detail)
