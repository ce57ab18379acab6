"""Connections to PostgreSQL that a pooler may stand before, bounded in time, with passwords in no error."""

import re

import asyncpg

# Long enough for a hand-over to a standby, short enough that whoever waits for an answer still gets one.
CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 30.0


_HOST = r"(?: \[ [0-9A-Fa-f:.]+ \] | [^\[\]:/?\#@,]+ )"
_PORT = r"(?: : (?: [1-5]?[0-9]{1,4} | 6[0-4][0-9]{3} | 65[0-4][0-9]{2} | 655[0-2][0-9] | 6553[0-5] ) )?"
_URL = re.compile(
    rf"""
    postgres(?:ql)? ://
    (?: [^/?\#@]* @ )?                           # user and password
    (?: {_HOST} {_PORT} (?: , {_HOST} {_PORT} )* )?
    (?: / [^/?\#@]* )?                           # database
    (?: \? (?: (?: port=[0-9,]+ | (?!port=)[^=&?\#@]+ = [^&\#@]* ) (?: & (?=.) | $ ) )+ )?
    """,
    re.VERBOSE,
)


class BadDatabaseUrl(ValueError):  # noqa: N818 - it says what it is
    """The URL of a database cannot be read. The text holds nothing of it: it may hold a password."""

    def __init__(self) -> None:
        super().__init__(
            "a database's URL cannot be read: it looks like postgresql://user:password@host:5432/database, "
            "and what of / ? # @ % stands in a password is percent-encoded"
        )


def is_readable(url: str) -> bool:
    """Say whether asyncpg can read this, and takes no part of the password for another part."""
    return _URL.fullmatch(url) is not None


def check_url(url: str) -> None:
    """Raise BadDatabaseUrl unless `is_readable`: asyncpg itself quotes what it cannot read, often of the password."""
    if not is_readable(url):
        raise BadDatabaseUrl


async def _leave_session(connection: asyncpg.Connection) -> None:
    """Stand in for asyncpg's clean-up query on each release: nothing here leaves anything in a session.

    To keep it so, statements take and return no arrays but text[]: what others are asyncpg looks up on each new
    connection, and for that it sets `jit` in the session, which behind a pooler is the next one's too.
    """


async def open_pool(url: str, *, minimum: int = 0, maximum: int = 8, role: str) -> asyncpg.Pool:
    """Return a pool that connects when it is first used, so that a server that is down is no error here.

    `role` is what the server's statistics call this pool's connections: `sitelatch-<role>`.
    """
    check_url(url)
    return await asyncpg.create_pool(
        url,
        min_size=minimum,
        max_size=maximum,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        # A pooler in transaction mode hands the next statement to another server connection.
        statement_cache_size=0,
        server_settings={"application_name": f"sitelatch-{role}"},
        reset=_leave_session,
    )


async def open_connection(url: str, *, role: str) -> asyncpg.Connection:
    """Return one connection, for a command that is over when it is done. Raises what asyncpg and the system raise."""
    check_url(url)
    return await asyncpg.connect(
        url,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        statement_cache_size=0,
        server_settings={"application_name": f"sitelatch-{role}"},
    )
