"""An aiohttp server."""

import sys
from typing import Any

from aiohttp import web
from report import ROUTES, one, report


def _handler(endpoint: str) -> Any:
    async def answer(request: web.Request) -> web.Response:
        reads: list[tuple[str, str, list[Any]]] = [
            ("query", "query.get", one(request.query.get("site"))),
            ("query", "query.getall", request.query.getall("site", [])),
            ("header", "headers.get", one(request.headers.get("X-Site"))),
            ("header", "headers.getall", request.headers.getall("X-Site", [])),
            ("host", "request.host", [request.host]),
        ]
        content = report(
            endpoint,
            request.match_info.get("site"),
            request.method,
            request.headers.get("X-Request-Id"),
            reads,
            path=request.path,
        )
        return web.Response(body=content, content_type="application/json")

    return answer


app = web.Application()
for _name, _known in ROUTES.items():
    app.router.add_route("*", _known, _handler(_name))
app.router.add_route("*", "/api/sites/{site}/{rest:.*}", _handler("site"))
app.router.add_route("*", "/api/export/{rest:.*}", _handler("query"))
app.router.add_route("*", "/static/{rest:.*}", _handler("static"))
app.router.add_route("*", "/{rest:.*}", _handler("none"))

web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
