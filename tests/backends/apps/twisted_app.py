"""Twisted. request.args merges the query and the form."""

import sys
from typing import Any
from urllib.parse import unquote

from report import endpoint_of, report
from twisted.internet import endpoints, reactor
from twisted.web.resource import Resource
from twisted.web.server import Request, Site


def _texts(values: list[bytes]) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values]


class Everything(Resource):
    """Responds to all paths and methods."""

    isLeaf = True  # noqa: N815 - the name is Twisted's

    def render(self, request: Request) -> bytes:
        endpoint, site = endpoint_of(unquote(request.path.decode("latin-1")))
        reads: list[tuple[str, str, list[Any]]] = [
            ("query", "args", _texts(request.args.get(b"site", []))),
            ("header", "getAllRawHeaders", _texts(request.requestHeaders.getRawHeaders(b"X-Site", []))),
            ("host", "getRequestHostname", _texts([request.getRequestHostname()])),
        ]
        request.setHeader(b"Content-Type", b"application/json")
        request_id = request.getHeader("X-Request-Id")
        return report(endpoint, site, request.method.decode(), request_id, reads)


site = Site(Everything())
endpoints.serverFromString(reactor, f"tcp:{sys.argv[1]}:interface=127.0.0.1").listen(site)
reactor.run()
