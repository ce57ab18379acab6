"""The orders of the list of API users, and the queries that read users in each of them."""

from collections.abc import Callable, Iterable, Mapping
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


class Picked(NamedTuple):
    """A user on a page, with the value by which the list is sorted."""

    sorted_by: SortValue
    id: UUID


class Order(NamedTuple):
    """An order of the list."""

    column: str
    """The column of the API users, or `last_used_at` of their activity."""
    descending: bool

    @property
    def by_activity(self) -> bool:
        """Whether the users are sorted by their activity, which is in a table of its own."""
        return self.column == "last_used_at"

    @property
    def by_time(self) -> bool:
        """Whether the users are sorted by a time, rather than a text."""
        return self.by_activity or self.column == "created_at"

    @property
    def type(self) -> type[datetime | str]:
        """The type of the values by which users are sorted."""
        return datetime if self.by_time else str

    @property
    def nullable(self) -> bool:
        """Whether users without such a value exist."""
        return self.by_activity or self.column == "name_order"

    @property
    def nulls_last(self) -> bool:
        """Whether users without such a value come last."""
        return self.descending or not self.by_activity

    @property
    def words(self) -> Mapping[str, str]:
        """The parts of queries that depend on the order."""
        direction = " DESC" if self.descending else ""
        return {
            "column": self.column,
            "type": "timestamptz" if self.by_time else "text",
            "beyond": "<" if self.descending else ">",
            "direction": direction,
            "order_by": f"sorted_by{direction} NULLS {'LAST' if self.nulls_last else 'FIRST'}, id{direction}",
        }

    def pick(self, filters: Mapping[str, str], *, of_never_used: bool = False) -> str:
        """Return the query for the next users in this order.

        `filters` are the parts that LastUse.filters returns.
        """
        if self.by_activity:
            name = f"pick_users_{'most' if self.descending else 'least'}_recently_used_first"
        else:
            name = "pick_never_used_users" if of_never_used and self.column == "created_at" else "pick_users"
        return query(name).format(**self.words, **filters)

    def between(self, add: Callable[[object], str], row: str, last: Picked | None, bound: Picked | None) -> str:
        """Return the condition that `row` follows `last`, and does not follow `bound`. `add` adds parameters."""
        conditions = []
        if last is not None:
            conditions.append(self._beyond(add, row, last, self.words["beyond"], or_null=self.nulls_last))
        if bound is not None:
            beyond = "<=" if self.words["beyond"] == ">" else ">="
            conditions.append(self._beyond(add, row, bound, beyond, or_null=not self.nulls_last))
        return " AND ".join(conditions) or "true"

    def _beyond(self, add: Callable[[object], str], row: str, other: Picked, beyond: str, *, or_null: bool) -> str:
        user_id = f"{add(other.id)}::uuid"
        if other.sorted_by is None:
            others = "" if or_null else f" OR {row}.sorted_by IS NOT NULL"
            return f"((({row}.sorted_by IS NULL AND {row}.id {beyond} {user_id}){others}))"
        value = f"{add(other.sorted_by)}::{self.words['type']}"
        nulls = f" OR {row}.sorted_by IS NULL" if or_null else ""
        return f"(({row}.sorted_by, {row}.id) {beyond} ({value}, {user_id}){nulls})"

    def limits(self, add: Callable[[object], str], last: Picked | None, bound: Picked) -> str:
        """Return the limits of the part of the order from `last` to `bound`, for the index of the user `u`.

        Both are hidden from the planner, as in the query users_by_words.
        """
        column, kind = f"u.{self.column}", self.words["type"]
        first_is, last_is = ("<=", ">=") if self.descending else (">=", "<=")
        if last is None:
            first = f"(SELECT {'max' if self.descending else 'min'}({self.column}) FROM sitelatch.api_users)"  # noqa: S608 - names from here
        else:
            first = f"(SELECT {add(last.sorted_by)}::{kind})"
        limits = f" AND {column} {first_is} {first} AND {column} {last_is} (SELECT {add(bound.sorted_by)}::{kind})"
        # Many users can have the same value, so the ids limit them too.
        for user, comparison in ((last, first_is), (bound, last_is)):
            if user is not None:
                place = f"({add(user.sorted_by)}::{kind}, {add(user.id)}::uuid)"
                limits += f" AND ({column}, u.id) {comparison} {place}"
        return limits

    def follows(self, user: Picked, other: Picked) -> bool:
        """Return whether a user comes after another one in this order."""
        return self._key(user) < self._key(other) if self.descending else self._key(user) > self._key(other)

    def sort(self, users: Iterable[Picked]) -> list[Picked]:
        """Return the users in this order."""
        return sorted(users, key=self._key, reverse=self.descending)

    def _key(self, user: Picked) -> tuple[bool, SortValue, UUID]:
        least = _NO_TIME if self.by_time else ""
        return (user.sorted_by is None) == (self.nulls_last != self.descending), user.sorted_by or least, user.id


_NO_TIME: Final = datetime.min.replace(tzinfo=UTC)

ORDERS: Final[dict[Sort, Order]] = {
    "-created": Order("created_at", descending=True),
    "created": Order("created_at", descending=False),
    "-last_activity": Order("last_used_at", descending=True),
    "last_activity": Order("last_used_at", descending=False),
    "name": Order("name_order", descending=False),
    "-name": Order("name_order", descending=True),
    "authorized_by": Order("authorized_by_order", descending=False),
    "-authorized_by": Order("authorized_by_order", descending=True),
}
