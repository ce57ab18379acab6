"""Accepts the connections of clients, and pauses while there is no room for more."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from proxy.relay import descriptors
from proxy.relay.connected_clients import ConnectedClients
from proxy.relay.listeners import BACKLOG
from proxy.relay.tls_handshakes import TlsHandshakes, TlsServer

_LOG_SECONDS = 60.0
"""The minimum time between two log lines about pauses."""

_log = structlog.get_logger(__name__)


class Intake:
    """Accepts connections on bound sockets.

    Without free file descriptors, the event loop would accept each connection and close it at once. While accepting is
    paused, the kernel keeps new connections waiting instead.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        protocol: Callable[[], Any],
        connections: ConnectedClients,
        *,
        tls: ssl.SSLContext | None,
        handshake_seconds: float,
        is_trusted: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_trusted` says whether an address is a trusted proxy's."""
        self._sockets = sockets
        self._protocol = protocol
        self._handshakes: TlsHandshakes | None = None
        if tls is not None:
            self._handshakes = TlsHandshakes(
                protocol, connections, tls, seconds=handshake_seconds, is_exempt=is_trusted
            )
        self._tls: dict[str, Any] = {} if tls is None else {"ssl": tls, "ssl_handshake_timeout": handshake_seconds}
        self._margin = descriptors.reserve(descriptors.limit() - descriptors.in_use()) // 2
        self._connections = connections
        self._clock = clock
        self._servers: list[asyncio.Server | TlsServer] = []
        self._resuming: asyncio.Task[None] | None = None
        self._closed = False
        self.paused = False
        self._paused_at = 0.0
        self._logged_at: float | None = None
        self._logged = False

    @property
    def addresses(self) -> list[Any]:
        """The addresses of the sockets: (host, port, …) or a path."""
        return [] if self._closed else [sock.getsockname() for sock in self._sockets]

    async def open(self) -> None:
        """Accept connections. Raises OSError."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            if self._handshakes is not None and sock.family != socket.AF_UNIX:
                self._servers.append(TlsServer(sock.dup(), self._handshakes, self.check))
                continue
            create = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            # The server closes its socket when accepting pauses. Connections then wait for the original.
            own = sock.dup()
            self._servers.append(await create(self._protocol, sock=own, backlog=BACKLOG, **self._tls))

    def check(self) -> None:
        """Pause or resume, depending on whether there is room. Call it when there is no room, and regularly."""
        if self._closed or self._resuming is not None:
            return
        if not self.paused:
            if self._connections.full:
                self._pause("there is no room for more connections")
            elif not descriptors.available(self._margin):
                self._pause("almost all file descriptors are in use")
        elif self._connections.has_room_again and descriptors.available(self._margin):
            self._resuming = asyncio.get_running_loop().create_task(self._resume())

    def _pause(self, reason: str) -> None:
        self.paused = True
        self._paused_at = self._clock()
        self._stop_servers()
        # A service at its limit may pause very often.
        self._logged = self._logged_at is None or self._paused_at - self._logged_at >= _LOG_SECONDS
        if self._logged:
            self._logged_at = self._paused_at
            client, held = self._connections.largest_client()
            _log.warning(
                "accepting_paused",
                reason=reason,
                open=len(self._connections),
                room_for=self._connections.capacity,
                largest_client=client,
                connections_of_largest_client=held,
            )

    async def _resume(self) -> None:
        try:
            await self.open()
        except OSError:  # all descriptors are in use again
            self._stop_servers()
        else:
            self.paused = False
            if self._closed:
                self._stop_servers()
            elif self._logged:
                _log.info("accepting_resumed", seconds=round(self._clock() - self._paused_at, 1))
        finally:
            self._resuming = None

    def _stop_servers(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    def close(self) -> None:
        """Stop accepting for good."""
        self._closed = True
        self._stop_servers()
        if self._handshakes is not None:
            self._handshakes.close()
        for sock in self._sockets:
            sock.close()
