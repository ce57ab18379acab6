"""What the handlers of all routes share: who asks, and how an answer is written."""

from aiohttp import hdrs, web
from pydantic import BaseModel

from admin.api.workspaces import check_within
from admin.identity.admins import Actor, Admin, WorkspaceLimit
from admin.identity.authentication import Caller
from admin.identity.client_address import address_of

CALLER = web.RequestKey("caller", Caller)
"""Who is asking: set before any handler is called."""


def admin_of(request: web.Request) -> Admin:
    """Return which admin asks."""
    return request[CALLER].admin


def actor_of(request: web.Request) -> Actor:
    """Return who makes the change that is asked for."""
    admin = admin_of(request)
    return Actor(admin.person, address_of(request), admin.workspaces)


def narrowed(request: web.Request, workspace: str | None) -> WorkspaceLimit:
    """Return the workspaces that a list is about: the admin's, or the one that was asked for. Raises Forbidden."""
    within = admin_of(request).workspaces
    if workspace is None:
        return within
    check_within(workspace, within)
    return frozenset({workspace})


def answer(view: BaseModel, status: int = 200, *, set_cookie: str | None = None) -> web.Response:
    """Answer with a view as JSON."""
    body = view.model_dump_json().encode()
    return web.Response(body=body, status=status, content_type="application/json", headers=_headers(set_cookie))


def nothing(*, set_cookie: str | None = None) -> web.Response:
    """Answer that it is done, without a body."""
    return web.Response(status=204, headers=_headers(set_cookie))


def _headers(set_cookie: str | None) -> dict[str, str]:
    # A page with a key in it must not outlive its reader.
    headers: dict[str, str] = {hdrs.CACHE_CONTROL: "no-store"}
    if set_cookie is not None:
        headers[hdrs.SET_COOKIE] = set_cookie
    return headers
