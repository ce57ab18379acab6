"""Parses response heads with llhttp, and refuses some that llhttp accepts. No I/O."""

import re
from dataclasses import dataclass
from http import HTTPStatus

import httptools

from proxy.http.bodies import FramingError
from proxy.http.headers import Fields
from proxy.upstream_errors import Reason

MAX_HEAD_BYTES = 256 * 1024
"""The maximum size of a head or a trailer section, in bytes. The upstream is trusted, but it may have bugs."""

_FED_AT_ONCE = 1024
"""Up to this size, every byte of a head is passed to llhttp as it arrives. Behind that, llhttp gets larger pieces of a
head that arrives in many small ones, because httptools copies what it has of a value with every piece."""

_USUAL_REASONS = frozenset(status.phrase.encode() for status in HTTPStatus)
_CONTROL = re.compile(rb"[\x00-\x08\x0A-\x1F\x7F]").search  # RFC 9112 §4 allows tab, space, visible and high bytes


@dataclass(slots=True)
class ResponseHead:
    """A response head with all fields. `minor` is the 0 or 1 of HTTP/1.x."""

    status: int
    reason: bytes
    minor: int
    fields: Fields


class ResponseReader:
    """Reads one response head after another. Bodies between them are not fed to it."""

    __slots__ = ("_complete", "_fed", "_fields", "_parser", "_reason", "partial")

    def __init__(self) -> None:
        self.partial = bytearray()
        """A head that has not arrived completely."""
        self._new_head()
        self.renew()

    def renew(self) -> None:
        """Create a new llhttp parser. The old one may have finished, or may wait for a body that is not fed to it."""
        self._parser = httptools.HttpResponseParser(self)

    def _new_head(self) -> None:
        self._complete = False
        self._fed = 0  # how many bytes of the head were passed to llhttp
        self._reason = b""
        self._fields: Fields = []

    def read(self, data: bytes) -> tuple[ResponseHead | None, bytes]:
        """Return the head, once it is complete, and the bytes after it.

        Raises FramingError soon after the bytes cannot become a response any more.
        """
        partial = self.partial
        seen = len(partial)
        if seen:
            partial += data
        buffer = partial if seen else data
        end = buffer.find(b"\r\n\r\n", max(0, seen - 3))
        if end < 0:
            if len(buffer) > MAX_HEAD_BYTES:
                raise FramingError("the response's head is too large", Reason.HEAD_TOO_LARGE)
            if not seen:
                partial += data
            if self._fed < _FED_AT_ONCE or len(partial) > self._fed * 5 // 4:
                self._feed(partial[self._fed :], buffer)
                self._fed = len(partial)
            return None, b""
        end += 4
        if seen:
            self.partial = bytearray()
        self._feed(data if not seen and len(data) == end else buffer[self._fed : end], buffer)
        if not self._complete:
            raise FramingError("the response's head ends too early", Reason.MALFORMED_HEAD)
        status, reason, fields = self._parser.get_status_code(), self._reason, self._fields
        minor = 0 if buffer.startswith(b"HTTP/1.0 ") else 1
        if not buffer.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")):
            raise FramingError("the response is not HTTP/1.0 or HTTP/1.1", Reason.NOT_HTTP)
        if status < 100:
            # RFC 9112 §4: three digits; llhttp reads 099 as 99
            raise FramingError("the response's status is below 100", Reason.MALFORMED_HEAD)
        if reason not in _USUAL_REASONS and _CONTROL(reason):
            raise FramingError("the response's reason phrase contains a control character", Reason.MALFORMED_HEAD)
        self._new_head()
        return ResponseHead(status, reason, minor, fields), bytes(buffer[end:])

    def _feed(self, data: bytes | bytearray, buffer: bytes | bytearray) -> None:
        """Pass new bytes to llhttp. `buffer` begins with the head's first byte."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the relay decides whether this is an upgrade, not llhttp
        except httptools.HttpParserError as error:
            # llhttp treats a 101 without the Upgrade field as an error, but only after its head.
            if not (self._complete and self._parser.get_status_code() == HTTPStatus.SWITCHING_PROTOCOLS):
                raise _malformed(buffer, error) from error

    # Callbacks of llhttp.

    def on_status(self, reason: bytes) -> None:
        """Add a part of the reason phrase."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a field."""
        self._fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """Record that the head is complete."""
        self._complete = True


_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")
"""How a TLS alert or a TLS handshake begins."""


def _malformed(buffer: bytes | bytearray, error: httptools.HttpParserError) -> FramingError:
    """Return the error for a head that llhttp refuses. llhttp's messages are constants."""
    if buffer.startswith(_TLS_RECORDS):
        return FramingError("the upstream speaks TLS on this port; use https://", Reason.TLS_EXPECTED)
    if not buffer.startswith(b"HTTP/1."[: len(buffer)]):
        return FramingError("the upstream does not speak HTTP/1.1 on this port", Reason.NOT_HTTP)
    message = f"the response's head is malformed: {error}"
    about_framing = "Content-Length" in message or "Transfer-Encoding" in message
    return FramingError(message, Reason.INVALID_FRAMING if about_framing else Reason.MALFORMED_HEAD)
