"""Operations on workspaces: create, list, look up, rename and remove."""

from collections.abc import Collection

import asyncpg

from admin.api.audit import Change, write_audit
from admin.api.response_models import Page, Workspace, WorkspaceWithCounts
from admin.connections import Connection, limit_lock_waits
from admin.identity.admins import Actor, WorkspaceLimit, workspace_names
from admin.problems import Conflict, Fault, Forbidden, Invalid, NotFound
from admin.text_rules import check_workspace, is_text
from sql.queries import query

_FEW = 10
"""How many workspaces an error about an unknown one names."""

LIST_WORKSPACES = query("list_workspaces")
FIND_WORKSPACE = query("find_workspace")
FIND_WORKSPACES = query("find_workspaces")
CREATE_WORKSPACE = query("create_workspace")
DESCRIBE_WORKSPACES = query("describe_workspaces")
LOCK_WORKSPACE = query("lock_workspace")
RENAME_WORKSPACE = query("rename_workspace")
DELETE_WORKSPACE = query("delete_workspace")
HAS_AUDIT = query("has_audit")


async def list_workspaces(
    connection: Connection, *, within: WorkspaceLimit = None, after: str | None = None, limit: int = 100
) -> Page[Workspace]:
    """Return a page of workspaces, sorted by name. `after` is the last name on the previous page."""
    rows = await connection.fetch(LIST_WORKSPACES, workspace_names(within), after, limit + 1)
    items = [Workspace(name=row["name"], created_at=row["created_at"]) for row in rows]
    return Page[Workspace].of(items, limit, lambda workspace: workspace.name)


async def count_workspaces(
    connection: Connection, *, after: str | None = None, limit: int = 100
) -> Page[WorkspaceWithCounts]:
    """Return a page of workspaces, sorted by name, each with the numbers of its sites and API users."""
    page = await list_workspaces(connection, after=after, limit=limit)
    rows = await connection.fetch(DESCRIBE_WORKSPACES, [workspace.name for workspace in page.items])
    return Page(items=[WorkspaceWithCounts.model_validate(dict(row)) for row in rows], next=page.next)


async def create_workspace(connection: Connection, *, name: str, by: Actor) -> Workspace:
    """Create a workspace. Raises Invalid, Forbidden, and Conflict if the name is taken."""
    check_workspace(name, "name")
    check_within(name, by.within)
    async with connection.transaction():
        row = await connection.fetchrow(CREATE_WORKSPACE, name)
        if row is None:
            raise _taken(name)
        await write_audit(connection, by, "workspace.created", [Change(name, name)])
    return Workspace(name=name, created_at=row["created_at"])


async def ensure_workspace(connection: Connection, name: str, by: Actor) -> bool:
    """Create the workspace if it does not exist. Return whether it is new. Raises Invalid and Forbidden."""
    check_workspace(name, "workspace")
    check_within(name, by.within)
    if (
        await connection.fetchval(FIND_WORKSPACE, name) is not None
        or await connection.fetchrow(CREATE_WORKSPACE, name) is None
    ):
        return False
    await write_audit(connection, by, "workspace.created", [Change(name, name)])
    return True


async def rename_workspace(connection: Connection, name: str, new_name: str, *, by: Actor) -> Workspace:
    """Rename a workspace. Raises Invalid, Forbidden, NotFound, and Conflict if the new name is taken."""
    check_workspace(new_name, "name")
    async with connection.transaction():
        await _lock(connection, name, by.within)
        check_within(new_name, by.within)
        if new_name != name:
            try:
                await connection.execute(RENAME_WORKSPACE, name, new_name)
            except asyncpg.UniqueViolationError:
                raise _taken(new_name) from None
            change = Change(new_name, new_name, {"from": name, "to": new_name})
            await write_audit(connection, by, "workspace.renamed", [change])
        [row] = await connection.fetch(DESCRIBE_WORKSPACES, [new_name])
    return Workspace(name=new_name, created_at=row["created_at"])


