"""`sitelatch explain`: whether a request would pass, and why."""

import os
import sys

import click

from proxy.observe.redaction import mask
from sitelatch.commands.options import config_option
from sitelatch.commands.running import run
from sitelatch.config import Config
from sitelatch.explain import ExplainedRequest, explain


@click.command("explain")
@config_option
@click.option("--user", "user_id", help="Decide as for a key of the API user with this id.")
@click.option("--key-stdin", is_flag=True, help="Decide for the API key on standard input.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="A header of the request. Can be given several times.",
)
@click.argument("method")
@click.argument("target")
def explain_command(
    config: Config, user_id: str | None, key_stdin: bool, headers: tuple[str, ...], method: str, target: str
) -> None:
    """Show step by step whether a request would pass, and why. TARGET is a path with its query."""
    if (user_id is not None) == key_stdin:
        raise click.UsageError("Give either --user ID or --key-stdin.")
    request = ExplainedRequest(
        method=os.fsencode(method),
        target=os.fsencode(target),
        fields=[_field(header) for header in headers],
        user_id=user_id,
        key=sys.stdin.buffer.readline().strip() if key_stdin else None,
    )
    text = run(explain(config, request))
    # The request may hold a key in an unexpected place, such as its path, and bytes that cannot be printed.
    click.echo(mask(text).encode("utf-8", "backslashreplace"))


def _field(header: str) -> tuple[bytes, bytes]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip() or any(ord(character) < 0x20 for character in header):
        raise click.BadParameter("must be 'NAME: VALUE'.", param_hint="--header")
    return os.fsencode(name.strip()), os.fsencode(value.strip())
