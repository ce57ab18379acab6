"""`sitelatch usage` lists the usage of API users."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg
import click

from admin.api.response_models import Page, UsageLine
from admin.api.usage import UsageBy, export_usage, lines_of, period, user_usage
from admin.api.usage_csv import USAGE_COLUMNS
from admin.api.workspaces import filtered_workspaces
from sitelatch.commands.listing import csv_form, echo_list, json_form, table_form
from sitelatch.commands.options import config_option, json_option
from sitelatch.commands.running import run_with_database
from sitelatch.commands.tables import Column
from sitelatch.commands.times import TIME_FORMS, moment
from sitelatch.commands.users import find_user
from sitelatch.config import Config


@click.command("usage", short_help="List requests and bytes of API users.")
@config_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, for spreadsheets.")
@click.option("--by", type=click.Choice(["day", "hour"]), default="day", show_default=True, help="Days or hours (UTC).")
@click.option(
    "--since",
    metavar="TIME",
    callback=moment,
    help=f"Begin with the day or hour of this time, {TIME_FORMS}. The default is 30 days, or all hours.",
)
@click.option("--until", metavar="TIME", callback=moment, help="Show only days or hours that begin before this time.")
@click.option("--workspace", metavar="NAME", help="Show only API users of this workspace.")
@click.option("--user", "user_id", metavar="ID", help="Show only this API user.")
def usage_command(
    config: Config,
    as_json: bool,
    as_csv: bool,
    by: UsageBy,
    since: datetime | None,
    until: datetime | None,
    workspace: str | None,
    user_id: str | None,
) -> None:
    """List how many requests of each API user passed or were refused.

    OUTCOME is `passed` or the code of the refusal. Usage is kept by hour for 7 days and by day for 400 days. Deleted
    API users have no name.
    """
    if as_json and as_csv:
        raise click.UsageError("Give --json or --csv, not both.")
    if user_id is not None and workspace is not None:
        raise click.UsageError("Give --workspace or --user, not both.")
    when = period(by, since, until)

    async def work(connection: asyncpg.Connection) -> None:
        within = await filtered_workspaces(connection, None, workspace)
        found = None if user_id is None else await find_user(connection, user_id)

        async def read(after: str | None, size: int) -> Page[UsageLine]:
            if found is not None:
                return Page(items=lines_of(*await user_usage(connection, found.id, when)), next=None)
            return await export_usage(connection, when, within=within, after=after, limit=size)

        form = json_form() if as_json else csv_form(USAGE_COLUMNS) if as_csv else table_form(_COLUMNS)
        await echo_list(connection, read, form._replace(page_size=_PAGE_SIZE))

    run_with_database(config, work)


_PAGE_SIZE: Final = 500
_COLUMNS: Final[Sequence[Column[UsageLine]]] = (
    Column("AT", lambda line: f"{line.at:%Y-%m-%d %H:%M}Z"),
    Column("ID", lambda line: line.id, least=9),
    Column("NAME", lambda line: line.name or "", least=8, is_optional=True),
    Column("WORKSPACE", lambda line: line.workspace or "", least=8, is_optional=True),
    Column("OUTCOME", lambda line: line.outcome, least=6),
    Column("REQUESTS", lambda line: str(line.requests)),
    Column("BYTES OUT", lambda line: "" if line.bytes_out is None else str(line.bytes_out), least=9),
)
