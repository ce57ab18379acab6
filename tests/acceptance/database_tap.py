"""A relay between Sitelatch and its database that records statements. It can also delay results."""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from tests.acceptance.wire import port_of

WATCH = b"sitelatch-watch\0"
"""A part of the startup message of the connection that checks the health of the database."""


class DatabaseTap:
    """Relays a TCP port to the database's Unix socket, and records the text of every executed statement."""

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        folder = parse_qs(parts.query)["host"][0]
        port = parse_qs(parts.query).get("port", ["5432"])[0]
        self._behind = f"{unquote(folder)}/.s.PGSQL.{port}"
        self._front = socket.create_server(("127.0.0.1", 0))
        user = f"{parts.username}@" if parts.username else ""
        self.url = urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{port_of(self._front)}", query=""))
        self.statements: list[str] = []
        self.delay_seconds = 0.0
        self.accepted = 0
        """The number of connections so far."""
        threading.Thread(target=self._accept, daemon=True).start()

    def statement_count(self, table: str) -> int:
        """Return the number of executed statements that mention a table."""
        return sum(table in statement for statement in self.statements)

    def close(self) -> None:
        self._front.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                front, _ = self._front.accept()
                self.accepted += 1
                behind = socket.socket(socket.AF_UNIX)
                try:
                    behind.connect(self._behind)
                except OSError:  # the database is down, so clients must see a closed connection
                    front.close()
                    behind.close()
                    continue
                threading.Thread(target=self._relay, args=(front, behind), daemon=True).start()

    def _relay(self, front: socket.socket, behind: socket.socket) -> None:
        received = bytearray()
        texts: dict[bytes, str] = {}
        started = watches = False
        with front, behind, selectors.DefaultSelector() as both, contextlib.suppress(OSError):
            both.register(front, selectors.EVENT_READ)
            both.register(behind, selectors.EVENT_READ)
            while True:
                for event, _ in both.select():
                    source = front if event.fileobj is front else behind
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    if source is behind:
                        time.sleep(self.delay_seconds)
                        front.sendall(data)
                        continue
                    received += data
                    # The health check runs the same statements once a second. Only the front door's statements count.
                    watches = watches or (not started and WATCH in received)
                    if watches:
                        received.clear()
                    elif started:
                        self._record(received, texts)
                    else:
                        started = _startup_done(received)
                    behind.sendall(data)

    def _record(self, received: bytearray, texts: dict[bytes, str]) -> None:
        """Remove complete client messages from the buffer, and record each execution of a statement.

        A client may parse a statement several times, so only Bind and Query messages count.
        """
        while len(received) > 4 and len(received) > (size := int.from_bytes(received[1:5], "big")):
            kind, body = received[:1], bytes(received[5 : size + 1])
            del received[: size + 1]
            if kind == b"P":
                name, text, *_ = body.split(b"\0")
                texts[name] = text.decode()
            elif kind == b"B":
                self.statements.append(texts[body.split(b"\0")[1]])
            elif kind == b"Q":
                self.statements.append(body.split(b"\0")[0].decode())


def _startup_done(received: bytearray) -> bool:
    """Remove startup messages (without a type byte). Return whether one was not an encryption request."""
    while len(received) >= 8 and len(received) >= (size := int.from_bytes(received[:4], "big")):
        code = int.from_bytes(received[4:8], "big")
        del received[:size]
        if code not in (80877103, 80877104):
            return True
    return False


@contextlib.contextmanager
def tapped(database_url: str) -> Iterator[DatabaseTap]:
    tap = DatabaseTap(database_url)
    try:
        yield tap
    finally:
        tap.close()
