"""Accepts connections with TLS, and counts each one from the start of its handshake.

The event loop's own servers tell nobody about a connection before its handshake is complete. A client could then exceed
its limit of connections, and use up all file descriptors, with connections on which it sends nothing.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from proxy.relay.connected_clients import ConnectedClients
from proxy.relay.listeners import BACKLOG

_AT_ONCE: Final = 16
"""How many connections are accepted before the caller checks whether there is room for more."""


class TlsHandshakes:
    """The handshakes in progress."""

    def __init__(
        self,
        protocol: Callable[[], Any],
        connections: ConnectedClients,
        tls: ssl.SSLContext,
        *,
        seconds: float,
        is_exempt: Callable[[str], bool],
    ) -> None:
        """`is_exempt` says whether an address is exempt from the limit per client."""
        self._protocol = protocol
        self._connections = connections
        self._tls = tls
        self._seconds = seconds
        self._is_exempt = is_exempt
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, sock: socket.socket, address: str) -> None:
        """Begin the handshake of a new connection, unless its client has too many connections."""
        if not self._connections.expect(address, exempt=self._is_exempt(address)):
            sock.close()
            return
        task = asyncio.get_running_loop().create_task(self._complete(sock, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _complete(self, sock: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(self._protocol, sock, ssl=self._tls, ssl_handshake_timeout=self._seconds)
        except OSError:  # includes errors of TLS and the timeout: the client's fault, and it is told with an alert
            pass
        finally:
            self._connections.stop_expecting(address)

    def close(self) -> None:
        """Cancel all handshakes."""
        for task in self._tasks:
            task.cancel()


class TlsServer:
    """Accepts connections on a bound socket, which it owns, until it is closed."""

    def __init__(self, sock: socket.socket, handshakes: TlsHandshakes, check_room: Callable[[], None]) -> None:
        """`check_room` is called after some connections were accepted. It may close the server. Raises OSError."""
        self._sock = sock
        self._handshakes = handshakes
        self._check_room = check_room
        sock.setblocking(False)
        sock.listen(BACKLOG)
        asyncio.get_running_loop().add_reader(sock, self._accept)

    def close(self) -> None:
        """Stop accepting. Handshakes in progress continue."""
        if self._sock.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()

    def _accept(self) -> None:
        """Accept some of the waiting connections. The event loop calls this again while others wait."""
        for _ in range(_AT_ONCE):
            try:
                sock, address = self._sock.accept()
            except OSError:  # none waits, it has already left, or no descriptor is free
                break
            sock.setblocking(False)
            self._handshakes.begin(sock, str(address[0]))
        self._check_room()
