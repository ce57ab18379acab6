"""Reads plain request heads quickly: a shortcut for `RequestReader` and `clean_request`. No I/O.

A plain head arrives whole, carries one key, and each of its lines is `Name: value` in visible ASCII. No line needs more
than being forwarded unchanged or dropped, except for Host, Content-Length and Connection in their usual forms. Most
heads are plain, and a client sends the same fields again and again, except for the key and the length of the body. So
the shape of a head, which is everything else in its fields, is read once and remembered.

Any other head is parsed by llhttp and cleaned field by field, which takes several times as long. A property test
compares the two ways.
"""

import re
from collections.abc import Iterable, Set
from typing import Any, Final

from proxy.http.bodies import NO_BODY, LengthBody
from proxy.http.headers import (
    CONNECTION,
    FOLDED,
    FORWARDING,
    HOP,
    HOST,
    NEVER,
    PLAIN,
    Fields,
    Head,
)
from proxy.http.hop_by_hop import Hop
from proxy.http.host_field import check_host
from proxy.http.malformed_requests import MAX_LENGTH_DIGITS
from proxy.http.request_header_names import RequestSpellings
from proxy.refusals import Refused
from proxy.settings import LimitSettings

# OPTIONS is left out, because preflights and `*` have rules of their own, and a `#` is never plain.
_TARGET = rb"/[!\"$->@-~]*+(?>(?:\?[!\"$-~]*+)?)"
_REQUEST_LINE = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE) (%b) HTTP/1\.1\r\n" % _TARGET)
plain_get_start = re.compile(rb"GET (%b)(?= HTTP/1\.1\r\n)" % _TARGET).match
"""Matches a GET with a plain target, up to the end of the target."""
_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})
_LINE = re.compile(rb"([A-Za-z0-9-]++): ([!-~]++(?>(?: ++[!-~]++)*))\Z")
_KEY = re.compile(rb"[!-~]++\Z")
_LENGTH_MARK = b"\r\nContent-Length: "
_CONNECTIONS = {b"keep-alive": True, b"close": False}

_MOST_LINES = 32
"""Heads with more lines are rare. Reading them here too would nearly double their cost if they are not plain."""
_MOST_SHAPES = 1024
_LONGEST_SHAPE = 2048
"""Clients choose shapes, so their number and their length are bounded."""

_Pieces = tuple[bytes, bytes, bytes, int]


class Shape:
    """The fields of a plain head, except for the key and the length of the body."""

    __slots__ = (
        "before_length",
        "dropped",
        "forwarded_start",
        "from_proxies",
        "head_end",
        "head_start",
        "hop",
        "host",
        "keep_alive",
        "key_field",
        "key_prefix",
        "lines",
        "noticed",
        "origin",
        "plans",
        "rest",
    )

    def __init__(self) -> None:
        self.host = b""
        self.keep_alive = True
        self.hop: Hop
        """The hop of a request without a body. All requests share it, so nothing changes it."""
        self.key_field = b""
        """The name of the field with the key."""
        self.key_prefix = b""
        """The part of that field's value before the key, such as `Bearer `."""
        self.noticed: Fields = []
        """The other fields that the decision or CORS may read."""
        self.dropped: set[bytes] = set()
        """The lines that are not forwarded, except for the one with the key."""
        self.from_proxies = False
        """Whether some lines are dropped because the peer is not a trusted proxy."""
        self.before_length = self.rest = b""
        """The forwarded lines, without the key: those up to the length of the body, and those after it."""
        self.head_start = self.head_end = b""
        """The head of a request without a body: from the end of its target to the key, and from there to its end."""
        self.origin = b""
        """The `Origin`, or nothing if the head has none or more than one."""
        self.forwarded_start = b""
        """The head for the upstream, from the end of its target to the lines that Sitelatch adds."""
        self.lines = 0
        """How many fields are judged, including the one with the key."""
        self.plans: dict[Any, Any] = {}
        """What the decision remembers about this shape on each route (plain_claims.py)."""


NOT_READ: Final = ()
"""The initial value of `PlainHead.named`."""


