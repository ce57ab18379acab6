"""Bottle. Its request.params merges the query and the form."""

from typing import Any

from bottle import Bottle, request, response
from report import METHODS, ROUTES, one, report

application = Bottle()


def _add(rule: str, endpoint: str) -> None:
    def view(site: str | None = None, rest: str = "") -> bytes:
        reads: list[tuple[str, str, list[Any]]] = [
            ("query", "query.get", one(request.query.get("site"))),
            ("query", "query.getall", request.query.getall("site")),
            ("merged", "params.get", one(request.params.get("site"))),
            ("header", "headers.get", one(request.headers.get("X-Site"))),
            ("host", "urlparts", [request.urlparts.netloc]),
        ]
        response.content_type = "application/json"
        request_id = request.headers.get("X-Request-Id")
        return report(endpoint, site, request.method, request_id, reads, path=request.path, script=request.script_name)

    application.route(rule, METHODS, view)


for _endpoint, _path in ROUTES.items():
    _add(_path, _endpoint)
_add("/api/sites/<site>/<rest:path>", "site")
_add("/api/export/<rest:path>", "query")
_add("/static/<rest:path>", "static")
_add("/", "none")
_add("/<rest:path>", "none")
