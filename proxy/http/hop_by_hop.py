"""Separates hop-by-hop fields (RFC 9110 §7.6.1), which are for this proxy, from the fields to forward. No I/O.

The decision sees only the remaining fields, because the upstream will see the same ones.
"""

import re
from dataclasses import KW_ONLY, dataclass

from proxy.http.absolute_form import ASTERISK, origin_form
from proxy.http.bodies import Body, request_body
from proxy.http.forwarding import ORIGIN_NAMES, is_plain_origin
from proxy.http.headers import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    FORWARDING,
    HOST,
    MALFORMED,
    ODD,
    PLAIN,
    RESPONSE_SPELLINGS,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    Fields,
    Head,
    fold_name,
    tokens,
    without,
)
from proxy.http.host_field import check_host
from proxy.http.malformed_requests import FRAMING_LOOK_ALIKE, LONG_CONNECTION, MAX_CONNECTION_BYTES
from proxy.http.request_header_names import RequestSpellings
from proxy.http.trailers import announced_trailers
from proxy.http.websocket_handshake import requested_key
from proxy.refusals import PROTECTED_HOP_HEADER, UNKNOWN_EXPECTATION, Refused

_FRAMING_NAMES = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})
_CONNECTION_OPTIONS = frozenset({b"close", b"keep-alive", b"upgrade"})


@dataclass(slots=True)
class Hop:
    """The information from the fields for this hop, and where the request's body ends."""

    host: bytes
    """The Host header, or nothing in an HTTP/1.0 request without one."""
    body: Body
    chunked: bool
    keep_alive: bool
    websocket_key: bytes | None
    """The Sec-WebSocket-Key, if the request asks for a WebSocket connection in the one valid way (RFC 6455 §4.1)."""
    whole_server: bool = False
    """Whether to forward `*` as the target. It is judged as `/` (RFC 9112 §3.2.4)."""


@dataclass(slots=True)
class RequestHop(Hop):
    """The same, with the request head without hop-by-hop fields."""

    _: KW_ONLY
    head: Head


def clean_request(
    raw: Head,
    *,
    spellings: RequestSpellings,
    trusted: bool,
    judged: frozenset[bytes],
    trailer_bytes: int,
    needs_host: bool = True,
) -> RequestHop:
    """Separate hop-by-hop fields from the fields to forward. `judged` are the names that the decision reads.

    `trusted` keeps the peer's headers about the request's origin. Unless `needs_host`, HTTP/1.0 requests may lack Host,
    and it may be empty (RFC 9110 §7.2).
    A target in absolute form becomes the origin form, which is what the decision and the upstream see. Raises Refused
    on a head whose framing or hop-by-hop fields can be read in two ways.
    """
    method, minor = raw.method, raw.minor
    passing: Fields = []
    dropped: Fields = []
    hosts: list[bytes] = []
    lengths: list[bytes] = []
    codings: list[bytes] = []
    connection: list[bytes] = []
    upgrades: list[bytes] = []
    for field in raw.fields:
        kind = spellings[field[0]]
        if kind == PLAIN:
            passing.append(field)
        elif kind == HOST:
            hosts.append(field[1])
            passing.append(field)
        elif kind == CONTENT_LENGTH:
            lengths.append(field[1])
            passing.append(field)
        elif kind == CONNECTION:
            connection.append(field[1])
        elif kind == TRANSFER_ENCODING:
            codings.append(field[1])
        elif kind == UPGRADE:
            upgrades.append(field[1])
        elif kind == EXPECT:
            if minor == 0:
                continue  # RFC 9110 §10.1.1: an HTTP/1.0 client cannot expect 100
            if field[1].lower() != b"100-continue":
                raise Refused(UNKNOWN_EXPECTATION)
            passing.append(field)
        elif kind == FORWARDING:
            if trusted and is_plain_origin(field):
                passing.append(field)
        elif kind == ODD:
            dropped.append(field)
        elif kind == MALFORMED:
            raise Refused(FRAMING_LOOK_ALIKE)
    host = b""
    if hosts == [b""] and not needs_host:
        passing = [field for field in passing if field[0].lower() != b"host"]
    elif hosts or minor == 1 or needs_host:
        host = check_host(hosts)
        if host != hosts[0]:
            passing = [(name, host) if name.lower() == b"host" else (name, value) for name, value in passing]
    target = raw.target
    whole_server = False
    if not target.startswith(b"/"):
        target = origin_form(method, target, host)
        if target == ASTERISK:
            target, whole_server = b"/", True
    body = request_body(lengths, codings, minor, trailer_bytes)
    keep_alive = minor == 1
    websocket_key = None
    if connection:
        if sum(map(len, connection)) > MAX_CONNECTION_BYTES:
            raise Refused(LONG_CONNECTION)
        options = tokens(connection)
        keep_alive = b"close" not in options and (keep_alive or b"keep-alive" in options)
        listed = options - _CONNECTION_OPTIONS
        if listed:
            _refuse_protected(listed, judged, trusted=trusted)
            passing = without(passing, listed)
        if upgrades and b"upgrade" in options and method == b"GET" and minor == 1 and body.done and not lengths:
            websocket_key = requested_key(upgrades, passing)
    head = Head(method, target, passing, not body.done, dropped, minor, len(raw.fields), websocket_key is not None)
    return RequestHop(host, body, bool(codings), keep_alive, websocket_key, whole_server, head=head)


