"""A client of a backend: sends exactly the bytes that the front door would send, over one connection kept open."""

import json
import socket
from dataclasses import dataclass
from typing import Any

SECONDS = 1.0
"""How long an answer may take."""

_QUICK_ACK = getattr(socket, "TCP_QUICKACK", None)


@dataclass
class Answer:
    """A backend's answer. `report` is None where it declined the request itself, or was asked with HEAD."""

    status: int
    report: dict[str, Any] | None
    fields: list[tuple[bytes, bytes]]
    surplus: bytes = b""
    """Bytes after the answer, on a connection that goes on: the backend took one request for two."""


class NoAnswer(Exception):  # noqa: N818 - it is an outcome of a hostile request, not an error
    """The backend closed the connection or kept silent."""


class Client:
    """One connection to a backend."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._held = b""

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._held = b""

    def ask(self, head: bytes, body: bytes, *, may_reuse: bool = True) -> Answer:
        """Send a request and return the answer, on a fresh connection where the kept one was closed meanwhile.

        `may_reuse` keeps the connection for the next request.
        """
        kept = self._socket is not None
        try:
            return self._ask(head, body, may_reuse=may_reuse)
        except (NoAnswer, OSError) as error:
            self.close()
            if not kept or isinstance(error, TimeoutError):
                raise NoAnswer(str(error)) from error
        try:
            return self._ask(head, body, may_reuse=may_reuse)
        except (NoAnswer, OSError) as error:
            self.close()
            raise NoAnswer(str(error)) from error

    def _ask(self, head: bytes, body: bytes, *, may_reuse: bool) -> Answer:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(head + body)
        method = head.partition(b" ")[0]
        status, fields = self._head()
        while status < 200 and status != 101:
            status, fields = self._head()
        content, framed = self._body(method, status, fields)
        surplus, self._held = self._held, b""
        goes_on = framed and may_reuse and fields.get(b"connection", b"").lower() != b"close"
        if not goes_on or surplus:
            self.close()
        return Answer(status, _report(content), list(fields.items()), surplus if goes_on else b"")

    def _more(self) -> bytes:
        assert self._socket is not None
        if _QUICK_ACK is not None:
            # Some servers send head and body apart, and wait for the acknowledgement in between.
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        data = self._socket.recv(65536)
        self._held += data
        return data

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._held:
            if not self._more():
                raise NoAnswer("closed")
        found, _, self._held = self._held.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            if not self._more():
                raise NoAnswer("cut short")
        found, self._held = self._held[:size], self._held[size:]
        return found

    def _head(self) -> tuple[int, dict[bytes, bytes]]:
        lines = self._until(b"\r\n\r\n").split(b"\r\n")
        version, _, rest = lines[0].partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise NoAnswer(f"not an answer: {lines[0][:80]!r}")
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        if version == b"HTTP/1.0" and fields.get(b"connection", b"").lower() != b"keep-alive":
            fields[b"connection"] = b"close"
        return int(rest[:3]), fields

    def _body(self, method: bytes, status: int, fields: dict[bytes, bytes]) -> tuple[bytes, bool]:
        """Return the answer's body, and whether the connection may go on."""
        if method == b"HEAD":
            # Some applications here send a body all the same, and their servers let them.
            self._held = b""
            return b"", False
        if status in (204, 304, 101):
            return b"", status != 101
        if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
            content = b""
            while size := int(self._until(b"\r\n").partition(b";")[0], 16):
                content += self._exactly(size)
                self._exactly(2)
            while self._until(b"\r\n"):
                continue
            return content, True
        if b"content-length" in fields:
            return self._exactly(int(fields[b"content-length"])), True
        if status >= 400:
            return b"", False  # some keep the connection open for a while after such an answer
        while self._more():
            continue
        return self._held, False


def _report(content: bytes) -> dict[str, Any] | None:
    try:
        report = json.loads(content)
    except ValueError:
        return None
    return report if isinstance(report, dict) and "endpoint" in report else None
