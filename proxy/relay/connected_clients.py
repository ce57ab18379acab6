"""The open connections of clients: all of them, and how many each client has."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import structlog

from proxy.grants.token_bucket import client_network
from proxy.relay.exchange import Exchange

_SHARE = 0.5
"""The largest share of all possible connections that one client gets."""
_RESUME_SHARE = 0.95
"""Accepting resumes when fewer than this share of all possible connections are open."""

_log = structlog.get_logger(__name__)


class OpenConnection(Protocol):
    """The interface of a client's connection that the front door uses."""

    @property
    def exchange(self) -> Exchange | None:
        """The open exchange."""

    def sweep(self, now: float) -> None:
        """Check the timeouts. `now` is the event loop's time in seconds."""

    def drain(self) -> None:
        """Close now if idle, otherwise after the open exchange."""

    def abort(self) -> None:
        """Close at once."""


@dataclass(slots=True)
class _Client:
    connections: int = 0
    expected: int = 0
    """Connections whose TLS handshake is in progress."""
    limit_logged: bool = False


class ConnectedClients:
    """The open connections of all clients.

    A client is an address, or a network of IPv6 addresses. Trusted proxies and unix sockets are exempt from the limit
    per client, because they carry the connections of many clients.
    """

    def __init__(self, per_client: int, *, on_full: Callable[[], None] = lambda: None) -> None:
        """`on_full` is called when there is no room for another connection."""
        self.capacity = sys.maxsize
        """How many connections there is room for."""
        self.refused = 0
        """How many connections were closed because their client had too many."""
        self._per_client = per_client
        self._on_full = on_full
        self._clients_of: dict[OpenConnection, str] = {}
        self._clients: dict[str, _Client] = {}
        self._expected = 0

    def __len__(self) -> int:
        return len(self._clients_of)

    def __iter__(self) -> Iterator[OpenConnection]:
        return iter(self._clients_of)

    def add(self, connection: OpenConnection, address: str, *, exempt: bool) -> bool:
        """Add a connection. Return False if its client has too many, so that it must be closed."""
        name = client_network(address)
        self._clients_of[connection] = name
        client = self._client(name)
        client.connections += 1
        if self.full:
            self._on_full()
        return exempt or self._may_have(name, client, client.connections)

    def expect(self, address: str, *, exempt: bool) -> bool:
        """Count a connection whose TLS handshake begins. Return False if its client has too many.

        `add` counts the same connection again, and then `stop_expecting` ends this.
        """
        name = client_network(address)
        client = self._client(name)
        if not exempt and not self._may_have(name, client, client.connections + client.expected + 1):
            self._forget_if_gone(name, client)
            return False
        client.expected += 1
        self._expected += 1
        return True

    def stop_expecting(self, address: str) -> None:
        """Record that the TLS handshake of a connection has ended, well or badly."""
        name = client_network(address)
        client = self._clients[name]
        client.expected -= 1
        self._expected -= 1
        self._forget_if_gone(name, client)

    def _client(self, name: str) -> _Client:
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = _Client()
        return client

    def _may_have(self, name: str, client: _Client, connections: int) -> bool:
        """Return whether a client may have so many connections. Otherwise, count and log a refused one."""
        maximum = min(self._per_client, max(int(self.capacity * _SHARE), 1))
        if connections <= maximum:
            return True
        self.refused += 1
        if not client.limit_logged:
            client.limit_logged = True
            _log.warning(
                "client_has_too_many_connections",
                client=name,
                limit=maximum,
                advice="if this is your load balancer, add it to [proxy] trusted_proxies; otherwise see "
                "[limits] connections_per_client",
            )
        return False

    def discard(self, connection: OpenConnection) -> None:
        """Remove a connection that is closed."""
        name = self._clients_of.pop(connection, None)
        if name is not None:
            client = self._clients[name]
            client.connections -= 1
            self._forget_if_gone(name, client)

    def _forget_if_gone(self, name: str, client: _Client) -> None:
        if not client.connections and not client.expected:
            del self._clients[name]

    @property
    def full(self) -> bool:
        """Whether there is no room for another connection."""
        return self._taken >= self.capacity

    @property
    def _taken(self) -> int:
        return len(self._clients_of) + self._expected

    @property
    def has_room_again(self) -> bool:
        """Whether connections have closed since the limit was reached."""
        return self._taken <= int(self.capacity * _RESUME_SHARE) and not self.full

    def largest_client(self) -> tuple[str, int]:
        """Return the client with the most connections, and their number."""

        def held(name: str) -> int:
            return self._clients[name].connections + self._clients[name].expected

        name = max(self._clients, key=held, default="")
        return name, held(name) if name else 0
