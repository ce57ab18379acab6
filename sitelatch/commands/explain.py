"""`sitelatch explain`: whether a request would pass, and why."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import click

from admin.api.explain import ExplainedRequest, Explainer, FrontDoorSettings
from admin.api.explanation import Explained
from proxy.decision.networks import read_address
from proxy.observe.redaction import mask
from sitelatch.commands.options import config_option
from sitelatch.commands.running import run
from sitelatch.config import Config
from sitelatch.database import opened_database
from sql.pool import open_pool
from sql.text_files import NotText, decode_text


@click.command("explain", short_help="Say whether a request would pass, and why.")
@config_option
@click.option("--user", "user_id", metavar="ID", help="Decide as if the request had a key of this API user.")
@click.option("--key-stdin", is_flag=True, help="Decide for the API key on standard input.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="A header of the request. Can be given several times.",
)
@click.option("--client-address", metavar="ADDRESS", help="The client's address, for API users limited to networks.")
@click.option("--form", metavar="TEXT", help="The request has a form as its body, such as 'site=shop&days=7'.")
@click.option("--json-body", metavar="TEXT", help="The request has JSON as its body.")
@click.argument("method")
@click.argument("target")
def explain_command(
    config: Config,
    user_id: str | None,
    key_stdin: bool,
    headers: tuple[str, ...],
    client_address: str | None,
    form: str | None,
    json_body: str | None,
    method: str,
    target: str,
) -> int:
    """Say whether a request would pass, and why.

    TARGET is a path with its query. Without --user and --key-stdin, the request has no key. Only the type and the
    length of a body count.

    Exits with 0 if the request would pass, 1 if it would be refused, and 3 if that cannot be decided because the
    database does not answer or there is no such API user.
    """
    if user_id is not None and key_stdin:
        raise click.UsageError("Give --user ID or --key-stdin, not both.")
    if form is not None and json_body is not None:
        raise click.UsageError("Give --form or --json-body, not both.")
    if client_address is not None and read_address(client_address) is None:
        raise click.BadParameter("must be an IP address, such as 192.0.2.7.", param_hint="--client-address")
    request = ExplainedRequest(
        method=os.fsencode(method),
        target=os.fsencode(target),
        fields=[*map(_field, headers), *_body_fields(form, json_body)],
        user_id=user_id,
        key=_key() if key_stdin else None,
        address=client_address,
    )
    explained = run(_explained(config, request))
    # The request may hold a key in an unexpected place, such as its path, and bytes that cannot be printed.
    click.echo(mask(explained.text).encode("utf-8", "backslashreplace"))
    return explained.outcome.value


async def _explained(config: Config, request: ExplainedRequest) -> Explained:
    @asynccontextmanager
    async def connect() -> AsyncIterator[asyncpg.Pool]:
        async with (
            opened_database(config.admin_database, config.directory) as dsn,
            await open_pool(dsn, role="command") as pool,
        ):
            yield pool

    settings = FrontDoorSettings(config.proxy, config.limits, config.keys, config.grants)
    return await Explainer(settings).explain(request, connect)


def _body_fields(form: str | None, json_body: str | None) -> list[tuple[bytes, bytes]]:
    """Return the headers with which a client announces this body."""
    if form is not None:
        body, media_type = form, b"application/x-www-form-urlencoded"
    elif json_body is not None:
        body, media_type = json_body, b"application/json"
    else:
        return []
    return [(b"Content-Type", media_type), (b"Content-Length", str(len(os.fsencode(body))).encode())]


def _key() -> bytes:
    """Return the key in the first line of standard input. Some shells send a byte order mark before it, or UTF-16."""
    try:
        return decode_text(sys.stdin.buffer.readline()).strip().encode()
    except NotText as error:
        raise click.UsageError(f"Standard input: {error}.") from None


def _field(header: str) -> tuple[bytes, bytes]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip() or any(ord(character) < 0x20 for character in header):
        raise click.BadParameter("must be 'NAME: VALUE'.", param_hint="--header")
    return os.fsencode(name.strip()), os.fsencode(value.strip())
