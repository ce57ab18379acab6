"""Import of a list of sites. A dry run only reports what would change."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import asyncpg

from admin.api.similar_sites import fill_in_collations
from admin.api.site_creation import SITES_BY_COLLATED, NewSite, add_sites, why_taken
from admin.api.site_file import LineFault, ListedSite, SiteFile
from admin.api.workspaces import check_within, known_workspaces, not_found, unknown_workspaces
from admin.connections import Connection
from admin.identity.admins import Actor
from admin.problems import Conflict, Forbidden
from proxy.decision.site_ids import fold_site

_BATCH: Final = 1000
"""How many sites are looked up or added at a time. Each batch blocks the event loop for about 20 ms."""

Outcome = Literal["new", "renamed", "unchanged"]


class SiteChange(NamedTuple):
    """What an import does with a site. `previous_name` is None for a new site."""

    site: ListedSite
    outcome: Outcome
    display_name: str
    previous_name: str | None


@dataclass(frozen=True, slots=True)
class SiteImport:
    """The result of an import. If there are faults, it changed nothing."""

    changes: tuple[SiteChange, ...]
    """The changes, or the changes that the lines without faults would make."""
    new_workspaces: tuple[str, ...]
    """The workspaces of the file that did not exist."""
    faults: tuple[LineFault, ...]
    """All faults of the file, in the order of the lines."""
    are_workspaces_missing: bool
    """Whether missing workspaces are among the faults."""
    known_workspaces: str
    """If they are, a sentence that names the known ones, unless there are many."""

    def ids(self, outcome: Outcome) -> list[str]:
        """Return the sites with this outcome."""
        return [change.site.id for change in self.changes if change.outcome == outcome]


async def import_sites(
    connection: Connection, file: SiteFile, *, by: Actor, create_workspaces: bool = False, dry_run: bool = False
) -> SiteImport:
    """Add and rename the sites of a file: all of them, or none if there are faults or it is a dry run.

    Creates missing workspaces with `create_workspaces`; otherwise they are faults. Raises Conflict if another request
    changes the same sites at the same time.
    """
    async with connection.transaction():
        plan = await _plan(connection, file, by, create_workspaces)
        if not plan.faults and not dry_run:
            await _carry_out(connection, plan.changes, by, create_workspaces)
    return plan


async def _plan(connection: Connection, file: SiteFile, by: Actor, create_workspaces: bool) -> SiteImport:
    """Compare a file with the database."""
    await fill_in_collations(connection)
    workspaces = {site.workspace for site in file.sites}
    forbidden = dict(_forbidden(workspaces, by))
    unknown = await unknown_workspaces(connection, workspaces.difference(forbidden), by.within)
    refused = {} if create_workspaces else {name: not_found(name) for name in unknown}
    changes: list[SiteChange] = []
    faults = list(file.faults)
    for start in range(0, len(file.sites), _BATCH):
        batch = file.sites[start : start + _BATCH]
        existing = await _existing(connection, [site.collated for site in batch if site.workspace not in forbidden])
        for site in batch:
            if fault := forbidden.get(site.workspace):
                faults.append(LineFault(site.line, fault, Forbidden))
                continue
            if fault := refused.get(site.workspace):
                faults.append(LineFault(site.line, fault))
            similar = existing.get(site.collated, [])
            if taken := why_taken(site.id, similar, site.workspace, by.within):
                faults.append(LineFault(site.line, taken, Conflict))
            else:
                changes.append(_change(site, next((row for row in similar if row["id"] == site.id), None)))
    return SiteImport(
        tuple(changes),
        tuple(sorted(unknown)),
        await asyncio.to_thread(_by_line, faults),
        bool(refused),
        await known_workspaces(connection, by.within) if refused else "",
    )


async def _existing(connection: Connection, collated: Sequence[str]) -> dict[str, list[asyncpg.Record]]:
    """Return the sites with these collated ids, keyed by collated id."""
    existing: dict[str, list[asyncpg.Record]] = {}
    for row in await connection.fetch(SITES_BY_COLLATED, collated):
        existing.setdefault(row["collated"], []).append(row)
    return existing


def _by_line(faults: Sequence[LineFault]) -> tuple[LineFault, ...]:
    return tuple(sorted(faults, key=lambda fault: fault.line or 0))


def _forbidden(workspaces: Iterable[str], by: Actor) -> Iterator[tuple[str, str]]:
    """Yield the workspaces that the admin may not change, each with a sentence."""
    for name in workspaces:
        try:
            check_within(name, by.within)
        except Forbidden as problem:
            yield name, problem.detail


def _change(site: ListedSite, existing: asyncpg.Record | None) -> SiteChange:
    if existing is None:
        return SiteChange(site, "new", site.display_name or site.id, None)
    before = existing["display_name"]
    name = site.display_name or before
    return SiteChange(site, "unchanged" if name == before else "renamed", name, before)


async def _carry_out(connection: Connection, changes: Sequence[SiteChange], by: Actor, create_workspaces: bool) -> None:
    for workspace, sites in (await asyncio.to_thread(_sorted, changes)).items():
        for start in range(0, len(sites), _BATCH):
            batch = sites[start : start + _BATCH]
            try:
                await add_sites(connection, workspace=workspace, sites=batch, by=by, create_workspace=create_workspaces)
            except Conflict as problem:
                raise Conflict(problem.detail) from None  # its faults name places in the batch


def _sorted(changes: Sequence[SiteChange]) -> dict[str, list[NewSite]]:
    """Return the sites that change, by workspace.

    All imports sort them in the order of the query create_sites, so that concurrent ones take their locks in the same
    order and cannot deadlock.
    """
    by_workspace: dict[str, list[ListedSite]] = {}
    for change in changes:
        if change.outcome != "unchanged":
            by_workspace.setdefault(change.site.workspace, []).append(change.site)
    return {
        name: [
            NewSite(site.id, site.display_name)
            for site in sorted(sites, key=lambda site: (site.collated, fold_site(site.id)))
        ]
        for name, sites in sorted(by_workspace.items())
    }
