"""Zope's HTTPRequest on a WSGI server. request.get() merges the query, the form and the cookies."""

from collections.abc import Callable, Iterable
from typing import Any

from report import endpoint_of, report
from ZPublisher.HTTPRequest import HTTPRequest
from ZPublisher.HTTPResponse import HTTPResponse


def _flat(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, (list, tuple)):
        return [each for member in value for each in _flat(member)]
    return [value.decode("latin-1") if isinstance(value, bytes) else str(value)]


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    request = HTTPRequest(environ["wsgi.input"], environ, HTTPResponse())
    request.processInputs()
    endpoint, site = endpoint_of(environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace"))
    reads: list[tuple[str, str, list[Any]]] = [
        ("query", "form", _flat(request.form.get("site"))),
        ("merged", "get", _flat(request.get("site"))),
        ("header", "get_header", _flat(request.get_header("X-Site"))),
        ("host", "SERVER_URL", [request["SERVER_URL"].partition("://")[2]]),
    ]
    content = report(endpoint, site, request.method, request.get_header("X-Request-Id"), reads)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
    return [content]
