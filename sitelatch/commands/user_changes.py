"""`sitelatch users edit`, `disable`, `enable`, `rotate` and `end-old-keys`: change API users and replace their keys."""

import re
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import click

from admin.api.key_rotation import MAX_OVERLAP_SECONDS, end_old_keys, rotate_key
from admin.api.response_models import User
from admin.api.user_conditions import READ_ONLY
from admin.api.user_editing import SiteEdit, edit_user
from admin.key_encryption import key_cipher
from sitelatch.commands.options import config_option, operator
from sitelatch.commands.running import run_with_database
from sitelatch.commands.users import find_user, users_group
from sitelatch.config import Config

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Duration(click.ParamType[int]):
    """A number of seconds, minutes, hours or days, such as 90s, 10m, 1h or 7d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the seconds."""
        if isinstance(value, int):
            return value
        read = re.fullmatch(r"(\d{1,9})([smhd])|0", value)
        if read is None:
            self.fail("must be a number with a unit, such as 90s, 10m, 1h or 7d.", param, ctx)
        seconds = int(read[1] or 0) * _UNITS[read[2] or "s"]
        if seconds > MAX_OVERLAP_SECONDS:
            self.fail(f"must be at most {MAX_OVERLAP_SECONDS // _UNITS['d']}d.", param, ctx)
        return seconds


class Moment(click.ParamType[datetime]):
    """A time with a UTC offset."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time in UTC."""
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise ValueError
            return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("must be a time with a UTC offset, such as 2026-11-30T08:00:00Z.", param, ctx)


@users_group.command("edit", short_help="Change an API user.")
@config_option
@click.option("--name", metavar="NAME", help="The new name.")
@click.option("--no-name", is_flag=True, help="Remove the name.")
@click.option("--all-sites", is_flag=True, help="Authorize for all sites of the workspace, including future ones.")
@click.option("--site", "sites", metavar="ID", multiple=True, help="Authorize only for this site (repeatable).")
@click.option("--add-site", "added", metavar="ID", multiple=True, help="Also authorize for this site (repeatable).")
@click.option("--remove-site", "removed", metavar="ID", multiple=True, help="Remove this site (repeatable).")
@click.option("--expires-at", metavar="TIME", type=Moment(), help="Refuse the keys from this time on.")
@click.option("--never-expires", is_flag=True, help="Remove the expiry. Keys that a rotation ended are still refused.")
@click.option("--method", "methods", metavar="METHOD", multiple=True, help="Allow only this method (repeatable).")
@click.option("--read-only", is_flag=True, help=f"Allow only {', '.join(READ_ONLY)}.")
@click.option("--all-methods", is_flag=True, help="Allow all methods.")
@click.option(
    "--network", "networks", metavar="CIDR", multiple=True, help="Accept the keys only from this network (repeatable)."
)
@click.option("--any-network", is_flag=True, help="Accept the keys from any network.")
@click.option(
    "--requests-per-second", metavar="NUMBER", type=float, help="Limit all keys together to this rate, on average."
)
@click.option(
    "--burst", metavar="NUMBER", type=int, help="Allow this many requests at once. Without it, a second's worth."
)
@click.option(
    "--requests-per-day", metavar="NUMBER", type=int, help="Limit all keys together to this many in a UTC day."
)
@click.option("--route-limits", is_flag=True, help="Remove these limits, so that those of the route apply.")
@click.argument("user_id", metavar="ID")
def edit_user_command(
    config: Config,
    name: str | None,
    no_name: bool,
    all_sites: bool,
    sites: tuple[str, ...],
    added: tuple[str, ...],
    removed: tuple[str, ...],
    expires_at: datetime | None,
    never_expires: bool,
    methods: tuple[str, ...],
    read_only: bool,
    all_methods: bool,
    networks: tuple[str, ...],
    any_network: bool,
    requests_per_second: float | None,
    burst: int | None,
    requests_per_day: int | None,
    route_limits: bool,
    user_id: str,
) -> None:
    """Change an API user, and print it as one JSON object.

    Values without an option do not change. ID may be the beginning that a narrow terminal shows.
    """
    _allow_one("--name", name is not None, "--no-name", no_name)
    _allow_one("--all-sites", all_sites, "--site, --add-site and --remove-site", bool(sites or added or removed))
    _allow_one("--site", bool(sites), "--add-site and --remove-site", bool(added or removed))
    _allow_one("--expires-at", expires_at is not None, "--never-expires", never_expires)
    _allow_one("--method", bool(methods), "--read-only", read_only)
    _allow_one("--method and --read-only", bool(methods) or read_only, "--all-methods", all_methods)
    _allow_one("--network", bool(networks), "--any-network", any_network)
    limits = {"requests_per_second": requests_per_second, "burst": burst, "requests_per_day": requests_per_day}
    given_limits = {name: limit for name, limit in limits.items() if limit is not None}
    _allow_one(
        "--requests-per-second, --burst and --requests-per-day", bool(given_limits), "--route-limits", route_limits
    )
    changes: dict[str, Any] = {}
    if name is not None or no_name:
        changes["name"] = name
    if expires_at is not None or never_expires:
        changes["expires_at"] = expires_at
    if methods or read_only or all_methods:
        changes["methods"] = READ_ONLY if read_only else methods or None
    if networks or any_network:
        changes["networks"] = networks or None
    changes |= dict.fromkeys(limits) if route_limits else given_limits
    edit = None
    if all_sites:
        changes["all_sites"] = True
    elif sites or added or removed:
        changes["all_sites"] = False
        edit = SiteEdit(sites) if sites else SiteEdit(add=added, remove=removed)
    if not changes:
        raise click.UsageError("Give at least one change.")
    _edit(config, user_id, changes, edit)


@users_group.command("disable", short_help="Refuse the keys of an API user until it is enabled again.")
@config_option
@click.argument("user_id", metavar="ID")
def disable_user_command(config: Config, user_id: str) -> None:
    """Refuse the keys of an API user until it is enabled again.

    Prints the API user as one JSON object. ID may be the beginning that a narrow terminal shows.
    """
    _edit(config, user_id, {"disabled": True})


@users_group.command("enable", short_help="Enable an API user that was disabled.")
@config_option
@click.argument("user_id", metavar="ID")
def enable_user_command(config: Config, user_id: str) -> None:
    """Enable an API user that was disabled, and print it as one JSON object.

    ID may be the beginning that a narrow terminal shows.
    """
    _edit(config, user_id, {"disabled": False})


@users_group.command("rotate", short_help="Give an API user a new key and print it.")
@config_option
@click.option(
    "--overlap",
    metavar="TIME",
    type=Duration(),
    required=True,
    help="How long the old key still works, such as 90s, 10m, 1h or 7d. With 0, it stops working at once.",
)
@click.option("--end-old-key", is_flag=True, help="End the old key of an earlier rotation, if it still works.")
@click.argument("user_id", metavar="ID")
def rotate_key_command(config: Config, overlap: int, end_old_key: bool, user_id: str) -> None:
    """Give an API user a new key and print it.

    The old key works until the overlap ends. Prints one JSON object. The key in it is shown only once. ID may be the
    beginning that a narrow terminal shows.
    """

    async def work(connection: asyncpg.Connection) -> None:
        found = await find_user(connection, user_id)
        # If the key cannot be printed, for example because the disk is full, the transaction is rolled back.
        async with connection.transaction():
            user = await rotate_key(
                connection,
                found.id,
                overlap_seconds=overlap,
                end_old_key=end_old_key,
                by=operator(),
                cipher=key_cipher(config.admin.recoverable_keys),
            )
            click.echo(user.model_dump_json())

    run_with_database(config, work)


@users_group.command("end-old-keys", short_help="End the overlap of a rotation now.")
@config_option
@click.argument("user_id", metavar="ID")
def end_old_keys_command(config: Config, user_id: str) -> None:
    """End the overlap of a rotation now, and print the API user as one JSON object.

    Only the newest key remains valid. ID may be the beginning that a narrow terminal shows.
    """

    async def work(connection: asyncpg.Connection) -> User:
        found = await find_user(connection, user_id)
        return await end_old_keys(connection, found.id, by=operator())

    click.echo(run_with_database(config, work).model_dump_json())


def _edit(config: Config, user_id: str, changes: dict[str, Any], sites: SiteEdit | None = None) -> None:
    async def work(connection: asyncpg.Connection) -> User:
        found = await find_user(connection, user_id)
        return await edit_user(connection, found.id, changes, sites=sites, by=operator())

    click.echo(run_with_database(config, work).model_dump_json())


def _allow_one(one: str, has_one: bool, other: str, has_other: bool) -> None:
    if has_one and has_other:
        raise click.UsageError(f"Give {one} or {other}, not both.")
