"""Starlette, for ASGI servers."""

from typing import Any

from report import ROUTES, one, report
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def _endpoint(name: str) -> type[HTTPEndpoint]:
    class Endpoint(HTTPEndpoint):
        async def dispatch(self) -> None:
            response = _answer(Request(self.scope, self.receive), name)
            await response(self.scope, self.receive, self.send)

    return Endpoint


def _answer(request: Request, endpoint: str) -> Response:
    reads: list[tuple[str, str, list[Any]]] = [
        ("query", "query_params.get", one(request.query_params.get("site"))),
        ("query", "query_params.getlist", request.query_params.getlist("site")),
        ("header", "headers.get", one(request.headers.get("X-Site"))),
        ("header", "headers.getlist", request.headers.getlist("X-Site")),
        ("host", "request.url", one(request.url.hostname)),
        ("host", "request.base_url", one(request.base_url.hostname)),
    ]
    content = report(
        endpoint,
        request.path_params.get("site"),
        request.method,
        request.headers.get("X-Request-Id"),
        reads,
        path=request.url.path,
        script=request.scope.get("root_path"),
    )
    return Response(content, media_type="application/json")


app = Starlette(
    routes=[
        *(Route(known, _endpoint(name)) for name, known in ROUTES.items()),
        Route("/api/sites/{site}/{rest:path}", _endpoint("site")),
        Route("/api/export/{rest:path}", _endpoint("query")),
        Route("/static/{rest:path}", _endpoint("static")),
        Route("/{rest:path}", _endpoint("none")),
    ]
)
app.router.redirect_slashes = False