def _refuse_protected(listed: set[bytes], judged: frozenset[bytes], *, trusted: bool) -> None:
    """Raise Refused if Connection lists a field whose removal would change the decision or the framing.

    Any other listed field is removed before the decision. Sitelatch sets its own fields afterwards.
    """
    for name in listed:
        folded = fold_name(name)
        if folded in _FRAMING_NAMES or folded in judged or (trusted and folded in ORIGIN_NAMES):
            raise Refused(PROTECTED_HOP_HEADER)


@dataclass(slots=True)
class ResponseHop:
    """A response's fields without hop-by-hop fields, and the information from those fields."""

    fields: Fields
    lengths: list[bytes]
    codings: list[bytes]
    keep_alive: bool
    idle_seconds: float | None
    """How long the upstream says that it keeps the connection open while idle (`Keep-Alive: timeout=`)."""
    written: bytes = b""
    """The status line and the fields as lines, if the head is plain (plain_responses.py)."""
    affects_cors: bool = True
    """Whether the lines for CORS may depend on the fields."""

    @property
    def servers(self) -> Fields:
        """The fields that say which server this is."""
        return [field for field in self.fields if field[0].lower() == b"server"]


_KEEP_ALIVE_TIMEOUT = re.compile(rb"(?:^|[,\s])timeout=([0-9]{1,6})")


def clean_response(minor: int, fields: Fields) -> ResponseHop:
    """Separate hop-by-hop fields from the fields to forward. `minor` is the 0 or 1 of HTTP/1.x."""
    passing: Fields = []
    lengths: list[bytes] = []
    codings: list[bytes] = []
    idle_seconds = None
    options: set[bytes] = set()
    for field in fields:
        kind = RESPONSE_SPELLINGS[field[0]]
        if kind == PLAIN:
            passing.append(field)
        elif kind == CONTENT_LENGTH:
            lengths.append(field[1])
            passing.append(field)
        elif kind == TRANSFER_ENCODING:
            codings.append(field[1])
        elif kind == CONNECTION:
            options |= tokens([field[1]])
        elif kind == TRAILER:
            if announced := announced_trailers(field[1]):
                passing.append((field[0], announced))
        elif timeout := _KEEP_ALIVE_TIMEOUT.search(field[1].lower()):
            idle_seconds = float(timeout[1]) if field[0].lower() == b"keep-alive" else idle_seconds
    keep_alive = b"close" not in options and (minor == 1 or b"keep-alive" in options)
    listed = options - _CONNECTION_OPTIONS - _FRAMING_NAMES
    return ResponseHop(without(passing, listed) if listed else passing, lengths, codings, keep_alive, idle_seconds)
