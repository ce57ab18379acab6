"""Socket options that asyncio does not expose."""

import asyncio
import socket
import struct

_PROBE_AFTER = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", None)  # Linux; macOS
_PROBE_AFTER_SECONDS = 60
_PROBE_EVERY_SECONDS = 15
_PROBES = 4


def enable_keepalive(transport: asyncio.Transport) -> None:
    """Let the kernel probe the peer, so that a peer that disappears silently is detected within 2 minutes."""
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family != socket.AF_UNIX:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if _PROBE_AFTER is not None:
            raw.setsockopt(socket.IPPROTO_TCP, _PROBE_AFTER, _PROBE_AFTER_SECONDS)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_EVERY_SECONDS)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)


def reset_connection(transport: asyncio.Transport) -> None:
    """Close with RST, because a FIN would look like the end of a response."""
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family != socket.AF_UNIX:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def peer_name(transport: asyncio.Transport) -> str:
    """Return the peer's address, `unix` on a unix socket, or `gone` if the peer has already left."""
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.family == socket.AF_UNIX:
        return "unix"
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else "gone"
