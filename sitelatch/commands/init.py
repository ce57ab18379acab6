"""`sitelatch init`: the first config of an installation, with its first admin."""

import os
import shlex
from pathlib import Path

import click

from admin.identity.admin_tokens import new_token, token_digest
from sitelatch.commands.init_questions import QUESTIONS, complete
from sitelatch.commands.options import email, loaded, log_format_option, person
from sitelatch.commands.running import run
from sitelatch.config import Config
from sitelatch.config_source import ConfigError, Fault, is_in
from sitelatch.config_warnings import warnings
from sitelatch.initial_config import config_text
from sitelatch.reachability import database_problem, upstream_problem

_RULES = "path:/v1/{site}/**, query:NAME, header:NAME or host:{site}.example.com"


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

    Asks for missing options if standard input is a terminal, and asks again after an invalid answer. Creates the first
    admin token, which it prints on standard error, once. Then checks that the data API and the database answer, and
    prints the next commands. Exits with 1 if one of them does not answer; the config is kept.
    """
    _check_output(file)
    choices = complete(
        {
            "upstream": upstream,
            "rules": rules,
            "paths": paths,
            "database": database,
            "admin_name": admin_name,
            "admin_email": admin_email,
        }
    )
    token = new_token()
    config = _write(context, file, config_text(choices, token_digest(token)))
    click.echo(f"Wrote {file}.")
    click.echo(f"Your admin token, which is shown only once: {token}", err=True)
    is_reachable = _report(config)
    _show_next_steps(config, file)
    return 0 if is_reachable else 1


def _check_output(file: Path) -> None:
    """Check that the config can be written, before any question is asked. Raises UsageError."""
    if file.exists():
        raise click.UsageError(f"{file} exists. Choose another file with --output, or edit {file}.")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        reason = "is not writable" if file.parent.is_dir() else "does not exist"
        raise click.UsageError(f"The folder of {file} {reason}. Choose another file with --output.")


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
    return next((each.option for each in QUESTIONS if is_in(fault.place, each.place)), "the config")


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
