"""Where to listen: `HOST:PORT`, `[IPV6]:PORT` or `unix:/PATH`. No I/O."""

import re
from dataclasses import dataclass

_HOST_AND_PORT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\[\]:/\s]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class TcpListen:
    """A host and a port; port 0 takes a free one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixListen:
    """An absolute path of a unix socket."""

    path: str


def parse_listen(text: str) -> TcpListen | UnixListen:
    """Read one listen address. Raises ValueError with a sentence that says how to mend it."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/"):
            raise ValueError('a unix socket needs an absolute path, like "unix:/run/sitelatch.sock".')
        return UnixListen(path)
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError('must be "HOST:PORT", like "127.0.0.1:8080" or "[::1]:8080", or "unix:/PATH".')
    return TcpListen(match["v6"] or match["host"], int(match["port"]))
