"""CherryPy with its server Cheroot. Handlers receive the query and the body merged."""

import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cherrypy
from report import endpoint_of, report


def _flat(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [] if value is None else [value]


class Root:
    """Responds to every path and method."""

    @cherrypy.expose
    def default(self, *_: str, **parameters: Any) -> bytes:
        request = cherrypy.request
        endpoint, site = endpoint_of(request.path_info)
        query = parse_qs(request.query_string, keep_blank_values=True).get("site", [])
        reads: list[tuple[str, str, list[Any]]] = [
            ("query", "query_string", query),
            ("merged", "parameters", _flat(parameters.get("site"))),
            ("header", "headers.get", _flat(request.headers.get("X-Site"))),
            ("host", "request.base", [urlsplit(request.base).netloc]),
        ]
        cherrypy.response.headers["Content-Type"] = "application/json"
        request_id = request.headers.get("X-Request-Id")
        return report(endpoint, site, request.method, request_id, reads, script=request.script_name)

    index = default


cherrypy.config.update(
    {
        "server.socket_host": "127.0.0.1",
        "server.socket_port": int(sys.argv[1]),
        "server.thread_pool": 2,
        "environment": "production",
        "log.screen": False,
        "engine.autoreload.on": False,
        "tools.proxy.on": True,
    }
)
cherrypy.quickstart(Root(), "/", {"/": {"tools.trailing_slash.on": False}})
