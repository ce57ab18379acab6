"""Pyramid with WebOb. request.params merges the query and the form."""

from typing import Any

from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response
from report import ROUTES, one, report


def _view(endpoint: str) -> Any:
    def view(request: Request) -> Response:
        reads: list[tuple[str, str, list[Any]]] = [
            ("query", "GET.get", one(request.GET.get("site"))),
            ("query", "GET.getall", request.GET.getall("site")),
            ("merged", "params.get", one(request.params.get("site"))),
            ("header", "headers.get", one(request.headers.get("X-Site"))),
            ("host", "host", [request.host]),
        ]
        content = report(
            endpoint,
            request.matchdict.get("site"),
            request.method,
            request.headers.get("X-Request-Id"),
            reads,
            path=request.path_info,
            script=request.script_name,
        )
        return Response(content, content_type="application/json")

    return view


_CONFIG = Configurator()
_PATHS = {
    **{path: endpoint for endpoint, path in ROUTES.items()},
    "/api/sites/{site}/{rest:.+}": "site",
    "/api/export/{rest:.+}": "query",
    "/static/{rest:.+}": "static",
    "/{rest:.*}": "none",
}
for _path, _endpoint in _PATHS.items():
    _CONFIG.add_route(_path, _path)
    _CONFIG.add_view(_view(_endpoint), route_name=_path)
application = _CONFIG.make_wsgi_app()
