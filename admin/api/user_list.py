"""The list of API users: sorted, searched, in pages."""

from datetime import datetime
from typing import Final, Literal, NamedTuple, get_args
from uuid import UUID

from admin.api.cursors import read_cursor, write_cursor
from admin.api.response_models import Page, User
from admin.api.users import describe_users
from admin.connections import Connection
from admin.identity.admins import WorkspaceLimit, workspace_names
from admin.text_rules import prefix_pattern
from proxy.decision.api_keys import PREFIX, hint
from proxy.decision.site_ids import fold_site
from sql.queries import query

Sort = Literal["-created", "created", "-last_activity", "last_activity"]
"""`-`: the latest first. Never active comes before every time."""
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)
NEWEST_FIRST = query("pick_users_newest_first")
OLDEST_FIRST = query("pick_users_oldest_first")
BY_ACTIVITY = query("pick_users_by_activity")
SEARCH = query("search_users")
SEARCH_BY_ACTIVITY = query("search_users_by_activity")
MATCH = query("match_users")

SITES_LISTED: Final = 20
"""How many sites of a user a list shows; the user alone is shown with all."""
NEAR: Final = 200
"""Among how many users a search looks first."""


class Picked(NamedTuple):
    """A user of a page, and what it is sorted by: when it was made, or a number that grows along the list."""

    sorted_by: datetime | float
    id: UUID


async def list_users(
    connection: Connection,
    *,
    within: WorkspaceLimit = None,
    search: str | None = None,
    sort: Sort = "-created",
    after: str | None = None,
    limit: int = 50,
    sites_listed: int | None = SITES_LISTED,
) -> Page[User]:
    """Return a page of API users whose name, person, site or key's hint begins with `search`,
    each with at most `sites_listed` of its sites (None: all).

    `after` is the `next` of the page before. Raises Invalid where it is not, or is of another sorting.
    """
    by_activity = sort.endswith("last_activity")
    made_for = (sort, bool(search))
    last = None if after is None else Picked(*read_cursor(after, *made_for, by_time=not by_activity))
    if search:
        picked = await _search(connection, within, search, sort, last, limit + 1)
    else:
        picked = await _pick(connection, within, sort, last, limit + 1)
    shown = picked[:limit]
    return Page(
        items=await describe_users(connection, [user.id for user in shown], within, sites_listed),
        next=write_cursor(shown[-1].sorted_by, shown[-1].id, *made_for) if len(picked) > limit else None,
    )


async def _pick(
    connection: Connection, within: WorkspaceLimit, sort: Sort, last: Picked | None, most: int
) -> list[Picked]:
    """Return the next users of the whole list."""
    page = (workspace_names(within), most, *(last or (None, None)))
    match sort:
        case "-created":
            rows = await connection.fetch(NEWEST_FIRST, *page)
        case "created":
            rows = await connection.fetch(OLDEST_FIRST, *page)
        case _:
            rows = await connection.fetch(BY_ACTIVITY, *page, _direction(sort))
    return [Picked(row["sorted_by"], row["id"]) for row in rows]


async def _search(
    connection: Connection, within: WorkspaceLimit, search: str, sort: Sort, last: Picked | None, most: int
) -> list[Picked]:
    """Return the next users that match."""
    patterns = prefix_pattern(search), prefix_pattern(_hinted(search)), prefix_pattern(fold_site(search))
    page = (workspace_names(within), most, *(last or (None, None)), *patterns)
    if sort.endswith("last_activity"):
        rows = await connection.fetch(SEARCH_BY_ACTIVITY, *page, _direction(sort))
    else:
        # What most users match (the first letter that somebody types) fills a page from among the next ones, without
        # finding all who match: 10 ms instead of 300 with 100,000 users.
        near = await _pick(connection, within, sort, last, NEAR)
        matching = {row["id"] for row in await connection.fetch(MATCH, [str(user.id) for user in near], *patterns)}
        found = [user for user in near if user.id in matching]
        if len(found) >= most or len(near) < NEAR:
            return found[:most]
        rows = await connection.fetch(SEARCH, *page, sort == "-created")
    return [Picked(row["sorted_by"], row["id"]) for row in rows]


def _direction(sort: Sort) -> float:
    """Return what the queries multiply by, so that what comes first is the least."""
    return -1.0 if sort.startswith("-") else 1.0


def _hinted(search: str) -> str:
    """Return what a search means among hints: of a key typed or pasted at length, only the start is in its hint."""
    shown = hint(PREFIX + "x" * 38).partition("…")[0]
    if search.startswith(PREFIX) and not search[len(shown) :].startswith("…"):
        return search[: len(shown)]
    return search
