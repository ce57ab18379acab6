"""Functions that all handlers share: they find the caller of a request, and build responses."""

from aiohttp import hdrs, web
from pydantic import BaseModel

from admin.identity.admins import Actor, Admin
from admin.identity.authentication import Caller
from admin.identity.client_address import address_of

CALLER = web.RequestKey("caller", Caller)
"""The authenticated caller. A middleware sets it before any handler runs."""


def admin_of(request: web.Request) -> Admin:
    """Return the admin who sent the request."""
    return request[CALLER].admin


def actor_of(request: web.Request) -> Actor:
    """Return the actor for the changes that the request makes."""
    admin = admin_of(request)
    return Actor(admin.person, address_of(request), admin.workspaces)


def json_response(
    view: BaseModel, status: int = 200, *, set_cookie: str | None = None, etag: str | None = None
) -> web.Response:
    """Return a response with the view as JSON. `etag` is the value of its ETag, without quotes."""
    body = view.model_dump_json().encode()
    headers = _headers(set_cookie)
    if etag is not None:
        headers[hdrs.ETAG] = f'"{etag}"'
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def no_content(*, set_cookie: str | None = None) -> web.Response:
    """Return a response without a body."""
    return web.Response(status=204, headers=_headers(set_cookie))


def _headers(set_cookie: str | None) -> dict[str, str]:
    # A response can contain an API key, so caches must not store it.
    headers: dict[str, str] = {hdrs.CACHE_CONTROL: "no-store"}
    if set_cookie is not None:
        headers[hdrs.SET_COOKIE] = set_cookie
    return headers
