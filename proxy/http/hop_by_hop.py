"""What of a request's head is meant for this hop, and what goes on (RFC 9110 §7.6.1). No I/O.

The decision is taken on what is left here, for that is what the upstream will see.
"""

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from proxy.http.bodies import Body, check_host, request_body
from proxy.http.headers import (
    BELIEVED,
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
    fold_name,
    tokens,
    without,
)
from proxy.http.request_header_names import RequestSpellings
from proxy.http.trailers import announced_trailers
from proxy.refusals import BAD_REQUEST, PROTECTED_HOP_HEADER, UNKNOWN_EXPECTATION, Refused

_FRAMING_NAMES = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})
# From a trusted proxy these say where a request came from. Without them the request would seem to come from the proxy.
# X-Request-Id says nothing of that, and is set anew.
_BELIEVED_ORIGIN = BELIEVED - {b"x-request-id"}
_CONNECTION_BYTES = 1024
"""A longer list in Connection is no client's, and each of its members costs time."""
_CONNECTION_OPTIONS = frozenset({b"close", b"keep-alive", b"upgrade"})


@dataclass(slots=True)
class RequestHop:
    """A request's head, taken apart: `fields` are forwarded, the rest is for this hop."""

    fields: Fields
    dropped: Fields
    """Fields whose names hold odd characters. They are not forwarded, but the decision looks for keys in them."""
    host: bytes
    body: Body
    chunked: bool
    keep_alive: bool
    websocket_key: bytes | None
    """The Sec-WebSocket-Key, where the request asks for a websocket in the one valid way (RFC 6455 §4.1)."""


def clean_request(
    method: bytes,
    minor: int,
    fields: Fields,
    *,
    spellings: RequestSpellings,
    trusted: bool,
    judged: frozenset[bytes],
    trailer_bytes: int,
) -> RequestHop:
    """Take a request's head apart. `minor` is the 0 or 1 of HTTP/1.x, `judged` the names the decision reads.

    `trusted` keeps what the peer says of forwarding. Raises Refused on a head whose framing or whose hop-by-hop
    fields could be read in two ways.
    """
    passing: Fields = []
    dropped: Fields = []
    hosts: list[bytes] = []
    lengths: list[bytes] = []
    codings: list[bytes] = []
    connection: list[bytes] = []
    upgrades: list[bytes] = []
    for field in fields:
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
            if trusted and _is_plain_origin(field):
                passing.append(field)
        elif kind == ODD:
            dropped.append(field)
        elif kind == MALFORMED:
            raise Refused(BAD_REQUEST)
    host = check_host(hosts)
    if host != hosts[0]:
        passing = [(name, host) if name.lower() == b"host" else (name, value) for name, value in passing]
    body = request_body(lengths, codings, minor, trailer_bytes)
    keep_alive = minor == 1
    websocket_key = None
    if connection:
        if sum(map(len, connection)) > _CONNECTION_BYTES:
            raise Refused(BAD_REQUEST)
        options = tokens(connection)
        keep_alive = b"close" not in options and (keep_alive or b"keep-alive" in options)
        listed = options - _CONNECTION_OPTIONS
        if listed:
            _refuse_protected(listed, judged, trusted=trusted)
            passing = without(passing, listed)
        if upgrades and b"upgrade" in options and method == b"GET" and minor == 1 and body.done and not lengths:
            websocket_key = _websocket_key(upgrades, passing)
    return RequestHop(passing, dropped, host, body, bool(codings), keep_alive, websocket_key)


# Frameworks build the request's URL from these. A proxy may pass on a client's own, and then `https://x/other-path?` in
# X-Forwarded-Proto, or a path behind the port, is the path that they serve (CVE-2025-64525, CVE-2025-31137).
# No pattern gives back what it took, so each is linear.
_COMMA = rb"[ \t]*+,[ \t]*+"
_HOST = rb"(?:[A-Za-z0-9._-]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]{1,5}+)?+"


def _list_of(member: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"%b(?:%b%b)*+\Z" % (member, _COMMA, member))


_ORIGIN_VALUES = {
    b"x-forwarded-proto": _list_of(rb"[A-Za-z]++"),
    b"x-forwarded-host": _list_of(_HOST),
    b"x-forwarded-port": _list_of(rb"[0-9]{1,5}+"),
    b"forwarded": re.compile(rb"[^/\\?#]*+\Z"),
}


_LONGEST_ORIGIN = 2048
"""What proxies say of a request's origin is shorter; the client may have begun it (bytes)."""


def _is_plain_origin(field: tuple[bytes, bytes]) -> bool:
    """Tell whether what a trusted proxy says of a request's origin holds no more than that."""
    pattern = _ORIGIN_VALUES.get(field[0].lower())
    return pattern is None or (len(field[1]) <= _LONGEST_ORIGIN and pattern.match(field[1]) is not None)