class PlainHead(Head):
    """The head of a plain request. It has the same attributes as any other head."""

    __slots__ = ("key", "length", "line", "named", "shape", "whole")

    def __init__(self, line: bytes, method: bytes, target: bytes, whole: bytes, shape: Shape, key: bytes) -> None:
        self.line = line
        """The request line."""
        self.method = method
        self.target = target
        self.whole = whole
        """The whole head as it arrived, without the CRLF at its end."""
        self.shape = shape
        self.key = key
        self.length = b""
        """The value of Content-Length, or nothing."""
        self.has_body = False
        self.minor = 1
        self.named: Any = NOT_READ
        """The sites that the request names, if the decision has already read them (plain_claims.py)."""

    def __getattr__(self, name: str) -> Any:
        """Set the other attributes of a head when something first reads them, which is rare."""
        if name == "fields":
            dropped = self.shape.dropped
            lines = self.whole.split(b"\r\n")[1:]
            self.fields: Fields = [_field(line) for line in lines if line not in dropped]
            return self.fields
        if name == "websocket":
            self.websocket = False
            return self.websocket
        if name == "dropped":
            self.dropped: Fields = []
            return self.dropped
        if name == "received":
            self.received: int = len(self.shape.dropped) + self.shape.lines
            return self.received
        raise AttributeError(name)

    @property
    def origin(self) -> bytes:
        """The `Origin`, or nothing if the head has none or more than one."""
        return self.shape.origin

    @property
    def fields_without_key(self) -> Fields:
        """The fields to forward."""
        return [field for field in self.fields if field[0] != self.shape.key_field]


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b": ")
    return name, value


def plain_get(data: bytes, shape: Shape) -> PlainHead:
    """Return the head of a plain GET without a body, which is all of `data` and has this shape."""
    line, _, _ = data.partition(b"\r\n")
    target = line[len(b"GET ") : -len(b" HTTP/1.1")]
    key = data[len(b"GET ") + len(target) + len(shape.head_start) : len(data) - len(shape.head_end)]
    return PlainHead(line, b"GET", target, data[: -len(b"\r\n\r\n")], shape, key)


