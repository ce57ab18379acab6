"""`sitelatch users`: API users, who may ask for what."""

from collections.abc import Awaitable

import asyncpg
import click

from admin.api.response_models import Page, User
from admin.api.user_list import SITES_LISTED, list_users
from admin.api.users import create_user, delete_user
from admin.identity.admins import COMMAND, Actor, Person
from admin.key_encryption import key_cipher
from sitelatch.commands.asking import PAGE, ask, echo_json, echo_table, every
from sitelatch.commands.options import config_option, email, json_option, operator, person, workspace_option
from sitelatch.config import Config


@click.group("users")
def users_group() -> None:
    """API users: who may ask for what."""


@users_group.command("create")
@config_option
@workspace_option
@click.option("--all-sites", is_flag=True, help="Authorise for all sites of the workspace, later ones too.")
@click.option("--site", "sites", multiple=True, help="Authorise for this site. Can be given many times.")
@click.option("--name", help="What to call the API user.")
@click.option("--by-name", required=True, callback=person, help="Who authorises it.")
@click.option("--by-email", required=True, callback=email, help="Their e-mail address.")
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

    async def work(connection: asyncpg.Connection) -> None:
        # A key that cannot be printed, on a full disk say, is of a user that is not made.
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

    ask(config, work)


@users_group.command("list")
@config_option
@json_option
def list_users_command(config: Config, as_json: bool) -> None:
    """List the API users, the newest first."""
    # Programs cannot ask for more of one, as people can on the page.
    most = None if as_json else SITES_LISTED

    async def work(connection: asyncpg.Connection) -> list[User]:
        def read(after: str | None) -> Awaitable[Page[User]]:
            return list_users(connection, after=after, limit=PAGE, sites_listed=most)

        return [user async for user in every(read)]

    users = ask(config, work)
    if as_json:
        echo_json(users)
        return
    echo_table(
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
    ask(config, lambda connection: delete_user(connection, user_id, by=operator()))
    click.echo(f"Deleted {user_id}.")


def _scope(user: User) -> str:
    if user.all_sites:
        return "all sites"
    more = user.site_count - len(user.sites)
    return " ".join(user.sites) + (f" and {more} more" if more else "")
