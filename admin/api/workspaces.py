"""Operations on workspaces: create, list and look up."""

from collections.abc import Collection

from admin.api.audit import Change, write_audit
from admin.api.response_models import Page, Workspace
from admin.connections import Connection
from admin.identity.admins import Actor, WorkspaceLimit, workspace_names
from admin.problems import Conflict, Forbidden, Invalid
from admin.text_rules import check_workspace, is_text
from sql.queries import query

_FEW = 10
"""How many workspaces an error about an unknown one names."""

LIST_WORKSPACES = query("list_workspaces")
FIND_WORKSPACE = query("find_workspace")
FIND_WORKSPACES = query("find_workspaces")
CREATE_WORKSPACE = query("create_workspace")


async def list_workspaces(
    connection: Connection, *, within: WorkspaceLimit = None, after: str | None = None, limit: int = 100
) -> Page[Workspace]:
    """Return a page of workspaces, sorted by name. `after` is the last name on the previous page."""
    rows = await connection.fetch(LIST_WORKSPACES, workspace_names(within), after, limit + 1)
    items = [Workspace(name=row["name"], created_at=row["created_at"]) for row in rows]
    return Page[Workspace].of(items, limit, lambda workspace: workspace.name)


async def create_workspace(connection: Connection, *, name: str, by: Actor) -> Workspace:
    """Create a workspace. Raises Invalid, Forbidden, and Conflict if the name is taken."""
    check_workspace(name, "name")
    check_within(name, by.within)
    async with connection.transaction():
        row = await connection.fetchrow(CREATE_WORKSPACE, name)
        if row is None:
            raise Conflict(f'The workspace "{name}" already exists.')
        await write_audit(connection, by, "workspace.created", [Change(name, name)])
    return Workspace(name=name, created_at=row["created_at"])


async def workspace_id(connection: Connection, name: str, within: WorkspaceLimit) -> int:
    """Return the id of the workspace that a request body names. Raises Forbidden, and Invalid if it does not exist."""
    check_within(name, within)
    found: int | None = await connection.fetchval(FIND_WORKSPACE, name) if is_text(name) else None
    if found is None:
        advice = await known_workspaces(connection, within)
        raise Invalid.at("workspace", detail=f"{not_found(name)} {advice} Create it first, or correct the name.")
    return found


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