class PlainRequests:
    """Reads plain request heads. One object serves all connections of a front door."""

    def __init__(
        self, limits: LimitSettings, spellings: RequestSpellings, noticed: Set[bytes], key_fields: Iterable[bytes]
    ) -> None:
        """`noticed` are the folded names of the fields that the decision may read.

        `key_fields` are the fields that may carry a key, with the part before the key: `X-API-Key: `, for example.
        """
        self._longest = min(limits.head_bytes, limits.target_bytes) - 4
        self.longest = self._longest + 4
        """The length of the longest head that may be plain."""
        self._most_lines = min(limits.head_count, _MOST_LINES)
        self._spellings = spellings
        self._noticed = noticed
        self._marks = [b"\r\n" + field for field in key_fields]
        self._shapes: dict[_Pieces, Shape | None] = {}

    def read(self, data: bytes, *, trusted: bool) -> tuple[PlainHead, Hop, bytes] | None:
        """Return a plain head, its hop, and the bytes after the head, or None if the head is not plain. Hot.

        `data` begins with the request. `trusted` says whether the peer is a trusted proxy.
        """
        whole, blank, rest = data.partition(b"\r\n\r\n")
        if not blank or len(whole) > self._longest:
            return None
        for mark in self._marks:
            before, marked, after = whole.partition(mark)
            if marked:
                break
        else:
            return None
        start = _REQUEST_LINE.match(data)
        if start is None:
            return None
        method, target = start.groups()
        length, behind = b"", -1
        if method in _WITH_BODY:
            first, marked, last = whole.partition(_LENGTH_MARK)
            if marked:
                length, line_end, last = last.partition(b"\r\n")
                if not length.isdigit() or len(length) > MAX_LENGTH_DIGITS:
                    return None
                behind = len(last)
                before, marked, after = (first + line_end + last).partition(mark)
        key, _, after = after.partition(b"\r\n")
        # The pattern takes much longer than `isalnum`, which is enough for Sitelatch's own keys.
        if not key.replace(b"_", b"").isalnum() and _KEY.match(key) is None:
            return None
        line, _, before = before.partition(b"\r\n")
        # The position of Content-Length belongs to the shape, and the length of the key does not.
        if behind > len(after):
            behind -= len(key)
        pieces = (before, mark, after, behind)
        try:
            shape = self._shapes[pieces]
        except KeyError:
            shape = self._read_shape(pieces, whole, key, length)
        if shape is None or (trusted and shape.from_proxies):
            return None
        plain = PlainHead(line, method, target, whole, shape, key)
        if not length:
            return plain, shape.hop, rest
        plain.length = length
        size = int(length)
        plain.has_body = size > 0
        return plain, Hop(shape.host, LengthBody(size) if size else NO_BODY, False, shape.keep_alive, None), rest

    def known_shape(self, data: bytes, target_end: int) -> Shape | None:
        """Return the remembered shape of a request that consists only of a head, or None. Hot.

        The shape says what its head is like from the end of the target: `head_start`, the key, and `head_end`.
        """
        for mark in self._marks:
            start = data.find(mark, target_end)
            if start >= 0:
                break
        else:
            return None
        line_end = data.find(b"\r\n", target_end)
        end = data.find(b"\r\n", start + len(mark))
        if end < 0 or data[-4:] != b"\r\n\r\n" or data[target_end:line_end] != b" HTTP/1.1":
            return None
        return self._shapes.get((data[line_end + 2 : start], mark, data[end + 2 : -4], -1))

    def _read_shape(self, pieces: _Pieces, whole: bytes, key: bytes, length: bytes) -> Shape | None:
        """Return the shape of a head, or None if it is not plain, and remember it."""
        before, mark, after, _ = pieces
        shape = self._shape(whole.split(b"\r\n")[1:], mark[2:], key, length)
        if shape is not None:
            fields_before = b"\r\n" + before if before else b""
            fields_after = b"\r\n" + after if after else b""
            shape.head_start = b" HTTP/1.1" + fields_before + mark
            shape.head_end = fields_after + b"\r\n\r\n"
            shape.forwarded_start = b" HTTP/1.1\r\n" + shape.rest
        if len(before) + len(after) <= _LONGEST_SHAPE:
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            self._shapes[pieces] = shape
        return shape

    def _shape(self, lines: list[bytes], key_start: bytes, key: bytes, length: bytes) -> Shape | None:
        if len(lines) > self._most_lines:
            return None
        shape = Shape()
        shape.key_field, _, shape.key_prefix = key_start.partition(b": ")
        key_line, length_line = key_start + key, _LENGTH_MARK[2:] + length if length else None
        has_key = has_length = has_connection = False
        forwarded: list[bytes] = []
        for line in lines:
            if line == key_line and not has_key:
                has_key = True
                continue
            if line == length_line and not has_length:
                has_length = True
                shape.before_length = b"\r\n".join([*forwarded, _LENGTH_MARK[2:]])
                forwarded = [b""]
                continue
            field = _LINE.match(line)
            if field is None:
                return None
            name, value = field.groups()
            kind = self._spellings[name]
            if kind == PLAIN and name != shape.key_field:
                if FOLDED[name] in self._noticed:
                    shape.noticed.append((name, value))
                forwarded.append(line)
            elif kind == HOST and not shape.host and _is_plain_host(value):
                shape.host = value
                forwarded.append(line)
            elif kind == CONNECTION and not has_connection and value.lower() in _CONNECTIONS:
                has_connection = True
                shape.keep_alive = _CONNECTIONS[value.lower()]
                shape.dropped.add(line)
            elif kind in (HOP, NEVER, FORWARDING):
                shape.from_proxies |= kind == FORWARDING
                shape.dropped.add(line)
            else:
                return None
        if not (has_key and shape.host) or self._spellings[shape.key_field] != PLAIN:
            return None
        origins = [value for name, value in shape.noticed if name.lower() == b"origin"]  # `noticed` always includes it
        shape.origin = origins[0] if len(origins) == 1 else b""
        shape.hop = Hop(shape.host, NO_BODY, False, shape.keep_alive, None)
        shape.rest = b"\r\n".join([*forwarded, b""])
        shape.lines = len(lines) - len(shape.dropped)
        return shape


def _is_plain_host(value: bytes) -> bool:
    """Return whether a Host header is valid and is forwarded unchanged."""
    try:
        return check_host([value]) == value
    except Refused:
        return False
