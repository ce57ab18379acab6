"""Listing of API users with sorting, search and pagination.

A search must be fast no matter how many users match, and the planner cannot estimate how many do. So there are three
steps, and most searches need only the first or the first two:

1. The next NEAR users are checked one by one. If many users match, this step fills a page.
2. A search can match in three ways: by name, by hint and by site. For each way in which at least one in a
   hundred users matched, more users are checked, until they fill a page.
3. For the other ways, an index finds all users that match, and they are sorted.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, get_args
from uuid import UUID

from asyncpg import Record

from admin.api.cursors import read_cursor, write_cursor
from admin.api.response_models import Page, User, UserActivities, UserActivity
from admin.api.users import describe_users
from admin.api.workspaces import workspace_ids
from admin.connections import Connection
from admin.identity.admins import WorkspaceLimit
from admin.text_rules import has_words
from proxy.decision.api_keys import PREFIX, hint
from proxy.decision.site_ids import fold_site
from sql.queries import query

Sort = Literal["-created", "created", "-last_activity", "last_activity"]
"""`-` means latest first. Users that were never active count as the least recent."""
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)

SITES_LISTED: Final = 20
"""How many sites of each user a list contains. A single user is returned with all of them."""
NEAR: Final = 500
_WAYS = ("by_name", "by_hint", "by_site")
_MATCH = query("match_users")
_SEARCH = query("search_users")
LIST_ACTIVITY = query("list_activity")


class Picked(NamedTuple):
    """A user on a page, with the time by which the list is sorted. None: the user was never active."""

    sorted_by: datetime | None
    id: UUID


class Order(NamedTuple):
    """An order of the list: the query that picks a page, and the order in which it returns the users."""

    pick: str
    order_by: str
    descending: bool
    by_activity: bool

    @property
    def search(self) -> str:
        """The query that selects the users that match a search from those that `pick` returns."""
        return _MATCH.format(pick=self.pick, order_by=self.order_by)

    def sort(self, users: Iterable[Picked]) -> list[Picked]:
        """Return the users in this order, each once."""
        never = datetime.min.replace(tzinfo=UTC)
        return sorted(
            set(users),
            key=lambda user: (user.sorted_by is not None, user.sorted_by or never, user.id),
            reverse=self.descending,
        )


ORDERS: Final[dict[Sort, Order]] = {
    "-created": Order(query("pick_users_newest_first"), "sorted_by DESC, id DESC", True, False),
    "created": Order(query("pick_users_oldest_first"), "sorted_by, id", False, False),
    "-last_activity": Order(
        query("pick_users_most_recently_used_first"), "sorted_by DESC NULLS LAST, id DESC", True, True
    ),
    "last_activity": Order(query("pick_users_least_recently_used_first"), "sorted_by NULLS FIRST, id", False, True),
}


class Position(NamedTuple):
    """A place in a list: the ids of its workspaces (None: all), and the last user before the place."""

    workspaces: list[str] | None
    last: Picked | None

    def next(self, count: int) -> tuple[list[str] | None, int, datetime | None, UUID | None]:
        """Return the first four parameters of the queries, for the next `count` users."""
        return (self.workspaces, count, *(self.last or (None, None)))


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
    """Return a page of the API users that match `search`: each of its words must be the beginning of a word in the
    name and the authorizing person, in the hint of a key, or in one of the sites.

    Each has at most `sites_listed` of its sites (None: all). `after` is the `next` of the previous page. Raises Invalid
    if `after` does not belong to this list and order.
    """
    order = ORDERS[sort]
    sought = without_secret(search or "")
    is_search = has_words(sought)
    list_key = (sort, is_search)
    last = None if after is None else Picked(*read_cursor(after, *list_key, may_be_never=order.by_activity))
    position = Position(await workspace_ids(connection, within), last)
    if is_search:
        picked = await _search(connection, order, position, sought, limit + 1)
    else:
        picked = _picked(await connection.fetch(order.pick, *position.next(limit + 1)))
    shown = picked[:limit]
    return Page(
        items=await describe_users(connection, [user.id for user in shown], within, sites_listed),
        next=write_cursor(shown[-1].sorted_by, shown[-1].id, *list_key) if len(picked) > limit else None,
    )


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


async def _search(connection: Connection, order: Order, position: Position, search: str, limit: int) -> list[Picked]:
    """Return the next users that match the search."""
    texts = [search, fold_site(search)]
    workspaces = len(position.workspaces or (0,))
    size = max(NEAR // workspaces, limit)
    near = await connection.fetch(order.search, *position.next(size), texts, True, True, True, True, size)
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
        far = _picked(await connection.fetch(order.search, *position.next(enough), texts, *common, False, limit))
        if len(far) < limit:  # the users that match are further down the list
            common, far = [False] * len(_WAYS), []
    if all(common):
        return far
    rare = (not each for each in common)
    rows = await connection.fetch(_SEARCH, *position.next(limit), texts, *rare, order.descending, order.by_activity)
    return order.sort([*far, *_picked(rows)])[:limit]


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
