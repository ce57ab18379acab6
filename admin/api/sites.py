"""Sites: added, listed, renamed, removed. An id is unique in the whole installation, also after folding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from admin.api.audit import Change, write_audit
from admin.api.response_models import Page, Site, SiteWithUsers
from admin.api.similar_sites import fill_in_collations
from admin.api.site_collation import collate_site
from admin.api.site_id_rules import check_site_id
from admin.api.workspaces import CREATE_WORKSPACE, FIND_WORKSPACE, check_within, workspace_id
from admin.connections import Connection
from admin.identity.admins import Actor, WorkspaceLimit, workspace_names
from admin.problems import Conflict, Fault, Invalid, NotFound
from admin.text_rules import check_name, check_workspace, is_text, prefix_pattern
from proxy.decision.site_ids import fold_site
from sql.queries import query

LIST_SITES = query("list_sites")
FIND_SITE = query("find_site")
CREATE_SITES = query("create_sites")
SITES_BY_COLLATED = query("sites_by_collated")
RENAME_SITES = query("rename_sites")
LOCK_FOR_CHANGE = query("lock_sites_for_change")
COUNT_SITE_USERS = query("count_site_users")
DELETE_SITES = query("delete_sites")

MAX_FAULTS = 20
"""How many faults of one list are told at once."""


@dataclass(frozen=True, slots=True)
class NewSite:
    """A site to be added. `display_name` None: leave it as it is, or the id for a new one."""

    id: str
    display_name: str | None = None


@dataclass(frozen=True, slots=True)
class AddedSites:
    """What became of sites that were to be added."""

    created: tuple[str, ...]
    renamed: tuple[str, ...]
    unchanged: tuple[str, ...]


async def list_sites(
    connection: Connection,
    *,
    within: WorkspaceLimit = None,
    search: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Page[Site]:
    """Return sites by id, whose id or display name begins with `search`; `after` is the page before's last id."""
    by_id = by_name = None
    if search:
        by_id, by_name = prefix_pattern(fold_site(search)), prefix_pattern(search)
    rows = await connection.fetch(LIST_SITES, workspace_names(within), by_id, by_name, after, limit + 1)
    items = [Site.model_validate(dict(row)) for row in rows[:limit]]
    return Page(items=items, next=items[-1].id if len(rows) > limit else None)


async def get_site(connection: Connection, site_id: str, *, within: WorkspaceLimit = None) -> SiteWithUsers:
    """Return one site and the number of API users that were given it by name. Raises NotFound."""
    row = await connection.fetchrow(FIND_SITE, site_id, workspace_names(within)) if is_text(site_id) else None
    if row is None:
        raise NotFound(f'There is no site "{site_id}".')
    return SiteWithUsers.model_validate(dict(row))


async def add_sites(
    connection: Connection,
    *,
    workspace: str,
    sites: Sequence[NewSite],
    by: Actor,
    create_workspace: bool = False,
) -> AddedSites:
    """Add sites to a workspace; one that is there already is no error, and takes the display name if one is given.

    Raises Invalid or Forbidden, and Conflict where an id belongs to another workspace, or where some data service takes
    it for another site's id (collation.py). All are added, or none. The faults' places begin with the site's place in
    `sites`.
    """
    by_folded = _by_folded(sites)
    collated = {folded: collate_site(site.id) for folded, (_, site) in by_folded.items()}
    async with connection.transaction():
        await fill_in_collations(connection)
        if create_workspace:
            await _ensure_workspace(connection, workspace, by)
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
        there: dict[str, list[asyncpg.Record]] = {}
        for row in await connection.fetch(SITES_BY_COLLATED, list(set(collated.values()))):
            there.setdefault(row["collated"], []).append(row)
        faults = []
        renamed: dict[str, str] = {}
        changes = []
        for folded, (place, site) in by_folded.items():
            alike = there.get(collated[folded], [])
            same = next((row for row in alike if row["folded"] == folded), None)
            if not alike:  # removed by somebody else in this moment
                raise Conflict(f'"{site.id}" was changed at the same time. Try again.')
            if same is None or same["id"] != site.id or same["workspace"] != workspace:
                faults.append(Fault((place, "id"), _taken(site.id, same, alike, workspace, by.within)))
            elif site.id in created:
                changes.append(Change(workspace, site.id, {"display_name": same["display_name"]}))
            elif site.display_name is not None and site.display_name != same["display_name"]:
                renamed[site.id] = site.display_name
        if faults:
            raise Conflict(sentence(faults), tuple(faults[:MAX_FAULTS]))
        if changes:
            await write_audit(connection, by, "site.created", changes)
        if renamed and await _rename(connection, workspace, renamed, by) < len(renamed):
            raise Conflict("Some of the sites were changed at the same time. Try again.")
    ids = [site.id for _, site in by_folded.values()]
    return AddedSites(
        created=tuple(site for site in ids if site in created),
        renamed=tuple(renamed),
        unchanged=tuple(site for site in ids if site not in created and site not in renamed),
    )


