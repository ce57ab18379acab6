"""The hosts of a DSN, in the order in which they are tried."""

import ipaddress
import os
import re
from typing import NamedTuple

from sql.dsn.given_options import GivenOptions
from sql.dsn.syntax import ENCODE, BadDatabaseUrl

_SOCKET_DIRECTORIES = ("/var/run/postgresql", "/tmp")  # noqa: S108 - libpq's defaults, on Debian and elsewhere
MAX_SOCKET_PATH = 107
"""The longest path of a unix socket, in bytes (Linux). The event loop would cut off the rest."""
_NAME = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9_-]{1,63}(?:\.|\Z))+")


class Host(NamedTuple):
    """One host of a DSN."""

    name: str
    """A name or an address, or the directory of a unix socket. Certificates and password files refer to it."""
    port: int
    address: str | None = None
    """`hostaddr`: the address to connect to, so that the name is not looked up."""

    @property
    def is_socket(self) -> bool:
        """Whether this is a unix socket."""
        return self.name.startswith("/") and self.address is None

    @property
    def socket_path(self) -> str:
        """The path of the unix socket."""
        return f"{self.name}/.s.PGSQL.{self.port}"

    def __str__(self) -> str:
        return self.socket_path if self.is_socket else f"{self.name} port {self.port}"


def read_hosts(options: GivenOptions) -> tuple[Host, ...]:
    """Return the hosts. Raises BadDatabaseUrl."""
    names = options.get("host").split(",")
    addresses = options.get("hostaddr").split(",")
    if options.get("hostaddr"):
        if not options.get("host"):
            names = [""] * len(addresses)
        if len(addresses) != len(names):
            raise BadDatabaseUrl(f"{options.label('hostaddr')} must have as many entries as host")
    else:
        addresses = [""] * len(names)
    ports = options.get("port").split(",")
    if len(ports) == 1:
        ports *= len(names)
    if len(ports) != len(names):
        raise BadDatabaseUrl(f"{options.label('port')} must be one port, or as many ports as there are hosts")
    hosts: list[Host] = []
    for name, address, port_text in zip(names, addresses, ports, strict=True):
        port = _port(port_text, options)
        if address:
            if not _is_address(address):
                raise BadDatabaseUrl(f"{options.label('hostaddr')} must be an IP address")
            hosts.append(Host(_name(name, options) if name else address, port, address))
        elif name:
            hosts.append(Host(_name(name, options), port))
        else:
            hosts += [Host(directory, port) for directory in _SOCKET_DIRECTORIES]
        if hosts[-1].is_socket and len(os.fsencode(hosts[-1].socket_path)) > MAX_SOCKET_PATH:
            raise BadDatabaseUrl(
                f"{options.label('host')} is too long for the directory of a unix socket. The path of the socket "
                f"(…/.s.PGSQL.{port}) has at most {MAX_SOCKET_PATH} bytes"
            )
    return tuple(hosts)


def _name(name: str, options: GivenOptions) -> str:
    if name.startswith("/"):
        return name.rstrip("/") or "/"
    if name.startswith("@"):
        raise BadDatabaseUrl(
            f"{options.label('host')} is an abstract unix socket, which the database driver cannot use"
        )
    if not _NAME.fullmatch(name) and not _is_address(name):
        raise BadDatabaseUrl(
            f"{options.label('host')} is not a host name, an IP address or the directory of a unix socket. {ENCODE}"
        )
    return name


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _port(text: str, options: GivenOptions) -> int:
    text = text.strip()
    if not text:
        return 5432
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise BadDatabaseUrl(f"{options.label('port')} must be a number from 1 to 65535. {ENCODE}")
    return int(text)
