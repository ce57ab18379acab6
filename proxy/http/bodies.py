"""Where a message's body ends, and which requests are refused because two parsers could differ on that. No I/O.

llhttp parses heads only; bodies are framed here (RFC 9112 §6), as httptools tells neither chunk extensions nor
answers to HEAD nor bodies that end with the connection.
"""

import re

from proxy.refusals import BAD_REQUEST, Refused

Pieces = list[bytes]
"""Body data in order, without its framing."""

_MAX_LENGTH_DIGITS = 18  # of a Content-Length: 19 may overflow somebody's 64 bits
_MAX_SIZE_DIGITS = 15  # of a chunk's size, in hex: an exabyte less one; more is an attack on somebody's integers
_MAX_EXTENSION_BYTES = 4096
_MOST_LINES = 1000
"""Lines of a chunked body that are read at a time: tiny chunks must not keep other connections waiting."""
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,%d}\Z" % _MAX_SIZE_DIGITS)
_TRAILER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):([^\x00-\x08\x0A-\x1F\x7F]*+)\Z")
"""A trailer line. No quantifier gives back what it took, so that a long line costs linear time."""


class FramingError(Exception):
    """The body's bytes do not follow the framing that the head announced."""


class NoBody:
    """A message that ends with its head."""

    __slots__ = ()
    done = True

    def feed(self, data: bytes) -> tuple[Pieces, bytes]:
        """Return no pieces: all of `data` belongs to what comes next."""
        return [], data


class LengthBody:
    """A body of so many bytes (Content-Length)."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[Pieces, bytes]:
        """Return the pieces of the body in `data`, and what comes after its end."""
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return [data], b""
        self._left, self.done = 0, True
        if left == 0:
            return [data], b""
        return [data[:left]], data[left:]


class CloseBody:
    """A body that ends with the connection (answers only)."""

    __slots__ = ()
    done = False

    def feed(self, data: bytes) -> tuple[Pieces, bytes]:
        """Return all of `data`."""
        return [data], b""


class ChunkedBody:
    """A chunked body (RFC 9112 §7.1), read strictly: CRLF only, no white space around sizes.

    Requests may hold no chunk extensions (some servers end a chunk's line elsewhere than others); those of answers
    are dropped. `trailers` holds the trailer fields once `done`; trailer sections are bounded by `trailer_bytes`.
    """

    __slots__ = ("_extensions", "_left", "_line", "_state", "_trailer_bytes", "done", "trailers")

    _SIZE_LINE, _DATA, _DATA_END, _TRAILERS = range(4)

    def __init__(self, *, extensions: bool, trailer_bytes: int) -> None:
        self._extensions = extensions
        self._trailer_bytes = trailer_bytes
        self._state = self._SIZE_LINE
        self._left = 0
        self._line = b""  # the beginning of a line whose end has not come
        self.done = False
        self.trailers: list[tuple[bytes, bytes]] = []

    def feed(self, data: bytes) -> tuple[Pieces, bytes]:
        """Return the pieces of the body in `data`, and what comes after its end.

        With very many chunks in `data` some of it is returned unread, and the body is not `done`.
        Raises FramingError where the bytes are not a chunked body.
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
            if lines == _MOST_LINES:
                return pieces, data[at:]
            lines += 1
            newline = data.find(b"\n", at)
            if newline < 0:
                self._keep(data[at:])
                break
            line = self._line + data[at : newline + 1]
            self._line = b""
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
            if not _SIZE.match(size):
                raise FramingError("a chunk's size is not a plain hexadecimal number")
            self._left = int(size, 16)
            self._state = self._DATA if self._left else self._TRAILERS
        elif line:
            self._trailer_bytes -= len(line) + 2
            trailer = _TRAILER.match(line) if self._trailer_bytes >= 0 else None
            if trailer is None:
                raise FramingError("a trailer is malformed, or there are too many")
            self.trailers.append((trailer[1], trailer[2].strip(b" \t")))
        else:
            self.done = True


Body = NoBody | LengthBody | CloseBody | ChunkedBody
NO_BODY = NoBody()


def chunk(pieces: Pieces) -> list[bytes]:
    """Return the buffers of one chunk with all of `pieces` in it."""
    size = sum(map(len, pieces))
    return [b"%x\r\n" % size, *pieces, b"\r\n"] if size else []


def last_chunk(trailers: list[tuple[bytes, bytes]]) -> bytes:
    """Return the end of a chunked body, with its trailer fields."""
    return b"0\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % field for field in trailers)


_HOST = re.compile(
    rb"([A-Za-z0-9_~-]++(?:\.[A-Za-z0-9_~-]++)*+|\[[0-9A-Fa-f:.]++\])(\.?)((?::[0-9]{1,5})?)\Z"
)  # no quantifier gives back what it took, so that a long value costs linear time
_LONGEST_HOST = 270
"""A host name has 253 characters at most (RFC 1035 §2.3.4); a final dot and a port come on top."""
_BAD_HOST = BAD_REQUEST.because("The request needs one Host header that holds a host name or address.")


def check_host(values: list[bytes]) -> bytes:
    """Return the one Host (RFC 9112 §3.2), without the dot that may end a host name (RFC 1034 §3.1).

    Raises Refused where it is missing, doubled or not a host.
    """
    host = _HOST.match(values[0]) if len(values) == 1 and len(values[0]) <= _LONGEST_HOST else None
    if host is None:
        raise Refused(_BAD_HOST)
    return host[1] + host[3] if host[2] else values[0]


def request_body(lengths: list[bytes], codings: list[bytes], minor: int, trailer_bytes: int) -> Body:
    """Return the reader of a request's body, from its Content-Length and Transfer-Encoding values.

    Raises Refused (RFC 9112 §6.1, §6.3) on anything but one plain length, or a lone `chunked` on HTTP/1.1.
    """
    if codings:
        if lengths or minor == 0 or len(codings) != 1 or codings[0].lower() != b"chunked":
            raise Refused(BAD_REQUEST)
        return ChunkedBody(extensions=False, trailer_bytes=trailer_bytes)
    if lengths:
        if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > _MAX_LENGTH_DIGITS:
            raise Refused(BAD_REQUEST)
        length = int(lengths[0])
        return LengthBody(length) if length else NO_BODY
    return NO_BODY


def response_body(
    method: bytes, status: int, lengths: list[bytes], codings: list[bytes], minor: int, trailer_bytes: int
) -> Body:
    """Return the reader of an answer's body (RFC 9112 §6.3). Raises FramingError where its end is uncertain."""
    if method == b"HEAD" or status in (204, 304) or status < 200:
        return NO_BODY
    if codings:
        if lengths or minor == 0 or len(codings) != 1 or codings[0].lower() != b"chunked":
            raise FramingError("the answer's Transfer-Encoding is not a lone chunked")
        return ChunkedBody(extensions=True, trailer_bytes=trailer_bytes)
    if lengths:
        if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > _MAX_LENGTH_DIGITS:
            raise FramingError("the answer's Content-Length is not one number")
        length = int(lengths[0])
        return LengthBody(length) if length else NO_BODY
    return CloseBody()
