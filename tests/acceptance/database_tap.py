"""A wire tap between Sitelatch and its database that counts what is asked. It can hold the answers back, too."""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from tests.acceptance.wire import port_of

WATCH = b"sitelatch-watch\0"
"""What the start-up message of the connection says that looks whether the database answers."""


class DatabaseTap:
    """Relays a TCP port to the database's unix socket and keeps the text of every statement that is run."""

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
        threading.Thread(target=self._accept, daemon=True).start()

    def asked(self, table: str) -> int:
        """How many statements named a table."""
        return sum(table in statement for statement in self.statements)

    def close(self) -> None:
        self._front.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                front, _ = self._front.accept()
                behind = socket.socket(socket.AF_UNIX)
                try:
                    behind.connect(self._behind)
                except OSError:  # the database is down, and whoever asks shall see it so
                    front.close()
                    behind.close()
                    continue
                threading.Thread(target=self._relay, args=(front, behind), daemon=True).start()

    def _relay(self, front: socket.socket, behind: socket.socket) -> None:
        said = bytearray()
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
                    said += data
                    # The watch asks once a second what the doors ask, whoever comes; what is counted is who comes.
                    watches = watches or (not started and WATCH in said)
                    if watches:
                        said.clear()
                    elif started:
                        self._note(said, texts)
                    else:
                        started = _started(said)
                    behind.sendall(data)

    def _note(self, said: bytearray, texts: dict[bytes, str]) -> None:
        """Take whole messages out of what the client said; keep a statement each time that it is run.

        A client may parse a statement more than once: Bind and Query are what counts.
        """
        while len(said) > 4 and len(said) > (size := int.from_bytes(said[1:5], "big")):
            kind, body = said[:1], bytes(said[5 : size + 1])
            del said[: size + 1]
            if kind == b"P":
                name, text, *_ = body.split(b"\0")
                texts[name] = text.decode()
            elif kind == b"B":
                self.statements.append(texts[body.split(b"\0")[1]])
            elif kind == b"Q":
                self.statements.append(body.split(b"\0")[0].decode())


def _started(said: bytearray) -> bool:
    """Take the start-up messages, which have no type byte; the last of them is no request for encryption."""
    while len(said) >= 8 and len(said) >= (size := int.from_bytes(said[:4], "big")):
        code = int.from_bytes(said[4:8], "big")
        del said[:size]
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
