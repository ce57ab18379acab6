"""Listing of API users with sorting, search, filters and pagination."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from admin.api.cursors import read_cursor, write_cursor
from admin.api.list_conditions import Condition, Created, Email, Expiry, LastUse, Person, search_terms
from admin.api.response_models import Count, Page, User, UserActivities, UserActivity
from admin.api.user_order import ORDERS, Picked, Sort
from admin.api.user_search import COUNTED, count_matching_users, find_users
from admin.api.users import describe_users
from admin.api.workspaces import workspace_ids
from admin.connections import Connection
from admin.identity.admins import WorkspaceLimit
from admin.text_rules import has_words, is_complete_email
from sql.queries import query

SITES_LISTED: Final = 20
"""How many sites of each user a list contains. A single user is returned with all of them."""
_COUNT_ALL = query("count_users")
LIST_ACTIVITY = query("list_activity")


class Filters(NamedTuple):
    """The users that a list contains."""

    never_used: bool = False
    """Only those whose key was never used."""
    unused_days: int | None = None
    """Only those that were created, and last used, more than this many days ago."""
    authorized_by: str | None = None
    """Only those that the person with this email address authorized. If it is not a complete address: only those with
    these beginnings of words in the name and email address of the person. Case is ignored."""
    expires_within_days: int | None = None
    """Only those that expire within this many days, and have not expired yet."""
    expired: bool = False
    """Only those that have expired."""


NO_FILTERS: Final = Filters()


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
    of a word in the name or the authorizing person, in the hint of a key, or in one of the sites.

    Each has at most `sites_listed` of its sites (None: all). `after` is the `next` of the previous page. A page can
    have fewer users than `limit`, or none, although it has a `next`: many users were checked then, but few passed.
    Raises Invalid if `after` does not belong to this list and order.
    """
    order = ORDERS[sort]
    list_key = (sort, bool(search_terms(search)))
    last = None if after is None else Picked(*read_cursor(after, *list_key, kind=order.type, nullable=order.nullable))
    workspaces = await workspace_ids(connection, within)
    conditions = _conditions(search, filters)
    found = await find_users(connection, order, workspaces, last, conditions, limit + 1)
    shown = found.users[:limit]
    end = shown[-1] if len(found.users) > limit else found.resume
    return Page(
        items=await describe_users(connection, [user.id for user in shown], within, sites_listed),
        next=None if end is None else write_cursor(end.sorted_by, end.id, *list_key),
    )


async def count_users(
    connection: Connection,
    *,
    within: WorkspaceLimit = None,
    search: str | None = None,
    filters: Filters = NO_FILTERS,
) -> Count:
    """Return how many API users `list_users` lists in all, up to COUNTED."""
    workspaces = await workspace_ids(connection, within)
    conditions = _conditions(search, filters)
    if conditions:
        return await count_matching_users(connection, workspaces, conditions)
    found: int = await connection.fetchval(_COUNT_ALL, workspaces, COUNTED + 1)
    return Count(count=min(found, COUNTED), more=found > COUNTED)


def _conditions(search: str | None, filters: Filters) -> list[Condition]:
    conditions: list[Condition] = [*search_terms(search)]
    if filters.never_used or filters.unused_days is not None:
        conditions.append(LastUse(filters.never_used, filters.unused_days))
    if filters.unused_days is not None:
        conditions.append(Created(filters.unused_days))
    if filters.expires_within_days is not None:
        conditions.append(Expiry(filters.expires_within_days))
    if filters.expired:
        conditions.append(Expiry(None))
    by = filters.authorized_by
    if by is not None:
        conditions.append(Person(by) if has_words(by) and not is_complete_email(by) else Email(by.lower()))
    return conditions


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
