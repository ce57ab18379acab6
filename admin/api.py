"""What each route of the admin API does: ask, and answer. What is judged or changed is so in the modules it calls."""

from io import StringIO

import asyncpg
from aiohttp import hdrs, web
from pydantic import BaseModel

from admin import audit, sites, users, workspaces
from admin.connections import borrow
from admin.idempotency import HEADER, read_idempotency_key
from admin.identity import Asker
from admin.openapi import openapi
from admin.payloads import (
    AuditQuery,
    ImportSites,
    NewUser,
    NewWorkspace,
    NoQuery,
    PutSite,
    RenameSite,
    SignIn,
    SiteQuery,
    UserQuery,
    WorkspaceQuery,
)
from admin.people import Admin, Within, names
from admin.problems import Conflict, DatabaseDown, Fault, Forbidden, Invalid, NotFound, TooManyAttempts
from admin.requests import address_of
from admin.routes import Route, route
from admin.safe import Safe
from admin.sign_in import Door
from admin.site_import import import_sites, read_csv
from admin.user_list import list_users
from admin.views import (
    AuditLine,
    CreatedUser,
    Document,
    Imported,
    Page,
    PersonView,
    RevealedKeys,
    RoundTripView,
    SessionView,
    Site,
    SiteWithUsers,
    TryIt,
    User,
    WaysIn,
    Workspace,
)
from proxy.metrics import installed_version

ASKER = web.RequestKey("asker", Asker)
"""Who is asking: set before any of these is called."""


