"""The admin page and its static files. They need no credentials. For a signed-in person, the page carries data."""

import re
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from admin.static_files import find_static_file, html

HEADERS: Final = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        # An upgrade takes effect at once, and no cache keeps the data of a page.
        "Cache-Control": "no-store",
    }
)
_ACCEPTS_GZIP: Final = re.compile(r"(?:^|[\s,])gzip(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", re.IGNORECASE)
_FOR_EVER: Final = "public, max-age=31536000, immutable"

FirstResponses = Callable[[web.Request], Awaitable[str | None]]
"""Returns the responses that the page needs first as JSON, or None for a browser that is not signed in."""


def page_routes(first_responses: FirstResponses) -> list[tuple[str, str, Handler]]:
    """Return the page's routes. They need no credentials."""
    signed_out = html("index.html")
    # The header and empty rows are visible before the scripts have run.
    signed_in = signed_out.replace('id="loading"', 'id="loading" hidden').replace(
        'id="signed-in" hidden', 'id="signed-in"'
    )
    before, _, after = signed_in.partition("<!-- first responses -->")

    async def index(request: web.Request) -> web.StreamResponse:
        responses = await first_responses(request)
        # Browsers do not run a script of this type, so the Content-Security-Policy does not concern it.
        text = (
            signed_out
            if responses is None
            else f'{before}<script type="application/json" id="first-responses">{responses}</script>{after}'
        )
        return web.Response(text=text, content_type="text/html", headers=HEADERS)

    return [("GET", "", _to_the_page), ("GET", "/", index), ("GET", "/static/{name}", _static)]


async def _to_the_page(request: web.Request) -> web.StreamResponse:
    # Relative, because a proxy in front may have mounted the page under another path.
    return web.Response(status=308, headers={hdrs.LOCATION: f"{request.path.rpartition('/')[2]}/"})


async def _static(request: web.Request) -> web.StreamResponse:
    found = find_static_file(request.match_info["name"])
    if found is None:
        raise web.HTTPNotFound
    file, is_current = found
    compress = _ACCEPTS_GZIP.search(request.headers.get(hdrs.ACCEPT_ENCODING, "")) is not None
    tag = f'"{file.version}{"-gzip" if compress else ""}"'  # RFC 9110 §8.8.3.3
    headers = {
        **HEADERS,
        hdrs.CACHE_CONTROL: _FOR_EVER if is_current else "no-cache",
        hdrs.ETAG: tag,
        hdrs.VARY: hdrs.ACCEPT_ENCODING,
    }
    if request.headers.get(hdrs.IF_NONE_MATCH) == tag:
        return web.Response(status=304, headers=headers)
    if compress:
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    content = file.compressed if compress else file.content
    return web.Response(body=content, content_type=file.content_type, charset="utf-8", headers=headers)
