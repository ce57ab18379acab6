"""WSGI without a framework: PATH_INFO and QUERY_STRING (PEP 3333), read with the standard library."""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit
from wsgiref.util import application_uri

from report import endpoint_of, one, report


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    query = environ.get("QUERY_STRING", "")
    listed = parse_qs(query, keep_blank_values=True).get("site", [])
    endpoint, site = endpoint_of(environ.get("PATH_INFO", ""))
    reads: list[tuple[str, str, list[Any]]] = [
        ("query", "parse_qs", listed),
        ("query", "dict(parse_qsl)", one(dict(parse_qsl(query, keep_blank_values=True)).get("site"))),
        ("header", "environ", one(environ.get("HTTP_X_SITE"))),
        ("host", "application_uri", [urlsplit(application_uri(environ)).netloc]),
    ]
    content = report(
        endpoint,
        site,
        environ["REQUEST_METHOD"],
        environ.get("HTTP_X_REQUEST_ID"),
        reads,
        path=environ.get("PATH_INFO"),
        script=environ.get("SCRIPT_NAME"),
    )
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
    return [content]
