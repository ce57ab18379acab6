"""The other end of a client's connection."""

import asyncio
from collections.abc import Callable

from proxy.http.forwarding import client_address
from proxy.http.headers import Fields
from proxy.relay.socket_options import peer_name


class Peer:
    """The other end of a client's connection: its address, and whether it is a trusted proxy."""

    __slots__ = ("_is_trusted", "address", "scheme", "trusted")

    def __init__(self, transport: asyncio.Transport, is_trusted: Callable[[str], bool]) -> None:
        """`is_trusted` says whether an address is a trusted proxy's."""
        self._is_trusted = is_trusted
        self.address = address = peer_name(transport)
        self.trusted = is_trusted(address)
        self.scheme = b"https" if transport.get_extra_info("ssl_object") is not None else b"http"

    @property
    def is_local(self) -> bool:
        """Whether it has no address of its own: on a unix socket, or if it has already left."""
        return self.address in ("unix", "gone")

    def client_address(self, fields: Fields) -> str:
        """Return the address of the client: the peer's, or the one that trusted proxies report."""
        return client_address(fields, self.address, self._is_trusted) if self.trusted else self.address