async def rename_site(connection: Connection, site_id: str, display_name: str, *, by: Actor) -> SiteWithUsers:
    """Give a site another display name. Raises Invalid, and NotFound: it makes no site, as adding one would."""
    display_name = check_name(display_name, "display_name")
    async with connection.transaction():
        site = await get_site(connection, site_id, within=by.within)
        if display_name != site.display_name:
            await _rename(connection, site.workspace, {site_id: display_name}, by)
        return await get_site(connection, site_id, within=by.within)


async def remove_sites(connection: Connection, sites: Sequence[str], *, by: Actor) -> None:
    """Remove sites, for good, with every authorisation for them. Raises NotFound: all are removed, or none."""
    wanted = set(sites)
    async with connection.transaction():
        # Who gives one of them to a user meanwhile waits, or is counted.
        texts = [site for site in wanted if is_text(site)]
        there = [row["id"] for row in await connection.fetch(LOCK_FOR_CHANGE, texts, workspace_names(by.within))]
        if missing := sorted(wanted.difference(there)):
            raise NotFound("\n".join(f'There is no site "{site}".' for site in missing[:MAX_FAULTS]))
        users = {row["site_id"]: row["user_count"] for row in await connection.fetch(COUNT_SITE_USERS, there)}
        rows = await connection.fetch(DELETE_SITES, there)
        await write_audit(
            connection,
            by,
            "site.removed",
            [
                Change(
                    row["workspace"],
                    row["id"],
                    {"display_name": row["display_name"], "user_count": users.get(row["id"], 0)},
                )
                for row in rows
            ],
        )


def _by_folded(sites: Sequence[NewSite]) -> dict[str, tuple[int, NewSite]]:
    """Return the sites by their folded ids, each with its place in the list. Raises Invalid for all that are wrong."""
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
                raise Invalid.at(
                    place, "id", detail=f'"{first.id}" and "{site.id}" are the same to some data services.'
                )
        except Invalid as problem:
            faults += problem.faults
    if faults:
        raise Invalid(sentence(faults), tuple(faults[:MAX_FAULTS]))
    return by_folded


def _taken(
    site_id: str, same: asyncpg.Record | None, alike: Sequence[asyncpg.Record], workspace: str, within: WorkspaceLimit
) -> str:
    """Say why a new site cannot have this id. `same` has the same folded id, `alike` the same collated one.

    A site of a workspace that the admin may not see is not named.
    """

    def known(row: asyncpg.Record) -> bool:
        return within is None or row["workspace"] in within

    if same is not None and same["workspace"] != workspace:
        whose = f'the workspace "{same["workspace"]}"' if known(same) else "another workspace"
        return f'"{site_id}" belongs to {whose}. Ids are unique everywhere.'
    other = same or min(alike, key=lambda row: (row["workspace"] != workspace, not known(row)))
    if other["workspace"] == workspace:
        return f'"{site_id}" and the site "{other["id"]}" are the same to some data services.'
    if known(other):
        whose = f'the site "{other["id"]}" of the workspace "{other["workspace"]}"'
        return f'"{site_id}" and {whose} are the same to some data services. Ids are unique everywhere.'
    return (
        f'"{site_id}" is taken: some data services cannot tell it from the id of a site in another workspace, '
        "because they ignore case, accents or spaces. Ids are unique everywhere."
    )


async def _ensure_workspace(connection: Connection, name: str, by: Actor) -> None:
    check_workspace(name, "workspace")
    check_within(name, by.within)
    if await connection.fetchval(FIND_WORKSPACE, name) is not None:
        return
    if await connection.fetchrow(CREATE_WORKSPACE, name) is not None:
        await write_audit(connection, by, "workspace.created", [Change(name, name)])


def sentence(faults: Sequence[Fault]) -> str:
    """Return the sentence for several faults, the first of them told."""
    more = len(faults) - MAX_FAULTS
    told = "\n".join(fault.detail for fault in faults[:MAX_FAULTS])
    return f"{told}\nAnd {more} more." if more > 0 else told


async def _rename(connection: Connection, workspace: str, renamed: Mapping[str, str], by: Actor) -> int:
    """Give sites of a workspace these names, and note what they were called before. Return how many are still there."""
    rows = await connection.fetch(RENAME_SITES, list(renamed), list(renamed.values()), workspace)
    changes = [Change(workspace, row["id"], {"from": row["before"], "to": renamed[row["id"]]}) for row in rows]
    await write_audit(connection, by, "site.renamed", changes)
    return len(rows)
