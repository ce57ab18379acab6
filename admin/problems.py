"""What can be wrong with an admin's wish, as errors with a public sentence that says how to mend it.

The JSON API answers them as problem details (RFC 9457), the command prints them. One place turns them into bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import quote

from aiohttp import web
from pydantic import BaseModel

from proxy.observe.access_log import mask

Place = tuple[str | int, ...]
"""Where in the payload: `("sites", 1)` is the second of the sites."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where in the payload (or which parameter), and what to do about it."""

    place: Place
    detail: str
    in_parameter: bool = False


class Problem(Exception):  # noqa: N818 - the kinds below are named for what they say
    """A wish that is not granted. `code` is an interface, `str()` a public sentence."""

    code = "problem"
    status = 500

    def __init__(self, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults


class Invalid(Problem):
    """The payload or a parameter breaks a rule."""

    code = "invalid"
    status = 422

    @classmethod
    def at(cls, *place: str | int, detail: str) -> "Invalid":
        """Return the error for one fault in the payload."""
        return cls(detail, (Fault(place, detail),))


class Malformed(Problem):
    """The body is not what its form promises."""

    code = "malformed"
    status = 400


class BodyTooSlow(Problem):
    """The body takes too long to arrive."""

    code = "body_timeout"
    status = 408


class BodyTooLarge(Problem):
    """The body is larger than anything that this route takes."""

    code = "body_too_large"
    status = 413


class NotJson(Problem):
    """The body is not said to be JSON, as it is."""

    code = "unsupported_media_type"
    status = 415


class NotSignedIn(Problem):
    """No credentials, or wrong ones: which of the two is not told."""

    code = "not_signed_in"
    status = 401


class Forbidden(Problem):
    """Known, and not allowed to."""

    code = "forbidden"
    status = 403


class NotAnAdmin(Forbidden):
    """Signed in elsewhere, which the allow list does not take for enough."""

    code = "not_an_admin"


class CrossSite(Forbidden):
    """A browser's request, but not from our own page, or not over a way that keeps a session safe."""

    code = "cross_site"


class TooManyAttempts(Problem):
    """Too many wrong credentials came from one address."""

    code = "too_many_attempts"
    status = 429


class NotFound(Problem):
    """There is no such thing, or not for this admin."""

    code = "not_found"
    status = 404


class Conflict(Problem):
    """What is there stands against it."""

    code = "conflict"
    status = 409


class DatabaseDown(Problem):
    """The database does not answer, or not as this version needs it."""

    code = "database_unavailable"
    status = 503


class IssuerDown(Problem):
    """The OpenID Connect issuer cannot be reached, or answers what cannot be used."""

    code = "issuer_unavailable"
    status = 503


class InternalError(Problem):
    """A fault of ours; the log says more."""

    code = "internal_server_error"


HEADERS: Mapping[int, Mapping[str, str]] = MappingProxyType(
    {
        HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'Bearer realm="admin"'},
        HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": "60"},
        HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "2"},
    }
)
"""What the problems of a status are sent with."""


class ProblemError(BaseModel, frozen=True, extra="forbid"):
    """One thing that is wrong: at the JSON pointer `pointer` of the body, or in the parameter `parameter`."""

    pointer: str | None = None
    parameter: str | None = None
    detail: str


class ProblemDetails(BaseModel, frozen=True, extra="forbid"):
    """Why a wish was not granted (RFC 9457): `code` is for programs, `detail` for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemError] | None = None


def problem_response(problem: Problem) -> web.Response:
    """Return the answer for `problem`."""
    return _response(problem.status, problem.code, problem.detail, problem.faults, HEADERS.get(problem.status, {}))


def plain_problem(status: int, headers: dict[str, str] | None = None) -> web.Response:
    """Return the answer for a bare status, with nothing of the request in it."""
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
        detail=_cut(detail, 20 * _MOST_TOLD),
        code=code,
        errors=[_error(fault) for fault in faults] or None,
    )
    # Sentences quote what was sent, and people paste keys in wrong places.
    text = mask(json.dumps(details.model_dump(exclude_none=True), ensure_ascii=False))
    return web.Response(
        body=text.encode("utf-8", "replace"),
        status=status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", **headers},
    )


_MOST_TOLD = 1000
"""Characters of a sentence, which quotes what was sent. Escaping and masking megabytes of that holds everybody up."""


def _cut(text: str, most: int = _MOST_TOLD) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _error(fault: Fault) -> ProblemError:
    detail = _cut(fault.detail)
    if fault.in_parameter:
        return ProblemError(parameter=_cut(str(fault.place[0])), detail=detail)
    # A JSON pointer as a URI fragment (RFC 6901 §6), as in RFC 9457's own example.
    pointer = "".join(
        "/" + quote(_cut(str(part)).replace("~", "~0").replace("/", "~1"), errors="replace") for part in fault.place
    )
    return ProblemError(pointer=f"#{pointer}", detail=detail)
