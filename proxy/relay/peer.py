"""The other end of a client's connection."""

import asyncio
from collections.abc import Callable

from proxy.http.forwarding import client_address, origin_lines
from proxy.http.headers import Head
from proxy.relay.socket_options import peer_name


class Peer:
    """The other end of a client's connection: its address, and whether it is a trusted proxy."""

    __slots__ = ("_host", "_is_trusted", "_origin_lines", "address", "scheme", "trusted")

    def __init__(self, transport: asyncio.Transport, is_trusted: Callable[[str], bool]) -> None:
        """`is_trusted` says whether an address is a trusted proxy's."""
        self._is_trusted = is_trusted
        self.address = address = peer_name(transport)
        self.trusted = is_trusted(address)
        self.scheme = b"https" if transport.get_extra_info("ssl_object") is not None else b"http"
        self._host = b""
        self._origin_lines = b""

    def origin_lines(self, host: bytes) -> bytes:
        """Return the lines about the origin of an untrusted peer's request, after its id. `host` is the Host. Hot."""
        if host != self._host:
            self._host = host
            self._origin_lines = origin_lines(peer=self.address.encode(), scheme=self.scheme, host=host)
        return self._origin_lines

    @property
    def is_local(self) -> bool:
        """Whether it has no address of its own: on a unix socket, or if it has already left."""
        return self.address in ("unix", "gone")

    def client_address(self, head: Head) -> str:
        """Return the address of the client: the peer's, or the one that trusted proxies report."""
        return client_address(head.fields, self.address, self._is_trusted) if self.trusted else self.address
