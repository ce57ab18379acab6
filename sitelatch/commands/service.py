"""The verbs that serve, and those that get ready for it."""

from pathlib import Path

import click

from sitelatch.commands.asking import run
from sitelatch.commands.options import config_option
from sitelatch.config import Config, check_files
from sitelatch.config_warnings import advice
from sitelatch.database import database_url, migrate_at
from sitelatch.demo import run_demo
from sitelatch.serve import serve
from sitelatch.signals import Signals
from sql.migrate import LATEST


@click.command("serve")
@config_option
def serve_command(config: Config) -> int:
    """Open the doors. SIGTERM or Ctrl-C stops gracefully, a second one at once."""
    check_files(config)
    return run(_serve(config))


@click.command("migrate")
@config_option
def migrate_command(config: Config) -> None:
    """Bring the database's schema up to date, as the role of admin.database_url."""

    async def work() -> None:
        async with database_url(config.admin_database, config.directory) as url:
            applied, twins = await migrate_at(url)
        for name in applied:
            click.echo(name)
        for oldest, twin in twins.pairs:
            alike = f'Some data services treat the sites "{oldest}" and "{twin}" as the same.'
            click.echo(f"{alike} Check that yours does not.")
        if twins.more:
            click.echo(f"There are {twins.more} more such sites.")
        click.echo(f"The schema has version {LATEST}.")

    run(work())


@click.command("check-config")
@config_option
def check_config_command(config: Config) -> None:
    """Say what is wrong with a config, and warn of what is probably not meant."""
    check_files(config)
    for warning in advice(config):
        click.echo(f"warning: {warning}", err=True)
    routes = ", ".join(route.name for route in config.proxy.routes)
    click.echo(f"The config can be served. Routes: {routes}.")


@click.command("run")
@click.option("--upstream", help="The URL of your own data API, instead of the sample one.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var"),
    show_default=True,
    help="Where the demo keeps its database and its config.",
)
def run_command(upstream: str | None, directory: Path) -> int:
    """Try it out: a database, a sample data API, keys, and lines to paste. Ctrl-C ends it."""
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    return run(run_demo(directory, upstream))


async def _serve(config: Config) -> int:
    return await serve(config, Signals())  # events belong to the loop that they are made on
