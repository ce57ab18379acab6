"""Falcon, for ASGI and WSGI servers. req.params merges the form if an option is set."""

from typing import Any

import falcon
from report import ROUTES, one, report

falcon.COMBINED_METHODS += ["PURGE", "QUERY", "LIST", "LINK", "UNLINK"]


class Endpoint:
    """Responds to all methods in the same way."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def answer(
        self, request: falcon.Request, response: falcon.Response, site: str | None = None, rest: str = ""
    ) -> None:
        value = request.params.get("site")
        reads: list[tuple[str, str, list[Any]]] = [
            ("query", "get_param", one(request.get_param("site"))),
            ("query", "get_param_as_list", request.get_param_as_list("site") or []),
            ("merged", "params", value if isinstance(value, list) else one(value)),
            ("header", "get_header", one(request.get_header("X-Site"))),
            ("host", "host", [request.host]),
            ("host", "forwarded_host", [request.forwarded_host]),
        ]
        response.content_type = "application/json"
        request_id = request.get_header("X-Request-Id")
        response.data = report(
            self._endpoint, site, request.method, request_id, reads, path=request.path, script=request.root_path
        )


for _method in falcon.COMBINED_METHODS:
    setattr(Endpoint, f"on_{_method.lower()}", Endpoint.answer)

application = falcon.App()
application.req_options.keep_blank_qs_values = True
for _name, _path in ROUTES.items():
    application.add_route(_path, Endpoint(_name))
application.add_route("/api/sites/{site}/{rest:path}", Endpoint("site"))
application.add_route("/api/export/{rest:path}", Endpoint("query"))
application.add_route("/static/{rest:path}", Endpoint("static"))
application.add_sink(lambda request, response, **_: Endpoint("none").answer(request, response), "/")
