"""What each route of the admin API does: read, ask, answer. What is judged or changed is so in the modules it calls."""

import asyncio

import asyncpg
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel

from admin import audit, sites, users, workspaces
from admin.connections import borrow
from admin.payloads import (
    AuditQuery,
    Model,
    NewUser,
    NewWorkspace,
    NoQuery,
    PutSite,
    SiteQuery,
    UserQuery,
    WorkspaceQuery,
    read_body,
    read_query,
)
from admin.people import Admin, Within
from admin.problems import Malformed

BODY_BYTES = 4 * 1024 * 1024
"""Ten thousand sites with long ids fit."""
BODY_SECONDS = 10

ADMIN = web.RequestKey("admin", Admin)
"""Who is asking: set before any of these is called."""


class AdminApi:
    """The routes and their handlers."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Return the whole route table."""
        return [
            ("GET", "/users", self.list_users),
            ("POST", "/users", self.create_user),
            ("GET", "/users/{id}", self.get_user),
            ("DELETE", "/users/{id}", self.delete_user),
            ("GET", "/workspaces", self.list_workspaces),
            ("POST", "/workspaces", self.create_workspace),
            ("GET", "/sites", self.list_sites),
            # An id may hold braces, which aiohttp's own pattern leaves out.
            ("GET", "/sites/{id:[^/]+}", self.get_site),
            ("PUT", "/sites/{id:[^/]+}", self.put_site),
            ("DELETE", "/sites/{id:[^/]+}", self.delete_site),
            ("GET", "/audit", self.list_audit),
        ]

    async def list_users(self, request: web.Request) -> web.Response:
        asked = read_query(UserQuery, request.query)
        within = _narrowed(_admin(request), asked.workspace)
        async with borrow(self._pool) as connection:
            page = await users.list_users(
                connection, within=within, search=asked.search, sort=asked.sort, after=asked.after, limit=asked.limit
            )
        return _answer(page)

    async def create_user(self, request: web.Request) -> web.Response:
        wish = await _body(request, NewUser)
        admin = _admin(request)
        async with borrow(self._pool) as connection:
            user = await users.create_user(
                connection,
                workspace=wish.workspace,
                all_sites=wish.all_sites,
                sites=wish.sites,
                name=wish.name,
                by=admin.person,
                address=address_of(request),
                within=admin.workspaces,
            )
        return _answer(user, 201)

    async def get_user(self, request: web.Request) -> web.Response:
        read_query(NoQuery, request.query)
        async with borrow(self._pool) as connection:
            user = await users.get_user(connection, request.match_info["id"], within=_admin(request).workspaces)
        return _answer(user)

    async def delete_user(self, request: web.Request) -> web.Response:
        read_query(NoQuery, request.query)
        admin = _admin(request)
        async with borrow(self._pool) as connection:
            await users.delete_user(
                connection,
                request.match_info["id"],
                by=admin.person,
                address=address_of(request),
                within=admin.workspaces,
            )
        return _nothing()

    async def list_workspaces(self, request: web.Request) -> web.Response:
        asked = read_query(WorkspaceQuery, request.query)
        async with borrow(self._pool) as connection:
            page = await workspaces.list_workspaces(
                connection, within=_admin(request).workspaces, after=asked.after, limit=asked.limit
            )
        return _answer(page)

    async def create_workspace(self, request: web.Request) -> web.Response:
        wish = await _body(request, NewWorkspace)
        admin = _admin(request)
        async with borrow(self._pool) as connection:
            workspace = await workspaces.create_workspace(
                connection, name=wish.name, by=admin.person, address=address_of(request), within=admin.workspaces
            )
        return _answer(workspace, 201)

    async def list_sites(self, request: web.Request) -> web.Response:
        asked = read_query(SiteQuery, request.query)
        within = _narrowed(_admin(request), asked.workspace)
        async with borrow(self._pool) as connection:
            page = await sites.list_sites(
                connection, within=within, search=asked.search, after=asked.after, limit=asked.limit
            )
        return _answer(page)

    async def get_site(self, request: web.Request) -> web.Response:
        read_query(NoQuery, request.query)
        async with borrow(self._pool) as connection:
            site = await sites.get_site(connection, request.match_info["id"], within=_admin(request).workspaces)
        return _answer(site)

    async def put_site(self, request: web.Request) -> web.Response:
        wish = await _body(request, PutSite)
        admin = _admin(request)
        site_id = request.match_info["id"]
        async with borrow(self._pool) as connection, connection.transaction():
            added = await sites.add_sites(
                connection,
                workspace=wish.workspace,
                sites=[sites.NewSite(site_id, wish.display_name)],
                by=admin.person,
                address=address_of(request),
                within=admin.workspaces,
            )
            site = await sites.get_site(connection, site_id, within=admin.workspaces)
        return _answer(site, 201 if added.created else 200)

    async def delete_site(self, request: web.Request) -> web.Response:
        read_query(NoQuery, request.query)
        admin = _admin(request)
        async with borrow(self._pool) as connection:
            await sites.remove_sites(
                connection,
                [request.match_info["id"]],
                by=admin.person,
                address=address_of(request),
                within=admin.workspaces,
            )
        return _nothing()

    async def list_audit(self, request: web.Request) -> web.Response:
        asked = read_query(AuditQuery, request.query)
        within = _narrowed(_admin(request), asked.workspace)
        async with borrow(self._pool) as connection:
            page = await audit.list_audit(
                connection, within=within, subject=asked.subject, before=asked.after, limit=asked.limit
            )
        return _answer(page)


def _admin(request: web.Request) -> Admin:
    return request[ADMIN]


def address_of(request: web.Request) -> str:
    """Return where a request came from."""
    return request.remote or "unix"


def _narrowed(admin: Admin, workspace: str | None) -> Within:
    """Return the workspaces that a list is about. Raises Forbidden."""
    if workspace is None:
        return admin.workspaces
    workspaces.check_within(workspace, admin.workspaces)
    return frozenset({workspace})


async def _body(request: web.Request, model: type[Model]) -> Model:
    read_query(NoQuery, request.query)
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType
    try:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except (web.RequestPayloadError, ConnectionError):
        raise Malformed("The body did not arrive whole.") from None
    return read_body(model, raw)


def _answer(view: BaseModel, status: int = 200) -> web.Response:
    # A page with a key in it must not outlive its reader.
    return web.Response(
        body=view.model_dump_json().encode(),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _nothing() -> web.Response:
    return web.Response(status=204, headers={"Cache-Control": "no-store"})
