"""Requests' heads out of a client's bytes: llhttp, and what it lets through but we do not. No I/O."""

import re
from dataclasses import dataclass

import httptools

from proxy.heads import Fields
from proxy.refusals import (
    BAD_REQUEST,
    HEAD_TOO_LARGE,
    TARGET_TOO_LONG,
    UNKNOWN_METHOD,
    UNSUPPORTED_VERSION,
    Refusal,
    Refused,
)
from proxy.settings import LimitSettings

_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [^ ]+ HTTP/\d\.\d\r\n")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64} ")


@dataclass(slots=True)
class RawHead:
    """One request's head as it came. `minor` is the 0 or 1 of HTTP/1.x."""

    method: bytes
    target: bytes
    minor: int
    fields: Fields


class RequestReader:
    """Reads one head after another. What comes between them (bodies) is not for it."""

    __slots__ = ("_fields", "_last", "_limits", "_method", "_parser", "_target", "partial")

    def __init__(self, limits: LimitSettings) -> None:
        self._limits = limits
        self.partial = b""
        """A head that has not come whole."""
        self._new_head()
        self.renew()

    def renew(self) -> None:
        """Begin anew: llhttp waits for a body, which is not for it."""
        self._parser = httptools.HttpRequestParser(self)

    def _new_head(self) -> None:
        self._method = b""  # until the head is parsed
        self._target = b""
        self._fields: Fields = []
        self._last = False  # in llhttp's eyes, which looks at Proxy-Connection too

    def read(self, data: bytes) -> tuple[RawHead | None, bytes]:
        """Return the head, where it is whole now, and what comes after it. Raises Refused; then nothing more is read.

        Every byte goes to llhttp once, as it comes, so that what can become no request is known at once.
        """
        held = self.partial
        if held == b"\r" and data.startswith(b"\n"):
            held, data = b"", held + data
        if not held and data.startswith(b"\r\n"):
            data = data[2:]  # RFC 9112 §2.2: an empty line before a request is ignored
        buffer = held + data if held else data
        end = buffer.find(b"\r\n\r\n", max(0, len(held) - 3))
        size = len(buffer) if end < 0 else end + 4
        self._check_size(buffer, size)
        try:
            if end < 0:
                self.partial = buffer
                self._parser.feed_data(data)
                return None, b""
            self.partial = b""
            self._parser.feed_data(data if not held and size == len(data) else buffer[len(held) : size])
        except httptools.HttpParserUpgrade:
            self.renew()  # whether it is an upgrade is not llhttp's to say
        except httptools.HttpParserInvalidMethodError as error:
            raise Refused(UNKNOWN_METHOD if _METHOD.match(buffer) else BAD_REQUEST) from error
        except httptools.HttpParserError as error:
            raise Refused(_malformed(buffer)) from error
        return self._take(buffer), buffer[size:]

    def _check_size(self, buffer: bytes, size: int) -> None:
        limits = self._limits
        if size <= limits.target_bytes and size <= limits.head_bytes:
            return
        target = buffer[: limits.head_bytes].partition(b"\r\n")[0].partition(b" ")[2].partition(b" ")[0]
        if len(target) > limits.target_bytes:
            raise Refused(TARGET_TOO_LONG)
        if size > limits.head_bytes:
            raise Refused(HEAD_TOO_LARGE)

    def _take(self, buffer: bytes) -> RawHead:
        """Return the head that `buffer` begins with, now parsed."""
        method, target, fields = self._method, self._target, self._fields
        if self._last:
            self.renew()  # whether another may come is not llhttp's to say
        self._new_head()
        # llhttp lets other versions, and more than one space, through.
        if buffer.startswith(b"%b %b HTTP/1.1\r\n" % (method, target)):
            minor = 1
        elif buffer.startswith(b"%b %b HTTP/1.0\r\n" % (method, target)):
            minor = 0
        else:
            raise Refused(_malformed(buffer))
        if method == b"CONNECT":
            raise Refused(UNKNOWN_METHOD)  # this is no forward proxy
        if len(fields) > self._limits.head_count:
            raise Refused(HEAD_TOO_LARGE)
        return RawHead(method, target, minor, fields)

    # What llhttp tells.

    def on_url(self, part: bytes) -> None:
        """Take a part of the target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field. llhttp leaves white space at the end of a value, which is no part of it (RFC 9110 §5.5)."""
        self._fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """Take note that the head is whole."""
        self._method = self._parser.get_method()
        self._last = not self._parser.should_keep_alive()


def _malformed(buffer: bytes) -> Refusal:
    line = _LINE.match(buffer)
    if line and not line[0].endswith((b" HTTP/1.1\r\n", b" HTTP/1.0\r\n")):
        return UNSUPPORTED_VERSION
    return BAD_REQUEST
