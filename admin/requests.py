"""What a request says of itself."""

from aiohttp import web


def address_of(request: web.BaseRequest) -> str:
    """Return where a request came from."""
    return request.remote or "unix"


def single(request: web.BaseRequest, name: str) -> str | None:
    """Return a header's value if it is there once; two could be read differently."""
    values = request.headers.getall(name, [])
    return values[0] if len(values) == 1 else None
