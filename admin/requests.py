"""What a request says of itself."""

from aiohttp import web

ADDRESS = web.RequestKey("address", str)
"""Where a request came from: set before anything else is done with it."""


def peer_of(request: web.BaseRequest) -> str:
    """Return who is at the other end of the connection: an address, or `unix`. Nobody can forge it."""
    return request.remote or "unix"


def address_of(request: web.BaseRequest) -> str:
    """Return where a request came from: the peer, or whom trusted proxies say they ask for."""
    return request[ADDRESS]


def single(request: web.BaseRequest, name: str) -> str | None:
    """Return a header's value if it is there once; two could be read differently."""
    values = request.headers.getall(name, [])
    return values[0] if len(values) == 1 else None
