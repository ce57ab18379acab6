"""`sitelatch serve`, `migrate`, `check-config` and `run`."""

import os
from pathlib import Path

import click

from sitelatch.commands.options import Process, config_option
from sitelatch.commands.running import run
from sitelatch.config import Config
from sitelatch.config_checks import check_all_files, check_files
from sitelatch.config_database import database_warnings
from sitelatch.config_source import Fault
from sitelatch.config_warnings import warnings
from sitelatch.database import migrate_at, opened_database
from sitelatch.demo import run_demo
from sitelatch.environment import ignored_variables
from sitelatch.reachability import unreachable_parts
from sitelatch.serve import serve
from sitelatch.signals import Signals
from sql.migrate import LATEST


@click.command("serve", short_help="Run the proxy.")
@config_option
@click.pass_obj
def serve_command(process: Process, config: Config) -> int:
    """Run the proxy.

    The first SIGTERM or Ctrl-C stops it gracefully, the second one immediately.
    """
    check_files(config)
    return run(_serve(config, process))


@click.command("migrate", short_help="Migrate the database schema.")
@config_option
def migrate_command(config: Config) -> None:
    """Migrate the database schema to the latest version.

    Connects as the role in admin.database_url, or else in database.url.
    """

    async def work() -> None:
        async with opened_database(config.admin_database, config.directory) as dsn:
            applied, twins = await migrate_at(dsn)
        for name in applied:
            click.echo(name)
        for oldest, twin in twins.pairs:
            click.echo(
                f'Some data services treat the sites "{oldest}" and "{twin}" as the same. Check that yours does not.'
            )
        if twins.more:
            click.echo(f"There are {twins.more} more such pairs.")
        click.echo(f"The schema is at version {LATEST}.")

    run(work())


@click.command("check-config", short_help="Check a config file.")
@config_option
@click.option("--connect", is_flag=True, help="Also check that upstreams and database answer, and that ports are free.")
def check_config_command(config: Config, connect: bool) -> int:
    """Check a config file.

    Reports errors, and warns about settings that are probably mistakes. With --connect, run it before `serve`, because
    the addresses of a running `serve` are in use.
    """
    check_all_files(config)
    found = [*warnings(config), *database_warnings(config)]
    for warning in [*config.source.complaints(found), *ignored_variables(Config, os.environ)]:
        click.echo(f"warning: {warning}", err=True)
    if connect and (problems := run(_problems(config))):
        for problem in config.source.complaints(problems):
            click.echo(f"error: {problem}", err=True)
        return 1
    routes = ", ".join(route.name for route in config.proxy.routes)
    click.echo(f"The config is valid. Routes: {routes}.")
    return 0


@click.command("run", short_help="Run a demo.")
@click.option("--upstream", metavar="URL", help="URL of your own data API. Without it, a sample API is used.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var"),
    show_default=True,
    help="Directory for the database and the config of the demo.",
)
@click.pass_obj
def run_command(process: Process, upstream: str | None, directory: Path) -> int:
    """Run a demo.

    It has a database, a sample data API, API keys, and commands to try. Ctrl-C stops it.
    """
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    return run(run_demo(directory, upstream, process.log))


async def _problems(config: Config) -> list[Fault]:
    return [problem async for problem in unreachable_parts(config)]


async def _serve(config: Config, process: Process) -> int:
    signals = Signals()  # created here, because its events belong to the running loop
    return await serve(config, signals, process.log, secrets=process.secrets)
