"""Listing of API users with sorting, search and pagination."""

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
"""`-` means latest first. Users that were never active count as the least recent."""
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)
NEWEST_FIRST = query("pick_users_newest_first")
OLDEST_FIRST = query("pick_users_oldest_first")
BY_ACTIVITY = query("pick_users_by_activity")
SEARCH = query("search_users")
SEARCH_BY_ACTIVITY = query("search_users_by_activity")
MATCH = query("match_users")

SITES_LISTED: Final = 20
"""How many sites of each user a list contains. A single user is returned with all of them."""
NEAR: Final = 200
"""How many of the next users a search checks before it searches all users."""


class Picked(NamedTuple):
    """A user on a page with its sort value: the creation time, or a number that grows along the list."""

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
    """Return a page of API users whose name, person, site or key hint begins with `search`.

    Each has at most `sites_listed` of its sites (None: all). `after` is the `next` of the previous page. Raises Invalid
    if `after` does not belong to this list and order.
    """
    by_activity = sort.endswith("last_activity")
    list_key = (sort, bool(search))
    last = None if after is None else Picked(*read_cursor(after, *list_key, by_time=not by_activity))
    if search:
        picked = await _search(connection, within, search, sort, last, limit + 1)
    else:
        picked = await _pick(connection, within, sort, last, limit + 1)
    shown = picked[:limit]
    return Page(
        items=await describe_users(connection, [user.id for user in shown], within, sites_listed),
        next=write_cursor(shown[-1].sorted_by, shown[-1].id, *list_key) if len(picked) > limit else None,
    )


async def _pick(
    connection: Connection, within: WorkspaceLimit, sort: Sort, last: Picked | None, limit: int
) -> list[Picked]:
    """Return the next users without a search."""
    page = (workspace_names(within), limit, *(last or (None, None)))
    match sort:
        case "-created":
            rows = await connection.fetch(NEWEST_FIRST, *page)
        case "created":
            rows = await connection.fetch(OLDEST_FIRST, *page)
        case _:
            rows = await connection.fetch(BY_ACTIVITY, *page, _direction(sort))
    return [Picked(row["sorted_by"], row["id"]) for row in rows]


async def _search(
    connection: Connection, within: WorkspaceLimit, search: str, sort: Sort, last: Picked | None, limit: int
) -> list[Picked]:
    """Return the next users that match the search."""
    patterns = prefix_pattern(search), prefix_pattern(_hint_prefix(search)), prefix_pattern(fold_site(search))
    page = (workspace_names(within), limit, *(last or (None, None)), *patterns)
    if sort.endswith("last_activity"):
        rows = await connection.fetch(SEARCH_BY_ACTIVITY, *page, _direction(sort))
    else:
        # If many users match, as with a single letter, the next few users fill a page. With 100,000 users, that takes
        # 10 ms instead of the 300 ms of a search of all users.
        near = await _pick(connection, within, sort, last, NEAR)
        matching = {row["id"] for row in await connection.fetch(MATCH, [str(user.id) for user in near], *patterns)}
        found = [user for user in near if user.id in matching]
        if len(found) >= limit or len(near) < NEAR:
            return found[:limit]
        rows = await connection.fetch(SEARCH, *page, sort == "-created")
    return [Picked(row["sorted_by"], row["id"]) for row in rows]


def _direction(sort: Sort) -> float:
    """Return the factor by which the queries multiply the sort value, so that the first row has the lowest."""
    return -1.0 if sort.startswith("-") else 1.0


def _hint_prefix(search: str) -> str:
    """Return the part of a search that a key hint can contain. For a whole key, that is only its start."""
    shown = hint(PREFIX + "x" * 38).partition("…")[0]
    if search.startswith(PREFIX) and not search[len(shown) :].startswith("…"):
        return search[: len(shown)]
    return search
