"""Reads plain response heads quickly: a shortcut for `ResponseReader` and `clean_response`. No I/O.

A plain head arrives whole, has a usual status line, and each of its lines is `Name: value` in visible ASCII. Servers
send most lines again and again, so the lines that are simply forwarded are remembered. The fields about the body and
the connection have their usual values. Any other head is parsed by llhttp and cleaned field by field, which takes
several times as long. A property test compares the two ways.
"""

import re
from http import HTTPStatus
from typing import Any

from proxy.http.headers import PLAIN, RESPONSE_SPELLINGS, Fields
from proxy.http.hop_by_hop import ResponseHop
from proxy.http.malformed_requests import MAX_LENGTH_DIGITS

_STATUS_LINES = {
    b"HTTP/1.1 %d %b" % (status, status.phrase.encode()): (int(status), status.phrase.encode())
    for status in HTTPStatus
    if status >= 200 and status not in (204, 304)
}
_LENGTH = b"\r\nContent-Length: "
_CHUNKED_LINE = b"Transfer-Encoding: chunked"
_KEPT_ALIVE = b"Connection: keep-alive"
_KEPT_ALIVE_LINE = b"\r\nConnection: keep-alive\r\n"
_TIMEOUT = re.compile(rb"Keep-Alive: timeout=([0-9]{1,6})\Z")
_LINE = re.compile(rb"([A-Za-z0-9-]++): [!-~]++(?>(?: ++[!-~]++)*)\Z")
_CORS = re.compile(rb"(?i)vary: .*(?:origin|\*)|access-control-allow-(?:origin|credentials): ")
_SERVER = re.compile(rb"(?i)(server): (.*)")

_LONGEST = 16384
_MOST_LINES = 4096
_LONGEST_LINE = 512
"""An upstream may send other values each time, so the number and the length of remembered lines are bounded."""

_CHUNKED = [b"chunked"]
_NONE: list[bytes] = []


class PlainResponse(ResponseHop):
    """The head of a plain response. It has the same attributes as any other cleaned head."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: bytes, written: bytes) -> None:
        self.status = status
        self.reason = reason
        self.written = written
        self.lengths = _NONE
        self.codings = _NONE
        self.keep_alive = True
        self.idle_seconds = None
        self.affects_cors = False

    def __getattr__(self, name: str) -> Any:
        """Set the fields when something first reads them, which is rare."""
        if name == "fields":
            lines = self.written[:-2].split(b"\r\n")[1:]
            self.fields: Fields = [(name, value) for name, _, value in [line.partition(b": ") for line in lines]]
            return self.fields
        raise AttributeError(name)

    @property
    def servers(self) -> Fields:
        """The fields that say which server this is."""
        matches = [_SERVER.match(line) for line in self.written[:-2].split(b"\r\n")]
        return [(match[1], match[2]) for match in matches if match]


class PlainResponses:
    """Reads plain response heads. One object serves all connections to an upstream."""

    __slots__ = ("_affecting_cors", "_forwarded")

    def __init__(self) -> None:
        self._forwarded: set[bytes] = set()
        """Lines that are forwarded unchanged."""
        self._affecting_cors: set[bytes] = set()
        """Those lines on which the lines for CORS depend."""

    def read(self, data: bytes) -> tuple[PlainResponse, bytes] | None:
        """Return a plain response head and the bytes after it, or None if the head is not plain. Hot.

        `data` begins with the response.
        """
        head, blank, rest = data.partition(b"\r\n\r\n")
        if not blank or len(head) > _LONGEST:
            return None
        first, marked, last = head.partition(_LENGTH)
        length = b""
        if marked:
            length, line_end, last = last.partition(b"\r\n")
            if not length.isdigit() or len(length) > MAX_LENGTH_DIGITS:
                return None
            lines = (first + line_end + last).split(b"\r\n")
        else:
            lines = first.split(b"\r\n")
        start = _STATUS_LINES.get(lines[0])
        if start is None:
            return None
        hop = PlainResponse(start[0], start[1], data[: len(head) + 2])
        if marked:
            hop.lengths = [length]
        del lines[0]
        if not self._forwarded.issuperset(lines) and not self._take_new(hop, lines, head):
            return None
        if self._affecting_cors and not self._affecting_cors.isdisjoint(lines):
            hop.affects_cors = True
        return hop, rest

    def read_whole(self, data: bytes, lines_for_cors: bytes) -> tuple[int, bytes, int] | None:
        """Return the status of a plain response, its bytes for the client, and the length of its body. Hot.

        Returns None unless `data` is exactly one plain response with a Content-Length, whose head is forwarded
        unchanged, except that `Connection: keep-alive` may be dropped from it. `lines_for_cors` are added to it.
        """
        head_end = data.find(b"\r\n\r\n")
        if not 0 < head_end <= _LONGEST:
            return None
        first, _, last = data[:head_end].partition(_LENGTH)
        length, line_end, last = last.partition(b"\r\n")
        size = len(data) - head_end - 4
        if not length.isdigit() or len(length) > MAX_LENGTH_DIGITS or int(length) != size:
            return None
        lines = (first + line_end + last).split(b"\r\n")
        start = _STATUS_LINES.get(lines.pop(0))
        if start is None:
            return None
        if _KEPT_ALIVE in lines:
            lines.remove(_KEPT_ALIVE)
            data = data.replace(_KEPT_ALIVE_LINE, b"\r\n", 1)
        if not self._forwarded.issuperset(lines) and not self._forwards(lines):
            return None
        if lines_for_cors:
            if not self._affecting_cors.isdisjoint(lines):
                return None
            head_end = len(data) - size - 2
            data = data[:head_end] + lines_for_cors + data[head_end:]
        return start[0], data, size

    def _forwards(self, lines: list[bytes]) -> bool:
        """Return whether all lines are forwarded unchanged, and remember those that are."""
        if len(self._forwarded) >= _MOST_LINES:
            self._forwarded.clear()
            self._affecting_cors.clear()
        return all(line in self._forwarded or self._is_forwarded(line) for line in lines)

    def _take_new(self, hop: PlainResponse, lines: list[bytes], head: bytes) -> bool:
        """Take note of the lines that are not remembered. Return False if the head is not plain."""
        if len(self._forwarded) >= _MOST_LINES:
            self._forwarded.clear()
            self._affecting_cors.clear()
        dropped: list[bytes] = []
        for line in lines:
            if line in self._forwarded:
                continue
            if line == _CHUNKED_LINE and not (hop.codings or hop.lengths):
                hop.codings = _CHUNKED
            elif line == _KEPT_ALIVE and line not in dropped:
                pass
            elif timeout := _TIMEOUT.match(line):
                hop.idle_seconds = float(timeout[1])
            elif self._is_forwarded(line):
                continue
            else:
                return False
            dropped.append(line)
        if dropped:
            hop.written = b"\r\n".join([*(line for line in head.split(b"\r\n") if line not in dropped), b""])
        return True

    def _is_forwarded(self, line: bytes) -> bool:
        """Return whether a line is forwarded unchanged, and remember it."""
        field = _LINE.match(line)
        if field is None or RESPONSE_SPELLINGS[field[1]] != PLAIN or len(line) > _LONGEST_LINE:
            return False
        self._forwarded.add(line)
        if _CORS.match(line):
            self._affecting_cors.add(line)
        return True
