"""The endpoint for the findings of shadow mode."""

from aiohttp import web

from admin.api.endpoints import Endpoint, endpoint
from admin.api.handlers import admin_of, json_response
from admin.api.request_models import ShadowQuery
from admin.api.response_models import Page, ShadowFinding
from admin.api.shadow_findings import list_findings
from admin.api.workspaces import filtered_workspaces
from admin.connections import Lanes


class ShadowEndpoints:
    """List the findings of shadow mode."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this group."""
        return [endpoint("GET", "/shadow-findings", self.list_findings, ShadowQuery, {200: Page[ShadowFinding]})]

    async def list_findings(self, request: web.Request, query: ShadowQuery) -> web.Response:
        """List what routes in shadow mode would have refused, those with the most requests first."""
        async with self._lanes.lists.read() as connection:
            within = await filtered_workspaces(connection, admin_of(request).workspaces, query.workspace)
            page = await list_findings(connection, within=within, after=query.after, limit=query.limit)
        return json_response(page)
