"""Options that several subcommands share, and the operator who runs them."""

import getpass
import os
import socket
from pathlib import Path

import click

from admin.identity.admins import COMMAND, Actor, Person
from admin.problems import Problem
from admin.text_rules import check_name
from sitelatch.config import Config
from sitelatch.config_file import load


def _config(_: click.Context, __: click.Parameter, file: Path) -> Config:
    return load(file, os.environ)


def person(_: click.Context, __: click.Parameter, text: str) -> str:
    """Return a person's name if the config would accept it. Shells can pass bytes that are not valid text."""
    try:
        return check_name(text)
    except Problem as problem:
        raise click.BadParameter(str(problem)) from None


def email(context: click.Context, parameter: click.Parameter, text: str) -> str:
    """Return an email address if the config would accept it."""
    if len(text) < 3:
        raise click.BadParameter('must be an email address, like "ada@example.com".')
    return person(context, parameter, text)


config_option = click.option(
    "--config",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    callback=_config,
    help="Path of the config file (TOML).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON array, for programs.")
workspace_option = click.option("--workspace", metavar="NAME", required=True, help="Name of the workspace.")


def operator() -> Actor:
    """Return the operating system user who runs the command, for the audit log.

    The name is not a credential: access comes from the database password.
    """
    try:
        login = getpass.getuser()
    except (KeyError, OSError):  # users in containers often have no name
        login = f"uid {os.getuid()}"
    return Actor(Person(login, f"{login}@{socket.gethostname()}"), COMMAND)
