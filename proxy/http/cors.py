"""The header lines with which a route allows pages of other origins to read its responses (CORS). No I/O.

See the Fetch standard, §HTTP-CORS protocol. The lines depend only on the request's `Origin`, never on its site or key.
"""

import re
from collections.abc import Iterable

from proxy.http.headers import Fields, Head
from proxy.settings import CorsSettings, RouteSettings

_PLAIN_HEADERS = (
    "Content-Type",  # browsers send JSON only after a preflight allowed it
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "If-Range",
    "Range",
)
"""Request headers that a preflight always allows, in addition to those that need no preflight."""

_EXPOSED = (
    b"Access-Control-Expose-Headers: RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id\r\n"
)
_VARY = b"Vary: Origin\r\n"
_ALLOW_ORIGIN = b"access-control-allow-origin"
_ALLOW_CREDENTIALS = b"access-control-allow-credentials"

FORWARDED_PREFLIGHTS_WARNING = (
    'preflight = "pass" forwards OPTIONS requests without a key, and some applications answer them with data. Write '
    'cors = { origins = ["https://app.example"] } instead, with your origins: Sitelatch then answers preflights itself.'
)
"""The warning of `check-config` about a route with `preflight = "pass"`."""


class Cors:
    """The compiled `cors` of a route. All header lines are rendered once, one set for each origin.

    `origin` is the request's `Origin`, or nothing (`headers.Head.origin`).
    """

    __slots__ = ("_any_preflight", "_any_response", "_preflights", "_responses")

    def __init__(self, settings: CorsSettings, methods: Iterable[str], headers: Iterable[str]) -> None:
        """`methods` and `headers` are the ones that a preflight allows."""
        credentials = b"Access-Control-Allow-Credentials: true\r\n" if settings.credentials else b""
        allowed = (
            f"Access-Control-Allow-Methods: {', '.join(methods)}\r\n"
            f"Access-Control-Allow-Headers: {', '.join(headers)}\r\n"
            f"Access-Control-Max-Age: {settings.max_age_seconds}\r\n"
        ).encode()
        self._responses: dict[bytes, bytes] = {}
        self._preflights: dict[bytes, bytes] = {}
        for origin in settings.origins:
            line = b"Access-Control-Allow-Origin: %b\r\n" % origin.encode()
            self._responses[origin.encode()] = line + credentials + _EXPOSED
            self._preflights[origin.encode()] = line + credentials + allowed
        self._any_response = self._responses.get(b"*", b"")
        self._any_preflight = self._preflights.get(b"*", b"")

    def preflight(self, origin: bytes) -> bytes:
        """Return the lines of the response to a preflight. An origin that is not listed gets no permissions."""
        return self._preflights.get(origin, self._any_preflight) + _VARY

    def refusal(self, origin: bytes) -> bytes:
        """Return the lines to add to a refusal."""
        return self._responses.get(origin, self._any_response) + _VARY

    def plain_response(self, origin: bytes) -> bytes:
        """Return the lines to add to a response without `Vary: Origin` and without CORS headers of its own. Hot."""
        return self._responses.get(origin, self._any_response) + _VARY

    def response(self, origin: bytes, response: Fields) -> tuple[Fields, bytes]:
        """Return the fields of an upstream's response, and the lines to add. CORS headers of the upstream are kept."""
        lines = self._responses.get(origin, self._any_response)
        vary = _VARY
        credentials = False
        for name, value in response:
            lower = name.lower()
            if lower == _ALLOW_ORIGIN:
                lines = b""
            elif lower == _ALLOW_CREDENTIALS:
                credentials = True
            elif lower == b"vary" and not {b"origin", b"*"}.isdisjoint(
                member.strip(b" \t") for member in value.lower().split(b",")
            ):
                vary = b""
        if credentials and lines:
            # Together with Sitelatch's Access-Control-Allow-Origin, it would allow more than the route's `credentials`.
            response = [field for field in response if field[0].lower() != _ALLOW_CREDENTIALS]
        return response, lines + vary


def compile_cors(route: RouteSettings, read_headers: Iterable[str]) -> Cors | None:
    """Compile a route's `cors`, or return None if it has none. `read_headers` are the headers with keys or sites."""
    if route.cors is None:
        return None
    if route.cors.headers == ("*",):
        return Cors(route.cors, route.methods, ["*", "Authorization"])  # `*` does not cover Authorization
    unique = {name.lower(): name for name in (*read_headers, *_PLAIN_HEADERS, *route.cors.headers)}
    return Cors(route.cors, route.methods, unique.values())


_TARGET = re.compile(rb"([!-~]++) (/[!-~]*+)")
_FIELD = re.compile(rb"\r\n(origin|access-control-request-method):[ \t]*+([!-~]++)[ \t]*+(?=\r\n)", re.IGNORECASE)


def readable_parts(received: bytes) -> Head | None:
    """Return the target and the CORS fields of a request whose head cannot be parsed, or None if it has no target.

    They only determine the CORS headers of its refusal, so that the page can read why it is refused. The last line of
    a head that has not arrived completely is ignored.
    """
    head = received.partition(b"\r\n\r\n")[0] + b"\r\n" if b"\r\n\r\n" in received else received
    line = _TARGET.match(head)
    if line is None:
        return None
    return Head(line[1], line[2], _FIELD.findall(head))


def is_preflight(fields: Fields) -> bool:
    """Return whether an OPTIONS request is a CORS preflight (Fetch standard, §CORS-preflight fetch)."""
    names = {name.lower() for name, _ in fields}
    return b"origin" in names and b"access-control-request-method" in names
