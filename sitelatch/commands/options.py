"""Options that several subcommands share, and the operator who runs them."""

import getpass
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click

from admin.identity.admins import COMMAND, Actor, Person
from admin.problems import Problem
from admin.text_rules import check_email, check_name
from proxy.observe.background_writer import BackgroundHandler, BackgroundWriter
from proxy.observe.known_secrets import KnownSecrets
from proxy.observe.logging_setup import TextRenderer, configure_logging
from sitelatch.config import Config
from sitelatch.config_database import config_secrets
from sitelatch.config_file import load

CONFIG_VARIABLE: Final = "SITELATCH_CONFIG"
DEFAULT_CONFIG: Final = Path("sitelatch.toml")
LOG_FORMATS: Final = click.Choice(["text", "json"])
_STDERR: Final = 2

Command = TypeVar("Command", bound=Callable[..., Any])


class Process(NamedTuple):
    """What a subcommand shares with the process that runs it."""

    log: BackgroundWriter
    secrets: KnownSecrets


def loaded(context: click.Context, file: Path) -> Config:
    """Load a config, and mask its secrets in the log from now on. Raises ConfigError."""
    config = load(file, os.environ)
    if (process := context.find_object(Process)) is not None:
        process.secrets.add(config_secrets(config))
    return config


def _config(context: click.Context, _: click.Parameter, file: Path | None) -> Config:
    if file is None:
        if not DEFAULT_CONFIG.exists():
            raise click.UsageError(
                f"No config file was found. Give --config FILE, set {CONFIG_VARIABLE}, or change to the folder that "
                f"contains {DEFAULT_CONFIG}."
            )
        file = DEFAULT_CONFIG
    return loaded(context, file)


def use_log_format(context: click.Context, name: str | None) -> None:
    """Log in this format. By default, a person at a terminal gets text, and `serve` and all programs get JSON."""
    is_terminal = os.isatty(_STDERR)
    as_text = name == "text" if name else is_terminal and context.invoked_subcommand != "serve"
    # NO_COLOR turns colors off if it is not empty (no-color.org). A dumb terminal shows the codes of colors as text.
    has_color = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    renderer = TextRenderer(color=has_color) if as_text else None
    process: Process = context.obj
    configure_logging(BackgroundHandler(process.log), renderer=renderer, secrets=process.secrets)


def _log_format(context: click.Context, _: click.Parameter, name: str | None) -> None:
    if name is not None:
        use_log_format(context, name)


def person(_: click.Context, __: click.Parameter, text: str) -> str:
    """Return a person's name if the config would accept it. Shells can pass bytes that are not valid text."""
    try:
        return check_name(text)
    except Problem as problem:
        raise click.BadParameter(str(problem)) from None


def email(_: click.Context, __: click.Parameter, text: str) -> str:
    """Return an email address if the config would accept it."""
    try:
        return check_email(text.strip())
    except Problem as problem:
        raise click.BadParameter(str(problem)) from None


log_format_option = click.option(
    "--log-format",
    type=LOG_FORMATS,
    expose_value=False,
    is_eager=True,  # errors in other options are logged in this format
    callback=_log_format,
    help="Format of messages on standard error. The default is text on a terminal, and JSON otherwise and for `serve`.",
)
_config_option = click.option(
    "--config",
    metavar="FILE",
    envvar=CONFIG_VARIABLE,
    type=click.Path(path_type=Path),
    callback=_config,
    help=f"Path of the config file (TOML). The default is ${CONFIG_VARIABLE}, or else ./{DEFAULT_CONFIG}.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON array, for programs.")
limit_option = click.option("--limit", type=click.IntRange(min=1), metavar="NUMBER", help="Show only the first ones.")
workspace_option = click.option("--workspace", metavar="NAME", required=True, help="Name of the workspace.")


def config_option(command: Command) -> Command:
    """Add the options of every command that reads the config."""
    return _config_option(log_format_option(command))


def operator() -> Actor:
    """Return the operating system user who runs the command, for the audit log.

    The name is not a credential: access comes from the database password.
    """
    try:
        login = getpass.getuser()
    except (KeyError, OSError):  # users in containers often have no name
        login = f"uid {os.getuid()}"
    return Actor(Person(login, f"{login}@{socket.gethostname()}"), COMMAND)
