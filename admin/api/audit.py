"""Writing the audit log, in the transaction of each change. Entries outlive their subjects."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from admin.connections import Connection
from admin.identity.admins import Actor
from sql.queries import query

WRITE_AUDIT = query("write_audit")

SITES_LISTED = 100

Action = Literal[
    "user.created",
    "user.edited",
    "user.rotated",
    "user.keys_ended",
    "user.deleted",
    "user.revealed",
    "user.imported",
    "site.created",
    "site.renamed",
    "site.removed",
    "workspace.created",
    "workspace.renamed",
    "workspace.removed",
]
"""What the audit log records."""
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)


@dataclass(frozen=True, slots=True)
class Change:
    """A change to one subject."""

    workspace: str
    subject: str
    detail: dict[str, Any] = field(default_factory=dict)


async def write_audit(connection: Connection, by: Actor, action: Action, changes: Sequence[Change]) -> None:
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


def sites_detail(sites: Iterable[str]) -> dict[str, Any]:
    """Return the audit detail for a list of sites: the first SITES_LISTED, and the total number."""
    listed = sorted(sites)
    return {"sites": listed[:SITES_LISTED], "site_count": len(listed)}
