"""`sitelatch tokens` creates admin tokens."""

import json

import click

from admin.identity.admin_tokens import new_token, token_digest
from sitelatch.commands.options import email, person


@click.group("tokens", short_help="Create admin tokens.")
def tokens_group() -> None:
    """Create tokens for the admin API and the admin page."""


@tokens_group.command("new", short_help="Create an admin token.")
@click.option("--name", metavar="NAME", required=True, callback=person, help="Name of the admin who gets the token.")
@click.option("--email", metavar="ADDRESS", required=True, callback=email, help="Email address of that admin.")
def new_token_command(name: str, email: str) -> None:
    """Create an admin token and print it with its config entry, which contains only the SHA-256."""
    token = new_token()
    click.echo(f"# The token (shown only once): {token}")
    click.echo("# Add these lines to the config file, and restart `sitelatch serve`:")
    click.echo("[[admin.tokens]]")
    # TOML has fewer escapes than JSON, so only quotes and backslashes may be escaped.
    click.echo(f"name = {json.dumps(name, ensure_ascii=False)}")
    click.echo(f"email = {json.dumps(email, ensure_ascii=False)}")
    click.echo(f'sha256 = "{token_digest(token)}"')
