"""An address that leads to one database server after another, like a virtual IP or a DNS name in a failover."""

import contextlib
import selectors
import socket
import threading

from tests.acceptance.wire import port_of


class Address:
    """Relays new connections to `target`. Open connections stay where they are, even if `target` changes."""

    def __init__(self, target: int) -> None:
        self.target: int | None = target
        """The port on loopback that new connections lead to. If it is None, they are refused."""
        self.accepted = 0
        """The number of connections so far."""
        self._front = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = port_of(self._front)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._front.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                front, _ = self._front.accept()
                self.accepted += 1
                threading.Thread(target=self._relay, args=(front, self.target), daemon=True).start()

    def _relay(self, front: socket.socket, target: int | None) -> None:
        with front, contextlib.suppress(OSError), selectors.DefaultSelector() as both:
            if target is None:
                return
            with socket.create_connection(("127.0.0.1", target)) as behind:
                both.register(front, selectors.EVENT_READ, behind)
                both.register(behind, selectors.EVENT_READ, front)
                while True:
                    for event, _ in both.select():
                        data = event.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                        if not data:
                            return
                        event.data.sendall(data)
