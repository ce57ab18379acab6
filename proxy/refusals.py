"""Every reason not to pass a request: a stable code, a status, a public sentence. No I/O.

A refusal never holds anything the client sent: keys travel in every part of a request.
"""

import json
from dataclasses import dataclass, field, replace
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class Refusal:
    """A decision not to pass: `code` is an interface (metrics, logs, clients), `detail` is the public sentence."""

    code: str
    status: int
    detail: str = field(compare=False)
    retry_after_seconds: int | None = None
    challenge: bool = False
    """Whether the answer asks for a key (RFC 9110 §11.6.1)."""
    closes: bool = False
    """Whether the connection cannot be used on: what follows on it is not known to be a request."""
    lines: bytes = field(default=b"", compare=False)
    """More header lines of the response, each ended by CRLF."""
    body_head: bytes = field(init=False, repr=False, compare=False, default=b"")

    def __post_init__(self) -> None:
        problem = {
            "type": f"urn:sitelatch:refusal:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        # Everything but the request id is the same every time, so it is rendered once.
        object.__setattr__(self, "body_head", json.dumps(problem)[:-1].encode() + b', "request_id": "')

    def because(self, detail: str, lines: bytes = b"") -> "Refusal":
        """Return the same refusal with a sentence that says what to change, and with more header lines.

        Call it while the config is compiled: it renders the body. `detail` may hold configured names, never input.
        """
        return replace(self, detail=detail, lines=lines)

    def body(self, request_id: bytes) -> bytes:
        """Return the body of the response (RFC 9457 problem details). `request_id` is made of token characters."""
        return self.body_head + request_id + b'"}'


class Refused(Exception):  # noqa: N818 - it is a decision, not an error
    """Raised by the pure parts where a request cannot pass; carries the refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


# Who asks: the key.
MISSING_KEY = Refusal("missing_key", 401, "This request carries no API key.", challenge=True)
INVALID_KEY = Refusal("invalid_key", 401, "This API key is not valid.", challenge=True)
MALFORMED_KEY = INVALID_KEY.because(INVALID_KEY.detail)
"""The same answer, for a key that Sitelatch cannot have made."""
EXPIRED_KEY = Refusal("expired_key", 401, "This API key has expired.", challenge=True)
AMBIGUOUS_KEY = Refusal("ambiguous_key", 400, "This request carries more than one API key.")
TOO_MANY_UNKNOWN_KEYS = Refusal(
    "too_many_unknown_keys", 429, "Too many unknown API keys came from this address.", retry_after_seconds=60
)

# For what: the sites.
SITE_NOT_ALLOWED = Refusal("site_not_allowed", 403, "This API key may not reach a site that the request names.")
SITE_MISSING = Refusal("site_missing", 403, "This request names no site, and this address needs one.")
ALL_SITES_NEEDED = Refusal("all_sites_needed", 403, "This address needs an API key for all sites of its workspace.")
PREFLIGHT_REFUSED = Refusal("preflight_refused", 403, "CORS preflight requests are not allowed here.")
ENDPOINT_REFUSED = Refusal("endpoint_refused", 403, "This address is not open to API keys.")
METHOD_NOT_ALLOWED = Refusal("method_not_allowed", 405, "This method is not allowed at this address.")
NO_ROUTE = Refusal("no_route", 404, "Nothing is served at this address.")
FORM_BODY_NOT_READ = Refusal(
    "form_body_not_read",
    415,
    "Form bodies are not accepted here, because the site they may name is not read. Send JSON, or put the parameters "
    "into the query.",
)

# In a form that everybody reads alike.
AMBIGUOUS_REQUEST = Refusal("ambiguous_request", 400, "This request could be read in more than one way.")
BAD_REQUEST = Refusal("bad_request", 400, "This is not a well-formed HTTP/1.1 request.", closes=True)
PROTECTED_HOP_HEADER = Refusal(
    "bad_connection_header", 400, "The Connection header lists a header that must reach its reader."
)
SECOND_RESOURCE = Refusal(
    "second_resource", 400, "A header of this request names a second resource, whose site is not checked."
)
UNKNOWN_METHOD = Refusal("unknown_method", 501, "This method is not known.", closes=True)
UNKNOWN_EXPECTATION = Refusal("unknown_expectation", 417, "Only 100-continue can be expected.")
UNSUPPORTED_VERSION = Refusal("unsupported_version", 505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.", closes=True)

# Within the limits.
HEAD_TIMEOUT = Refusal("head_timeout", 408, "The request's head did not arrive in time.", closes=True)
UPLOAD_TIMEOUT = Refusal("upload_timeout", 408, "The request's body stopped arriving.", closes=True)
HEAD_TOO_LARGE = Refusal("head_too_large", 431, "The request's head is too large.", closes=True)
TARGET_TOO_LONG = Refusal("target_too_long", 414, "The request's address is too long.", closes=True)
TOO_MANY_EXCHANGES = Refusal("too_many_exchanges", 503, "Too many requests are open.", retry_after_seconds=1)

# With what stands behind.
SCOPE_UNAVAILABLE = Refusal(
    "scope_unavailable", 503, "API keys cannot be looked up at the moment.", retry_after_seconds=2
)
UPSTREAM_UNREACHABLE = Refusal("upstream_unreachable", 502, "The data service cannot be reached.")
UPSTREAM_BROKEN = Refusal("upstream_broken", 502, "The data service gave no valid answer.")
UPSTREAM_TIMEOUT = Refusal("upstream_timeout", 504, "The data service did not answer in time.")
UPSTREAM_BUSY = Refusal("upstream_busy", 503, "All connections to the data service are in use.", retry_after_seconds=1)
INTERNAL_ERROR = Refusal("internal_error", 500, "Internal error.", closes=True)
