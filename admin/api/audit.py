"""The audit log: written in the transaction of each change, and read in pages. Entries outlive their subjects."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from admin.api.response_models import AuditLine, Page, PersonView
from admin.connections import Connection
from admin.identity.admins import Actor, WorkspaceLimit, workspace_names
from admin.text_rules import is_text
from sql.queries import query

WRITE_AUDIT = query("write_audit")
LIST_AUDIT = query("list_audit")

SITES_LISTED = 100


@dataclass(frozen=True, slots=True)
class Change:
    """A change to one subject."""

    workspace: str
    subject: str
    detail: dict[str, Any] = field(default_factory=dict)


async def write_audit(connection: Connection, by: Actor, action: str, changes: Sequence[Change]) -> None:
    """Write an entry for each of `changes`. Call it inside the transaction that makes them."""
    await connection.execute(
        WRITE_AUDIT,
        by.person.name,
        by.person.email,
        by.address,
        action,
        [change.workspace for change in changes],
        [change.subject for change in changes],
        [json.dumps(change.detail, ensure_ascii=False) for change in changes],
    )


async def list_audit(
    connection: Connection,
    *,
    within: WorkspaceLimit = None,
    subject: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> Page[AuditLine]:
    """Return a page of entries, newest first. `before` is the id of the last entry on the previous page."""
    if not all(map(is_text, (*(within or ()), subject or ""))):  # no subject has such a name, but a shell can pass one
        return Page(items=[], next=None)
    rows = await connection.fetch(LIST_AUDIT, workspace_names(within), subject, before, limit + 1)
    entries = [
        AuditLine(
            id=row["id"],
            at=row["at"],
            actor=PersonView(name=row["actor_name"], email=row["actor_email"]),
            address=row["actor_address"],
            action=row["action"],
            workspace=row["workspace"],
            subject=row["subject"],
            detail=json.loads(row["detail"]),
        )
        for row in rows
    ]
    return Page[AuditLine].of(entries, limit, lambda entry: str(entry.id))


def sites_detail(sites: Iterable[str]) -> dict[str, Any]:
    """Return the audit detail for a list of sites: the first SITES_LISTED, and the total number."""
    listed = sorted(sites)
    return {"sites": listed[:SITES_LISTED], "site_count": len(listed)}
