"""`sitelatch tokens` creates admin tokens."""

import json
import tomllib
from pathlib import Path

import click

from admin.identity.admin_tokens import new_token, token_digest
from sitelatch.commands.options import email, log_format_option, person
from sql.text_files import NotText, read_text


@click.group("tokens", short_help="Create admin tokens.")
def tokens_group() -> None:
    """Create tokens for the admin API and the admin page."""


@tokens_group.command("new", short_help="Create an admin token.")
@click.option("--name", metavar="NAME", required=True, callback=person, help="Name of the admin who gets the token.")
@click.option("--email", metavar="ADDRESS", required=True, callback=email, help="Email address of that admin.")
@click.option(
    "--append",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Add the config entry to this config file instead of printing it.",
)
@log_format_option
def new_token_command(name: str, email: str, file: Path | None) -> None:
    """Create an admin token and its config entry.

    Prints the token on standard error, once. Prints the config entry on standard output, so that it can be redirected
    to a file. The entry contains only the SHA-256 of the token. Restart `sitelatch serve` to use it.
    """
    token = new_token()
    # TOML has fewer escapes than JSON, so only quotes and backslashes may be escaped.
    entry = (
        "[[admin.tokens]]\n"
        f"name = {json.dumps(name, ensure_ascii=False)}\n"
        f"email = {json.dumps(email, ensure_ascii=False)}\n"
        f'sha256 = "{token_digest(token)}"\n'
    )
    if file is None:
        click.echo(entry, nl=False)
    else:
        _append(entry, file)
        click.echo(f"Added the entry to {file}. Restart `sitelatch serve` to use it.", err=True)
    click.echo(f"The token, which is shown only once: {token}", err=True)


def _append(entry: str, file: Path) -> None:
    """Append the entry to a config file in place, so that the file keeps its mode, and may be a mount point."""
    try:
        text = read_text(file)
    except NotText as error:
        raise click.UsageError(f"The entry cannot be appended. {file} cannot be read: {error}.") from None
    separator = "\n" if text.endswith("\n") or not text else "\n\n"
    added = separator + entry
    try:
        tomllib.loads(text + added)
    except tomllib.TOMLDecodeError:
        raise click.UsageError(
            f"The entry cannot be appended to {file}: the file is not valid TOML, or it lists the tokens as "
            "`tokens = […]`. Run the command without --append, and add the entry there."
        ) from None
    with file.open("a", encoding="utf-8") as appended:
        appended.write(added)
