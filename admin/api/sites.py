"""Operations on sites: list, rename and remove. The module `site_creation` adds them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from admin.api.audit import Change, write_audit
from admin.api.response_models import Count, FoundSites, MissingSite, Page, Site, SiteWithUsers, User
from admin.api.users import describe_users
from admin.api.workspaces import check_within, known_workspaces, not_found, workspace_ids
from admin.connections import Connection
from admin.identity.admins import Actor, WorkspaceLimit, workspace_names
from admin.problems import MAX_FAULTS, Conflict, Invalid, NotFound
from admin.text_rules import check_name, has_words, is_text
from proxy.decision.site_ids import fold_site
from sql.queries import query

LIST_SITES = query("list_sites")
COUNT_SITES = query("count_sites")
FIND_SITE = query("find_site")
RENAME_SITES = query("rename_sites")
SITES_AMONG = query("sites_among")
SITES_FOLDED_LIKE = query("sites_folded_like")
LOCK_FOR_CHANGE = query("lock_sites_for_change")
COUNT_SITE_USERS = query("count_site_users")
DESCRIBE_REMOVAL = query("describe_removal")
DELETE_SITES = query("delete_sites")

MAX_COUNT = 10_000
"""Counting stops here, because counting a million sites would take seconds."""


async def list_sites(
    connection: Connection,
    *,
    within: WorkspaceLimit = None,
    search: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Page[Site]:
    """Return a page of sites, sorted by id. `after` is the last id on the previous page.

    With `search`, each of its words must be the beginning of a word of the id or the display name.
    """
    rows = await connection.fetch(LIST_SITES, await workspace_ids(connection, within), _texts(search), after, limit + 1)
    items = [Site.model_validate(dict(row)) for row in rows]
    return Page[Site].of(items, limit, lambda site: site.id)


async def count_sites(
    connection: Connection, *, within: WorkspaceLimit = None, search: str | None = None, most: int = MAX_COUNT
) -> Count:
    """Count the sites that `list_sites` returns on all its pages, up to `most`."""
    found = await connection.fetchval(COUNT_SITES, await workspace_ids(connection, within), _texts(search), most + 1)
    return Count(count=min(found, most), more=found > most)


def _texts(search: str | None) -> list[str] | None:
    """Return the texts to search for: as entered, and folded like site ids. None if there are no words."""
    return [search, fold_site(search)] if search and has_words(search) else None


async def get_site(connection: Connection, site_id: str, *, within: WorkspaceLimit = None) -> SiteWithUsers:
    """Return one site with the number of API users that have selected it. Raises NotFound."""
    row = await connection.fetchrow(FIND_SITE, site_id, workspace_names(within)) if is_text(site_id) else None
    if row is None:
        raise NotFound(_not_found(site_id))
    return SiteWithUsers.model_validate(dict(row))


async def look_up_sites(
    connection: Connection, *, workspace: str, ids: Sequence[str], within: WorkspaceLimit = None
) -> FoundSites:
    """Find the sites of a workspace among `ids`, for example a pasted list. Raises Invalid and Forbidden.

    The result does not reveal whether another workspace has a missing site.
    """
    check_within(workspace, within)
    # Unlike workspace_id, this locks nothing, because a list of ids only reads.
    owners = await workspace_ids(connection, frozenset({workspace}))
    if not owners:
        detail = f"{not_found(workspace)} {await known_workspaces(connection, within)}".rstrip()
        raise Invalid.at("workspace", detail=detail)
    owner = int(owners[0])
    wanted = list(dict.fromkeys(ids))
    owned = {row["id"] for row in await connection.fetch(SITES_AMONG, owner, wanted)}
    missing = [site for site in wanted if site not in owned]
    similar = await spellings(connection, owner, missing)
    return FoundSites(
        found=[site for site in wanted if site in owned],
        missing=[MissingSite(id=site, similar=similar.get(site)) for site in missing],
    )


async def spellings(connection: Connection, workspace: int, missing: Sequence[str]) -> dict[str, str]:
    """Map each missing id that is another spelling of a site of the workspace, such as `Shop`, to that site."""
    folded = {site: fold_site(site) for site in missing}
    rows = await connection.fetch(SITES_FOLDED_LIKE, workspace, list(folded.values())) if folded else []
    spelled = {row["folded"]: row["id"] for row in rows}
    return {site: spelled[key] for site, key in folded.items() if key in spelled}


async def rename_site(connection: Connection, site_id: str, display_name: str, *, by: Actor) -> SiteWithUsers:
    """Change the display name of an existing site. Raises Invalid and NotFound."""
    display_name = check_name(display_name, "display_name")
    async with connection.transaction():
        site = await get_site(connection, site_id, within=by.within)
        if display_name != site.display_name:
            await rename_sites(connection, site.workspace, {site_id: display_name}, by)
        return await get_site(connection, site_id, within=by.within)


@dataclass(frozen=True, slots=True)
class Removal:
    """The API users that lose access if a site is removed."""

    site: str
    workspace: str
    user_count: int
    users: list[User]
    """The first API users that have selected the site."""
    all_sites_count: int
    """How many API users have access to all sites of the workspace."""


async def describe_removal(connection: Connection, sites: Collection[str], users: int) -> list[Removal]:
    """Return who would lose access to these sites, with the first `users` API users of each. Raises NotFound."""
    rows = await connection.fetch(DESCRIBE_REMOVAL, list(filter(is_text, sites)), users)
    _require(sites, [row["id"] for row in rows])
    return [
        Removal(
            row["id"],
            row["workspace"],
            row["user_count"],
            await describe_users(connection, row["users"], None, 0),
            row["all_sites_count"],
        )
        for row in rows
    ]


def _require(wanted: Collection[str], found: Collection[str]) -> None:
    """Raise NotFound unless all sites that are wanted were found."""
    if missing := sorted(set(wanted).difference(found)):
        raise NotFound("\n".join(map(_not_found, missing[:MAX_FAULTS])))


async def remove_sites(connection: Connection, sites: Sequence[str], *, by: Actor) -> None:
    """Remove sites and every authorization for them permanently: all or none. Raises NotFound."""
    wanted = set(sites)
    async with connection.transaction():
        # The lock makes a concurrent authorization for one of them wait; earlier ones are counted.
        texts = [site for site in wanted if is_text(site)]
        locked = [row["id"] for row in await connection.fetch(LOCK_FOR_CHANGE, texts, workspace_names(by.within))]
        _require(wanted, locked)
        users = {row["site_id"]: row["user_count"] for row in await connection.fetch(COUNT_SITE_USERS, locked)}
        rows = await connection.fetch(DELETE_SITES, locked)
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


def changed_concurrently(site_id: str) -> Conflict:
    """Return the problem for a site that another request changed or removed in the meantime."""
    return Conflict(f'Another request changed "{site_id}" at the same time. Try again.')


def _not_found(site_id: str) -> str:
    return f'The site "{site_id}" does not exist.'


async def rename_sites(connection: Connection, workspace: str, renamed: Mapping[str, str], by: Actor) -> int:
    """Rename sites and record the previous names in the audit log. Return how many of the sites still exist."""
    rows = await connection.fetch(RENAME_SITES, list(renamed), list(renamed.values()), workspace)
    changes = [Change(workspace, row["id"], {"from": row["before"], "to": renamed[row["id"]]}) for row in rows]
    await write_audit(connection, by, "site.renamed", changes)
    return len(rows)
