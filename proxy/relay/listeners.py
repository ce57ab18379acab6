"""Addresses to listen on: `HOST:PORT`, `[IPV6]:PORT`, `*:PORT` (every address) or `unix:/PATH`."""

import errno
import os
import re
import socket
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

import structlog

from proxy.relay.unix_sockets import bind_unix_socket
from proxy.settings import ListenSettings
from sql.dsn.hosts import MAX_SOCKET_PATH

BACKLOG = 1024
EVERY_ADDRESS = "*"

_HOST_AND_PORT = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%[0-9A-Za-z_.-]+)?)\]|(?P<host>[^\[\]:/\s*]+|\*)):(?P<port>[0-9]{1,5})"
)
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TcpListen:
    """A host and a port. Port 0 means any free port. The host `*` means every IPv4 and IPv6 address."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixListen:
    """The absolute path of a unix socket."""

    path: str


def parse_listen(text: str) -> TcpListen | UnixListen:
    """Parse a listen address. Raises ValueError with a sentence that says how to fix it."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or "\0" in path:
            raise ValueError('a unix socket needs an absolute path, like "unix:/run/sitelatch.sock".')
        if len(os.fsencode(path)) > MAX_SOCKET_PATH:
            raise ValueError(f"must be a shorter path: a unix socket's path has at most {MAX_SOCKET_PATH} bytes.")
        return UnixListen(path)
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(
            'must be "HOST:PORT", like "127.0.0.1:8080" or "[::1]:8080", or "unix:/PATH". "*:8080" is every IPv4 and '
            'IPv6 address, "0.0.0.0:8080" every IPv4 address, and "[::]:8080" every IPv6 address.'
        )
    if match["v6"] is not None and (address := _ipv6_address(match["v6"])).ipv4_mapped is not None:
        raise ValueError(f'must be an IPv4 address, like "{address.ipv4_mapped}:{match["port"]}", for IPv4 clients.')
    return TcpListen(match["v6"] or match["host"], int(match["port"]))


def accepts_ipv6_only(listen: str) -> bool:
    """Return whether it is every IPv6 address, in any spelling of `[::]`."""
    where = parse_listen(listen)
    return isinstance(where, TcpListen) and ":" in where.host and _ipv6_address(where.host).is_unspecified


def _ipv6_address(text: str) -> IPv6Address:
    try:
        return IPv6Address(text)
    except ValueError:
        raise ValueError('must have a valid IPv6 address in the brackets, like "[::1]:8080".') from None


def usual_authority(listen: str) -> str:
    """Return the host and port that a client on the same machine uses in URLs, for examples."""
    where = parse_listen(listen)
    if isinstance(where, UnixListen):
        return "localhost"
    return f"localhost:{where.port}" if where.host == EVERY_ADDRESS else listen


def bind_sockets(settings: ListenSettings) -> list[socket.socket]:
    """Return the bound sockets of an address. They do not listen yet.

    Raises ValueError as `parse_listen` does, and OSError if the address is not available. `strerror` is the reason.
    """
    where = parse_listen(settings.listen)
    if isinstance(where, UnixListen):
        return [bind_unix_socket(where.path, settings.socket_mode, settings.socket_group)]
    return _every_address(where.port) if where.host == EVERY_ADDRESS else _addresses_of(where)


def _addresses_of(where: TcpListen) -> list[socket.socket]:
    """Return one bound socket for each address of a host."""
    found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            sockets.append(_tcp_socket(family, address))
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _every_address(port: int) -> list[socket.socket]:
    """Return one bound socket for IPv4 and one for IPv6.

    A single socket for both would show the addresses of IPv4 clients as IPv6 addresses.
    """
    sockets = [_tcp_socket(socket.AF_INET, ("0.0.0.0", port))]  # noqa: S104 - the config asks for every address
    try:
        sockets.append(_tcp_socket(socket.AF_INET6, ("::", sockets[0].getsockname()[1])))
    except OSError as error:
        if error.errno not in _NO_IPV6:
            sockets[0].close()
            raise
        _log.warning("ipv6_not_available", listens_on="IPv4 only")
    return sockets


def _tcp_socket(family: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock
