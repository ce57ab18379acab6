"""`sitelatch doctor`: find problems of an installation and how to fix them."""

import json
from collections import Counter

import click

from sitelatch.commands.options import config_option, json_option
from sitelatch.commands.running import run
from sitelatch.config import Config
from sitelatch.doctor.examination import examine
from sitelatch.doctor.finding import Finding, Status

_WIDTH = max(len(status.value) for status in Status)


@click.command("doctor", short_help="Find problems and how to fix them.")
@config_option
@json_option
def doctor_command(config: Config, as_json: bool) -> int:
    """Find out what is wrong, and how to fix it.

    Checks the config, the database and its roles, upstreams, TLS files, clocks and limits. Changes nothing, so it can
    be run while `serve` runs.

    Exits with 0 if there are only warnings or nothing at all, and with 1 if there is a problem.
    """
    found = run(_examine(config, as_json=as_json))
    counts = Counter(finding.status for finding in found)
    if as_json:
        click.echo(
            json.dumps(
                [{"status": each.status.value, "check": each.check, "message": each.message} for each in found],
                ensure_ascii=False,
            )
        )
    else:
        click.echo(f"{_counted(counts[Status.PROBLEM], 'problem')}, {_counted(counts[Status.WARNING], 'warning')}.")
    return 1 if counts[Status.PROBLEM] else 0


async def _examine(config: Config, *, as_json: bool) -> list[Finding]:
    """Return all findings. As text, each is printed when it is found."""
    found = []
    async for finding in examine(config):
        found.append(finding)
        if not as_json:
            click.echo(f"{finding.status.value.ljust(_WIDTH)}  {finding.check}: {finding.message}")
    return found


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
