"""A client that sends the bytes of the front door to a backend over one persistent connection."""

import json
import socket
from dataclasses import dataclass
from typing import Any

SECONDS = 1.0
"""Timeout for a response."""

_QUICK_ACK = getattr(socket, "TCP_QUICKACK", None)


@dataclass
class Response:
    """The response of a backend. `report` is None if it declined the request, or for HEAD."""

    status: int
    report: dict[str, Any] | None
    fields: list[tuple[bytes, bytes]]
    surplus: bytes = b""
    """Bytes after the response on a persistent connection, which means that the backend read one request as two."""


class NoResponse(Exception):  # noqa: N818 - it is an outcome of a hostile request, not an error
    """The backend closed the connection or did not respond in time."""


class Client:
    """One connection to a backend."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._received = b""

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._received = b""

    def send(self, head: bytes, body: bytes, *, may_reuse: bool = True) -> Response:
        """Send a request and return the response. Retries on a new connection if the persistent one was closed.

        With `may_reuse`, the connection is kept for the next request.
        """
        kept = self._socket is not None
        try:
            return self._send(head, body, may_reuse=may_reuse)
        except (NoResponse, OSError) as error:
            self.close()
            if not kept or isinstance(error, TimeoutError):
                raise NoResponse(str(error)) from error
        try:
            return self._send(head, body, may_reuse=may_reuse)
        except (NoResponse, OSError) as error:
            self.close()
            raise NoResponse(str(error)) from error

    def _send(self, head: bytes, body: bytes, *, may_reuse: bool) -> Response:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(head + body)
        method = head.partition(b" ")[0]
        status, fields = self._head()
        while status < 200 and status != 101:
            status, fields = self._head()
        content, framed = self._body(method, status, fields)
        surplus, self._received = self._received, b""
        can_reuse = framed and may_reuse and fields.get(b"connection", b"").lower() != b"close"
        if not can_reuse or surplus:
            self.close()
        return Response(status, _report(content), list(fields.items()), surplus if can_reuse else b"")

    def _receive(self) -> bytes:
        assert self._socket is not None
        if _QUICK_ACK is not None:
            # Some servers send head and body separately, and wait for an acknowledgment in between.
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        data = self._socket.recv(65536)
        self._received += data
        return data

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._received:
            if not self._receive():
                raise NoResponse("the connection was closed")
        found, _, self._received = self._received.partition(mark)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            if not self._receive():
                raise NoResponse("the body was truncated")
        found, self._received = self._received[:size], self._received[size:]
        return found

    def _head(self) -> tuple[int, dict[bytes, bytes]]:
        lines = self._until(b"\r\n\r\n").split(b"\r\n")
        version, _, rest = lines[0].partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise NoResponse(f"not an HTTP response: {lines[0][:80]!r}")
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        if version == b"HTTP/1.0" and fields.get(b"connection", b"").lower() != b"keep-alive":
            fields[b"connection"] = b"close"
        return int(rest[:3]), fields

    def _body(self, method: bytes, status: int, fields: dict[bytes, bytes]) -> tuple[bytes, bool]:
        """Return the body of the response, and whether the connection can be reused."""
        if method == b"HEAD":
            # Some applications and servers send a body in response to HEAD.
            self._received = b""
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
            return b"", False  # some servers keep the connection open for a while after an error
        while self._receive():
            continue
        return self._received, False


def _report(content: bytes) -> dict[str, Any] | None:
    try:
        report = json.loads(content)
    except ValueError:
        return None
    return report if isinstance(report, dict) and "endpoint" in report else None
