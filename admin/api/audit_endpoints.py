"""Endpoints for the audit log."""

from typing import Final

from aiohttp import web

from admin.api.audit_csv import AUDIT_CSV_HEADERS, audit_csv
from admin.api.audit_list import AuditFilter, list_audit
from admin.api.endpoints import Endpoint, endpoint
from admin.api.exports import stream_csv
from admin.api.handlers import admin_of, json_response
from admin.api.request_models import AuditExport, AuditQuery
from admin.api.response_models import AuditLine, CsvFile, Page
from admin.api.workspaces import filtered_workspaces
from admin.connections import Lanes

_EXPORT_PAGE: Final = 500
"""How many entries an export reads at a time. Other requests can use the connection in between."""


class AuditEndpoints:
    """List and export the audit log."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this group."""
        return [
            endpoint("GET", "/audit", self.list_audit, AuditQuery, {200: Page[AuditLine]}),
            endpoint("GET", "/audit.csv", self.export_audit, AuditExport, {200: CsvFile}),
        ]

    async def list_audit(self, request: web.Request, query: AuditQuery) -> web.Response:
        """List audit entries, newest first."""
        return json_response(await self._page(request, query, query.after, query.limit))

    async def export_audit(self, request: web.Request, query: AuditExport) -> web.StreamResponse:
        """Export audit entries as a CSV file, newest first."""

        async def read(after: str | None) -> Page[AuditLine]:
            return await self._page(request, query, None if after is None else int(after), _EXPORT_PAGE)

        return await stream_csv(request, AUDIT_CSV_HEADERS, read, audit_csv)

    async def _page(self, request: web.Request, query: AuditExport, after: int | None, limit: int) -> Page[AuditLine]:
        only = AuditFilter(query.subject, query.actor, query.action, query.since, query.until, query.search)
        async with self._lanes.lists.read() as connection:
            within = await filtered_workspaces(connection, admin_of(request).workspaces, query.workspace, in_audit=True)
            return await list_audit(connection, within=within, only=only, after=after, limit=limit)
