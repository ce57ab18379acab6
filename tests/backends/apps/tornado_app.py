"""Tornado. Its get_argument() merges the query and the body."""

import asyncio
import sys
from typing import Any
from urllib.parse import urlsplit

from report import METHODS, ROUTES, one, report
from tornado.web import Application, RequestHandler


class Handler(RequestHandler):
    """Responds to all methods in the same way."""

    SUPPORTED_METHODS = tuple(METHODS)

    def initialize(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def check_xsrf_cookie(self) -> None:
        """Skip the XSRF check, so that every form is accepted."""

    def answer(self, site: str | None = None) -> None:
        reads: list[tuple[str, str, list[Any]]] = [
            ("query", "get_query_argument", one(self.get_query_argument("site", None))),
            ("query", "get_query_arguments", self.get_query_arguments("site")),
            ("merged", "get_argument", one(self.get_argument("site", None))),
            ("header", "headers.get", one(self.request.headers.get("X-Site"))),
            ("host", "request.host_name", one(self.request.host_name)),
            ("host", "request.full_url", [urlsplit(self.request.full_url()).netloc]),
        ]
        request_id = self.request.headers.get("X-Request-Id")
        self.set_header("Content-Type", "application/json")
        self.finish(report(self._endpoint, site, self.request.method or "", request_id, reads, path=self.request.path))


for _method in METHODS:
    setattr(Handler, _method.lower(), Handler.answer)


async def _main() -> None:
    known = [(f"{path}", Handler, {"endpoint": endpoint}) for endpoint, path in ROUTES.items()]
    app = Application(
        [
            *known,
            (r"/api/sites/([^/]+)/.+", Handler, {"endpoint": "site"}),
            (r"/api/export/.+", Handler, {"endpoint": "query"}),
            (r"/static/.+", Handler, {"endpoint": "static"}),
            (r".*", Handler, {"endpoint": "none"}),
        ],
        log_function=lambda _: None,
    )
    app.listen(int(sys.argv[1]), "127.0.0.1", xheaders=True)
    await asyncio.Event().wait()


asyncio.run(_main())
