"""The response of all Python backends. This module runs in the virtual environment of the backends, with no
dependencies."""

import json
from typing import Any

METHODS = [
    "GET",
    "HEAD",
    "OPTIONS",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "TRACE",
    "COPY",
    "MOVE",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
    "LIST",
    "QUERY",
    "PURGE",
    "LINK",
    "UNLINK",
    "ACL",
    "REBIND",
    "M-SEARCH",
    "SOURCE",
    "BREW",
]

ROUTES = {
    "list": "/api/sites",
    "everything": "/api/reports/everything",
    "query": "/api/query",
    "lookup": "/api/lookup",
}


def endpoint_of(path: str) -> tuple[str, str | None]:
    """Return the endpoint and the site of a decoded path, for backends without a router."""
    for endpoint, known in ROUTES.items():
        if path == known:
            return endpoint, None
    segments = path.split("/")
    if segments[:3] == ["", "api", "sites"] and len(segments) > 4:
        return "site", segments[3]
    if segments[:3] == ["", "api", "export"] and len(segments) > 3:
        return "query", None
    if segments[:2] == ["", "static"] and len(segments) > 2:
        return "static", None
    return "none", None


def report(
    endpoint: str,
    site: str | None,
    method: str,
    request_id: str | None,
    reads: list[tuple[str, str, list[Any]]],
    **more: Any,
) -> bytes:
    """Return the report as JSON."""
    return json.dumps(
        {"id": request_id, "method": method, "endpoint": endpoint, "site": site, "reads": reads, **more}
    ).encode()


def one(value: Any) -> list[Any]:
    """Return a list with the value, or an empty list for None."""
    return [] if value is None else [value]
