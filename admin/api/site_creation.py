"""Adding sites to workspaces. Ids are unique across workspaces, even after folding."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from admin.api.audit import Change, write_audit
from admin.api.similar_sites import fill_in_collations
from admin.api.site_collation import collate_site
from admin.api.site_id_rules import check_site_id
from admin.api.sites import changed_concurrently, rename_sites
from admin.api.workspaces import ensure_workspace, workspace_id
from admin.connections import Connection
from admin.identity.admins import Actor, WorkspaceLimit
from admin.problems import Conflict, Fault, Invalid
from admin.text_rules import check_name
from proxy.decision.site_ids import fold_site
from sql.queries import query

CREATE_SITES = query("create_sites")
SITES_BY_COLLATED = query("sites_by_collated")


@dataclass(frozen=True, slots=True)
class NewSite:
    """A site to add. Without a `display_name`, an existing site keeps its name, and a new one is named by its id."""

    id: str
    display_name: str | None = None


@dataclass(frozen=True, slots=True)
class AddedSites:
    """The result of `add_sites`."""

    created: tuple[str, ...]
    renamed: tuple[str, ...]
    unchanged: tuple[str, ...]


async def add_sites(
    connection: Connection,
    *,
    workspace: str,
    sites: Sequence[NewSite],
    by: Actor,
    create_workspace: bool = False,
) -> AddedSites:
    """Add sites to a workspace: all or none. A site that exists is not an error, and takes the given display name.

    Raises Invalid and Forbidden, and Conflict if an id belongs to another workspace or is similar to another site's
    (`site_collation`). The places of the faults begin with the index in `sites`.
    """
    by_folded = _by_folded(sites)
    collated = {folded: collate_site(site.id) for folded, (_, site) in by_folded.items()}
    async with connection.transaction():
        await fill_in_collations(connection)
        if create_workspace:
            await ensure_workspace(connection, workspace, by)
        owner = await workspace_id(connection, workspace, by.within)
        created = {
            row["id"]
            for row in await connection.fetch(
                CREATE_SITES,
                owner,
                [site.id for _, site in by_folded.values()],
                list(by_folded),
                list(collated.values()),
                [site.display_name or site.id for _, site in by_folded.values()],
            )
        }
        existing: dict[str, list[asyncpg.Record]] = {}
        for row in await connection.fetch(SITES_BY_COLLATED, list(set(collated.values()))):
            existing.setdefault(row["collated"], []).append(row)
        faults = []
        renamed: dict[str, str] = {}
        changes = []
        for folded, (place, site) in by_folded.items():
            similar = existing.get(collated[folded], [])
            if not similar:  # removed concurrently
                raise changed_concurrently(site.id)
            if fault := why_taken(site.id, similar, workspace, by.within):
                faults.append(Fault((place, "id"), fault))
                continue
            same = next(row for row in similar if row["id"] == site.id)
            if site.id in created:
                changes.append(Change(workspace, site.id, {"display_name": same["display_name"]}))
            elif site.display_name is not None and site.display_name != same["display_name"]:
                renamed[site.id] = site.display_name
        if faults:
            raise Conflict.of(faults)
        if changes:
            await write_audit(connection, by, "site.created", changes)
        if renamed and await rename_sites(connection, workspace, renamed, by) < len(renamed):
            raise Conflict("Another request changed some of these sites at the same time. Try again.")
    ids = [site.id for _, site in by_folded.values()]
    return AddedSites(
        created=tuple(site for site in ids if site in created),
        renamed=tuple(renamed),
        unchanged=tuple(site for site in ids if site not in created and site not in renamed),
    )


def _by_folded(sites: Sequence[NewSite]) -> dict[str, tuple[int, NewSite]]:
    """Return the sites, keyed by folded id, each with its index. Raises Invalid with all faults."""
    by_folded: dict[str, tuple[int, NewSite]] = {}
    faults: list[Fault] = []
    for place, site in enumerate(sites):
        try:
            folded = check_site_id(site.id, place, "id")
            name = site.display_name
            if name is not None:
                name = check_name(name, place, "display_name")
            first = by_folded.setdefault(folded, (place, NewSite(site.id, name)))[1]
            if first.id != site.id:
                raise Invalid.at(place, "id", detail=f'Some data services treat "{first.id}" and "{site.id}" as equal.')
        except Invalid as problem:
            faults += problem.faults
    if faults:
        raise Invalid.of(faults)
    return by_folded


def why_taken(site_id: str, similar: Sequence[asyncpg.Record], workspace: str, within: WorkspaceLimit) -> str | None:
    """Return why a site of the workspace cannot have this id, or None. `similar` are all sites with its collated id.

    Sites in workspaces that the admin may not see are not named.
    """
    folded = fold_site(site_id)
    same = next((row for row in similar if row["folded"] == folded), None)
    if not similar or (same is not None and same["id"] == site_id and same["workspace"] == workspace):
        return None

    def is_visible(row: asyncpg.Record) -> bool:
        return within is None or row["workspace"] in within

    if same is not None and same["workspace"] != workspace:
        owner = f'the workspace "{same["workspace"]}"' if is_visible(same) else "another workspace"
        return f'"{site_id}" belongs to {owner}. Site ids are unique across workspaces.'
    other = same or min(similar, key=lambda row: (row["workspace"] != workspace, not is_visible(row)))
    if other["workspace"] == workspace:
        return f'Some data services treat "{site_id}" and the site "{other["id"]}" as equal.'
    if is_visible(other):
        owned = f'the site "{other["id"]}" of the workspace "{other["workspace"]}"'
        return f'Some data services treat "{site_id}" and {owned} as equal. Site ids are unique across workspaces.'
    return (
        f'"{site_id}" is taken: a site in another workspace has an id that some data services treat as equal to this '
        "one, because they ignore case, accents or spaces. Site ids are unique across workspaces."
    )
