"""Opens connections to PostgreSQL that work behind a pooler and have timeouts. Errors never contain the password."""

import re

import asyncpg

# Long enough for a failover to a standby, and short enough that a waiting client still gets an answer.
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


class BadDatabaseUrl(ValueError):  # noqa: N818 - names what happened
    """The URL of a database is not valid. The message does not quote it, because it may contain a password."""

    def __init__(self) -> None:
        super().__init__(
            "the database URL is not valid. Use the form postgresql://user:password@host:5432/database, "
            "and percent-encode the characters / ? # @ % in the password"
        )


def is_readable(url: str) -> bool:
    """Return whether asyncpg can parse this URL without mistaking a part of the password for something else."""
    return _URL.fullmatch(url) is not None


def check_url(url: str) -> None:
    """Raise BadDatabaseUrl unless `is_readable`. asyncpg's own error quotes what it cannot parse, often a password."""
    if not is_readable(url):
        raise BadDatabaseUrl


async def _skip_reset(connection: asyncpg.Connection) -> None:
    """Replace the query with which asyncpg resets a session on release, because no query here changes the session.

    For that reason, no statement may use arrays other than text[]. asyncpg looks up the types of other arrays on each
    new connection, and sets `jit` in the session while it does; behind a pooler, the next client would get that
    session.
    """


async def open_pool(url: str, *, minimum: int = 0, maximum: int = 8, role: str) -> asyncpg.Pool:
    """Return a pool that connects on first use, so it can be opened while the server is down.

    `role` names the pool's connections in the server's statistics: `sitelatch-<role>`.
    """
    check_url(url)
    return await asyncpg.create_pool(
        url,
        min_size=minimum,
        max_size=maximum,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        # A pooler in transaction mode may send the next statement to another server connection.
        statement_cache_size=0,
        server_settings={"application_name": f"sitelatch-{role}"},
        reset=_skip_reset,
    )


async def open_connection(url: str, *, role: str) -> asyncpg.Connection:
    """Return a single connection. Raises BadDatabaseUrl, and the errors of asyncpg and the operating system."""
    check_url(url)
    return await asyncpg.connect(
        url,
        timeout=CONNECT_SECONDS,
        command_timeout=COMMAND_SECONDS,
        statement_cache_size=0,
        server_settings={"application_name": f"sitelatch-{role}"},
    )
