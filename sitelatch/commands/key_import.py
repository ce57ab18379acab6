"""`sitelatch import`: the keys that clients already have."""

import os
from collections.abc import Callable
from typing import BinaryIO, Final

import asyncpg
import click

from admin.api.key_file import Defaults, read_key_file
from admin.api.key_import import FOREIGN_KEYS_REFUSED, KeyImport, import_keys
from admin.identity.admins import COMMAND, Actor, Person
from admin.key_encryption import key_cipher
from admin.problems import Invalid
from sitelatch.commands.options import config_option, email, operator, person
from sitelatch.commands.questions import say
from sitelatch.commands.running import run_with_database
from sitelatch.config import Config

_SHOWN: Final = 20
"""How many faults are printed."""


Check = Callable[[click.Context, click.Parameter, str], str]


def _unless_missing(check: Check) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Return a callback that checks the value of an option, if there is one."""
    return lambda context, parameter, text: None if text is None else check(context, parameter, text)


@click.command("import", short_help="Import keys that clients already have.")
@config_option
@click.option("--workspace", metavar="NAME", help="Workspace for lines that do not name one.")
@click.option("--all-sites", is_flag=True, help="Authorize lines that name no sites for all sites of the workspace.")
@click.option(
    "--site", "sites", metavar="ID", multiple=True, help="Site for lines that name no site. Can be given several times."
)
@click.option(
    "--by-name",
    metavar="NAME",
    callback=_unless_missing(person),
    help="Name of the person who authorizes the API users.",
)
@click.option("--by-email", metavar="ADDRESS", callback=_unless_missing(email), help="Email address of that person.")
@click.option("--update", is_flag=True, help="Change the scope, the expiry and the name of known keys.")
@click.option("--allow-weak", is_flag=True, help="Import keys that can be guessed from their SHA-256.")
@click.option("--dry-run", is_flag=True, help="Show what would change and all errors, but change nothing.")
@click.argument("file", metavar="FILE", type=click.File("rb"))
def import_command(
    config: Config,
    file: BinaryIO,
    workspace: str | None,
    all_sites: bool,
    sites: tuple[str, ...],
    by_name: str | None,
    by_email: str | None,
    update: bool,
    allow_weak: bool,
    dry_run: bool,
) -> None:
    """Import keys that clients already have.

    FILE is CSV with headings, or JSON lines. Each line has a key in plain text (key) or its SHA-256 in hex or Base64
    (sha256), and workspace, sites or all_sites, name and expires_at. Each key gets an API user of its own. If any line
    has an error, nothing is changed. Importing a file again changes nothing.
    """
    if all_sites and sites:
        raise click.UsageError("Give either --all-sites or --site, not both.")
    if (by_name is None) != (by_email is None):
        raise click.UsageError("Give both --by-name and --by-email, or neither.")
    by = Actor(Person(by_name, by_email), COMMAND) if by_name is not None and by_email is not None else operator()
    name = "standard input" if file.name in (0, "<stdin>") else os.fsdecode(file.name)
    read = read_key_file(file.read(), Defaults(workspace, all_sites, sites), allow_weak=allow_weak)

    async def work(connection: asyncpg.Connection) -> KeyImport:
        cipher = key_cipher(config.admin.recoverable_keys)
        return await import_keys(connection, read, by=by, cipher=cipher, update=update, dry_run=dry_run)

    done = run_with_database(config, work)
    if dry_run or not done.faults:
        _echo(done, dry_run=dry_run)
    if done.has_foreign_keys and not config.keys.accept_foreign:
        say("foreign_keys_refused", FOREIGN_KEYS_REFUSED)
    if done.faults:
        lines = [f"{name}: {fault}" for fault in done.faults[:_SHOWN]]
        if len(done.faults) > _SHOWN:
            lines.append(f"And {len(done.faults) - _SHOWN:,} more.")
        raise Invalid("\n".join(filter(None, [*lines, done.known_workspaces])))


def _echo(done: KeyImport, *, dry_run: bool) -> None:
    added, changed = ("Would import", "Would change") if dry_run else ("Imported", "Changed")
    counts = ((added, done.count("new")), (changed, done.count("changed")), ("Unchanged", done.count("unchanged")))
    for what, count in counts:
        if count:
            click.echo(f"{what}: {count:,}.")
