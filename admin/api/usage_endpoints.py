"""Endpoints for the usage of API users."""

from typing import Final

from aiohttp import web

from admin.api.endpoints import Endpoint, endpoint
from admin.api.exports import stream_csv
from admin.api.handlers import admin_of, json_response
from admin.api.request_models import UsageExport, UsageQuery, UsageSummaryQuery
from admin.api.response_models import CsvFile, Page, UsageLine, UsageSummaries, UserUsage
from admin.api.usage import Period, export_usage, period, summarize_usage, user_usage
from admin.api.usage_csv import USAGE_CSV_HEADERS, usage_csv
from admin.api.user_endpoints import user_ids
from admin.api.workspaces import filtered_workspaces
from admin.connections import Lanes
from admin.problems import NotFound

_EXPORT_PAGE: Final = 2000
"""How many rows an export reads at a time. Other requests can use the connection in between."""


class UsageEndpoints:
    """Show and export the usage of API users."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this group."""
        return [
            endpoint("GET", "/users/{id}/usage", self.get_usage, UsageQuery, {200: UserUsage}, NotFound),
            endpoint("GET", "/usage", self.summarize_usage, UsageSummaryQuery, {200: UsageSummaries}),
            endpoint("GET", "/usage.csv", self.export_usage, UsageExport, {200: CsvFile}),
        ]

    async def get_usage(self, request: web.Request, query: UsageQuery) -> web.Response:
        """Show the usage of an API user by hour or by day."""
        when = period(query.by, query.since, query.until)
        async with self._lanes.lookups.read() as connection:
            _, usage = await user_usage(connection, request.match_info["id"], when, within=admin_of(request).workspaces)
        return json_response(usage)

    async def summarize_usage(self, request: web.Request, query: UsageSummaryQuery) -> web.Response:
        """Show how many requests of some API users passed on each of the last 30 days."""
        ids = user_ids(query.ids)
        async with self._lanes.lookups.read() as connection:
            summaries = await summarize_usage(connection, ids, within=admin_of(request).workspaces)
        return json_response(summaries)

    async def export_usage(self, request: web.Request, query: UsageExport) -> web.StreamResponse:
        """Export the usage of all API users as a CSV file."""
        when = period(query.by, query.since, query.until)

        async def read(after: str | None) -> Page[UsageLine]:
            return await self._page(request, query, when, after)

        return await stream_csv(request, USAGE_CSV_HEADERS, read, usage_csv)

    async def _page(self, request: web.Request, query: UsageExport, when: Period, after: str | None) -> Page[UsageLine]:
        async with self._lanes.lists.read() as connection:
            within = await filtered_workspaces(connection, admin_of(request).workspaces, query.workspace)
            return await export_usage(connection, when, within=within, after=after, limit=_EXPORT_PAGE)
