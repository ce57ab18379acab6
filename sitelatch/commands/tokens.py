"""`sitelatch tokens`: who may use the admin API."""

import json

import click

from admin.identity.admin_tokens import new_token, token_digest
from sitelatch.commands.options import email, person


@click.group("tokens")
def tokens_group() -> None:
    """Admin tokens: who may use the admin API."""


@tokens_group.command("new")
@click.option("--name", required=True, callback=person, help="Whose token it is.")
@click.option("--email", required=True, callback=email, help="Their e-mail address.")
def new_token_command(name: str, email: str) -> None:
    """Make an admin token and print it with the lines for the config, which holds only its SHA-256."""
    token = new_token()
    click.echo(f"# The token, which is shown this once: {token}")
    click.echo("# The lines for the config file; serve reads it when it starts:")
    click.echo("[[admin.tokens]]")
    # Other escapes than those for quotes and backslashes mean something else in TOML.
    click.echo(f"name = {json.dumps(name, ensure_ascii=False)}")
    click.echo(f"email = {json.dumps(email, ensure_ascii=False)}")
    click.echo(f'sha256 = "{token_digest(token)}"')
