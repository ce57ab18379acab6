"""The orders of the list of API users, and the queries that read a page in each of them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, get_args
from uuid import UUID

from sql.queries import query

Sort = Literal[
    "-created", "created", "-last_activity", "last_activity", "name", "-name", "authorized_by", "-authorized_by"
]
"""`-` means latest or last first. Users that were never active count as the least recent. Users without a name come
last in both orders."""
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)

SortValue = datetime | str | None
"""The value by which a user is sorted. None: the user was never active, or has no name."""

FILTERS: Final = {
    "old": f" {query('created_long_ago')}",
    "used": f" {query('used_long_ago')}",
    "never_used": f" {query('never_used_since_long_ago')}",
}
"""The parts of queries that apply filters."""
BY_LAST_USE: Final = query("by_last_use").format(**FILTERS)
FIND: Final = query("find_users").format(**FILTERS)


class Picked(NamedTuple):
    """A user on a page, with the value by which the list is sorted."""

    sorted_by: SortValue
    id: UUID


class Order(NamedTuple):
    """An order of the list, and its queries."""

    pick: str
    """Returns the next users."""
    match: str
    """Returns those of the next users that match a search and pass the filters."""
    match_never_used: str
    """The same if only users that were never used pass the filters."""
    search: str
    """Returns the next of all users that match a search and pass the filters, found through indexes."""
    type: type[datetime | str]
    descending: bool
    nulls_last: bool
    nullable: bool

    def sort(self, users: Iterable[Picked]) -> list[Picked]:
        """Return the users in this order, each once."""
        least = "" if self.type is str else datetime.min.replace(tzinfo=UTC)
        nulls_greater = self.nulls_last != self.descending

        def key(user: Picked) -> tuple[bool, SortValue, UUID]:
            return (user.sorted_by is None) == nulls_greater, user.sorted_by or least, user.id

        return sorted(set(users), key=key, reverse=self.descending)


def _order(column: str, *, descending: bool = False) -> Order:
    """Return the order by a column of the API users, or by `last_used_at`."""
    by_activity = column == "last_used_at"
    by_time = by_activity or column == "created_at"
    nulls_last = descending or not by_activity
    words = {
        "column": column,
        "type": "timestamptz" if by_time else "text",
        "beyond": "<" if descending else ">",
        "direction": " DESC" if descending else "",
        "order_by": f"sorted_by{' DESC' if descending else ''} NULLS {'LAST' if nulls_last else 'FIRST'}"
        f", id{' DESC' if descending else ''}",
        "null_follows": "v.sorted_by" if nulls_last else "$3",
        "by_last_use": BY_LAST_USE,
        "find": FIND,
    }
    recent = "most" if descending else "least"
    pick = query(f"pick_users_{recent}_recently_used_first" if by_activity else "pick_users")
    # Filters by last use also limit which users an order by a time has to read.
    plain = pick.format(**words, **dict.fromkeys(FILTERS, ""))
    filtered = pick.format(**words, **FILTERS) if by_time else plain
    never_used = query("pick_never_used_users").format(**words) if column == "created_at" else filtered
    look_up = query("user_by_activity" if by_activity else "user_by_column").format(**words)
    match = query("match_users")
    return Order(
        pick=plain,
        match=match.format(**words, pick=filtered),
        match_never_used=match.format(**words, pick=never_used),
        search=query("search_users").format(**words, look_up=look_up),
        type=datetime if by_time else str,
        descending=descending,
        nulls_last=nulls_last,
        nullable=by_activity or column == "name_order",
    )


ORDERS: Final[dict[Sort, Order]] = {
    "-created": _order("created_at", descending=True),
    "created": _order("created_at"),
    "-last_activity": _order("last_used_at", descending=True),
    "last_activity": _order("last_used_at"),
    "name": _order("name_order"),
    "-name": _order("name_order", descending=True),
    "authorized_by": _order("authorized_by_order"),
    "-authorized_by": _order("authorized_by_order", descending=True),
}
