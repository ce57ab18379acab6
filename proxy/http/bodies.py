"""Finds the end of a message's body (RFC 9112 §6), and refuses framing that two parsers could read differently. No I/O.

llhttp parses only heads. Body framing is implemented here, because httptools does not report chunk extensions, and does
not support responses to HEAD or bodies that end with the connection.
"""

import re

from proxy.http.malformed_requests import (
    CODING,
    CODING_OF_1_0,
    LENGTH,
    LENGTH_AND_CODING,
    LENGTHS,
    MAX_LENGTH_DIGITS,
)
from proxy.refusals import Refused
from proxy.upstream_errors import Reason

Pieces = list[bytes]
"""Consecutive pieces of body data, without the framing."""

_MAX_SIZE_DIGITS = 15  # 16 hexadecimal digits could overflow 64 bits in a backend
_MAX_EXTENSION_BYTES = 4096
_LINES_PER_TURN = 1000
"""The number of lines of a chunked body to read in one go, so that tiny chunks do not delay other connections."""
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,%d}\Z" % _MAX_SIZE_DIGITS)
_TRAILER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):([^\x00-\x08\x0A-\x1F\x7F]*+)\Z")
"""A trailer line. The quantifiers are possessive, so matching takes linear time."""


class FramingError(Exception):
    """The message's framing is invalid, or its body does not follow the framing that the head announced.

    The error text is for people. It repeats nothing that was received.
    """

    def __init__(self, message: str, reason: Reason = Reason.MALFORMED_BODY) -> None:
        """`reason` is why an upstream failed, if the message is a response."""
        super().__init__(message)
        self.reason = reason


class NoBody:
    """The body of a message without one: the message ends after its head."""

    __slots__ = ()
    done = True

    def feed(self, data: bytes) -> tuple[Pieces, bytes]:
        """Return no pieces: all of `data` belongs to the next message."""
        return [], data


