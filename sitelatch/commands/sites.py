"""`sitelatch sites`: list, add, import and remove sites."""

from typing import BinaryIO

import asyncpg
import click

from admin.api.site_creation import AddedSites, NewSite, add_sites
from admin.api.site_import import UnknownWorkspace, import_sites, read_csv
from admin.api.sites import list_sites, remove_sites
from admin.problems import Invalid
from sitelatch.commands.listing import PAGE_SIZE, echo_list
from sitelatch.commands.options import config_option, json_option, operator, workspace_option
from sitelatch.commands.running import run_with_database
from sitelatch.config import Config
from sql.text_files import NotText, decode_text


@click.group("sites", short_help="Manage the sites of workspaces.")
def sites_group() -> None:
    """List, add, import and remove the sites of workspaces.

    API users are authorized for all sites of their workspace or for some of them.
    """


@sites_group.command("add")
@config_option
@workspace_option
@click.argument("sites", metavar="SITE…", nargs=-1, required=True)
def add_sites_command(config: Config, workspace: str, sites: tuple[str, ...]) -> None:
    """Add sites to a workspace.

    Creates the workspace if needed, and skips sites that it already has.
    """

    async def work(connection: asyncpg.Connection) -> AddedSites:
        return await add_sites(
            connection,
            workspace=workspace,
            sites=[NewSite(site) for site in sites],
            by=operator(),
            create_workspace=True,
        )

    _echo_added(run_with_database(config, work))


@sites_group.command("list")
@config_option
@json_option
def list_sites_command(config: Config, as_json: bool) -> None:
    """List the sites of all workspaces."""

    async def work(connection: asyncpg.Connection) -> None:
        await echo_list(
            connection,
            lambda after: list_sites(connection, after=after, limit=PAGE_SIZE),
            as_json=as_json,
            titles=("SITE", "WORKSPACE", "NAME"),
            row=lambda site: (site.id, site.workspace, site.display_name),
        )

    run_with_database(config, work)


@sites_group.command("remove", short_help="Remove sites permanently.")
@config_option
@click.argument("sites", metavar="SITE…", nargs=-1, required=True)
def remove_sites_command(config: Config, sites: tuple[str, ...]) -> None:
    """Remove sites permanently, including every authorization for them."""
    run_with_database(config, lambda connection: remove_sites(connection, sites, by=operator()))
    click.echo(f"Removed {', '.join(sites)}.")


@sites_group.command("import", short_help="Add the sites in a CSV file.")
@config_option
@click.option("--create-workspaces", is_flag=True, help="Create workspaces that do not exist.")
@click.argument("file", metavar="FILE.csv", type=click.File("rb"))
def import_sites_command(config: Config, file: BinaryIO, create_workspaces: bool) -> None:
    """Add the sites in a CSV file.

    The columns are site, workspace and, optionally, display_name. A workspace that does not exist is an error, unless
    you give --create-workspaces.
    """

    name = "standard input" if file.name in (0, "<stdin>") else file.name
    try:
        by_workspace = read_csv(decode_text(file.read()))
    except NotText as error:
        raise Invalid(f"{name}: {error}.") from None
    except Invalid as problem:
        raise Invalid("\n".join(f"{name}: {line}" for line in problem.detail.splitlines())) from None

    async def work(connection: asyncpg.Connection) -> AddedSites:
        try:
            return await import_sites(connection, by_workspace, by=operator(), create_workspaces=create_workspaces)
        except UnknownWorkspace as problem:
            advice = "Correct the name, or add --create-workspaces to create the workspace."
            raise Invalid(f"{name}: {problem.detail}\n{advice}") from None

    _echo_added(run_with_database(config, work))


def _echo_added(added: AddedSites) -> None:
    for what, sites in (
        ("Added", added.created),
        ("Renamed", added.renamed),
        ("Unchanged", added.unchanged),
    ):
        if sites:
            click.echo(f"{what}: {', '.join(sites)}.")
