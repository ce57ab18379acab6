"""The static files of the admin page. They need no credentials, because they contain no data."""

from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

_FOLDER: Final = Path(__file__).parent / "static"
_KINDS: Final = MappingProxyType(
    {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
)
HEADERS: Final = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        # Browsers revalidate each time (a 304 if unchanged), so that an upgrade takes effect at once.
        "Cache-Control": "no-cache",
    }
)
_FILES: Final = MappingProxyType({file.name: file.read_bytes() for file in _FOLDER.iterdir() if file.suffix in _KINDS})


def page_routes() -> list[tuple[str, str, Handler]]:
    """Return the page's routes. They need no credentials."""
    return [("GET", "", _to_the_page), ("GET", "/", _index), ("GET", "/static/{name}", _static)]


def static_text(name: str) -> str:
    """Return the text of a static file."""
    return _FILES[name].decode()


async def _to_the_page(request: web.Request) -> web.StreamResponse:
    # Relative, because a proxy in front may have mounted the page under another path.
    return web.Response(status=308, headers={hdrs.LOCATION: f"{request.path.rpartition('/')[2]}/"})


async def _index(request: web.Request) -> web.StreamResponse:
    return _file(request, "index.html")


async def _static(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    if name not in _FILES or name.endswith(".html"):
        raise web.HTTPNotFound
    return _file(request, name)


def _file(request: web.Request, name: str) -> web.Response:
    content = _FILES[name]
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {**HEADERS, hdrs.ETAG: tag}
    if request.headers.get(hdrs.IF_NONE_MATCH) == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=content, content_type=_KINDS[Path(name).suffix], charset="utf-8", headers=headers)