class AdminApi:
    """The routes and what they do."""

    def __init__(self, pool: asyncpg.Pool, door: Door, safe: Safe | None = None, try_it: TryIt | None = None) -> None:
        self._pool = pool
        self._try_it = try_it
        self._door = door
        self._safe = safe
        self._document = Document(openapi(self.routes(), installed_version()))

    def routes(self) -> list[Route]:
        """Return the whole route table: what is taken, what is answered, what may be refused."""
        return [
            route("GET", "/users", self.list_users, UserQuery, {200: Page[User]}, Forbidden, DatabaseDown),
            route(
                "POST",
                "/users",
                self.create_user,
                NewUser,
                {201: CreatedUser},
                Forbidden,
                Conflict,
                DatabaseDown,
                idempotent=True,
            ),
            route("GET", "/users/{id}", self.get_user, NoQuery, {200: User}, NotFound, DatabaseDown),
            route("DELETE", "/users/{id}", self.delete_user, NoQuery, {204: None}, NotFound, DatabaseDown),
            route(
                "POST",
                "/users/{id}/reveal",
                self.reveal_user,
                NoQuery,
                {200: RevealedKeys},
                NotFound,
                Conflict,
                DatabaseDown,
            ),
            route("GET", "/workspaces", self.list_workspaces, WorkspaceQuery, {200: Page[Workspace]}, DatabaseDown),
            route(
                "POST",
                "/workspaces",
                self.create_workspace,
                NewWorkspace,
                {201: Workspace},
                Forbidden,
                Conflict,
                DatabaseDown,
            ),
            route("GET", "/sites", self.list_sites, SiteQuery, {200: Page[Site]}, Forbidden, DatabaseDown),
            route(
                "POST",
                "/sites",
                self.import_sites,
                ImportSites,
                {200: Imported},
                Conflict,
            ),
            route("GET", "/sites/{id}", self.get_site, NoQuery, {200: SiteWithUsers}, NotFound, DatabaseDown),
            route(
                "PUT",
                "/sites/{id}",
                self.put_site,
                PutSite,
                {200: SiteWithUsers, 201: SiteWithUsers},
                Forbidden,
                Conflict,
                DatabaseDown,
            ),
            route("PATCH", "/sites/{id}", self.rename_site, RenameSite, {200: SiteWithUsers}, NotFound),
            route("DELETE", "/sites/{id}", self.delete_site, NoQuery, {204: None}, NotFound, DatabaseDown),
            route("GET", "/audit", self.list_audit, AuditQuery, {200: Page[AuditLine]}, Forbidden, DatabaseDown),
            route(
                "POST",
                "/session",
                self.sign_in,
                SignIn,
                {200: SessionView},
                TooManyAttempts,
                open_to_all=True,
            ),
            route("GET", "/sign-in", self.list_ways_in, NoQuery, {200: WaysIn}, open_to_all=True),
            route(
                "POST",
                "/sign-in/oidc",
                self.begin_round_trip,
                NoQuery,
                {200: RoundTripView},
                NotFound,
                TooManyAttempts,
                open_to_all=True,
            ),
            route("GET", "/session", self.get_session, NoQuery, {200: SessionView}),
            route("DELETE", "/session", self.sign_out, NoQuery, {204: None}),
            route("GET", "/openapi.json", self.describe, NoQuery, {200: Document}),
        ]

    async def list_users(self, request: web.Request, asked: UserQuery) -> web.Response:
        """List API users."""
        within = _narrowed(_admin(request), asked.workspace)
        async with borrow(self._pool) as connection:
            page = await list_users(
                connection, within=within, search=asked.search, sort=asked.sort, after=asked.after, limit=asked.limit
            )
        return _answer(page)

    async def create_user(self, request: web.Request, wish: NewUser) -> web.Response:
        """Create an API user, whose key is shown this once."""
        admin = _admin(request)
        key = read_idempotency_key(request.headers.getall(HEADER, []))
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
                safe=self._safe,
                idempotency_key=key,
            )
        return _answer(user, 201)

    async def get_user(self, request: web.Request, _: NoQuery) -> web.Response:
        """Show an API user with all its sites."""
        async with borrow(self._pool) as connection:
            user = await users.get_user(connection, request.match_info["id"], within=_admin(request).workspaces)
        return _answer(user)

    async def delete_user(self, request: web.Request, _: NoQuery) -> web.Response:
        """Delete an API user and its key, for good."""
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

    async def reveal_user(self, request: web.Request, _: NoQuery) -> web.Response:
        """Show the key of an API user again, where it is kept. The audit log notes it."""
        admin = _admin(request)
        async with borrow(self._pool) as connection:
            keys = await users.reveal_keys(
                connection,
                request.match_info["id"],
                safe=self._safe,
                by=admin.person,
                address=address_of(request),
                within=admin.workspaces,
            )
        return _answer(keys)

    async def list_workspaces(self, request: web.Request, asked: WorkspaceQuery) -> web.Response:
        """List workspaces."""
        async with borrow(self._pool) as connection:
            page = await workspaces.list_workspaces(
                connection, within=_admin(request).workspaces, after=asked.after, limit=asked.limit
            )
        return _answer(page)

    async def create_workspace(self, request: web.Request, wish: NewWorkspace) -> web.Response:
        """Create a workspace."""
        admin = _admin(request)
        async with borrow(self._pool) as connection:
            workspace = await workspaces.create_workspace(
                connection, name=wish.name, by=admin.person, address=address_of(request), within=admin.workspaces
            )
        return _answer(workspace, 201)

    async def list_sites(self, request: web.Request, asked: SiteQuery) -> web.Response:
        """List sites."""
        within = _narrowed(_admin(request), asked.workspace)
        async with borrow(self._pool) as connection:
            page = await sites.list_sites(
                connection, within=within, search=asked.search, after=asked.after, limit=asked.limit
            )
        return _answer(page)

    async def import_sites(self, request: web.Request, wish: ImportSites) -> web.Response:
        """Add the sites of a CSV file, all or none, and workspaces where they are new."""
        admin = _admin(request)
        async with borrow(self._pool) as connection:
            try:
                added = await import_sites(
                    connection,
                    read_csv(StringIO(wish.csv.removeprefix("\ufeff"), newline="")),
                    by=admin.person,
                    address=address_of(request),
                    within=admin.workspaces,
                )
            except (Invalid, Conflict) as problem:
                # The sentences name the lines; in the body there is one field.
                faults = tuple(Fault(("csv",), fault.detail) for fault in problem.faults)
                raise type(problem)(problem.detail, faults) from None
        return _answer(Imported(created=len(added.created), renamed=len(added.renamed), unchanged=len(added.unchanged)))

    async def get_site(self, request: web.Request, _: NoQuery) -> web.Response:
        """Show a site."""
        async with borrow(self._pool) as connection:
            site = await sites.get_site(connection, request.match_info["id"], within=_admin(request).workspaces)
        return _answer(site)

    async def put_site(self, request: web.Request, wish: PutSite) -> web.Response:
        """Add a site, or give it another display name."""
        admin = _admin(request)
        site_id = request.match_info["id"]
        async with borrow(self._pool) as connection, connection.transaction():
            try:
                added = await sites.add_sites(
                    connection,
                    workspace=wish.workspace,
                    sites=[sites.NewSite(site_id, wish.display_name)],
                    by=admin.person,
                    address=address_of(request),
                    within=admin.workspaces,
                )
                site = await sites.get_site(connection, site_id, within=admin.workspaces)
            except NotFound:  # removed by somebody else in this moment
                raise Conflict(f'"{site_id}" was changed at the same time. Try again.') from None
            except (Invalid, Conflict) as problem:
                raise type(problem)(problem.detail, tuple(map(_in_put, problem.faults))) from None
        return _answer(site, 201 if added.created else 200)

    async def rename_site(self, request: web.Request, wish: RenameSite) -> web.Response:
        """Give a site that is there another display name."""
        admin = _admin(request)
        async with borrow(self._pool) as connection:
            site = await sites.rename_site(
                connection,
                request.match_info["id"],
                wish.display_name,
                by=admin.person,
                address=address_of(request),
                within=admin.workspaces,
            )
        return _answer(site)

    async def delete_site(self, request: web.Request, _: NoQuery) -> web.Response:
        """Remove a site and every authorisation for it, for good."""
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

    async def list_audit(self, request: web.Request, asked: AuditQuery) -> web.Response:
        """List what was done, the latest first."""
        within = _narrowed(_admin(request), asked.workspace)
        async with borrow(self._pool) as connection:
            page = await audit.list_audit(
                connection, within=within, subject=asked.subject, before=asked.after, limit=asked.limit
            )
        return _answer(page)

    async def sign_in(self, request: web.Request, wish: SignIn) -> web.Response:
        """Trade an admin's token for a session, which is a cookie. For browsers: it needs their Origin."""
        asker, cookie = await self._door.with_token(request, wish.token)
        answer = _answer(self._session(asker))
        answer.headers[hdrs.SET_COOKIE] = cookie
        return answer

    async def list_ways_in(self, request: web.Request, _: NoQuery) -> web.Response:
        """Say how admins sign in on the page."""
        return _answer(WaysIn(token=self._door.tokens_exist, oidc=self._door.issuer_name))

    async def begin_round_trip(self, request: web.Request, _: NoQuery) -> web.Response:
        """Begin to sign in at the OpenID Connect issuer. For browsers: it needs their Origin, and keeps a cookie."""
        location, cookie = await self._door.begin_round_trip(request)
        answer = _answer(RoundTripView(location=location))
        answer.headers[hdrs.SET_COOKIE] = cookie
        return answer

    async def get_session(self, request: web.Request, _: NoQuery) -> web.Response:
        """Show who is asking."""
        asker = request[ASKER]
        answer = _answer(self._session(asker))
        if asker.set_cookie is not None:
            answer.headers[hdrs.SET_COOKIE] = asker.set_cookie
        return answer

    async def sign_out(self, request: web.Request, _: NoQuery) -> web.Response:
        """End the session."""
        answer = _nothing()
        if cookie := await self._door.sign_out(request):
            answer.headers[hdrs.SET_COOKIE] = cookie
        return answer

    def _session(self, asker: Asker) -> SessionView:
        admin = asker.admin
        return SessionView(
            person=PersonView(name=admin.person.name, email=admin.person.email),
            workspaces=names(admin.workspaces),
            csrf_token=asker.csrf_token,
            can_sign_out=asker.has_session,
            recoverable_keys=self._safe is not None,
            try_it=self._try_it,
        )

    async def describe(self, request: web.Request, _: NoQuery) -> web.Response:
        """Describe this API."""
        return _answer(self._document)


def _admin(request: web.Request) -> Admin:
    return request[ASKER].admin


def _narrowed(admin: Admin, workspace: str | None) -> Within:
    """Return the workspaces that a list is about. Raises Forbidden."""
    if workspace is None:
        return admin.workspaces
    workspaces.check_within(workspace, admin.workspaces)
    return frozenset({workspace})


def _in_put(fault: Fault) -> Fault:
    """Return a fault of a list of sites as one of the only site that was put: its id stands in the path."""
    match fault.place:
        case (0, "id"):
            return Fault(("id",), fault.detail, in_parameter=True)
        case (0, *place):
            return Fault(tuple(place), fault.detail)
        case _:
            return fault


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
