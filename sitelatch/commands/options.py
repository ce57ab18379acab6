"""Options that several verbs have, and who it is that uses them."""

import getpass
import os
import socket
from pathlib import Path

import click

from admin.identity.admins import COMMAND, Actor, Person
from admin.problems import Problem
from admin.text_rules import check_name
from sitelatch.config import Config, load


def _config(_: click.Context, __: click.Parameter, file: Path) -> Config:
    return load(file, os.environ)


def person(_: click.Context, __: click.Parameter, text: str) -> str:
    """Return what is said of a person, unless the config would refuse it. Shells hand over bytes that are no text."""
    try:
        return check_name(text)
    except Problem as problem:
        raise click.BadParameter(str(problem)) from None


def email(context: click.Context, parameter: click.Parameter, text: str) -> str:
    """Return an e-mail address, likewise."""
    if len(text) < 3:
        raise click.BadParameter('must be an e-mail address, like "ada@example.com".')
    return person(context, parameter, text)


config_option = click.option(
    "--config", required=True, type=click.Path(path_type=Path), callback=_config, help="The config file (TOML)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON array, for programs.")
workspace_option = click.option("--workspace", required=True, help="The workspace that owns them.")


def operator() -> Actor:
    """Return who is at this shell, for the audit log: the database's password lets them in, not their name."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        login = f"uid {os.getuid()}"
    return Actor(Person(login, f"{login}@{socket.gethostname()}"), COMMAND)
