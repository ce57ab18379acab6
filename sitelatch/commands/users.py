"""`sitelatch users`: list, create and delete API users."""

from collections.abc import Awaitable

import asyncpg
import click

from admin.api.response_models import Page, User
from admin.api.user_creation import create_user
from admin.api.user_list import SITES_LISTED, list_users
from admin.api.users import delete_user
from admin.identity.admins import COMMAND, Actor, Person
from admin.key_encryption import key_cipher
from sitelatch.commands.listing import PAGE_SIZE, echo_list
from sitelatch.commands.options import config_option, email, json_option, operator, person, workspace_option
from sitelatch.commands.running import run_with_database
from sitelatch.config import Config


@click.group("users", short_help="Manage API users.")
def users_group() -> None:
    """List, create and delete API users."""


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
def list_users_command(config: Config, as_json: bool) -> None:
    """List API users, newest first."""
    # JSON output contains all sites of each user, because programs need the complete list.
    sites_listed = None if as_json else SITES_LISTED

    async def work(connection: asyncpg.Connection) -> None:
        def read(after: str | None) -> Awaitable[Page[User]]:
            return list_users(connection, after=after, limit=PAGE_SIZE, sites_listed=sites_listed)

        await echo_list(connection, read, as_json=as_json, titles=_TITLES, row=_row)

    run_with_database(config, work)


@users_group.command("delete", short_help="Delete an API user permanently.")
@config_option
@click.argument("user_id", metavar="ID")
def delete_user_command(config: Config, user_id: str) -> None:
    """Delete an API user and its API key permanently."""
    run_with_database(config, lambda connection: delete_user(connection, user_id, by=operator()))
    click.echo(f"Deleted {user_id}.")


_TITLES = ("ID", "KEY", "WORKSPACE", "SITES", "AUTHORIZED BY", "LAST ACTIVITY")


def _row(user: User) -> tuple[str, ...]:
    return (
        user.id,
        " ".join(key.hint for key in user.keys),
        user.workspace,
        _scope(user),
        f"{user.authorized_by.name} <{user.authorized_by.email}>",
        user.last_activity.isoformat(" ", "seconds") if user.last_activity else "never",
    )


def _scope(user: User) -> str:
    if user.all_sites:
        return "all sites"
    more = user.site_count - len(user.sites)
    return " ".join(user.sites) + (f" and {more} more" if more else "")
