"""`sitelatch audit` lists the audit log."""

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import click

from admin.api.audit import ACTIONS
from admin.api.audit_list import AuditFilter, list_audit
from admin.api.response_models import AuditLine, Page
from admin.api.workspaces import filtered_workspaces
from sitelatch.commands.listing import echo_list, json_form, table_form
from sitelatch.commands.options import config_option, json_option
from sitelatch.commands.running import run_with_database
from sitelatch.commands.tables import Column
from sitelatch.commands.times import TIME_FORMS, moment
from sitelatch.config import Config


@click.command("audit", short_help="List who changed what, newest first.")
@config_option
@json_option
@click.option("--workspace", metavar="NAME", help="Show only changes in this workspace.")
@click.option("--subject", metavar="ID", help="Show only changes to this API user (ID), site (ID) or workspace (name).")
@click.option("--search", metavar="TEXT", help="Show only entries with words that begin with these.")
@click.option("--actor", metavar="PERSON", help="Show only changes by the person with this email address.")
@click.option("--action", type=click.Choice(ACTIONS), help="Show only changes of this kind.")
@click.option(
    "--since", metavar="TIME", callback=moment, help=f"Show only changes at or after this time, {TIME_FORMS}."
)
@click.option("--until", metavar="TIME", callback=moment, help="Show only changes before this time.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Show only the latest entries, up to this number.",
)
def audit_command(config: Config, as_json: bool, workspace: str | None, limit: int, **filters: Any) -> None:
    """List changes, newest first.

    Shows who made each change, when, and from which address.
    """

    async def work(connection: asyncpg.Connection) -> None:
        within = await filtered_workspaces(connection, None, workspace, in_audit=True)
        only = AuditFilter(**filters)

        async def read(after: str | None, size: int) -> Page[AuditLine]:
            before = None if after is None else int(after)
            return await list_audit(connection, within=within, only=only, after=before, limit=size)

        await echo_list(connection, read, json_form() if as_json else table_form(_COLUMNS), limit=limit)

    run_with_database(config, work)


_COLUMNS: Final[Sequence[Column[AuditLine]]] = (
    Column("AT", lambda line: line.at.isoformat(" ", "seconds")),
    Column("WHO", lambda line: f"{line.actor.name} <{line.actor.email}>", least=12),
    Column("FROM", lambda line: line.address, least=7, is_optional=True),
    Column("ACTION", lambda line: line.action),
    Column("WORKSPACE", lambda line: line.workspace or "", least=8),
    Column("SUBJECT", lambda line: line.subject or "", least=9),
    Column(
        "NAME",
        lambda line: str(line.detail.get("name") or line.detail.get("display_name") or ""),
        least=8,
        is_optional=True,
    ),
)
