"""web.py. web.input() merges the query and the form."""

from typing import Any

import web
from report import METHODS, ROUTES, one, report


def _handler(endpoint: str) -> type:
    class Handler:
        """Responds to all methods in the same way."""

        def answer(self, site: str | None = None) -> bytes:
            query = web.input(_method="GET", site=[])
            reads: list[tuple[str, str, list[Any]]] = [
                ("query", "input(GET)", list(query.site)),
                ("query", "input(GET).get", one(web.input(_method="GET").get("site"))),
                ("merged", "input", one(web.input(_method="both").get("site"))),
                ("header", "env", one(web.ctx.env.get("HTTP_X_SITE"))),
                ("host", "ctx.host", one(web.ctx.host)),
            ]
            web.header("Content-Type", "application/json")
            request_id = web.ctx.env.get("HTTP_X_REQUEST_ID")
            return report(endpoint, site, web.ctx.method, request_id, reads, path=web.ctx.path)

    for method in METHODS:
        setattr(Handler, method, Handler.answer)
    return Handler


_PATHS = [(path, _handler(endpoint)) for endpoint, path in ROUTES.items()]
_PATHS += [
    (r"/api/sites/([^/]+)/.+", _handler("site")),
    (r"/api/export/.+", _handler("query")),
    (r"/static/.+", _handler("static")),
    (r"/.*", _handler("none")),
]
web.config.debug = False
_APP = web.application([part for pair in _PATHS for part in pair], {}, autoreload=False)
application = _APP.wsgifunc()
