"""`sitelatch workspaces`: list, add, rename and remove workspaces."""

from collections.abc import Iterator, Sequence
from typing import Final

import asyncpg
import click

from admin.api.response_models import Page, WorkspaceWithCounts
from admin.api.workspaces import count_workspaces, ensure_workspace, remove_workspace, rename_workspace
from sitelatch.commands.listing import echo_list, json_form, table_form
from sitelatch.commands.options import config_option, json_option, operator
from sitelatch.commands.questions import say
from sitelatch.commands.running import run_with_database
from sitelatch.commands.tables import Column
from sitelatch.config import Config


@click.group("workspaces", short_help="Manage workspaces.")
def workspaces_group() -> None:
    """List, add, rename and remove workspaces, which own sites and API users."""


@workspaces_group.command("list")
@config_option
@json_option
def list_workspaces_command(config: Config, as_json: bool) -> None:
    """List workspaces with the numbers of their sites and API users."""

    async def work(connection: asyncpg.Connection) -> None:
        async def read(after: str | None, size: int) -> Page[WorkspaceWithCounts]:
            return await count_workspaces(connection, after=after, limit=size)

        await echo_list(connection, read, json_form() if as_json else table_form(_COLUMNS))

    run_with_database(config, work)


_COLUMNS: Final[Sequence[Column[WorkspaceWithCounts]]] = (
    Column("WORKSPACE", lambda workspace: workspace.name, least=12),
    Column("SITES", lambda workspace: str(workspace.site_count)),
    Column("API USERS", lambda workspace: str(workspace.user_count)),
    Column("CREATED", lambda workspace: workspace.created_at.isoformat(" ", "seconds")),
)


@workspaces_group.command("add")
@config_option
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
def add_workspaces_command(config: Config, names: tuple[str, ...]) -> None:
    """Add workspaces.

    Skips those that exist.
    """

    async def work(connection: asyncpg.Connection) -> list[bool]:
        async with connection.transaction():
            return [await ensure_workspace(connection, name, operator()) for name in names]

    is_new = run_with_database(config, work)
    for what, wanted in (("Added", True), ("Unchanged", False)):
        if shown := [name for name, new in zip(names, is_new, strict=True) if new is wanted]:
            click.echo(f"{what}: {', '.join(shown)}.")


@workspaces_group.command("rename")
@config_option
@click.argument("name", metavar="OLD")
@click.argument("new_name", metavar="NEW")
def rename_workspace_command(config: Config, name: str, new_name: str) -> None:
    """Rename a workspace.

    Its sites, API users and keys stay as they are. Requests to the data API carry the new name from then on. If the
    config names the workspace, change it there too.
    """

    async def work(connection: asyncpg.Connection) -> None:
        await rename_workspace(connection, name, new_name, by=operator())

    run_with_database(config, work)
    for place in _places(config, name):
        advice = f'Change it to "{new_name}", and restart `sitelatch serve`.'
        say("config_names_workspace", f'In the config, {place} contains "{name}". {advice}')
    click.echo(f"Renamed {name} to {new_name}.")


def _places(config: Config, workspace: str) -> Iterator[str]:
    """Yield the places of the config that name the workspace."""
    for route in config.proxy.routes:
        if route.workspace == workspace:
            yield f'[[proxy.routes]] "{route.name}" workspace'
    admin = config.admin
    for table, entries in (
        ("[[admin.tokens]]", admin.tokens),
        ("[[admin.oidc.allow]]", admin.oidc.allow if admin.oidc else ()),
        ("[[admin.identity_proxy.allow]]", admin.identity_proxy.allow if admin.identity_proxy else ()),
    ):
        if any(workspace in (entry.workspaces or ()) for entry in entries):
            yield f"{table} workspaces"


@workspaces_group.command("remove", short_help="Remove empty workspaces.")
@config_option
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
def remove_workspaces_command(config: Config, names: tuple[str, ...]) -> None:
    """Remove workspaces that have no sites and no API users.

    Removes all of them or none.
    """

    async def work(connection: asyncpg.Connection) -> None:
        async with connection.transaction():
            for name in sorted(set(names)):
                await remove_workspace(connection, name, by=operator())

    run_with_database(config, work)
    click.echo(f"Removed {', '.join(names)}.")
