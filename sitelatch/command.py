"""The command: what can be done from a shell. Results go to stdout, logs and errors as JSON lines to stderr.

Exit codes: 0 done, 1 failed, 2 bad usage or config.
"""

import getpass
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

import asyncpg
import click
import structlog
import uvloop

from admin.audit import COMMAND
from admin.people import Person, new_token, token_digest
from admin.problems import Problem
from admin.safe import safe_for
from admin.site_import import import_sites, read_csv
from admin.sites import Added, NewSite, add_sites, list_sites, remove_sites
from admin.texts import check_name
from admin.users import create_user, delete_user, list_users
from admin.views import Page, User
from proxy.accesslog import configure_logging, mask
from sitelatch.complaints import ConfigError
from sitelatch.config import Config, check_files, load
from sitelatch.database import connection_to, database_url, migrate_at
from sitelatch.demo import run_demo
from sitelatch.explain import Question, explain
from sitelatch.serve import CannotServe, serve
from sitelatch.signals import Signals
from sql.embedded import EmbeddedServerFailed, ServerBinariesMissing
from sql.migrate import LATEST, WrongSchemaVersion
from sql.pool import BadDatabaseUrl

FAILED = 1
BAD_USAGE = 2
_PAGE = 500

_log = structlog.get_logger("sitelatch")

Result = TypeVar("Result")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command and exit."""
    configure_logging(sys.stderr)
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: list[str] | None) -> int:
    """Run the command; this is the one place where its errors become words and a number."""
    try:
        code = cli.main(arguments, prog_name="sitelatch", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return FAILED
    except ConfigError as error:
        for complaint in error.complaints:
            _log.error("bad_config", complaint=complaint)
        return BAD_USAGE
    except Problem as problem:
        _log.error("refused", reason=str(problem))
        return FAILED
    except (CannotServe, EmbeddedServerFailed, ServerBinariesMissing, WrongSchemaVersion, BadDatabaseUrl) as error:
        _log.error("failed", reason=str(error))
        return FAILED
    except asyncpg.PostgresError as error:
        _log.error("database_failed", reason=error.args[0] if error.args else type(error).__name__)
        return FAILED
    except (OSError, asyncpg.InterfaceError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            _log.error("failed", reason=f"{error.filename}: {error.strerror}")
        else:
            # The kind only: what a connection's error says may quote its URL.
            _log.error("database_unreachable", reason=getattr(error, "strerror", None) or type(error).__name__)
        return FAILED
    except Exception:
        _log.critical("fault", exc_info=True)
        return FAILED
    return code if isinstance(code, int) else 0


def _config(_: click.Context, __: click.Parameter, file: Path) -> Config:
    return load(file, os.environ)


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        try:
            click.echo(f"sitelatch {version('sitelatch')}")
        except PackageNotFoundError:
            click.echo("sitelatch, run from its source without being installed")
        context.exit()


def _person(_: click.Context, __: click.Parameter, text: str) -> str:
    """Return what is said of a person, unless the config would refuse it. Shells hand over bytes that are no text."""
    try:
        return check_name(text)
    except Problem as problem:
        raise click.BadParameter(str(problem)) from None


def _email(context: click.Context, parameter: click.Parameter, text: str) -> str:
    if len(text) < 3:
        raise click.BadParameter('must be an e-mail address, like "ada@example.com".')
    return _person(context, parameter, text)


config_option = click.option(
    "--config", required=True, type=click.Path(path_type=Path), callback=_config, help="The config file (TOML)."
)
workspace_option = click.option("--workspace", required=True, help="The workspace that owns them.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="The version.")
def cli() -> None:
    """API keys, scoped to sites, enforced in front of a data API that you already run."""


@cli.command("serve")
@config_option
def serve_command(config: Config) -> int:
    """Open the doors. SIGTERM or Ctrl-C stops gracefully, a second one at once."""
    check_files(config)
    return _run(_serve(config))


@cli.command("migrate")
@config_option
def migrate_command(config: Config) -> None:
    """Bring the database's schema up to date, as the role of admin.database_url."""

    async def work() -> None:
        async with database_url(config.admin_database, config.directory) as url:
            applied = await migrate_at(url)
        for name in applied:
            click.echo(name)
        click.echo(f"The schema has version {LATEST}.")

    _run(work())


