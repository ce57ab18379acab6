"""Endpoints for sites."""

import asyncio
import base64
from typing import Final

from aiohttp import web

from admin.api import sites
from admin.api.endpoints import Endpoint, endpoint
from admin.api.handlers import actor_of, admin_of, json_response, no_content
from admin.api.request_models import ImportSites, LookUpSites, NoQuery, PutSite, RenameSite, SiteFilter, SiteQuery
from admin.api.response_models import (
    Count,
    FoundSites,
    ImportedSite,
    ImportFault,
    ImportResult,
    Page,
    Site,
    SiteWithUsers,
)
from admin.api.site_creation import NewSite, add_sites
from admin.api.site_file import SiteFile, read_site_file
from admin.api.site_import import SiteImport, import_sites
from admin.api.workspaces import filtered_workspaces
from admin.connections import Lanes
from admin.problems import Conflict, Fault, Forbidden, Invalid, NotFound, Problem

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
            endpoint("GET", "/site-count", self.count_sites, SiteFilter, {200: Count}),
            endpoint("POST", "/sites", self.import_sites, ImportSites, {200: ImportResult}, Conflict),
            endpoint("POST", "/site-lookup", self.look_up_sites, LookUpSites, {200: FoundSites}),
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

    async def count_sites(self, request: web.Request, query: SiteFilter) -> web.Response:
        """Count the sites that a list contains, up to 10,000."""
        async with self._lanes.counts.read() as connection:
            within = await filtered_workspaces(connection, admin_of(request).workspaces, query.workspace)
            count = await sites.count_sites(connection, within=within, search=query.search)
        return json_response(count)

    async def import_sites(self, request: web.Request, body: ImportSites) -> web.Response:
        """Import sites from a CSV file: all or none. With `dry_run`, only tell what would change."""
        if (body.csv is None) == (body.file is None):
            raise Invalid.at("csv", detail="Send the file either as `csv` or as `file`.")
        file = await asyncio.to_thread(_read, body)
        async with self._lanes.changes.borrow() as connection:
            done = await import_sites(
                connection,
                file,
                by=actor_of(request),
                create_workspaces=body.create_workspaces,
                dry_run=body.dry_run,
            )
        if done.faults and not body.dry_run:
            raise await asyncio.to_thread(_refusal, done, "csv" if body.file is None else "file")
        return await asyncio.to_thread(lambda: json_response(_result(file, done)))

    async def look_up_sites(self, request: web.Request, body: LookUpSites) -> web.Response:
        """Find the sites of a workspace in a list of ids."""
        async with self._lanes.lookups.read() as connection:
            found = await sites.look_up_sites(
                connection, workspace=body.workspace, ids=body.ids, within=admin_of(request).workspaces
            )
        return json_response(found)

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


def _read(body: ImportSites) -> SiteFile:
    try:
        content = body.csv if body.file is None else base64.b64decode(body.file, validate=True)
    except ValueError:  # binascii.Error, or a character that is not ASCII
        raise Invalid.at("file", detail="The content of the file must be in Base64.") from None
    return read_site_file(content or "", workspace=body.workspace, max_lines=_MAX_LINES)


def _refusal(done: SiteImport, field: str) -> Problem:
    """Return the problem of an import with faults: Forbidden or Invalid if one of them is, and otherwise Conflict."""
    kinds = {fault.problem for fault in done.faults}
    kind = next(kind for kind in (Forbidden, Invalid, Conflict) if kind in kinds)
    # The sentences name the lines; the pointer can only name the field with the file.
    problem = kind.of([Fault((field,), str(fault)) for fault in done.faults])
    if done.are_workspaces_missing:
        advice = "\n".join(filter(None, (problem.detail, done.known_workspaces, _CREATE_WORKSPACES)))
        return kind(advice, problem.faults)
    return problem


def _result(file: SiteFile, done: SiteImport) -> ImportResult:
    return ImportResult(
        created=len(done.ids("new")),
        renamed=len(done.ids("renamed")),
        unchanged=len(done.ids("unchanged")),
        sites=[
            ImportedSite(
                line=change.site.line,
                outcome=change.outcome,
                id=change.site.id,
                workspace=change.site.workspace,
                display_name=change.display_name,
                previous_name=change.previous_name,
            )
            for change in done.changes
        ],
        new_workspaces=list(done.new_workspaces),
        ignored_columns=list(file.ignored_columns),
        encoding=file.encoding,
        errors=[ImportFault(line=fault.line, detail=fault.detail) for fault in done.faults],
    )


def _for_single_site(fault: Fault) -> Fault:
    """Convert a fault in a list of sites into one for the single site of a PUT, whose id is in the path."""
    match fault.place:
        case (0, "id"):
            return Fault(("id",), fault.detail, in_parameter=True)
        case (0, *place):
            return Fault(tuple(place), fault.detail)
        case _:
            return fault
