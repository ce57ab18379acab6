"""Every reason to refuse a request: a stable code, a status, and a public sentence. No I/O.

A refusal never repeats anything that the client sent, because any part of a request may hold a key.
"""

import json
from dataclasses import dataclass, field, replace
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason to refuse a request: `code` is for programs (metrics, logs, clients), `detail` is for people."""

    code: str
    status: int
    detail: str = field(compare=False)
    retry_after_seconds: int | None = None
    challenge: bool = False
    """Whether the response asks for a key (RFC 9110 §11.6.1): the route adds its challenges to it."""
    closes: bool = False
    """Whether the connection is closed, because the start of the next request is unknown."""
    lines: bytes = field(default=b"", compare=False)
    """Further header lines of the response. Each ends with CRLF."""
    body_head: bytes = field(init=False, repr=False, compare=False, default=b"")

    def __post_init__(self) -> None:
        problem = {
            "type": f"urn:sitelatch:refusal:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        # Only the request id differs between responses, so the rest is rendered once.
        object.__setattr__(self, "body_head", json.dumps(problem)[:-1].encode() + b', "request_id": "')

    def because(self, detail: str, lines: bytes = b"", *, retry_after_seconds: int | None = None) -> "Refusal":
        """Return this refusal with a sentence that says what to change, and with further header lines.

        Call it while compiling the config, or at a refusal, because it renders the body. `detail` may contain names
        from the config, but nothing from a request.
        """
        if retry_after_seconds is None:
            retry_after_seconds = self.retry_after_seconds
        return replace(self, detail=detail, lines=lines, retry_after_seconds=retry_after_seconds)

    def body(self, request_id: bytes) -> bytes:
        """Return the body of the response (RFC 9457 problem details). `request_id` is made of token characters."""
        return self.body_head + request_id + b'"}'


class Refused(Exception):  # noqa: N818 - a decision, not an error
    """Raised to refuse a request."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


# Refusals about the key.
MISSING_KEY = Refusal("missing_key", 401, "This request has no API key.", challenge=True)
INVALID_KEY = Refusal("invalid_key", 401, "This API key is not valid.", challenge=True)
MALFORMED_KEY = INVALID_KEY.because(INVALID_KEY.detail)
"""The same response as INVALID_KEY, for a key whose format or checksum is wrong."""
EXPIRED_KEY = Refusal("expired_key", 401, "This API key has expired.", challenge=True)
DISABLED_KEY = Refusal("disabled_key", 401, "The API user of this API key is disabled.", challenge=True)
AMBIGUOUS_KEY = Refusal("ambiguous_key", 400, "This request has more than one API key.")
TOO_MANY_UNKNOWN_KEYS = Refusal(
    "too_many_unknown_keys",
    429,
    "Too many requests with unknown API keys came from this address.",
    retry_after_seconds=60,
)
RATE_LIMITED = Refusal("rate_limited", 429, "This API key's limit is exceeded.", retry_after_seconds=1)

NETWORK_NOT_ALLOWED = Refusal("network_not_allowed", 403, "This API key may not be used from this address.")
METHOD_NOT_GRANTED = Refusal("method_not_granted", 403, "This API key does not allow this method.")
OVERRIDE_NOT_GRANTED = METHOD_NOT_GRANTED.because(
    "A header or parameter of this request overrides its method with one that this API key does not allow."
)
WEBSOCKET_NOT_GRANTED = METHOD_NOT_GRANTED.because(
    "This API key is limited to some methods, so it cannot open WebSocket connections, whose messages have no method."
)

# Refusals about the sites, and about endpoints and methods that the route does not allow.
SITE_NOT_ALLOWED = Refusal("site_not_allowed", 403, "This API key does not cover a site that this request names.")
SITE_MISSING = Refusal("site_missing", 403, "This request must name a site.")
ALL_SITES_NEEDED = Refusal("all_sites_needed", 403, "This endpoint requires an API key for all sites of its workspace.")
PREFLIGHT_REFUSED = Refusal("preflight_refused", 403, "CORS preflight requests are not allowed here.")
ENDPOINT_REFUSED = Refusal("endpoint_refused", 403, "This endpoint is not available to API keys.")
METHOD_NOT_ALLOWED = Refusal("method_not_allowed", 405, "This endpoint does not allow this method.")
NO_ROUTE = Refusal("no_route", 404, "There is no service at this path.")
FORM_BODY_NOT_READ = Refusal(
    "form_body_not_read",
    415,
    "This endpoint does not accept form bodies, because sites in a form body would not be checked. Send JSON, or put "
    "the parameters into the query.",
)

# Requests that are malformed or unsupported, or that servers may interpret differently.
AMBIGUOUS_REQUEST = Refusal("ambiguous_request", 400, "Servers may read this request in more than one way.")
BAD_REQUEST = Refusal("bad_request", 400, "This is not a well-formed HTTP/1.1 request.", closes=True)
PROTECTED_HOP_HEADER = Refusal(
    "bad_connection_header",
    400,
    "The Connection header lists a header that must be forwarded. Remove the name of that header from it.",
)
SECOND_RESOURCE = Refusal(
    "second_resource",
    400,
    "A header of this request names a second resource, such as the source of a copy, and its site is not checked. Send "
    "the request without that header.",
)
UNKNOWN_METHOD = Refusal("unknown_method", 501, "This method is not supported.", closes=True)
UNKNOWN_EXPECTATION = Refusal("unknown_expectation", 417, "The only supported expectation is 100-continue.")
UNSUPPORTED_VERSION = Refusal("unsupported_version", 505, "Only HTTP/1.0 and HTTP/1.1 are supported.", closes=True)

# Limits.
HEAD_TIMEOUT = Refusal("head_timeout", 408, "The request headers did not arrive in time.", closes=True)
UPLOAD_TIMEOUT = Refusal("upload_timeout", 408, "The request body stopped arriving.", closes=True)
HEAD_TOO_LARGE = Refusal("head_too_large", 431, "The request headers are too large.", closes=True)
TARGET_TOO_LONG = Refusal("target_too_long", 414, "The request target is too long.", closes=True)
TOO_MANY_EXCHANGES = Refusal("too_many_exchanges", 503, "Too many requests are in progress.", retry_after_seconds=1)

# The database and the upstream.
SCOPE_UNAVAILABLE = Refusal(
    "scope_unavailable", 503, "API keys cannot be looked up at the moment.", retry_after_seconds=2
)
UPSTREAM_UNREACHABLE = Refusal("upstream_unreachable", 502, "The data service cannot be reached.")
UPSTREAM_BROKEN = Refusal("upstream_broken", 502, "The data service sent an invalid response.")
UPSTREAM_TIMEOUT = Refusal("upstream_timeout", 504, "The data service did not respond in time.")
UPSTREAM_BUSY = Refusal("upstream_busy", 503, "All connections to the data service are in use.", retry_after_seconds=1)
NO_FREE_SOCKET = Refusal(
    "no_free_socket", 503, "The proxy cannot open another connection at the moment.", retry_after_seconds=1
)
INTERNAL_ERROR = Refusal("internal_error", 500, "Internal error.", closes=True)
