"""Listing of the audit log in pages, with filters and search.

Without filters, or with one that has an index in the order of the list, one query reads a page. Otherwise there are
three steps, because the planner cannot estimate how many entries match, and most lists need only the first:

1. The next NEAR entries are checked one by one. If many match, this step fills a page.
2. If at least one in a hundred matched, more entries are checked, until they fill a page.
3. Otherwise indexes find all entries that match, and they are sorted.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from admin.api.audit import Action
from admin.api.list_conditions import without_secret
from admin.api.response_models import AuditLine, Page, PersonView
from admin.connections import Connection
from admin.identity.admins import WorkspaceLimit, workspace_names
from admin.problems import Fault, Invalid
from admin.text_rules import has_words, is_text
from proxy.decision.site_ids import fold_site
from sql.queries import query

NEAR: Final = 1000
FIND_AUDIT_TIME = query("find_audit_time")
FILTER_AUDIT = query("filter_audit")
MATCH_AUDIT = query("match_audit").format(pick=query("pick_audit"))
MATCH_AUDIT_OF_WORKSPACES = query("match_audit").format(pick=query("pick_audit_of_workspaces"))
SEARCH_AUDIT = query("search_audit")
DESCRIBE_AUDIT = query("describe_audit")


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries a list contains. None stands for all."""

    subject: str | None = None
    """The id of an API user or a site, or the name of a workspace."""
    actor: str | None = None
    """The email address of the person, in any case."""
    action: Action | None = None
    since: datetime | None = None
    until: datetime | None = None
    """The first time that is not included."""
    search: str | None = None
    """Each word must be the beginning of a word of the entry."""

    @property
    def parameters(self) -> tuple[object, ...]:
        """The filters other than the search, in the order of the queries' parameters."""
        actor = None if self.actor is None else self.actor.lower()
        return self.since, self.until, self.subject, actor, self.action


EVERYTHING: Final = AuditFilter()


async def list_audit(
    connection: Connection,
    *,
    within: WorkspaceLimit = None,
    only: AuditFilter = EVERYTHING,
    after: int | None = None,
    limit: int = 50,
) -> Page[AuditLine]:
    """Return a page of entries, newest first. `after` is the `next` of the previous page. Raises Invalid if there is no
    such entry.
    """
    # Nothing has such a name, but a shell can pass one.
    if not all(map(is_text, (*(within or ()), only.subject or "", only.actor or "", only.search or ""))):
        return Page(items=[], next=None)
    place = _Place(workspace_names(within), await _time_of(connection, after), after, only)
    ids = await _find(connection, place, limit + 1)
    entries = await _describe(connection, ids[:limit])
    return Page(items=entries, next=str(ids[limit - 1]) if len(ids) > limit else None)


class _Place(NamedTuple):
    """A place in a list: the workspaces, the last entry before the place, and the filters."""

    workspaces: list[str] | None
    time: datetime | None
    after: int | None
    only: AuditFilter

    @property
    def check(self) -> str:
        """The query that reads entries in order and checks each one."""
        return MATCH_AUDIT if self.workspaces is None else MATCH_AUDIT_OF_WORKSPACES

    def next(self, count: int) -> tuple[object, ...]:
        """Return the first nine parameters of the queries, for the next `count` entries."""
        return (self.workspaces, count, self.time, self.after, *self.only.parameters)


async def _time_of(connection: Connection, entry: int | None) -> datetime | None:
    if entry is None:
        return None
    at: datetime | None = await connection.fetchval(FIND_AUDIT_TIME, entry)
    if at is None:
        detail = "must be the `next` of a page of the audit log. Start again without `after`."
        raise Invalid(detail, (Fault(("after",), detail, in_parameter=True),))
    return at


async def _find(connection: Connection, place: _Place, limit: int) -> list[int]:
    """Return the ids of the next entries."""
    only = place.only
    search = without_secret(only.search or "")
    filters = sum(value is not None for value in (place.workspaces, only.actor, only.action))
    if has_words(search):
        return await _match(connection, place, [search, fold_site(search)], limit)
    if only.subject is not None or (filters == 1 and place.workspaces is None):
        return [row["id"] for row in await connection.fetch(FILTER_AUDIT, *place.next(limit))]
    if only.actor is not None or only.action is not None:
        return await _match(connection, place, None, limit)
    rows = await connection.fetch(place.check, *place.next(limit), None, limit, True)
    return [row["id"] for row in rows]


async def _match(connection: Connection, place: _Place, texts: list[str] | None, limit: int) -> list[int]:
    """Return the next entries that match all filters and one of the texts."""
    size = max(NEAR // len(place.workspaces or (0,)), limit)
    near = await connection.fetch(place.check, *place.next(size), texts, size, False)
    found = [row["id"] for row in near if row["matches"]]
    if len(found) >= limit or len(near) < size:
        return found[:limit]
    if len(found) * 100 >= size:
        # Twice as many entries as it takes to fill the page if the share of matches stays the same.
        far = await connection.fetch(place.check, *place.next(2 * limit * size // len(found)), texts, limit, True)
        if len(far) == limit:
            return [row["id"] for row in far]
    return [row["id"] for row in await connection.fetch(SEARCH_AUDIT, *place.next(limit), texts)]


async def _describe(connection: Connection, ids: Sequence[int]) -> list[AuditLine]:
    return [
        AuditLine(
            id=row["id"],
            at=row["at"],
            actor=PersonView(name=row["actor_name"], email=row["actor_email"]),
            address=row["actor_address"],
            action=row["action"],
            workspace=row["workspace"],
            subject=row["subject"],
            subject_exists=row["subject_exists"],
            detail=json.loads(row["detail"]),
        )
        for row in await connection.fetch(DESCRIBE_AUDIT, list(map(str, ids)))
    ]
