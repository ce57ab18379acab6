"""Listing of API users with sorting, search, filters and pagination.

A search or a filter must be fast no matter how many users match, and the planner cannot estimate how many do. So there
are three steps, and most searches need only the first or the first two:

1. The next NEAR users are checked one by one. If many users match, this step fills a page.
2. A search can match in three ways: by name, by hint and by site. For each way in which at least one in a
   hundred users matched, more users are checked, until they fill a page.
3. For the other ways, an index finds all users that match, and they are sorted.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from asyncpg import Record

from admin.api.cursors import read_cursor, write_cursor
from admin.api.response_models import Count, Page, User, UserActivities, UserActivity
from admin.api.user_order import BY_LAST_USE, FILTERS, ORDERS, Order, Picked, Sort
from admin.api.users import describe_users
from admin.api.workspaces import workspace_ids
from admin.connections import Connection
from admin.identity.admins import WorkspaceLimit
from admin.text_rules import has_words
from proxy.decision.api_keys import PREFIX, hint
from proxy.decision.site_ids import fold_site
from sql.queries import query

SITES_LISTED: Final = 20
"""How many sites of each user a list contains. A single user is returned with all of them."""
COUNTED: Final = 10_000
"""The highest number of users that is counted exactly."""
NEAR: Final = 500
_READ_TO_COUNT: Final = 10 * COUNTED
"""How many hints and authorizations for sites are read to count the users that match, unless that is too few."""
_WAYS = ("by_name", "by_hint", "by_site")
_COUNT_ALL = query("count_users")
_PASSES = query("passes_filters")
_COUNT = query("count_matching_users")
LIST_ACTIVITY = query("list_activity")


class Filters(NamedTuple):
    """The users that a list contains."""

    never_used: bool = False
    """Only those whose key was never used."""
    unused_days: int | None = None
    """Only those that were created, and last used, more than this many days ago."""
    authorized_by: str | None = None
    """Only those that the person with this email address authorized. Case is ignored."""

    def values(self) -> tuple[bool, int | None, str | None]:
        """Return the three parameters of the queries."""
        by = self.authorized_by
        return self.never_used, self.unused_days, None if by is None else by.lower()


NO_FILTERS: Final = Filters()


class Position(NamedTuple):
    """A place in a list: the ids of its workspaces (None: all), and the last user before the place."""

    workspaces: list[str] | None
    last: Picked | None

    def next(self, count: int) -> tuple[list[str] | None, int, object, UUID | None]:
        """Return the first four parameters of the queries, for the next `count` users."""
        return (self.workspaces, count, *(self.last or (None, None)))


async def list_users(
    connection: Connection,
    *,
    within: WorkspaceLimit = None,
    search: str | None = None,
    filters: Filters = NO_FILTERS,
    sort: Sort = "-created",
    after: str | None = None,
    limit: int = 50,
    sites_listed: int | None = SITES_LISTED,
) -> Page[User]:
    """Return a page of the API users that pass the filters and match `search`: each of its words must be the beginning
    of a word in the name and the authorizing person, in the hint of a key, or in one of the sites.

    Each has at most `sites_listed` of its sites (None: all). `after` is the `next` of the previous page. Raises Invalid
    if `after` does not belong to this list and order.
    """
    order = ORDERS[sort]
    sought = _sought(search)
    list_key = (sort, sought is not None)
    last = None if after is None else Picked(*read_cursor(after, *list_key, kind=order.type, nullable=order.nullable))
    position = Position(await workspace_ids(connection, within), last)
    if sought is None and filters == NO_FILTERS:
        picked = _picked(await connection.fetch(order.pick, *position.next(limit + 1)))
    else:
        picked = await _search(connection, order, position, filters, sought, limit + 1)
    shown = picked[:limit]
    return Page(
        items=await describe_users(connection, [user.id for user in shown], within, sites_listed),
        next=write_cursor(shown[-1].sorted_by, shown[-1].id, *list_key) if len(picked) > limit else None,
    )


async def count_users(
    connection: Connection,
    *,
    within: WorkspaceLimit = None,
    search: str | None = None,
    filters: Filters = NO_FILTERS,
) -> Count:
    """Return how many API users `list_users` lists in all, up to COUNTED."""
    sought = _sought(search)
    workspaces = await workspace_ids(connection, within)
    if sought is None and filters == NO_FILTERS:
        found: int = await connection.fetchval(_COUNT_ALL, workspaces, COUNTED + 1)
    else:
        statement = _counting(filters, limited=workspaces is not None)
        for read in (_READ_TO_COUNT, None):
            [row] = await connection.fetch(statement, workspaces, COUNTED + 1, sought, read, *filters.values())
            found = row["count"]
            if not row["partial"] or found > COUNTED:
                break
    return Count(count=min(found, COUNTED), more=found > COUNTED)


async def list_activity(
    connection: Connection, user_ids: Sequence[UUID], *, within: WorkspaceLimit = None
) -> UserActivities:
    """Return the last activity of these users. Those that do not exist are left out."""
    rows = await connection.fetch(
        LIST_ACTIVITY, [str(user_id) for user_id in user_ids], await workspace_ids(connection, within)
    )
    return UserActivities(
        items=[UserActivity(id=str(row["user_id"]), last_activity=row["last_used_at"]) for row in rows]
    )


async def _search(
    connection: Connection, order: Order, position: Position, filters: Filters, texts: list[str] | None, limit: int
) -> list[Picked]:
    """Return the next users that pass the filters and match one of the texts. Without texts, all match by name."""
    parameters = (*filters.values(), texts)
    match = order.match_never_used if filters.never_used else order.match
    wanted = (True, texts is not None, texts is not None)
    workspaces = len(position.workspaces or (0,))
    size = max(NEAR // workspaces, limit)
    near = await connection.fetch(match, *position.next(size), *parameters, *wanted, True, size)
    found = _picked(row for row in near if any(row[way] for way in _WAYS))
    if len(found) >= limit or len(near) < size:
        return found[:limit]
    # The values are null if the database, unlike Python, sees no words in the search.
    matches = [sum(row[way] is True for row in near) for way in _WAYS]
    common = [count * 100 >= size for count in matches]
    far: list[Picked] = []
    if any(common):
        # Twice as many users as it takes to fill the page if the share of matches stays the same.
        enough = 2 * limit * size // min(count for count, is_common in zip(matches, common, strict=True) if is_common)
        far = _picked(await connection.fetch(match, *position.next(enough), *parameters, *common, False, limit))
        if len(far) < limit:  # the users that match are further down the list
            common, far = [False] * len(_WAYS), []
    rare = [way and not is_common for way, is_common in zip(wanted, common, strict=True)]
    if not any(rare):
        return far
    rows = await connection.fetch(order.search, *position.next(limit), *parameters, *rare)
    return order.sort([*far, *_picked(rows)])[:limit]


def _counting(filters: Filters, *, limited: bool) -> str:
    """Return the query that counts the users that match, which looks users up only if it must."""
    by_use = filters.never_used or filters.unused_days is not None
    by_person = filters.authorized_by is not None

    def passes(needed: bool, user_id: str) -> str:
        return _PASSES.format(id=user_id, by_last_use=BY_LAST_USE) if needed else ""

    return _COUNT.format(
        **FILTERS,
        user_passes=passes(by_use or (by_person and limited), "u.id"),
        key_passes=passes(limited or by_use or by_person, "k.user_id"),
        authorization_passes=passes(by_use or by_person, "m.user_id"),
    )


def _sought(search: str | None) -> list[str] | None:
    """Return the texts to search for, or None if the search contains no words."""
    text = without_secret(search or "")
    return [text, fold_site(text)] if has_words(text) else None


def _picked(rows: Iterable[Record]) -> list[Picked]:
    return [Picked(row["sorted_by"], row["id"]) for row in rows]


def without_secret(search: str) -> str:
    """Return a search without the prefix that all hints share, and without text that no hint contains.

    The database may log the parameters of queries, so no query gets a whole key.
    """
    shown = hint(PREFIX + "x" * 38).partition("…")[0]
    if search.startswith(PREFIX) and not search[len(shown) :].startswith(("…", "...")):
        search = search[: len(shown)]
    return search.removeprefix(PREFIX)
