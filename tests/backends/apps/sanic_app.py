"""Sanic with its own server."""

import sys
from typing import Any

from report import ROUTES, one, report
from sanic import Request, Sanic
from sanic.response import HTTPResponse, raw

app = Sanic("backend", configure_logging=False)
app.config.PROXIES_COUNT = 1
_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


def _add(rule: str, endpoint: str) -> None:
    async def view(request: Request, site: str | None = None, rest: str = "") -> HTTPResponse:
        reads: list[tuple[str, str, list[Any]]] = [
            ("query", "args.get", one(request.args.get("site"))),
            ("query", "args.getlist", request.args.getlist("site", [])),
            ("header", "headers.get", one(request.headers.get("X-Site"))),
            ("header", "headers.getall", request.headers.getall("X-Site", [])),
            ("host", "server_name", one(request.server_name)),
            ("host", "host", one(request.host)),
        ]
        request_id = request.headers.get("X-Request-Id")
        content = report(endpoint, site, request.method, request_id, reads, path=request.path)
        return raw(content, content_type="application/json")

    app.add_route(view, rule, methods=_METHODS, name=f"{endpoint}-{len(app.router.routes_all)}", ignore_body=False)


for _endpoint, _path in ROUTES.items():
    _add(_path, _endpoint)
_add("/api/sites/<site:str>/<rest:path>", "site")
_add("/api/export/<rest:path>", "query")
_add("/static/<rest:path>", "static")
_add("/", "none")
_add("/<rest:path>", "none")

if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]), single_process=True, access_log=False, motd=False)
