"""`sitelatch users`: list, show, create and delete API users. `user_changes.py` adds the commands that change them."""

import re
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import click

from admin.api.response_models import Page, User
from admin.api.user_creation import create_user
from admin.api.user_list import SITES_LISTED, Filters, list_users
from admin.api.user_order import SORTS, Sort
from admin.api.users import delete_user, get_user
from admin.api.workspaces import filtered_workspaces
from admin.identity.admins import COMMAND, Actor, Person
from admin.key_encryption import key_cipher
from admin.problems import Invalid
from sitelatch.commands.listing import Form, csv_form, echo_list, json_form, table_form, terminal_width
from sitelatch.commands.options import (
    config_option,
    email,
    json_option,
    limit_option,
    operator,
    person,
    workspace_option,
)
from sitelatch.commands.questions import ask, can_ask, say, yes_option
from sitelatch.commands.running import run_with_database
from sitelatch.commands.tables import printable
from sitelatch.commands.user_columns import CSV_COLUMNS, PROGRAM_COLUMNS, deletion_notice, details, terminal_columns
from sitelatch.config import Config
from sql.queries import query

USERS_BY_BEGINNING = query("users_by_beginning")

_BEGINNING: Final = re.compile(r"[0-9a-f]{8}")
"""A terminal shows at least eight characters of an id."""
_DAYS: Final = click.IntRange(1, 36_500)
_FIRST: Final = "00000000-0000-0000-0000-000000000000"
_LAST: Final = _FIRST.replace("0", "f")


@click.group("users", short_help="Manage API users.")
def users_group() -> None:
    """List, show, create, change and delete API users, and rotate their keys."""


@users_group.command("create", short_help="Create an API user and print its key.")
@config_option
@workspace_option
@click.option("--all-sites", is_flag=True, help="Authorize for all sites of the workspace, including future ones.")
@click.option(
    "--site", "sites", metavar="ID", multiple=True, help="Authorize for this site. Can be given several times."
)
@click.option("--name", metavar="NAME", help="Name of the API user.")
@click.option(
    "--by-name", metavar="NAME", required=True, callback=person, help="Name of the person who authorizes the API user."
)
@click.option("--by-email", metavar="ADDRESS", required=True, callback=email, help="Email address of that person.")
def create_user_command(
    config: Config,
    workspace: str,
    all_sites: bool,
    sites: tuple[str, ...],
    name: str | None,
    by_name: str,
    by_email: str,
) -> None:
    """Create an API user and print its key.

    Prints one JSON object. The key in it is shown only once.
    """
    if all_sites == bool(sites):
        raise click.UsageError("Give either --all-sites, or --site at least once.")

    async def work(connection: asyncpg.Connection) -> None:
        # If the key cannot be printed, for example because the disk is full, the transaction is rolled back.
        async with connection.transaction():
            user = await create_user(
                connection,
                workspace=workspace,
                all_sites=all_sites,
                sites=sites or None,
                name=name,
                by=Actor(Person(by_name, by_email), COMMAND),
                cipher=key_cipher(config.admin.recoverable_keys),
            )
            click.echo(user.model_dump_json())

    run_with_database(config, work)


@users_group.command("list")
@config_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, for spreadsheets.")
@click.option("--workspace", metavar="NAME", help="Show only API users of this workspace.")
@click.option(
    "--search", metavar="TEXT", help="Show only API users with these beginnings of words in a name, key or site."
)
@click.option("--never-used", is_flag=True, help="Show only API users that were never used.")
@click.option(
    "--unused-days",
    metavar="DAYS",
    type=_DAYS,
    help="Show only API users that were neither used nor created in the last days.",
)
@click.option(
    "--expires-within-days", metavar="DAYS", type=_DAYS, help="Show only API users that expire in the next days."
)
@click.option("--expired", is_flag=True, help="Show only API users that have expired.")
@click.option(
    "--sort", type=click.Choice(SORTS), default="-created", show_default=True, help="The order. - reverses it."
)
@limit_option
def list_users_command(
    config: Config,
    as_json: bool,
    as_csv: bool,
    workspace: str | None,
    search: str | None,
    sort: Sort,
    limit: int | None,
    **filters: Any,
) -> None:
    """List API users.

    On a terminal, the table fits its width. Otherwise, it shows everything in full.
    """
    if as_json and as_csv:
        raise click.UsageError("Give --json or --csv, not both.")
    form, sites_listed = _form(as_json, as_csv, workspace)

    async def work(connection: asyncpg.Connection) -> None:
        within = await filtered_workspaces(connection, None, workspace)

        async def read(after: str | None, size: int) -> Page[User]:
            return await list_users(
                connection,
                within=within,
                search=search,
                filters=Filters(**filters),
                sort=sort,
                after=after,
                limit=size,
                sites_listed=sites_listed,
            )

        await echo_list(connection, read, form, limit=limit)

    run_with_database(config, work)


def _form(as_json: bool, as_csv: bool, workspace: str | None) -> tuple[Form[User], int | None]:
    """Return the form that prints the list, and how many sites of each API user it shows. Programs need all of them."""
    if as_json:
        return json_form(), None
    if as_csv:
        return csv_form(CSV_COLUMNS), None
    if terminal_width() is None:
        return table_form(PROGRAM_COLUMNS), SITES_LISTED
    return table_form(terminal_columns(datetime.now(UTC), with_workspace=workspace is None)), 1


@users_group.command("show", short_help="Show one API user.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs.")
@click.argument("user_id", metavar="ID")
def show_user_command(config: Config, as_json: bool, user_id: str) -> None:
    """Show one API user with all of its sites.

    ID may be the beginning that a narrow terminal shows.
    """
    user = run_with_database(config, lambda connection: find_user(connection, user_id))
    if as_json:
        click.echo(user.model_dump_json())
        return
    for title, text in details(user, datetime.now(UTC)):
        click.echo(f"{title + ':' if title else '':<15}{printable(text)}".rstrip())


@users_group.command("delete", short_help="Delete an API user permanently.")
@config_option
@yes_option
@click.argument("user_id", metavar="ID")
def delete_user_command(config: Config, yes: bool, user_id: str) -> None:
    """Delete an API user and its API key permanently.

    Says what the API user loses access to, and asks if a person at a terminal can answer. ID may be the beginning that
    a narrow terminal shows.
    """
    user = run_with_database(config, lambda connection: find_user(connection, user_id))
    say("access_ends", deletion_notice(user, datetime.now(UTC)))
    if can_ask() and not yes:
        ask("Delete this API user and its key permanently?")
    run_with_database(config, lambda connection: delete_user(connection, user.id, by=operator()))
    click.echo(f"Deleted {user.id}.")


async def find_user(connection: asyncpg.Connection, user_id: str) -> User:
    """Return the API user with this id, or the only one whose id begins like this. Raises NotFound and Invalid."""
    beginning = user_id.lower().rstrip("….")
    if _BEGINNING.match(beginning):
        first, last = (beginning + end[len(beginning) :] for end in (_FIRST, _LAST))
        if _is_uuid(first):
            found = [str(row["id"]) for row in await connection.fetch(USERS_BY_BEGINNING, first, last)]
            if len(found) > 1:
                raise Invalid(f"The ids of several API users begin with {beginning}. Give more of the id.")
            user_id = found[0] if found else user_id
    return await get_user(connection, user_id)


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
