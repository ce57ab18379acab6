"""`sitelatch audit` lists the audit log."""

import asyncpg
import click

from admin.api.audit_list import AuditFilter, list_audit
from admin.api.response_models import AuditLine, Page
from admin.api.workspaces import filtered_workspaces
from sitelatch.commands.listing import PAGE_SIZE, echo_list
from sitelatch.commands.options import config_option, json_option
from sitelatch.commands.running import run_with_database
from sitelatch.config import Config


@click.command("audit", short_help="List who changed what, newest first.")
@config_option
@json_option
@click.option("--workspace", metavar="NAME", help="Show only changes in this workspace.")
@click.option("--subject", metavar="ID", help="Show only changes to this API user (ID), site (ID) or workspace (name).")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Show only the latest entries, up to this number.",
)
def audit_command(config: Config, as_json: bool, workspace: str | None, subject: str | None, limit: int) -> None:
    """List changes, newest first.

    Shows who made each change, when, and from which address.
    """

    async def work(connection: asyncpg.Connection) -> None:
        within = await filtered_workspaces(connection, None, workspace, in_audit=True)
        left = limit

        async def read(after: str | None) -> Page[AuditLine]:
            nonlocal left
            before = None if after is None else int(after)
            size = min(PAGE_SIZE, left)
            left -= size
            only = AuditFilter(subject=subject)
            page = await list_audit(connection, within=within, only=only, after=before, limit=size)
            return page if left else Page(items=page.items, next=None)

        await echo_list(connection, read, as_json=as_json, titles=_TITLES, row=_row)

    run_with_database(config, work)


_TITLES = ("AT", "WHO", "FROM", "ACTION", "WORKSPACE", "SUBJECT", "NAME")


def _row(line: AuditLine) -> tuple[str, ...]:
    return (
        line.at.isoformat(" ", "seconds"),
        f"{line.actor.name} <{line.actor.email}>",
        line.address,
        line.action,
        line.workspace or "",
        line.subject or "",
        str(line.detail.get("name") or line.detail.get("display_name") or ""),
    )
