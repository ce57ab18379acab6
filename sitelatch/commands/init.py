"""`sitelatch init`: the first config of an installation, with its first admin."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from admin.identity.admin_tokens import new_token, token_digest
from sitelatch.commands.options import email, loaded, log_format_option, person
from sitelatch.commands.running import run
from sitelatch.config import Config
from sitelatch.config_source import ConfigError, Fault, is_in
from sitelatch.config_warnings import warnings
from sitelatch.initial_config import Choices, config_text
from sitelatch.reachability import database_problem, upstream_problem
from sitelatch.toml_scanner import Place

_RULES = "path:/v1/{site}/**, query:NAME, header:NAME or host:{site}.example.com"
_PLACES: Final[dict[str, Place]] = {
    "--upstream": ("proxy", "routes", 0, "upstream"),
    "--site-in": ("proxy", "routes", 0, "sites"),
    "--database": ("database", "url"),
    "--admin-name": ("admin", "tokens", 0, "name"),
    "--admin-email": ("admin", "tokens", 0, "email"),
}
"""Where the config has the values of the options."""


@click.command("init", short_help="Write a config for your data API.")
@click.option("--upstream", metavar="URL", help="URL of your data API, such as http://127.0.0.1:9000.")
@click.option(
    "--site-in",
    "rules",
    metavar="RULE",
    multiple=True,
    help=f"Where a request names its site: {_RULES}. Can be given several times.",
)
@click.option(
    "--site-path",
    "paths",
    metavar="PATTERN",
    multiple=True,
    help="A path on which your API reads the site from the query or a header, such as '/api/export/**'. Can be given "
    "several times. The default is every path.",
)
@click.option(
    "--database",
    metavar="DSN",
    help="DSN of your PostgreSQL, such as postgresql://USER:PASSWORD@HOST/DATABASE, or embedded:postgres for a trial.",
)
@click.option("--admin-name", metavar="NAME", callback=lambda *given: given[2] and person(*given), help="Your name.")
@click.option(
    "--admin-email", metavar="ADDRESS", callback=lambda *given: given[2] and email(*given), help="Your email address."
)
@click.option(
    "--output",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("sitelatch.toml"),
    show_default=True,
    help="The config file to write. It must not exist.",
)
@log_format_option
@click.pass_context
def init_command(
    context: click.Context,
    upstream: str | None,
    rules: tuple[str, ...],
    paths: tuple[str, ...],
    database: str | None,
    admin_name: str | None,
    admin_email: str | None,
    file: Path,
) -> int:
    """Write a config for your data API.

    Asks for missing options if standard input is a terminal. Creates the first admin token, which it prints on standard
    error, once. Then checks that the data API and the database answer, and prints the next commands. Exits with 1 if
    one of them does not answer; the config is kept.
    """
    if file.exists():
        raise click.UsageError(f"{file} exists. Choose another file with --output, or edit {file}.")
    upstream = upstream or _ask("--upstream", "URL of your data API", "http://127.0.0.1:9000")
    rules = rules or tuple(_ask("--site-in", f"Where a request names its site ({_RULES})", "query:site").split())
    choices = Choices(
        upstream=upstream,
        rules=rules,
        paths=paths or _asked_paths(rules),
        database=database or _ask("--database", "DSN of your PostgreSQL, or embedded:postgres for a trial"),
        admin_name=admin_name or _ask("--admin-name", "Your name"),
        admin_email=admin_email or _ask("--admin-email", "Your email address"),
    )
    token = new_token()
    config = _write(context, file, config_text(choices, token_digest(token)))
    click.echo(f"Wrote {file}.")
    click.echo(f"Your admin token, which is shown only once: {token}", err=True)
    is_reachable = _report(config)
    _show_next_steps(config, file)
    return 0 if is_reachable else 1


def _ask(option: str, question: str, example: str | None = None) -> str:
    if not sys.stdin.isatty():
        raise click.UsageError(f"Give {option}.")
    answer: str = click.prompt(f"{question}{f', for example {example}' if example else ''}", err=True)
    return answer.strip()


def _asked_paths(rules: Sequence[str]) -> Sequence[str]:
    """Ask for the paths of query and header rules. Without paths, any key for the site opens every path."""
    if not sys.stdin.isatty() or not any(rule.startswith(("query:", "header:")) for rule in rules):
        return ()
    question = "Paths on which your API reads it from there, for example /api/export/** (empty for every path)"
    answer: str = click.prompt(question, default="", show_default=False, err=True)
    return answer.split()


def _write(context: click.Context, file: Path, text: str) -> Config:
    """Write the config, which may contain a password, so that only its owner can read it.

    Raises UsageError, which names the options that are invalid.
    """
    file.touch(mode=0o600, exist_ok=False)
    try:
        file.write_text(text, encoding="utf-8")
        return loaded(context, file)
    except ConfigError as error:
        file.unlink()
        messages = (f"{_option(fault)}: {fault.message}" for fault in error.faults)
        raise click.UsageError("\n".join(messages) if error.faults else str(error)) from None


def _option(fault: Fault) -> str:
    """Return the option of `init` that sets a value in the config."""
    return next((option for option, place in _PLACES.items() if is_in(fault.place, place)), "the config")


def _report(config: Config) -> bool:
    """Print whether the data API and the database answer, and probable mistakes. Return whether both answer."""
    [route] = config.proxy.routes
    answers = True
    for name, reason in (
        ("The data API", run(upstream_problem(route))),
        ("The database", run(database_problem(config.admin_database, config.directory))),
    ):
        if reason is None:
            click.echo(f"{name} answers.")
        else:
            click.echo(f"{name} cannot be used: {reason}.")
            answers = False
    for warning in config.source.complaints(warnings(config)):
        click.echo(f"warning: {warning}", err=True)
    return answers


def _show_next_steps(config: Config, file: Path) -> None:
    option = "" if file == Path("sitelatch.toml") else f" --config {shlex.quote(str(file))}"
    for line in (
        "",
        "Next, create the tables, add a site, and start Sitelatch:",
        f"  sitelatch migrate{option}",
        f"  sitelatch sites add{option} --workspace my-company SITE",
        f"  sitelatch serve{option}",
        "",
        f"Then sign in at http://{config.admin.listen}/admin/ with the token, and create an API user.",
    ):
        click.echo(line)