def _refuse_protected(listed: set[bytes], judged: frozenset[bytes], *, trusted: bool) -> None:
    """Raise Refused where Connection lists a field whose absence would change the decision or the framing.

    Any other listed field is removed first and judged as absent. Those that Sitelatch sets are set anew afterwards.
    """
    for name in listed:
        folded = fold_name(name)
        if folded in _FRAMING_NAMES or folded in judged or (trusted and folded in _BELIEVED_ORIGIN):
            raise Refused(PROTECTED_HOP_HEADER)


def _websocket_key(upgrades: list[bytes], fields: Fields) -> bytes | None:
    keys, versions = [], []
    for name, value in fields:
        lower = name.lower()
        if lower == b"sec-websocket-key":
            keys.append(value)
        elif lower == b"sec-websocket-version":
            versions.append(value)
    if len(keys) != 1 or versions != [b"13"] or len(upgrades) != 1 or upgrades[0].lower() != b"websocket":
        return None
    try:
        return keys[0] if len(base64.b64decode(keys[0], validate=True)) == 16 else None
    except binascii.Error:
        return None


_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accepts_websocket(key: bytes, fields: Fields) -> bool:
    """Tell whether an answer 101 with these fields opens the websocket asked for with `key` (RFC 6455 §4.2.2)."""
    accept = base64.b64encode(hashlib.sha1(key + _WEBSOCKET_GUID, usedforsecurity=False).digest())
    upgrades = [value.lower() for name, value in fields if name.lower() == b"upgrade"]
    accepts = [value for name, value in fields if name.lower() == b"sec-websocket-accept"]
    options = tokens(value for name, value in fields if name.lower() == b"connection")
    return upgrades == [b"websocket"] and accepts == [accept] and b"upgrade" in options


_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}\Z")


def forwarding_lines(
    fields: Fields, *, peer: bytes, scheme: bytes, host: bytes, request_id: bytes, trusted: bool
) -> tuple[Fields, bytes, bytes]:
    """Return the fields without what is set anew, the lines that tell where the request came from, and its id.

    A trusted proxy's X-Forwarded-For is continued, its X-Forwarded-Proto, -Host and X-Request-Id are kept.
    """
    if not trusted:
        lines = b"X-Request-Id: %b\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n" % (
            request_id,
            peer,
            scheme,
            host,
        )
        return fields, lines, request_id
    rest: Fields = []
    through: list[bytes] = []
    seen: set[bytes] = set()
    for field in fields:
        lower = field[0].lower()
        if lower == b"x-forwarded-for":
            through.append(field[1])
        elif lower == b"x-request-id":
            if _REQUEST_ID.match(field[1]):
                request_id = field[1]
        else:
            seen.add(lower)
            rest.append(field)
    lines = b"X-Request-Id: %b\r\nX-Forwarded-For: %b\r\n" % (request_id, b", ".join([*through, peer]))
    if b"x-forwarded-proto" not in seen:
        lines += b"X-Forwarded-Proto: %b\r\n" % scheme
    if b"x-forwarded-host" not in seen:
        lines += b"X-Forwarded-Host: %b\r\n" % host
    return rest, lines, request_id


def client_address(fields: Iterable[tuple[bytes, bytes]], peer: str, is_trusted: Callable[[str], bool]) -> str:
    """Return the nearest address that is not a trusted proxy's, reading X-Forwarded-For from the right.

    What is no address there ends the reading: whoever wrote it is not to be believed on what is left of it.
    """
    chain = b",".join([value for name, value in fields if name.lower() == b"x-forwarded-for"])
    hops = chain.rsplit(b",", _HOPS_READ)[-_HOPS_READ:]
    address = peer
    while hops and is_trusted(address):
        raw = hops.pop().strip()
        hop = _HOP_ADDRESS.match(raw.decode("latin-1")) if len(raw) <= _LONGEST_HOP else None
        try:
            address = str(ipaddress.ip_address((hop[1] or hop[2]) if hop else ""))
        except ValueError:
            break
    return address


_HOPS_READ = 16
"""No request comes through more trusted proxies. The client can write any number of hops before theirs."""
_LONGEST_HOP = 64
"""An IPv6 address in brackets with a port takes 53 characters at most."""
_HOP_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\](?::\d+)?|([0-9.]+|[0-9A-Fa-f:.]+)(?::\d+)?)\Z")
"""An address as proxies write it, some with a port."""


@dataclass(slots=True)
class ResponseHop:
    """An answer's head, taken apart: `fields` go on, the rest was for us."""

    fields: Fields
    lengths: list[bytes]
    codings: list[bytes]
    keep_alive: bool
    idle_seconds: float | None
    """How long the upstream says it keeps the idle connection (`Keep-Alive: timeout=`)."""


_KEEP_ALIVE_TIMEOUT = re.compile(rb"(?:^|[,\s])timeout=([0-9]{1,6})")


def clean_response(minor: int, fields: Fields) -> ResponseHop:
    """Take an answer's head apart. `minor` is the 0 or 1 of HTTP/1.x."""
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