class LengthBody:
    """A body of a known length (Content-Length)."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[Pieces, bytes]:
        """Return the pieces of the body in `data`, and the bytes after its end."""
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return [data], b""
        self._left, self.done = 0, True
        if left == 0:
            return [data], b""
        return [data[:left]], data[left:]


class CloseBody:
    """A body that ends with the connection (responses only)."""

    __slots__ = ()
    done = False

    def feed(self, data: bytes) -> tuple[Pieces, bytes]:
        """Return all of `data`."""
        return [data], b""


class ChunkedBody:
    """A chunked body (RFC 9112 §7.1), parsed strictly: only CRLF ends a line, and no white space may surround a size.

    Chunk extensions are refused in requests, because servers disagree on where such a line ends. In responses they are
    dropped. `trailers` contains the trailer fields once the body is `done`, and `trailer_bytes` limits their size.
    """

    __slots__ = ("_extensions", "_left", "_line", "_state", "_trailer_bytes", "done", "trailers")

    _SIZE_LINE, _DATA, _DATA_END, _TRAILERS = range(4)

    def __init__(self, *, extensions: bool, trailer_bytes: int) -> None:
        self._extensions = extensions
        self._trailer_bytes = trailer_bytes
        self._state = self._SIZE_LINE
        self._left = 0
        self._line = bytearray()  # the beginning of an incomplete line, which may arrive in many small pieces
        self.done = False
        self.trailers: list[tuple[bytes, bytes]] = []

    def feed(self, data: bytes) -> tuple[Pieces, bytes]:
        """Return the pieces of the body in `data`, and the bytes after its end.

        If `data` contains very many chunks, some of it is returned unread, and the body is not `done`.
        Raises FramingError if the bytes are not a chunked body.
        """
        pieces: Pieces = []
        at, end = 0, len(data)
        lines = 0
        while at < end:
            if self._state == self._DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left == 0:
                    self._state = self._DATA_END
                continue
            if lines == _LINES_PER_TURN:
                return pieces, data[at:]
            lines += 1
            newline = data.find(b"\n", at)
            if newline < 0:
                self._keep(data[at:])
                break
            line = data[at : newline + 1]
            if self._line:
                line = bytes(self._line) + line
                self._line.clear()
            at = newline + 1
            if not line.endswith(b"\r\n"):
                raise FramingError("a line ends without CR")
            self._take_line(line[:-2])
            if self.done:
                return pieces, data[at:]
        return pieces, b""

    def _keep(self, start: bytes) -> None:
        self._line += start
        longest = {
            self._SIZE_LINE: _MAX_SIZE_DIGITS + 1 + (_MAX_EXTENSION_BYTES if self._extensions else 0),
            self._DATA_END: 1,
            self._TRAILERS: self._trailer_bytes,
        }
        if len(self._line) > longest[self._state]:
            raise FramingError("a line is too long")

    def _take_line(self, line: bytes) -> None:
        if self._state == self._DATA_END:
            if line:
                raise FramingError("a chunk is longer than its size")
            self._state = self._SIZE_LINE
        elif self._state == self._SIZE_LINE:
            size = line
            if self._extensions:
                size = line.partition(b";")[0].rstrip(b" \t")
            elif b";" in line:
                raise FramingError("a chunk has an extension, and servers disagree on where such a line ends")
            if not _SIZE.match(size):
                raise FramingError("a chunk's size is not a plain hexadecimal number")
            self._left = int(size, 16)
            self._state = self._DATA if self._left else self._TRAILERS
        elif line:
            self._trailer_bytes -= len(line) + 2
            trailer = _TRAILER.match(line) if self._trailer_bytes >= 0 else None
            if trailer is None:
                raise FramingError("a trailer is malformed, or all trailers together are too long")
            self.trailers.append((trailer[1], trailer[2].strip(b" \t")))
        else:
            self.done = True


Body = NoBody | LengthBody | CloseBody | ChunkedBody
NO_BODY = NoBody()


def chunk(pieces: Pieces) -> list[bytes]:
    """Return the buffers of one chunk that contains all of `pieces`."""
    size = sum(map(len, pieces))
    return [b"%x\r\n" % size, *pieces, b"\r\n"] if size else []


def last_chunk(trailers: list[tuple[bytes, bytes]]) -> bytes:
    """Return the last chunk of a body, with its trailer fields."""
    return b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % field for field in trailers)


def request_body(lengths: list[bytes], codings: list[bytes], minor: int, trailer_bytes: int) -> Body:
    """Return the body of a request, from its Content-Length and Transfer-Encoding values.

    Raises Refused (RFC 9112 §6.1, §6.3) unless it is one plain length, or `chunked` alone on HTTP/1.1.
    """
    if codings:
        if lengths:
            raise Refused(LENGTH_AND_CODING)
        if minor == 0:
            raise Refused(CODING_OF_1_0)
        if len(codings) != 1 or codings[0].lower() != b"chunked":
            raise Refused(CODING)
        return ChunkedBody(extensions=False, trailer_bytes=trailer_bytes)
    if lengths:
        if len(lengths) != 1:
            raise Refused(LENGTHS)
        if not lengths[0].isdigit() or len(lengths[0]) > MAX_LENGTH_DIGITS:
            raise Refused(LENGTH)
        length = int(lengths[0])
        return LengthBody(length) if length else NO_BODY
    return NO_BODY


def response_body(
    method: bytes, status: int, lengths: list[bytes], codings: list[bytes], minor: int, trailer_bytes: int
) -> Body:
    """Return the body of a response (RFC 9112 §6.3). Raises FramingError if its end is uncertain."""
    if method == b"HEAD" or status in (204, 304) or status < 200:
        return NO_BODY
    if codings:
        if lengths or minor == 0 or len(codings) != 1 or codings[0].lower() != b"chunked":
            raise FramingError("the response's Transfer-Encoding is not chunked alone", Reason.INVALID_FRAMING)
        return ChunkedBody(extensions=True, trailer_bytes=trailer_bytes)
    if lengths:
        if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > MAX_LENGTH_DIGITS:
            raise FramingError("the response's Content-Length is not one number", Reason.INVALID_FRAMING)
        length = int(lengths[0])
        return LengthBody(length) if length else NO_BODY
    return CloseBody()
