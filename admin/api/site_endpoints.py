"""Endpoints for sites."""

import asyncio
from typing import Final

from aiohttp import web

from admin.api import sites
from admin.api.endpoints import Endpoint, endpoint
from admin.api.handlers import actor_of, admin_of, json_response, no_content
from admin.api.request_models import ImportSites, NoQuery, PutSite, RenameSite, SiteQuery
from admin.api.response_models import ImportResult, Page, Site, SiteWithUsers
from admin.api.site_creation import NewSite, add_sites
from admin.api.site_import import UnknownWorkspace, import_sites, read_csv
from admin.api.workspaces import filtered_workspaces
from admin.connections import Lanes
from admin.problems import Conflict, Fault, Invalid, NotFound

_MAX_LINES: Final = 100_000
"""Limit for a file in one request. Reading that many lines takes a second or two, in a thread."""

_CREATE_WORKSPACES: Final = "Correct the name, or set `create_workspaces` to create the workspace."


class SiteEndpoints:
    """List, add, import, show, rename and remove sites."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this group."""
        return [
            endpoint("GET", "/sites", self.list_sites, SiteQuery, {200: Page[Site]}),
            endpoint("POST", "/sites", self.import_sites, ImportSites, {200: ImportResult}, Conflict),
            endpoint("GET", "/sites/{id}", self.get_site, NoQuery, {200: SiteWithUsers}, NotFound),
            endpoint("PUT", "/sites/{id}", self.put_site, PutSite, {200: SiteWithUsers, 201: SiteWithUsers}, Conflict),
            endpoint("PATCH", "/sites/{id}", self.rename_site, RenameSite, {200: SiteWithUsers}, NotFound),
            endpoint("DELETE", "/sites/{id}", self.delete_site, NoQuery, {204: None}, NotFound),
        ]

    async def list_sites(self, request: web.Request, query: SiteQuery) -> web.Response:
        """List sites."""
        async with self._lanes.lists.read() as connection:
            within = await filtered_workspaces(connection, admin_of(request).workspaces, query.workspace)
            page = await sites.list_sites(
                connection, within=within, search=query.search, after=query.after, limit=query.limit
            )
        return json_response(page)

    async def import_sites(self, request: web.Request, body: ImportSites) -> web.Response:
        """Import sites from a CSV file: all or none. Set `create_workspaces` to create missing workspaces."""
        try:
            by_workspace = await asyncio.to_thread(read_csv, body.csv, _MAX_LINES)
            async with self._lanes.changes.borrow() as connection:
                added = await import_sites(
                    connection, by_workspace, by=actor_of(request), create_workspaces=body.create_workspaces
                )
        except (Invalid, Conflict) as problem:
            # The sentences name the lines; the pointer can only name the field with the file.
            faults = tuple(Fault(("csv",), fault.detail) for fault in problem.faults)
            advice = f"\n{_CREATE_WORKSPACES}" if isinstance(problem, UnknownWorkspace) else ""
            raise type(problem)(f"{problem.detail}{advice}", faults) from None
        return json_response(
            ImportResult(created=len(added.created), renamed=len(added.renamed), unchanged=len(added.unchanged))
        )

    async def get_site(self, request: web.Request, _: NoQuery) -> web.Response:
        """Show a site."""
        async with self._lanes.lookups.read() as connection:
            site = await sites.get_site(connection, request.match_info["id"], within=admin_of(request).workspaces)
        return json_response(site)

    async def put_site(self, request: web.Request, body: PutSite) -> web.Response:
        """Add a site, or change its display name."""
        admin = admin_of(request)
        site_id = request.match_info["id"]
        async with self._lanes.changes.borrow() as connection, connection.transaction():
            try:
                added = await add_sites(
                    connection,
                    workspace=body.workspace,
                    sites=[NewSite(site_id, body.display_name)],
                    by=actor_of(request),
                )
                site = await sites.get_site(connection, site_id, within=admin.workspaces)
            except NotFound:  # removed concurrently
                raise sites.changed_concurrently(site_id) from None
            except (Invalid, Conflict) as problem:
                raise type(problem)(problem.detail, tuple(map(_for_single_site, problem.faults))) from None
        return json_response(site, 201 if added.created else 200)

    async def rename_site(self, request: web.Request, body: RenameSite) -> web.Response:
        """Change the display name of an existing site."""
        async with self._lanes.changes.borrow() as connection:
            site = await sites.rename_site(
                connection, request.match_info["id"], body.display_name, by=actor_of(request)
            )
        return json_response(site)

    async def delete_site(self, request: web.Request, _: NoQuery) -> web.Response:
        """Remove a site and every authorization for it permanently."""
        async with self._lanes.changes.borrow() as connection:
            await sites.remove_sites(connection, [request.match_info["id"]], by=actor_of(request))
        return no_content()


def _for_single_site(fault: Fault) -> Fault:
    """Convert a fault in a list of sites into one for the single site of a PUT, whose id is in the path."""
    match fault.place:
        case (0, "id"):
            return Fault(("id",), fault.detail, in_parameter=True)
        case (0, *place):
            return Fault(tuple(place), fault.detail)
        case _:
            return fault
