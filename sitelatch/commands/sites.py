"""`sitelatch sites`: list, add, import and remove sites."""

from collections.abc import Sequence
from typing import BinaryIO, Final

import asyncpg
import click

from admin.api.response_models import Page, Site
from admin.api.site_creation import AddedSites, NewSite, add_sites
from admin.api.site_file import SiteFile, read_site_file
from admin.api.site_import import SiteImport, import_sites
from admin.api.sites import describe_removal, list_sites, remove_sites
from admin.api.workspaces import filtered_workspaces, known_workspaces, not_found, unknown_workspaces
from admin.problems import Invalid
from admin.text_rules import check_workspace
from sitelatch.commands.listing import echo_list, json_form, table_form
from sitelatch.commands.options import config_option, json_option, operator, workspace_option
from sitelatch.commands.questions import ask, can_ask, say, yes_option
from sitelatch.commands.running import run_with_database
from sitelatch.commands.tables import Column
from sitelatch.commands.user_columns import NAMED, removal_notices
from sitelatch.config import Config

_MOST_NAMES: Final = 20
"""The number of sites that a result names. A file may contain 100,000."""
_CREATE_WORKSPACES: Final = "Correct the name, or add --create-workspaces to create the workspace."


@click.group("sites", short_help="Manage the sites of workspaces.")
def sites_group() -> None:
    """List, add, import and remove the sites of workspaces.

    API users are authorized for all sites of their workspace or for some of them.
    """


@sites_group.command("add")
@config_option
@workspace_option
@yes_option
@click.argument("sites", metavar="SITE…", nargs=-1, required=True)
def add_sites_command(config: Config, workspace: str, yes: bool, sites: tuple[str, ...]) -> None:
    """Add sites to a workspace.

    Skips sites that the workspace already has. If it does not exist, the command asks whether to create it. If nobody
    can answer at a terminal, it creates the workspace and says so.
    """
    check_workspace(workspace)

    async def missing(connection: asyncpg.Connection) -> str | None:
        unknown = await unknown_workspaces(connection, [workspace], None)
        return f"{not_found(workspace)} {await known_workspaces(connection, None)}" if unknown else None

    async def add(connection: asyncpg.Connection) -> AddedSites:
        return await add_sites(
            connection,
            workspace=workspace,
            sites=[NewSite(site) for site in sites],
            by=operator(),
            create_workspace=True,
        )

    is_new = run_with_database(config, missing)
    if is_new and can_ask() and not yes:
        say("workspace_missing", is_new)
        ask("Create the workspace?")
    added = run_with_database(config, add)
    if is_new:
        say("workspace_created", f'Created the workspace "{workspace}", which did not exist.')
    _echo_added(added)


@sites_group.command("list")
@config_option
@json_option
@click.option("--workspace", metavar="NAME", help="Show only sites of this workspace.")
def list_sites_command(config: Config, as_json: bool, workspace: str | None) -> None:
    """List the sites of all workspaces or of one."""

    async def work(connection: asyncpg.Connection) -> None:
        within = await filtered_workspaces(connection, None, workspace)

        async def read(after: str | None, size: int) -> Page[Site]:
            return await list_sites(connection, within=within, after=after, limit=size)

        await echo_list(connection, read, json_form() if as_json else table_form(_COLUMNS))

    run_with_database(config, work)


_COLUMNS: Final[Sequence[Column[Site]]] = (
    Column("SITE", lambda site: site.id, least=12),
    Column("WORKSPACE", lambda site: site.workspace, least=9),
    Column("NAME", lambda site: site.display_name, least=12),
)


@sites_group.command("remove", short_help="Remove sites permanently.")
@config_option
@yes_option
@click.argument("sites", metavar="SITE…", nargs=-1, required=True)
def remove_sites_command(config: Config, yes: bool, sites: tuple[str, ...]) -> None:
    """Remove sites permanently, including every authorization for them.

    Says which API users lose access, and asks if a person at a terminal can answer.
    """
    removals = run_with_database(config, lambda connection: describe_removal(connection, sites, NAMED))
    say("access_ends", *removal_notices(removals), "An API user that has no site left is refused everywhere.")
    if can_ask() and not yes:
        ask("Remove these sites permanently?" if len(removals) > 1 else "Remove this site permanently?")
    run_with_database(config, lambda connection: remove_sites(connection, sites, by=operator()))
    click.echo(f"Removed {', '.join(sites)}.")


@sites_group.command("import", short_help="Add the sites in a CSV file.")
@config_option
@click.option("--workspace", metavar="NAME", help="Workspace for lines that do not name one.")
@click.option("--create-workspaces", is_flag=True, help="Create workspaces that do not exist.")
@click.option("--dry-run", is_flag=True, help="Show what would change and all errors, but change nothing.")
@click.argument("file", metavar="FILE.csv", type=click.File("rb"))
def import_sites_command(
    config: Config, file: BinaryIO, workspace: str | None, create_workspaces: bool, dry_run: bool
) -> None:
    """Add the sites in a CSV file.

    The columns are site and, optionally, workspace and display_name, separated by commas, semicolons or tabs. The file
    can also be a bare list of site ids. A workspace that does not exist is an error, unless you give
    --create-workspaces. If any line has an error, nothing is changed.
    """
    name = "standard input" if file.name in (0, "<stdin>") else file.name
    read = read_site_file(file.read(), workspace=workspace)

    async def work(connection: asyncpg.Connection) -> SiteImport:
        return await import_sites(connection, read, by=operator(), create_workspaces=create_workspaces, dry_run=dry_run)

    done = run_with_database(config, work)
    if dry_run or not done.faults:
        _echo_import(read, done, done.new_workspaces if create_workspaces else (), dry_run=dry_run)
    if done.faults:
        lines = [f"{name}: {fault}" for fault in done.faults]
        if done.are_workspaces_missing:
            lines += filter(None, [done.known_workspaces, _CREATE_WORKSPACES])
        raise Invalid("\n".join(lines))


def _echo_import(read: SiteFile, done: SiteImport, workspaces: Sequence[str], *, dry_run: bool) -> None:
    created, added, renamed = (
        ("Created", "Added", "Renamed") if not dry_run else ("Would create", "Would add", "Would rename")
    )
    _echo_lists(
        (f"{created} workspaces", workspaces),
        (added, done.ids("new")),
        (renamed, done.ids("renamed")),
        ("Unchanged", done.ids("unchanged")),
        ("Ignored columns", read.ignored_columns),
    )
    if read.encoding == "windows-1252":
        click.echo("The file is not UTF-8 text. It was read as Windows-1252, so check letters with accents.")


def _echo_added(added: AddedSites) -> None:
    _echo_lists(("Added", added.created), ("Renamed", added.renamed), ("Unchanged", added.unchanged))


def _echo_lists(*lists: tuple[str, Sequence[str]]) -> None:
    for what, names in lists:
        if names:
            rest = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
            click.echo(f"{what}: {', '.join(names[:_MOST_NAMES])}{rest}.")
