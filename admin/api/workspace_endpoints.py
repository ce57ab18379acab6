"""The routes of workspaces, and of what was done in them."""

import asyncpg
from aiohttp import web

from admin.api import audit, workspaces
from admin.api.endpoints import Endpoint, endpoint
from admin.api.handlers import actor_of, admin_of, answer, narrowed
from admin.api.request_models import AuditQuery, NewWorkspace, WorkspaceQuery
from admin.api.response_models import AuditLine, Page, Workspace
from admin.connections import borrow
from admin.problems import Conflict


class WorkspaceEndpoints:
    """Lists and creates workspaces, and lists the audit log."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    def endpoints(self) -> list[Endpoint]:
        """Return this part of the route table."""
        return [
            endpoint("GET", "/workspaces", self.list_workspaces, WorkspaceQuery, {200: Page[Workspace]}),
            endpoint("POST", "/workspaces", self.create_workspace, NewWorkspace, {201: Workspace}, Conflict),
            endpoint("GET", "/audit", self.list_audit, AuditQuery, {200: Page[AuditLine]}),
        ]

    async def list_workspaces(self, request: web.Request, asked: WorkspaceQuery) -> web.Response:
        """List workspaces."""
        async with borrow(self._pool) as connection:
            page = await workspaces.list_workspaces(
                connection, within=admin_of(request).workspaces, after=asked.after, limit=asked.limit
            )
        return answer(page)

    async def create_workspace(self, request: web.Request, wish: NewWorkspace) -> web.Response:
        """Create a workspace."""
        async with borrow(self._pool) as connection:
            workspace = await workspaces.create_workspace(connection, name=wish.name, by=actor_of(request))
        return answer(workspace, 201)

    async def list_audit(self, request: web.Request, asked: AuditQuery) -> web.Response:
        """List what was done, the latest first."""
        within = narrowed(request, asked.workspace)
        async with borrow(self._pool) as connection:
            page = await audit.list_audit(
                connection, within=within, subject=asked.subject, before=asked.after, limit=asked.limit
            )
        return answer(page)