@cli.command("check-config")
@config_option
def check_config_command(config: Config) -> None:
    """Say what is wrong with a config, or that nothing is."""
    check_files(config)
    routes = ", ".join(route.name for route in config.proxy.routes)
    click.echo(f"The config can be served. Routes: {routes}.")


@cli.command("run")
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
    return _run(run_demo(directory, upstream))


@cli.group("users")
def users_group() -> None:
    """API users: who may ask for what."""


@users_group.command("create")
@config_option
@workspace_option
@click.option("--all-sites", is_flag=True, help="Authorise for all sites of the workspace, later ones too.")
@click.option("--site", "sites", multiple=True, help="Authorise for this site. Can be given many times.")
@click.option("--name", help="What to call the API user.")
@click.option("--by-name", required=True, callback=_person, help="Who authorises it.")
@click.option("--by-email", required=True, callback=_email, help="Their e-mail address.")
def create_user_command(
    config: Config,
    workspace: str,
    all_sites: bool,
    sites: tuple[str, ...],
    name: str | None,
    by_name: str,
    by_email: str,
) -> None:
    """Make an API user and print it as JSON, with its key: the only time that it is shown."""
    if all_sites == bool(sites):
        raise click.UsageError("Give either --all-sites, or --site for each site.")

    async def work(connection: asyncpg.Connection) -> str:
        user = await create_user(
            connection,
            workspace=workspace,
            all_sites=all_sites,
            sites=sites or None,
            name=name,
            by=Person(by_name, by_email),
            address=COMMAND,
            safe=safe_for(config.admin.recoverable_keys),
        )
        return user.model_dump_json()

    click.echo(_ask(config, work))


@users_group.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
def list_users_command(config: Config, as_json: bool) -> None:
    """List the API users, the newest first."""

    async def work(connection: asyncpg.Connection) -> list[User]:
        return [user async for user in _all(lambda after: list_users(connection, after=after, limit=_PAGE))]

    users = _ask(config, work)
    if as_json:
        click.echo(json.dumps([user.model_dump(mode="json") for user in users]))
        return
    _echo_table(
        ("ID", "KEY", "WORKSPACE", "SITES", "AUTHORIZED BY", "LAST ACTIVITY"),
        [
            (
                user.id,
                " ".join(key.hint for key in user.keys),
                user.workspace,
                _scope(user),
                f"{user.authorized_by.name} <{user.authorized_by.email}>",
                user.last_activity.isoformat(" ", "seconds") if user.last_activity else "never",
            )
            for user in users
        ],
    )


@users_group.command("delete")
@config_option
@click.argument("user_id", metavar="ID")
def delete_user_command(config: Config, user_id: str) -> None:
    """Delete an API user and its key, for good."""
    _ask(config, lambda connection: delete_user(connection, user_id, by=_operator(), address=COMMAND))
    click.echo(f"Deleted {user_id}.")


@cli.group("sites")
def sites_group() -> None:
    """Sites: what API users can be authorised for."""


@sites_group.command("add")
@config_option
@workspace_option
@click.argument("sites", metavar="SITE…", nargs=-1, required=True)
def add_sites_command(config: Config, workspace: str, sites: tuple[str, ...]) -> None:
    """Add sites to a workspace, which is made if it is new. Adding twice is no error."""

    async def work(connection: asyncpg.Connection) -> Added:
        return await add_sites(
            connection,
            workspace=workspace,
            sites=[NewSite(site) for site in sites],
            by=_operator(),
            address=COMMAND,
            create_workspace=True,
        )

    _echo_added(_ask(config, work))


@sites_group.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
def list_sites_command(config: Config, as_json: bool) -> None:
    """List the sites of all workspaces."""

    async def work(connection: asyncpg.Connection) -> list[Any]:
        return [site async for site in _all(lambda after: list_sites(connection, after=after, limit=_PAGE))]

    sites = _ask(config, work)
    if as_json:
        click.echo(json.dumps([site.model_dump(mode="json") for site in sites]))
        return
    _echo_table(("SITE", "WORKSPACE", "NAME"), [(site.id, site.workspace, site.display_name) for site in sites])


@sites_group.command("remove")
@config_option
@click.argument("sites", metavar="SITE…", nargs=-1, required=True)
def remove_sites_command(config: Config, sites: tuple[str, ...]) -> None:
    """Remove sites, and every authorisation for them, for good."""
    _ask(config, lambda connection: remove_sites(connection, sites, by=_operator(), address=COMMAND))
    click.echo(f"Removed {', '.join(sites)}.")


