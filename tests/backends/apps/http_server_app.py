"""ThreadingHTTPServer of the standard library in HTTP/1.1 mode. It never reads a body."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from report import METHODS, endpoint_of, one, report


class Handler(BaseHTTPRequestHandler):
    """Responds to all methods in the same way."""

    protocol_version = "HTTP/1.1"
    timeout = 20
    wbufsize = -1  # one packet per answer

    def answer(self) -> None:
        parts = urlsplit(self.path)
        values = parse_qs(parts.query, keep_blank_values=True).get("site", [])
        endpoint, site = endpoint_of(unquote(parts.path))
        reads: list[tuple[str, str, list[Any]]] = [
            ("query", "parse_qs", values),
            ("header", "headers.get", one(self.headers.get("X-Site"))),
            ("header", "headers.get_all", self.headers.get_all("X-Site", [])),
        ]
        content = report(endpoint, site, self.command, self.headers.get("X-Request-Id"), reads, path=parts.path)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class names it
        """Log nothing."""


for _method in METHODS:
    setattr(Handler, f"do_{_method}", Handler.answer)

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
