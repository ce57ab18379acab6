"""The file descriptors of the process: how many there may be, and how many connections they are enough for."""

import os
import resource
import socket
import sys

_MOST = 1 << 20
"""The highest limit to set. Some container runtimes allow a thousand times more, which no process needs."""
_RESERVE = 64
"""Reserved for connections to the database and the ops and admin listeners, and for files."""


def raise_limit() -> None:
    """Raise the soft limit of file descriptors to the hard limit. The usual soft limit of 1024 is for select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return  # on macOS, another limit below the hard one applies


def limit() -> int:
    """Return how many file descriptors the process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def in_use() -> int:
    """Return how many file descriptors the process has open."""
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:  # /proc is not mounted
        return _RESERVE


def client_capacity(free: int, upstream_connections: int) -> int:
    """Return how many client connections there is room for, if each of them may need an upstream connection."""
    free -= reserve(free)
    return max(free - upstream_connections, free // 2, 1)


def reserve(free: int) -> int:
    """Return how many of the free file descriptors are reserved for uses other than client and upstream connections."""
    return min(_RESERVE, free // 4)


def needed(used: int, open_exchanges: int, upstream_connections: int) -> int:
    """Return how many file descriptors the config's limits require."""
    return used + _RESERVE + open_exchanges + min(open_exchanges, upstream_connections)


def available(margin: int) -> bool:
    """Return whether more than this many file descriptors are free.

    The system gives each socket the lowest free number, so that its number shows how many are in use.
    """
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.fileno() < limit() - margin
    except OSError:  # the limit of the whole machine was reached
        return False