@sites_group.command("import")
@config_option
@click.argument("file", metavar="FILE.csv", type=click.File(encoding="utf-8-sig"))
def import_sites_command(config: Config, file: TextIO) -> None:
    """Add the sites of a CSV file with the columns site, workspace and, if you like, display_name."""
    by_workspace = read_csv(file)
    _echo_added(
        _ask(config, lambda connection: import_sites(connection, by_workspace, by=_operator(), address=COMMAND))
    )


@cli.command("explain")
@config_option
@click.option("--user", "user_id", help="Ask as the API user with this id.")
@click.option("--key-stdin", is_flag=True, help="Ask with the API key on standard input.")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header. Can be given many times.")
@click.argument("method")
@click.argument("target")
def explain_command(
    config: Config, user_id: str | None, key_stdin: bool, headers: tuple[str, ...], method: str, target: str
) -> None:
    """Say what would be decided on a request, step by step, and why. TARGET is a path with its query."""
    if (user_id is not None) == key_stdin:
        raise click.UsageError("Give either --user ID or --key-stdin.")
    question = Question(
        method=os.fsencode(method),
        target=os.fsencode(target),
        fields=[_field(header) for header in headers],
        user_id=user_id,
        key=sys.stdin.buffer.readline().strip() if key_stdin else None,
    )
    said = _run(explain(config, question))
    # A key in a wrong place (a path, say) is a secret too, and bytes that are no text cannot be printed.
    click.echo(mask(said).encode("utf-8", "backslashreplace"))


def _field(header: str) -> tuple[bytes, bytes]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip() or any(ord(character) < 0x20 for character in header):
        raise click.BadParameter("must be 'NAME: VALUE'.", param_hint="--header")
    return os.fsencode(name.strip()), os.fsencode(value.strip())


@cli.group("tokens")
def tokens_group() -> None:
    """Admin tokens: who may use the admin API."""


@tokens_group.command("new")
@click.option("--name", required=True, callback=_person, help="Whose token it is.")
@click.option("--email", required=True, callback=_email, help="Their e-mail address.")
def new_token_command(name: str, email: str) -> None:
    """Make an admin token and print it with the lines for the config, which holds only its SHA-256."""
    token = new_token()
    click.echo(f"# The token, which is shown this once: {token}")
    click.echo("# The lines for the config file; serve reads it when it starts:")
    click.echo("[[admin.tokens]]")
    # Other escapes than those for quotes and backslashes mean something else in TOML.
    click.echo(f"name = {json.dumps(name, ensure_ascii=False)}")
    click.echo(f"email = {json.dumps(email, ensure_ascii=False)}")
    click.echo(f'sha256 = "{token_digest(token)}"')


async def _serve(config: Config) -> int:
    return await serve(config, Signals())  # events belong to the loop that they are made on


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    return uvloop.run(work)


def _ask(config: Config, work: Callable[[asyncpg.Connection], Awaitable[Result]]) -> Result:
    """Run `work` with a connection of the admin's role."""

    async def with_connection() -> Result:
        async with connection_to(config.admin_database, config.directory) as connection:
            return await work(connection)

    return _run(with_connection())


async def _all(read: Callable[[str | None], Awaitable[Page[Result]]]) -> AsyncIterator[Result]:
    """Walk a list from its first page to its last."""
    after: str | None = None
    while True:
        page = await read(after)
        for item in page.items:
            yield item
        if page.next is None:
            return
        after = page.next


def _operator() -> Person:
    """Return who is at this shell, for the audit log: the database's password lets them in, not their name."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        login = f"uid {os.getuid()}"
    return Person(login, f"{login}@{socket.gethostname()}")


def _scope(user: User) -> str:
    if user.all_sites:
        return "all sites"
    more = user.site_count - len(user.sites)
    return " ".join(user.sites) + (f" and {more} more" if more else "")


def _echo_added(added: Added) -> None:
    for what, sites in (
        ("Added", added.created),
        ("Renamed", added.renamed),
        ("Already there", added.unchanged),
    ):
        if sites:
            click.echo(f"{what}: {', '.join(sites)}.")


def _echo_table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in [titles, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
