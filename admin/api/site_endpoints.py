"""The routes of sites."""

import asyncio
from io import StringIO
from typing import Final

import asyncpg
from aiohttp import web

from admin.api import sites
from admin.api.endpoints import Endpoint, endpoint
from admin.api.handlers import actor_of, admin_of, answer, narrowed, nothing
from admin.api.request_models import ImportSites, NoQuery, PutSite, RenameSite, SiteQuery
from admin.api.response_models import ImportResult, Page, Site, SiteWithUsers
from admin.api.site_import import import_sites, read_csv
from admin.connections import borrow
from admin.problems import Conflict, Fault, Invalid, NotFound

_MOST_LINES: Final = 100_000
"""Of a file in one request. Reading them takes a second or two, beside whatever else this process does."""


class SiteEndpoints:
    """Lists, adds, imports, shows, renames and removes."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    def endpoints(self) -> list[Endpoint]:
        """Return this part of the route table."""
        return [
            endpoint("GET", "/sites", self.list_sites, SiteQuery, {200: Page[Site]}),
            endpoint("POST", "/sites", self.import_sites, ImportSites, {200: ImportResult}, Conflict),
            endpoint("GET", "/sites/{id}", self.get_site, NoQuery, {200: SiteWithUsers}, NotFound),
            endpoint("PUT", "/sites/{id}", self.put_site, PutSite, {200: SiteWithUsers, 201: SiteWithUsers}, Conflict),
            endpoint("PATCH", "/sites/{id}", self.rename_site, RenameSite, {200: SiteWithUsers}, NotFound),
            endpoint("DELETE", "/sites/{id}", self.delete_site, NoQuery, {204: None}, NotFound),
        ]

    async def list_sites(self, request: web.Request, asked: SiteQuery) -> web.Response:
        """List sites."""
        within = narrowed(request, asked.workspace)
        async with borrow(self._pool) as connection:
            page = await sites.list_sites(
                connection, within=within, search=asked.search, after=asked.after, limit=asked.limit
            )
        return answer(page)

    async def import_sites(self, request: web.Request, wish: ImportSites) -> web.Response:
        """Add the sites of a CSV file, all or none, and workspaces where they are new."""
        file = StringIO(wish.csv.removeprefix("\ufeff"), newline="")
        try:
            by_workspace = await asyncio.to_thread(read_csv, file, _MOST_LINES)
            async with borrow(self._pool) as connection:
                added = await import_sites(connection, by_workspace, by=actor_of(request))
        except (Invalid, Conflict) as problem:
            # The sentences name the lines; in the body there is one field.
            faults = tuple(Fault(("csv",), fault.detail) for fault in problem.faults)
            raise type(problem)(problem.detail, faults) from None
        return answer(
            ImportResult(created=len(added.created), renamed=len(added.renamed), unchanged=len(added.unchanged))
        )

    async def get_site(self, request: web.Request, _: NoQuery) -> web.Response:
        """Show a site."""
        async with borrow(self._pool) as connection:
            site = await sites.get_site(connection, request.match_info["id"], within=admin_of(request).workspaces)
        return answer(site)

    async def put_site(self, request: web.Request, wish: PutSite) -> web.Response:
        """Add a site, or give it another display name."""
        admin = admin_of(request)
        site_id = request.match_info["id"]
        async with borrow(self._pool) as connection, connection.transaction():
            try:
                added = await sites.add_sites(
                    connection,
                    workspace=wish.workspace,
                    sites=[sites.NewSite(site_id, wish.display_name)],
                    by=actor_of(request),
                )
                site = await sites.get_site(connection, site_id, within=admin.workspaces)
            except NotFound:  # removed by somebody else in this moment
                raise Conflict(f'"{site_id}" was changed at the same time. Try again.') from None
            except (Invalid, Conflict) as problem:
                raise type(problem)(problem.detail, tuple(map(_in_put, problem.faults))) from None
        return answer(site, 201 if added.created else 200)

    async def rename_site(self, request: web.Request, wish: RenameSite) -> web.Response:
        """Give a site that is there another display name."""
        async with borrow(self._pool) as connection:
            site = await sites.rename_site(
                connection, request.match_info["id"], wish.display_name, by=actor_of(request)
            )
        return answer(site)

    async def delete_site(self, request: web.Request, _: NoQuery) -> web.Response:
        """Remove a site and every authorisation for it, for good."""
        async with borrow(self._pool) as connection:
            await sites.remove_sites(connection, [request.match_info["id"]], by=actor_of(request))
        return nothing()


def _in_put(fault: Fault) -> Fault:
    """Return a fault of a list of sites as one of the only site that was put: its id stands in the path."""
    match fault.place:
        case (0, "id"):
            return Fault(("id",), fault.detail, in_parameter=True)
        case (0, *place):
            return Fault(tuple(place), fault.detail)
        case _:
            return fault