async def remove_workspace(connection: Connection, name: str, *, by: Actor) -> None:
    """Remove an empty workspace. Raises Forbidden, NotFound, and Conflict if it has sites or API users."""
    async with connection.transaction():
        await _lock(connection, name, by.within)
        [row] = await connection.fetch(DESCRIBE_WORKSPACES, [name])
        counts = (row["site_count"], "site"), (row["user_count"], "API user")
        owned = [f"{count:,} {what}{'' if count == 1 else 's'}" for count, what in counts if count]
        if owned:
            raise Conflict(f'The workspace "{name}" has {" and ".join(owned)}. Remove them first.')
        await connection.execute(DELETE_WORKSPACE, name)
        await write_audit(connection, by, "workspace.removed", [Change(name, name)])


async def _lock(connection: Connection, name: str, within: WorkspaceLimit) -> None:
    """Lock a workspace until the transaction ends. Raises Forbidden and NotFound."""
    check_within(name, within)
    await limit_lock_waits(connection)
    if not is_text(name) or await connection.fetchval(LOCK_WORKSPACE, name) is None:
        raise NotFound(f"{not_found(name)} {await known_workspaces(connection, within)}".rstrip())


def _taken(name: str) -> Conflict:
    return Conflict(f'The workspace "{name}" already exists.')


async def workspace_id(connection: Connection, name: str, within: WorkspaceLimit) -> int:
    """Return the id of the workspace that a request body names. Raises Forbidden, and Invalid if it does not exist."""
    check_within(name, within)
    found: int | None = await connection.fetchval(FIND_WORKSPACE, name) if is_text(name) else None
    if found is None:
        advice = await known_workspaces(connection, within)
        raise Invalid.at("workspace", detail=f"{not_found(name)} {advice} Create it first, or correct the name.")
    return found


async def filtered_workspaces(
    connection: Connection, within: WorkspaceLimit, workspace: str | None, *, in_audit: bool = False
) -> WorkspaceLimit:
    """Return the workspaces that a list covers: the one of its filter, or else all that the admin may see.

    With `in_audit`, the filter may also name a workspace that only the audit log still knows. Raises Forbidden, and
    Invalid for an unknown workspace, because an empty list would hide a typo.
    """
    if workspace is None:
        return within
    if await unknown_workspaces(connection, [workspace], within) and not (
        in_audit and is_text(workspace) and await connection.fetchval(HAS_AUDIT, workspace)
    ):
        detail = f"{not_found(workspace)} {await known_workspaces(connection, within)}".rstrip()
        raise Invalid(detail, (Fault(("workspace",), detail, in_parameter=True),))
    return frozenset({workspace})


async def unknown_workspaces(connection: Connection, names: Collection[str], within: WorkspaceLimit) -> set[str]:
    """Return those of the workspaces that do not exist. Raises Forbidden."""
    for name in names:
        check_within(name, within)
    found = await connection.fetch(FIND_WORKSPACES, [name for name in names if is_text(name)])
    return set(names).difference(row["name"] for row in found)


async def known_workspaces(connection: Connection, within: WorkspaceLimit) -> str:
    """Return a sentence that names the workspaces that an admin may see. It is empty if there are many."""
    page = await list_workspaces(connection, within=within, limit=_FEW)
    if page.next is not None:
        return ""
    names = ", ".join(f'"{workspace.name}"' for workspace in page.items)
    return f"The known workspaces are {names}." if names else "There are no workspaces yet."


def not_found(name: str) -> str:
    """Return a sentence about a workspace that does not exist."""
    return f'The workspace "{name}" does not exist.'


async def workspace_ids(connection: Connection, within: WorkspaceLimit) -> list[str] | None:
    """Return a workspace limit as a query parameter with ids. Workspaces that do not exist are left out."""
    if within is None:
        return None
    return [row["id"] for row in await connection.fetch(FIND_WORKSPACES, workspace_names(within))]


def check_within(name: str, within: WorkspaceLimit) -> None:
    """Raise Forbidden if the admin is limited to other workspaces, whether or not this one exists."""
    if within is not None and name not in within:
        raise Forbidden(f'You do not have access to the workspace "{name}".')
