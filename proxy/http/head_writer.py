"""Writes all message heads: request heads for the upstream, and response heads for the client. No I/O.

Heads are written from parsed values. Only the lines of plain heads are copied, because they are exactly what these
functions would write (plain_requests.py, plain_responses.py). Fields keep their order and spelling. Lines that
Sitelatch adds come after them. `lines` arguments are complete header lines, each ending with CRLF.
"""

from http import HTTPStatus

from proxy.http.headers import Fields, without
from proxy.http.plain_requests import PlainHead
from proxy.refusals import Refusal

CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"

_PROBLEMS = {
    int(status): b"HTTP/1.1 %d %b\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\n"
    % (status, status.phrase.encode())
    for status in HTTPStatus
}
"""The first lines of a refusal's head, keyed by status."""

_HANDSHAKE_NAMES = frozenset({b"connection", b"upgrade"})


def _head(start: bytes, fields: Fields, lines: bytes) -> bytes:
    return b"%b\r\n%b%b\r\n" % (start, b"".join([name + b": " + value + b"\r\n" for name, value in fields]), lines)


def request_head(
    method: bytes, target: bytes, fields: Fields, lines: bytes, *, chunked: bool = False, websocket: bool = False
) -> bytes:
    """Return the head of a request to the upstream."""
    if chunked:
        lines += _CHUNKED
    if websocket:
        lines += _WEBSOCKET
    return _head(b"%b %b HTTP/1.1" % (method, target), fields, lines)


def plain_request_head(head: PlainHead, identity: bytes, request_id: bytes, origin: bytes) -> bytes:
    """Return the head of a plain request to the upstream: a shortcut for `request_head`. Hot.

    `identity` and `origin` are the header lines before and after the request's id.
    """
    shape = head.shape
    return b"".join(
        (
            head.line,
            b"\r\n",
            shape.before_length,
            head.length,
            shape.rest,
            identity,
            b"X-Request-Id: ",
            request_id,
            b"\r\n",
            origin,
            b"\r\n",
        )
    )


def with_connection_close(head: bytes) -> bytes:
    """Return a head with an added `Connection: close`."""
    return head[:-2] + CLOSE + b"\r\n"


def response_head(
    status: int, reason: bytes, fields: Fields, lines: bytes = b"", *, chunked: bool = False, connection: bytes = b""
) -> bytes:
    """Return the head of a response from the upstream. `connection` is CLOSE, KEEP_ALIVE or nothing."""
    framing = _CHUNKED + connection if chunked else connection
    return _head(b"HTTP/1.1 %d %b" % (status, reason), fields, framing + lines)


def plain_response_head(written: bytes, lines: bytes, *, chunked: bool, connection: bytes) -> bytes:
    """Return the head of a plain response: a shortcut for `response_head`. Hot.

    `written` is the status line and the fields, as lines with their CRLF (plain_responses.py).
    """
    return b"".join((written, _CHUNKED if chunked else b"", connection, lines, b"\r\n"))


def interim_head(status: int, reason: bytes, fields: Fields) -> bytes:
    """Return a 1xx response. It never has a Content-Length (RFC 9110 §8.6)."""
    return _head(b"HTTP/1.1 %d %b" % (status, reason), without(fields, {b"content-length"}), b"")


def switching_head(reason: bytes, fields: Fields) -> bytes:
    """Return a 101 response that opens a WebSocket connection."""
    return _head(b"HTTP/1.1 101 %b" % reason, without(fields, _HANDSHAKE_NAMES), _WEBSOCKET)


def preflight_response(request_id: bytes, lines: bytes, *, close: bool) -> bytes:
    """Return the response to a CORS preflight. `lines` say what is allowed."""
    lines = b"X-Request-Id: %b\r\n%b" % (request_id, lines)
    return _head(b"HTTP/1.1 204 No Content", [], lines + CLOSE if close else lines)


def refusal_response(
    refusal: Refusal, request_id: bytes, lines: bytes = b"", *, close: bool, head_only: bool = False
) -> bytes:
    """Return the response for a refusal (RFC 9457 problem details). `request_id` contains only token characters."""
    body = refusal.body(request_id)
    retry = refusal.retry_after_seconds
    head = b"%bContent-Length: %d\r\nX-Request-Id: %b\r\n%b%b%b%b\r\n" % (
        _PROBLEMS[refusal.status],
        len(body),
        request_id,
        b"Retry-After: %d\r\n" % retry if retry is not None else b"",
        CLOSE if close else b"",
        refusal.lines,
        lines,
    )
    return head if head_only else head + body
