"""Parses request heads with llhttp, and refuses some that llhttp accepts. No I/O.

llhttp refuses two things that some requests need: methods that it does not know, and raw bytes over 0x7F in a query.
The parser gives llhttp stand-ins for them (see `_shown`). The parsed head contains the original bytes.
"""

import re

import httptools

from proxy.http.headers import Fields, Head
from proxy.http.malformed_requests import PROXY_PROTOCOL, why_malformed
from proxy.refusals import (
    HEAD_TOO_LARGE,
    TARGET_TOO_LONG,
    UNKNOWN_METHOD,
    UNSUPPORTED_VERSION,
    Refusal,
    Refused,
)
from proxy.settings import DEFAULT_METHODS, LimitSettings

METHODS = frozenset(method.encode() for method in DEFAULT_METHODS)
"""The methods that a route forwards by default. llhttp knows all of them."""

# Neither pattern depends on what follows, so that a refusal's code does not depend on how the bytes arrive.
_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++ [^ ]++ HTTP/\d\.\d")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}+(?= |\Z)")
"""A method, or the beginning of one."""
_PROXY_V1 = b"PROXY "
"""How version 1 of the PROXY protocol begins. It looks like a method."""


_STAND_INS = bytes(range(0x80)) + b"x" * 0x80
"""Translates each byte over 0x7F to one that llhttp accepts in a query."""


def _shown(head: bytes) -> bytes:
    """Return a head, or its first part, with stand-ins: GET for the method, `x` for bytes over 0x7F in the query.

    GET has no rules of its own in llhttp (CONNECT, PRI, SOURCE and the RTSP methods do), so everything else in the
    head is parsed as it would be with a method that llhttp knows.
    """
    line, newline, fields = head.partition(b"\n")
    _, space, rest = line.partition(b" ")
    path, mark, query = rest.partition(b"?")
    return b"GET" + space + path + mark + query.translate(_STAND_INS) + newline + fields


