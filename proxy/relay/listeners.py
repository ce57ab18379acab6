"""Addresses to listen on: `HOST:PORT`, `[IPV6]:PORT` or `unix:/PATH`."""

import os
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

_BACKLOG = 1024

_HOST_AND_PORT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\[\]:/\s]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class TcpListen:
    """A host and a port. Port 0 means any free port."""

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
        if not path.startswith("/"):
            raise ValueError('a unix socket needs an absolute path, like "unix:/run/sitelatch.sock".')
        return UnixListen(path)
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError('must be "HOST:PORT", like "127.0.0.1:8080" or "[::1]:8080", or "unix:/PATH".')
    return TcpListen(match["v6"] or match["host"], int(match["port"]))


def listening_site(runner: web.BaseRunner, listen: str, tls: ssl.SSLContext | None = None) -> web.BaseSite:
    """Return an aiohttp site that listens on an address once started. Raises ValueError as `parse_listen` does."""
    where = parse_listen(listen)
    if isinstance(where, TcpListen):
        return web.TCPSite(runner, where.host, where.port, ssl_context=tls, backlog=_BACKLOG)
    _clear_stale_socket(where.path)
    return web.UnixSite(runner, where.path, ssl_context=tls, backlog=_BACKLOG)


def _clear_stale_socket(path: str) -> None:
    """Remove the socket file of a killed server. Keep the file of a running server, so that listening fails."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
