"""The admin API: its routes, who may use them, and what an error becomes."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from pydantic import BaseModel

from admin import audit, sites, users, workspaces
from admin.audit import Connection, Within
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
from admin.people import Admin, AdminTokens
from admin.problems import DatabaseDown, Malformed, NotSignedIn, Problem, plain_problem, problem_response
from admin.settings import AdminSettings

BODY_BYTES = 4 * 1024 * 1024
"""Ten thousand sites with long ids fit."""
BODY_SECONDS = 10
CONNECTION_SECONDS = 5

DATABASE_DOWN = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
"""What asyncpg raises where the database is away, stopping, full, or read-only after a hand-over."""
WRONG_SCHEMA = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidSchemaNameError)

ADMIN = web.RequestKey("admin", Admin)

log = structlog.get_logger("sitelatch.admin")


def admin_app(settings: AdminSettings, pool: asyncpg.Pool) -> web.Application:
    """Return the application, to be mounted at /admin. Every request in it needs a configured admin's token."""
    api = AdminApi(pool)
    app = web.Application(
        client_max_size=BODY_BYTES, middlewares=[_answer_problems, _sign_in(AdminTokens(settings.tokens))]
    )
    for method, path, handler in api.routes():
        app.router.add_route(method, path, handler)
    return app


class AdminApi:
    """What each route does: read, ask, answer. Whatever is judged or changed is so in the modules it calls."""

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
        async with self._connection() as connection:
            page = await users.list_users(
                connection, within=within, search=asked.search, sort=asked.sort, after=asked.after, limit=asked.limit
            )
        return _answer(page)

    async def create_user(self, request: web.Request) -> web.Response:
        wish = await _body(request, NewUser)
        admin = _admin(request)
        async with self._connection() as connection:
            user = await users.create_user(
                connection,
                workspace=wish.workspace,
                all_sites=wish.all_sites,
                sites=wish.sites,
                name=wish.name,
                by=admin.person,
                address=_address(request),
                within=admin.workspaces,
            )
        return _answer(user, 201)

    async def get_user(self, request: web.Request) -> web.Response:
        read_query(NoQuery, request.query)
        async with self._connection() as connection:
            user = await users.get_user(connection, request.match_info["id"], within=_admin(request).workspaces)
        return _answer(user)

    async def delete_user(self, request: web.Request) -> web.Response:
        read_query(NoQuery, request.query)
        admin = _admin(request)
        async with self._connection() as connection:
            await users.delete_user(
                connection,
                request.match_info["id"],
                by=admin.person,
                address=_address(request),
                within=admin.workspaces,
            )
        return _nothing()

    async def list_workspaces(self, request: web.Request) -> web.Response:
        asked = read_query(WorkspaceQuery, request.query)
        async with self._connection() as connection:
            page = await workspaces.list_workspaces(
                connection, within=_admin(request).workspaces, after=asked.after, limit=asked.limit
            )
        return _answer(page)

    async def create_workspace(self, request: web.Request) -> web.Response:
        wish = await _body(request, NewWorkspace)
        admin = _admin(request)
        async with self._connection() as connection:
            workspace = await workspaces.create_workspace(
                connection, name=wish.name, by=admin.person, address=_address(request), within=admin.workspaces
            )
        return _answer(workspace, 201)

    async def list_sites(self, request: web.Request) -> web.Response:
        asked = read_query(SiteQuery, request.query)
        within = _narrowed(_admin(request), asked.workspace)
        async with self._connection() as connection:
            page = await sites.list_sites(
                connection, within=within, search=asked.search, after=asked.after, limit=asked.limit
            )
        return _answer(page)

    async def get_site(self, request: web.Request) -> web.Response:
        read_query(NoQuery, request.query)
        async with self._connection() as connection:
            site = await sites.get_site(connection, request.match_info["id"], within=_admin(request).workspaces)
        return _answer(site)

    async def put_site(self, request: web.Request) -> web.Response:
        wish = await _body(request, PutSite)
        admin = _admin(request)
        site_id = request.match_info["id"]
        async with self._connection() as connection, connection.transaction():
            added = await sites.add_sites(
                connection,
                workspace=wish.workspace,
                sites=[sites.NewSite(site_id, wish.display_name)],
                by=admin.person,
                address=_address(request),
                within=admin.workspaces,
            )
            site = await sites.get_site(connection, site_id, within=admin.workspaces)
        return _answer(site, 201 if added.created else 200)

    async def delete_site(self, request: web.Request) -> web.Response:
        read_query(NoQuery, request.query)
        admin = _admin(request)
        async with self._connection() as connection:
            await sites.remove_sites(
                connection,
                [request.match_info["id"]],
                by=admin.person,
                address=_address(request),
                within=admin.workspaces,
            )
        return _nothing()

    async def list_audit(self, request: web.Request) -> web.Response:
        asked = read_query(AuditQuery, request.query)
        within = _narrowed(_admin(request), asked.workspace)
        async with self._connection() as connection:
            page = await audit.list_audit(
                connection, within=within, subject=asked.subject, before=asked.after, limit=asked.limit
            )
        return _answer(page)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        try:
            connection = await self._pool.acquire(timeout=CONNECTION_SECONDS)
        except (asyncpg.PostgresError, *DATABASE_DOWN) as error:
            raise _database_down(error) from None
        try:
            yield connection
        finally:
            await self._pool.release(connection)


@web.middleware
async def _answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into problem details that hold nothing but public sentences; the log has the rest."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem_response(problem)
    except web.HTTPException as error:
        allow = error.headers.get(hdrs.ALLOW)
        return plain_problem(error.status, {} if allow is None else {hdrs.ALLOW: allow})
    except DATABASE_DOWN as error:
        return problem_response(_database_down(error))
    except WRONG_SCHEMA as error:
        log.error("the schema is not this version's: run `sitelatch migrate`", error=type(error).__name__)
        return problem_response(DatabaseDown("The database has another version. The log says more."))
    except Exception as error:
        # Where, but not the text: PostgreSQL's repeats whole rows.
        log.error(
            "an admin request failed",
            method=request.method,
            error=type(error).__name__,
            where=[f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)],
        )
        return plain_problem(500)


def _database_down(error: BaseException) -> DatabaseDown:
    log.warning("the database does not answer the admin API", error=type(error).__name__)
    return DatabaseDown("The database does not answer. Try again soon.")


def _sign_in(tokens: AdminTokens) -> Middleware:
    @web.middleware
    async def sign_in(request: web.Request, handler: Handler) -> web.StreamResponse:
        fields = request.headers.getall(hdrs.AUTHORIZATION, [])
        scheme, _, token = fields[0].partition(" ") if len(fields) == 1 else ("", "", "")
        admin = tokens.find(token.strip(" ")) if scheme.lower() == "bearer" else None
        if admin is None:
            log.info("an admin request was refused", client=_address(request), credentials=bool(fields))
            raise NotSignedIn("Send the token of an admin: `Authorization: Bearer …`.")
        request[ADMIN] = admin
        return await handler(request)

    return sign_in


def _admin(request: web.Request) -> Admin:
    return request[ADMIN]


def _address(request: web.Request) -> str:
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