class RequestReader:
    """Reads one head after another. Bodies between them are not fed to it."""

    __slots__ = ("_fields", "_last", "_limits", "_method", "_methods", "_parser", "_shown_up_to", "_target", "partial")

    def __init__(self, limits: LimitSettings, methods: frozenset[bytes] = METHODS) -> None:
        """`methods` are those that any route forwards. Any other method must be one that llhttp knows."""
        self._limits = limits
        self._methods = methods
        self._shown_up_to: int | None = None
        """How many bytes of the head with stand-ins llhttp has received. None if it receives the original head."""
        self.partial = b""
        """A head that has not arrived completely."""
        self._new_head()
        self.renew()

    def renew(self) -> None:
        """Create a new llhttp parser, because the old one waits for a body that is not fed to it."""
        self._parser = httptools.HttpRequestParser(self)

    def _new_head(self) -> None:
        self._method = b""  # until the head is parsed
        self._target = b""
        self._fields: Fields = []
        self._last = False  # whether llhttp, which also reads Proxy-Connection, expects no further request

    def read(self, data: bytes) -> tuple[Head | None, bytes]:
        """Return the head, once it is complete, and the bytes after it. After Refused, nothing more may be read.

        Every byte is passed to llhttp as it arrives, so that invalid bytes are refused immediately. When llhttp refuses
        a byte that may need a stand-in, the head is fed again from its start, with stand-ins. A method is judged only
        when it is complete.
        """
        held = self.partial
        if held == b"\r" and data.startswith(b"\n"):
            held, data = b"", held + data
        if not held and data.startswith(b"\r\n"):
            data = data[2:]  # ignore an empty line before a request (RFC 9112 §2.2)
        buffer = held + data if held else data
        end = buffer.find(b"\r\n\r\n", max(0, len(held) - 3))
        size = len(buffer) if end < 0 else end + 4
        self._check_size(buffer, size)
        try:
            if not held:
                self._parser.feed_data(data if size == len(data) else data[:size])
            elif self._shown_up_to is None:
                self._parser.feed_data(buffer[len(held) : size])
            else:
                self._feed_shown(buffer[:size])
        except httptools.HttpParserUpgrade:
            self.renew()  # the relay decides whether this is an upgrade, not llhttp
        except httptools.HttpParserCallbackError as error:
            raise Refused(HEAD_TOO_LARGE) from error
        except httptools.HttpParserError as error:
            self._feed_again(buffer[:size], error)
        if end < 0:
            self.partial = buffer
            return None, b""
        self.partial = b""
        return self._take(buffer), buffer[size:]

    def _feed_again(self, head: bytes, error: httptools.HttpParserError) -> None:
        """Feed a head again with stand-ins if it needs them. Raises Refused otherwise."""
        if self._shown_up_to is None and self._needs_stand_ins(head):
            self._shown_up_to = 0
            self._new_head()
            self.renew()
            try:
                self._feed_shown(head)
                return
            except httptools.HttpParserUpgrade:
                self.renew()
                return
            except httptools.HttpParserCallbackError as second_error:
                raise Refused(HEAD_TOO_LARGE) from second_error
            except httptools.HttpParserError as second_error:
                error = second_error
        unknown_method = isinstance(error, httptools.HttpParserInvalidMethodError) and _METHOD.match(head)
        raise Refused(_unknown_method(head) if unknown_method else _malformed(head)) from error

    def _needs_stand_ins(self, head: bytes) -> bool:
        method, space, rest = head.partition(b"\n")[0].partition(b" ")
        if not space:
            return _METHOD.match(method) is not None
        if method not in self._methods:
            return False
        return method not in METHODS or not rest.partition(b"?")[2].isascii()

    def _feed_shown(self, head: bytes) -> None:
        """Feed the new bytes of a head, or of its first part, with stand-ins.

        Nothing is fed before the method is complete, because it may still become another one.
        """
        fed = self._shown_up_to or 0
        if fed and head.find(b"\n", 0, fed) >= 0:
            self._parser.feed_data(head[fed:])  # only the request line has stand-ins
        elif fed:
            shown = _shown(head)
            self._parser.feed_data(shown[len(shown) - len(head) + fed :])  # only the method's length changes
        else:
            method, space, _ = head.partition(b" ")
            if not _METHOD.match(head):
                raise Refused(_malformed(head))
            if not space:
                return
            if method not in self._methods:
                raise Refused(_unknown_method(head))
            self._parser.feed_data(_shown(head))
        self._shown_up_to = len(head)

    def _check_size(self, buffer: bytes, size: int) -> None:
        limits = self._limits
        if size <= limits.target_bytes and size <= limits.head_bytes:
            return
        target = buffer[: limits.head_bytes].partition(b"\r\n")[0].partition(b" ")[2].partition(b" ")[0]
        if len(target) > limits.target_bytes:
            raise Refused(TARGET_TOO_LONG)
        if size > limits.head_bytes:
            raise Refused(HEAD_TOO_LARGE)

    def _take(self, buffer: bytes) -> Head:
        """Return the parsed head that `buffer` begins with."""
        method, target, fields = self._method, self._target, self._fields
        if self._last:
            self.renew()  # llhttp does not decide whether another request may follow
        self._new_head()
        # llhttp accepts other versions, and more than one space between the parts.
        if buffer.startswith(b"%b %b HTTP/1.1\r\n" % (method, target)):
            minor = 1
        elif buffer.startswith(b"%b %b HTTP/1.0\r\n" % (method, target)):
            minor = 0
        elif self._shown_up_to is not None:
            self._shown_up_to = None
            method, target, minor = _original(buffer, target)
        else:
            raise Refused(_malformed(buffer))
        if method == b"CONNECT":
            raise Refused(UNKNOWN_METHOD)  # Sitelatch is not a forward proxy
        return Head(method, target, fields, False, [], minor)

    # Callbacks of llhttp.

    def on_url(self, part: bytes) -> None:
        """Add a part of the target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a field. llhttp leaves white space at the end of a value, which is not part of it (RFC 9110 §5.5)."""
        if len(self._fields) == self._limits.head_count:
            raise Refused(HEAD_TOO_LARGE)  # llhttp stops and raises HttpParserCallbackError
        self._fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """Record that the head is complete."""
        self._method = self._parser.get_method()
        self._last = not self._parser.should_keep_alive()


def _original(buffer: bytes, shown_target: bytes) -> tuple[bytes, bytes, int]:
    """Return the original method, target and minor version of the head in `buffer`, which llhttp got with stand-ins.

    Raises Refused if llhttp read another target.
    """
    line, _, _ = buffer.partition(b"\r\n")
    shown = _shown(line)
    for minor in (1, 0):
        if shown == b"GET %b HTTP/1.%d" % (shown_target, minor):
            method, target, _ = line.split(b" ")
            return method, target, minor
    raise Refused(_malformed(buffer))


def _unknown_method(head: bytes) -> Refusal:
    return PROXY_PROTOCOL if head.startswith(_PROXY_V1) else UNKNOWN_METHOD


def _malformed(buffer: bytes) -> Refusal:
    line = _LINE.match(buffer)
    if line and not line[0].endswith((b" HTTP/1.1", b" HTTP/1.0")):
        return UNSUPPORTED_VERSION
    return why_malformed(buffer)
