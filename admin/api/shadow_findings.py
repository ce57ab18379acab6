"""Lists what routes in shadow mode would have refused."""

import json

from asyncpg import Record

from admin.api.response_models import Page, ShadowFinding, ShadowFix, ShadowUser
from admin.api.shadow_fixes import fix_for
from admin.connections import Connection
from admin.identity.admins import WorkspaceLimit, workspace_names
from sql.queries import query

_LIST = query("list_shadow_findings")


async def list_findings(
    connection: Connection, *, within: WorkspaceLimit, after: str | None, limit: int
) -> Page[ShadowFinding]:
    """Return a page of findings, those with the most requests first. `after` is the `next` of the previous page.

    Findings about requests without a known key belong to no workspace, so they are listed only without `within`.
    """
    requests, _, last = after.partition(":") if after is not None else ("", "", "")
    rows = await connection.fetch(
        _LIST, workspace_names(within), int(requests) if requests else None, last or None, limit + 1
    )
    return Page(
        items=[_view(row) for row in rows[:limit]],
        next=f"{rows[limit - 1]['requests']}:{rows[limit - 1]['id']}" if len(rows) > limit else None,
    )


def _view(row: Record) -> ShadowFinding:
    fix = fix_for(row["code"], all_sites=bool(row["all_sites"]))
    is_config = fix.kind in ("route", "keys")
    table = f'[[proxy.routes]] "{row["route"]}"' if fix.kind == "route" else "[keys]"
    return ShadowFinding(
        route=row["route"],
        code=row["code"],
        detail=json.loads(row["detail"]),
        requests=row["requests"],
        first_seen=row["first_seen_at"],
        last_seen=row["last_seen_at"],
        user=None
        if row["user_id"] is None
        else ShadowUser(
            id=str(row["user_id"]), name=row["user_name"], workspace=row["workspace"], key_hint=row["hint"]
        ),
        site=None if row["site"] is None else _printable(json.loads(row["site"])),
        fix=ShadowFix(kind=fix.kind, setting=f"{table} {fix.option}" if is_config else None, advice=fix.advice),
    )


def _printable(text: str) -> str:
    """Return the text with surrogates escaped, which JSON in UTF-8 cannot contain."""
    return text.encode("utf-8", "backslashreplace").decode()
