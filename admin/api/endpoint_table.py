"""The admin API: its route table, whole."""

import asyncpg
from aiohttp import web

from admin.api.endpoints import Route, route
from admin.api.handlers import answer
from admin.api.openapi import openapi
from admin.api.request_models import NoQuery
from admin.api.response_models import Document, TryIt
from admin.api.session_endpoints import SessionRoutes
from admin.api.site_endpoints import SiteRoutes
from admin.api.user_endpoints import UserRoutes
from admin.api.workspace_endpoints import WorkspaceRoutes
from admin.identity.sign_in import Door
from admin.key_encryption import Safe
from proxy.observe.metrics import installed_version


def api_routes(pool: asyncpg.Pool, door: Door, safe: Safe | None = None, try_it: TryIt | None = None) -> list[Route]:
    """Return the whole route table: what is taken, what is answered, what may be refused."""

    async def describe(request: web.Request, _: NoQuery) -> web.Response:
        """Describe this API."""
        return answer(document)

    routes = [
        *UserRoutes(pool, safe).routes(),
        *WorkspaceRoutes(pool).routes(),
        *SiteRoutes(pool).routes(),
        *SessionRoutes(door, recoverable_keys=safe is not None, try_it=try_it).routes(),
        route("GET", "/openapi.json", describe, NoQuery, {200: Document}),
    ]
    document = Document(openapi(routes, installed_version()))
    return routes
