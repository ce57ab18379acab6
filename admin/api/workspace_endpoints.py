"""Endpoints for workspaces and the audit log."""

from aiohttp import web

from admin.api import audit, workspaces
from admin.api.endpoints import Endpoint, endpoint
from admin.api.handlers import actor_of, admin_of, json_response, visible_workspaces
from admin.api.request_models import AuditQuery, NewWorkspace, WorkspaceQuery
from admin.api.response_models import AuditLine, Page, Workspace
from admin.connections import Lanes
from admin.problems import Conflict


class WorkspaceEndpoints:
    """List and create workspaces; list the audit log."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this group."""
        return [
            endpoint("GET", "/workspaces", self.list_workspaces, WorkspaceQuery, {200: Page[Workspace]}),
            endpoint("POST", "/workspaces", self.create_workspace, NewWorkspace, {201: Workspace}, Conflict),
            endpoint("GET", "/audit", self.list_audit, AuditQuery, {200: Page[AuditLine]}),
        ]

    async def list_workspaces(self, request: web.Request, query: WorkspaceQuery) -> web.Response:
        """List workspaces."""
        async with self._lanes.lookups.read() as connection:
            page = await workspaces.list_workspaces(
                connection, within=admin_of(request).workspaces, after=query.after, limit=query.limit
            )
        return json_response(page)

    async def create_workspace(self, request: web.Request, body: NewWorkspace) -> web.Response:
        """Create a workspace."""
        async with self._lanes.changes.borrow() as connection:
            workspace = await workspaces.create_workspace(connection, name=body.name, by=actor_of(request))
        return json_response(workspace, 201)

    async def list_audit(self, request: web.Request, query: AuditQuery) -> web.Response:
        """List audit entries, newest first."""
        within = visible_workspaces(request, query.workspace)
        async with self._lanes.lists.read() as connection:
            page = await audit.list_audit(
                connection, within=within, subject=query.subject, before=query.after, limit=query.limit
            )
        return json_response(page)
