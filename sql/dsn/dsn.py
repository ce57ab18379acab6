"""Reads a DSN into a value that says everything about a connection. Nothing else parses a DSN.

Options that the DSN does not set come from a service file and from the environment variables of libpq, in this order.
"""

import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sql.dsn.given_options import GivenOptions
from sql.dsn.hosts import Host, read_hosts
from sql.dsn.options import SERVER_SETTINGS
from sql.dsn.password_file import find_password
from sql.dsn.socket_options import SocketOption, read_socket_options
from sql.dsn.syntax import BadDatabaseUrl
from sql.dsn.tls_options import TlsOptions, read_tls_options

_SESSIONS: Final = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")


@dataclass(frozen=True, slots=True)
class Dsn:
    """Where and how to connect: everything that a DSN, its service file and the environment say."""

    hosts: tuple[Host, ...]
    """In the order in which they are tried."""
    user: str
    database: str
    password: str | None = field(repr=False)
    password_file: Path | None
    """Where to look for the password if it is not set."""
    names_password_file: bool
    """Whether `passfile` is set. Otherwise the file is `~/.pgpass`, if that exists."""
    tls: TlsOptions
    target_session_attrs: str
    """The kind of server to accept, as in libpq: any, read-write, read-only, primary, standby or prefer-standby."""
    connect_seconds: float | None
    """`connect_timeout`: how long to try each host. None if it is not set."""
    server_settings: Mapping[str, str] = field(repr=False)
    socket_options: tuple[SocketOption, ...]
    """For TCP sockets."""
    warnings: tuple[str, ...] = ()
    """Which options are ignored, and why."""

    def leads_like(self, other: "Dsn") -> bool:
        """Return whether both DSNs lead to the same database, perhaps with another user."""
        return (self.hosts, self.database, self.target_session_attrs) == (
            other.hosts,
            other.database,
            other.target_session_attrs,
        )

    def password_for(self, host: Host) -> str | None:
        """Return the password for a host. Raises UnusablePasswordFile.

        The password file is read again each time, so that a new password needs no restart.
        """
        if self.password is not None or self.password_file is None:
            return self.password
        return find_password(self.password_file, host, self.database, self.user)


def read_dsn(text: str, environ: Mapping[str, str] = os.environ) -> Dsn:
    """Read a DSN. Raises BadDatabaseUrl, whose message names options and files, but never quotes a value."""
    options = GivenOptions.read(text, environ)
    home = _home(environ)
    user = options.get("user") or _operating_system_user()
    password_file = options.get("passfile")
    settings = {name: options.get(name) for name in ("options", "application_name", *SERVER_SETTINGS)}
    timeout = options.get("connect_timeout")
    if timeout and not re.fullmatch(r" *[+-]?[0-9]{1,9} *", timeout):
        raise BadDatabaseUrl(f"{options.label('connect_timeout')} must be a number of seconds, like 10")
    return Dsn(
        hosts=read_hosts(options),
        user=user,
        database=options.get("dbname") or user,
        password=options.get("password") or None,
        password_file=Path(password_file) if password_file else home and home / ".pgpass",
        names_password_file=bool(password_file),
        tls=read_tls_options(options, home),
        target_session_attrs=options.choose("target_session_attrs", "any", _SESSIONS),
        connect_seconds=float(timeout) if timeout and int(timeout) > 0 else None,
        server_settings={name: value for name, value in settings.items() if value},
        socket_options=read_socket_options(options),
        warnings=options.warnings,
    )


def _operating_system_user() -> str:
    """Return the name of the user that runs this process, as libpq does."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise BadDatabaseUrl(
            f"names no user, and the operating system has no name for the user id {os.geteuid()}. Write the user "
            "into the DSN (postgresql://USER@HOST/DATABASE), or set PGUSER"
        ) from None


def _home(environ: Mapping[str, str]) -> Path | None:
    """Return the home directory in which libpq looks for files, or None if there is none."""
    if home := environ.get("HOME"):
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return None
