"""The client address of a request, and a reader for headers that may appear only once."""

from aiohttp import web

from proxy.relay.socket_options import peer_name

ADDRESS = web.RequestKey("address", str)
"""The client address. A middleware sets it before everything else."""


def peer_of(request: web.BaseRequest) -> str:
    """Return the peer of the connection: an IP address, `unix`, or `gone` if it has closed.

    It comes from the socket, so that clients cannot forge it. `gone` is never a trusted proxy.
    """
    return "gone" if request.transport is None else peer_name(request.transport)


def address_of(request: web.BaseRequest) -> str:
    """Return the client address: the peer's, or the one that a trusted proxy forwards."""
    return request[ADDRESS]


def single_header(request: web.BaseRequest, name: str) -> str | None:
    """Return a header's value, or None if it is missing or repeated: it is unclear which of two values counts."""
    values = request.headers.getall(name, [])
    return values[0] if len(values) == 1 else None
