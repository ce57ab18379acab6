"""Flask behind Werkzeug's ProxyFix, configured as in its documentation for a proxy with a prefix."""

from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, request
from report import METHODS, ROUTES, one, report
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__, static_folder=None)


def _answer(endpoint: str, site: str | None = None) -> Response:
    values = request.values
    reads: list[tuple[str, str, list[Any]]] = [
        ("query", "args.get", one(request.args.get("site"))),
        ("query", "args.getlist", request.args.getlist("site")),
        ("merged", "values.get", one(values.get("site"))),
        ("header", "headers.get", one(request.headers.get("X-Site"))),
        ("header", "environ", one(request.environ.get("HTTP_X_SITE"))),
        ("host", "request.host", one(request.host)),
        ("host", "request.url", one(urlsplit(request.url).netloc)),
    ]
    content = report(
        endpoint,
        site,
        request.method,
        request.headers.get("X-Request-Id"),
        reads,
        path=request.path,
        script=request.root_path,
    )
    return Response(content, content_type="application/json")


def _add(rule: str, endpoint: str) -> None:
    def view(site: str | None = None, rest: str = "") -> Response:
        return _answer(endpoint, site)

    app.add_url_rule(rule, rule, view, methods=METHODS, provide_automatic_options=False)


for _endpoint, _path in ROUTES.items():
    _add(_path, _endpoint)
_add("/api/sites/<site>/<path:rest>", "site")
_add("/api/export/<path:rest>", "query")
_add("/static/<path:rest>", "static")
_add("/", "none")
_add("/<path:rest>", "none")

application = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_port=1, x_prefix=1)
