"""Errors of admin operations, each with a public sentence that says how to fix it.

The JSON API responds with problem details (RFC 9457), and the command prints the sentence.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Self
from urllib.parse import quote

from aiohttp import web
from pydantic import BaseModel

from proxy.observe.redaction import mask

Place = tuple[str | int, ...]
"""A path into the request body: `("sites", 1)` is the second site."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One error in a request: its place in the body, or the parameter, and a sentence about it."""

    place: Place
    detail: str
    in_parameter: bool = False


MAX_FAULTS = 20
"""How many faults a response lists."""


class Problem(Exception):  # noqa: N818 - the subclasses are named after what went wrong
    """A refused operation. `code` is part of the API; `detail` is a public sentence."""

    code = "problem"
    status = 500

    def __init__(self, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults

    @classmethod
    def of(cls, faults: Sequence[Fault]) -> Self:
        """Return the problem for these faults. It lists the first MAX_FAULTS, one sentence a line."""
        sentences = [fault.detail for fault in faults[:MAX_FAULTS]]
        if len(faults) > MAX_FAULTS:
            sentences.append(f"And {len(faults) - MAX_FAULTS} more.")
        return cls("\n".join(sentences), tuple(faults[:MAX_FAULTS]))


class Invalid(Problem):
    """The body or a parameter breaks a rule."""

    code = "invalid"
    status = 422

    @classmethod
    def at(cls, *place: str | int, detail: str) -> "Invalid":
        """Return the problem for one fault in the body."""
        return cls(detail, (Fault(place, detail),))


class Malformed(Problem):
    """The body is not valid JSON, or is incomplete."""

    code = "malformed"
    status = 400


class BodyTooSlow(Problem):
    """The body took too long to arrive."""

    code = "body_timeout"
    status = 408


class BodyTooLarge(Problem):
    """The body is larger than this operation accepts."""

    code = "body_too_large"
    status = 413


class NotJson(Problem):
    """The body is not declared as plain JSON."""

    code = "unsupported_media_type"
    status = 415


class NotSignedIn(Problem):
    """The credentials are missing or invalid."""

    code = "not_signed_in"
    status = 401


class Forbidden(Problem):
    """The caller is authenticated but not allowed to do this."""

    code = "forbidden"
    status = 403


class NotAnAdmin(Forbidden):
    """The caller is signed in at the issuer or proxy, but is not on the allow list."""

    code = "not_an_admin"


class CrossSite(Forbidden):
    """A browser sent the request from another page, or over a connection that does not protect a session."""

    code = "cross_site"


class TooManyAttempts(Problem):
    """Too many failed attempts to sign in came from one address."""

    code = "too_many_attempts"
    status = 429


class NotFound(Problem):
    """The resource does not exist, or this admin may not see it."""

    code = "not_found"
    status = 404


class Conflict(Problem):
    """The operation conflicts with existing data."""

    code = "conflict"
    status = 409


class DatabaseDown(Problem):
    """The database is unavailable, or its schema belongs to another version."""

    code = "database_unavailable"
    status = 503


class IssuerDown(Problem):
    """The OpenID Connect issuer cannot be reached, or its response cannot be used."""

    code = "issuer_unavailable"
    status = 503


class InternalError(Problem):
    """An internal error. The log has the details."""

    code = "internal_server_error"


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
