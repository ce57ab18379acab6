"""TCP keepalive options of a DSN."""

import re
import socket

from sql.dsn.given_options import GivenOptions
from sql.dsn.syntax import BadDatabaseUrl

SocketOption = tuple[int, int, int]
"""The arguments of `socket.setsockopt`."""

_NAMES = {
    "keepalives_idle": ("TCP_KEEPIDLE", "60"),
    "keepalives_interval": ("TCP_KEEPINTVL", "15"),
    "keepalives_count": ("TCP_KEEPCNT", "4"),
}
"""The constants, and the defaults. Clouds forget connections that are idle for 240 to 350 seconds. A later query would
get no answer, and the system's own defaults notice that only after two hours."""


def read_socket_options(options: GivenOptions) -> tuple[SocketOption, ...]:
    """Return the socket options to set. Keepalives are on by default. As in libpq, 0 is the system's default."""
    found: list[SocketOption] = []
    if _number(options, "keepalives", "1"):
        found.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
        for name, (constant, default) in _NAMES.items():
            if (value := _number(options, name, default)) > 0 and hasattr(socket, constant):
                found.append((socket.IPPROTO_TCP, getattr(socket, constant), value))
    if (milliseconds := _number(options, "tcp_user_timeout", "0")) > 0 and hasattr(socket, "TCP_USER_TIMEOUT"):
        found.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds))
    return tuple(found)


def _number(options: GivenOptions, name: str, default: str) -> int:
    text = options.values.get(name, default)
    if not re.fullmatch(r" *[+-]?[0-9]{1,9} *", text):
        raise BadDatabaseUrl(f"{options.label(name)} must be a whole number")
    return int(text)
