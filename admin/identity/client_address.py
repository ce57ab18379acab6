"""What a request says of itself."""

from aiohttp import web

from proxy.relay.socket_options import peer_name

ADDRESS = web.RequestKey("address", str)
"""Where a request came from: set before anything else is done with it."""


def peer_of(request: web.BaseRequest) -> str:
    """Return who is at the other end: an address, `unix`, or `gone`, which nobody trusts. Nobody can forge it."""
    return "gone" if request.transport is None else peer_name(request.transport)


def address_of(request: web.BaseRequest) -> str:
    """Return where a request came from: the peer, or whom trusted proxies say they ask for."""
    return request[ADDRESS]


def single(request: web.BaseRequest, name: str) -> str | None:
    """Return a header's value if it is there once; two could be read differently."""
    values = request.headers.getall(name, [])
    return values[0] if len(values) == 1 else None
