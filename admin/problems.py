"""Errors of admin operations, each with a public sentence that says how to fix it.

The JSON API responds with problem details, and the command prints the sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

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
        """Return the problem for these faults. It lists the first MAX_FAULTS, one sentence per line."""
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


class ChangedMeanwhile(Problem):
    """Someone has changed the resource since the caller read it (If-Match, RFC 9110 §13.1.1)."""

    code = "changed_meanwhile"
    status = 412


class DatabaseDown(Problem):
    """The database is unavailable or busy, or its schema belongs to another version."""

    code = "database_unavailable"
    status = 503


class Busy(DatabaseDown):
    """The database answers, but other requests or a slow query take too long."""

    code = "busy"


class IssuerDown(Problem):
    """The OpenID Connect issuer cannot be reached, or its response cannot be used."""

    code = "issuer_unavailable"
    status = 503


class InternalError(Problem):
    """An internal error. The log has the details."""

    code = "internal_server_error"
