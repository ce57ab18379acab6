"""`sitelatch sites`: what API users can be authorised for."""

from typing import TextIO

import asyncpg
import click

from admin.api.response_models import Site
from admin.api.site_import import import_sites, read_csv
from admin.api.sites import AddedSites, NewSite, add_sites, list_sites, remove_sites
from sitelatch.commands.asking import PAGE, ask, echo_json, echo_table, every
from sitelatch.commands.options import config_option, json_option, operator, workspace_option
from sitelatch.config import Config


@click.group("sites")
def sites_group() -> None:
    """Sites: what API users can be authorised for."""


@sites_group.command("add")
@config_option
@workspace_option
@click.argument("sites", metavar="SITE…", nargs=-1, required=True)
def add_sites_command(config: Config, workspace: str, sites: tuple[str, ...]) -> None:
    """Add sites to a workspace, which is made if it is new. Adding twice is no error."""

    async def work(connection: asyncpg.Connection) -> AddedSites:
        return await add_sites(
            connection,
            workspace=workspace,
            sites=[NewSite(site) for site in sites],
            by=operator(),
            create_workspace=True,
        )

    _echo_added(ask(config, work))


@sites_group.command("list")
@config_option
@json_option
def list_sites_command(config: Config, as_json: bool) -> None:
    """List the sites of all workspaces."""

    async def work(connection: asyncpg.Connection) -> list[Site]:
        return [site async for site in every(lambda after: list_sites(connection, after=after, limit=PAGE))]

    sites = ask(config, work)
    if as_json:
        echo_json(sites)
        return
    echo_table(("SITE", "WORKSPACE", "NAME"), [(site.id, site.workspace, site.display_name) for site in sites])


@sites_group.command("remove")
@config_option
@click.argument("sites", metavar="SITE…", nargs=-1, required=True)
def remove_sites_command(config: Config, sites: tuple[str, ...]) -> None:
    """Remove sites, and every authorisation for them, for good."""
    ask(config, lambda connection: remove_sites(connection, sites, by=operator()))
    click.echo(f"Removed {', '.join(sites)}.")


@sites_group.command("import")
@config_option
@click.argument("file", metavar="FILE.csv", type=click.File(encoding="utf-8-sig"))
def import_sites_command(config: Config, file: TextIO) -> None:
    """Add the sites of a CSV file with the columns site, workspace and, if you like, display_name."""
    by_workspace = read_csv(file)
    _echo_added(ask(config, lambda connection: import_sites(connection, by_workspace, by=operator())))


def _echo_added(added: AddedSites) -> None:
    for what, sites in (
        ("Added", added.created),
        ("Renamed", added.renamed),
        ("Already there", added.unchanged),
    ):
        if sites:
            click.echo(f"{what}: {', '.join(sites)}.")
