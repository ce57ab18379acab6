"""Endpoints for workspaces."""

from aiohttp import web

from admin.api import workspaces
from admin.api.endpoints import Endpoint, endpoint
from admin.api.handlers import actor_of, admin_of, json_response, no_content
from admin.api.request_models import NewWorkspace, NoQuery, RenameWorkspace, WorkspaceQuery
from admin.api.response_models import Page, Workspace
from admin.connections import Lanes
from admin.problems import Conflict, NotFound


class WorkspaceEndpoints:
    """List, create, rename and remove workspaces."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this group."""
        return [
            endpoint("GET", "/workspaces", self.list_workspaces, WorkspaceQuery, {200: Page[Workspace]}),
            endpoint("POST", "/workspaces", self.create_workspace, NewWorkspace, {201: Workspace}, Conflict),
            endpoint(
                "PATCH",
                "/workspaces/{name}",
                self.rename_workspace,
                RenameWorkspace,
                {200: Workspace},
                NotFound,
                Conflict,
            ),
            endpoint("DELETE", "/workspaces/{name}", self.remove_workspace, NoQuery, {204: None}, NotFound, Conflict),
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

    async def rename_workspace(self, request: web.Request, body: RenameWorkspace) -> web.Response:
        """Rename a workspace. Requests to the data API carry the new name."""
        async with self._lanes.changes.borrow() as connection:
            workspace = await workspaces.rename_workspace(
                connection, request.match_info["name"], body.name, by=actor_of(request)
            )
        return json_response(workspace)

    async def remove_workspace(self, request: web.Request, _: NoQuery) -> web.Response:
        """Remove a workspace that has no sites and no API users."""
        async with self._lanes.changes.borrow() as connection:
            await workspaces.remove_workspace(connection, request.match_info["name"], by=actor_of(request))
        return no_content()
