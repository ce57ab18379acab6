"""Checks whether the databases of a config answer, and whether their schema is the right one."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import asyncpg

from proxy.grants.connections import DATABASE_FAILURES, describe, describe_connecting
from sitelatch.config import Config
from sitelatch.database import opened_database
from sitelatch.doctor.clocks import clock_findings
from sitelatch.doctor.dsns import URL, Dsns
from sitelatch.doctor.feed import feed_findings
from sitelatch.doctor.finding import Finding, Status
from sitelatch.doctor.roles import role_findings
from sitelatch.server_watch import Server
from sitelatch.toml_scanner import Place
from sql.embedded.server import EmbeddedServerFailed, ServerBinariesMissing
from sql.migrate import WrongSchemaVersion, require_latest
from sql.pool import connected
from sql.queries import query

_DESCRIBE_SERVER = query("describe_server")
_WHICH_DATABASE = query("which_database")
_DISABLED_FEED_TRIGGERS = query("disabled_feed_triggers")
_IS_WHOLE = query("is_whole")

_SECONDS: Final = 10.0
"""How long one check may take."""


async def database_findings(config: Config, clock: Callable[[], float]) -> list[Finding]:
    """Return the findings about each database. `clock` returns the time of this machine in seconds since 1970."""
    dsns = Dsns(config)
    async with AsyncExitStack() as stack:
        found = [await _opened(dsns, place, stack) for place in dsns.settings()]
        found += await _completed(_same_database_findings(dsns))
        schema = await _completed(_schema_findings(dsns))
        found += schema
        if any(finding.status is Status.PROBLEM for finding in schema):
            skipped = "the tables are not as this Sitelatch needs them (see migrations)."
            found += [Finding(Status.SKIPPED, check, skipped) for check in ("roles", "listen")]
        else:
            found += await _completed(role_findings(dsns))
            found += await _completed(feed_findings(dsns))
        found += await _completed(clock_findings(dsns, clock))
    return found


async def _completed(check: Awaitable[list[Finding]]) -> list[Finding]:
    """Return the findings of a check, or a problem if the database fails during the check."""
    try:
        async with asyncio.timeout(_SECONDS):
            return await check
    except DATABASE_FAILURES as error:
        message = f"a query failed ({describe(error)}). If the database is busy or restarting, try again."
        return [Finding(Status.PROBLEM, "database", message)]


async def _opened(dsns: Dsns, place: Place, stack: AsyncExitStack) -> Finding:
    """Open a connection until `stack` closes. Returns the findings."""
    named = dsns.named(place)
    try:
        dsn = await stack.enter_async_context(opened_database(dsns.settings()[place], dsns.config.directory))
        connection = await stack.enter_async_context(connected(dsn, role="command"))
        async with asyncio.timeout(_SECONDS):
            finding = await _server_finding(connection, named)
    except (EmbeddedServerFailed, ServerBinariesMissing) as error:
        return Finding(Status.PROBLEM, "database", f"{named}: {error}.")
    except DATABASE_FAILURES as error:
        message = f"{named} leads to no usable database: {describe_connecting(error)}. Start the server, or correct "
        message += "the host, the database, the user or the password."
        return Finding(Status.PROBLEM, "database", message)
    dsns.connections[place] = connection
    return finding


async def _server_finding(connection: asyncpg.Connection, named: str) -> Finding:
    [row] = await connection.fetch(_DESCRIBE_SERVER)
    try:
        async with connection.transaction():
            pass
    except asyncpg.ConnectionDoesNotExistError:
        message = f"{named}: the connection was closed when a transaction began, so nothing can be changed. Let the "
        message += "pooler use the pool mode transaction or session, not statement (docs/pgbouncer.md)."
        return Finding(Status.PROBLEM, "database", message)
    if fault := Server(row["started"], row["standby"], row["read_only"]).fault:
        message = f"{named}: {fault}, which accepts no writes. Let the DSN lead to the primary; if it lists several "
        message += "hosts, set target_session_attrs=read-write."
        return Finding(Status.PROBLEM, "database", message)
    version = connection.get_server_version()
    message = f"{named} leads to PostgreSQL {version.major}.{version.minor}, which accepts writes."
    return Finding(Status.OK, "database", message)


async def _same_database_findings(dsns: Dsns) -> list[Finding]:
    """Return a problem for each DSN that leads to another database than database.url."""
    if URL not in dsns.connections:
        return []
    expected = await dsns.connections[URL].fetchrow(_WHICH_DATABASE)
    return [
        Finding(
            Status.PROBLEM,
            "database",
            f"{dsns.named(place)} leads to another database than database.url, so what is changed there reaches no "
            "front door. Let both lead to the same database.",
        )
        for place, connection in dsns.connections.items()
        if await connection.fetchrow(_WHICH_DATABASE) != expected
    ]


async def _schema_findings(dsns: Dsns) -> list[Finding]:
    if reason := dsns.why_unusable(URL):
        return [Finding(Status.SKIPPED, "migrations", reason)]
    connection = dsns.connections[URL]
    try:
        await require_latest(connection)
        is_whole = await connection.fetchval(_IS_WHOLE)
        disabled = await connection.fetchval(_DISABLED_FEED_TRIGGERS)
    except WrongSchemaVersion as error:
        return [Finding(Status.PROBLEM, "migrations", f"{error}.")]
    except asyncpg.InsufficientPrivilegeError:
        return [Finding(Status.SKIPPED, "migrations", "this role may not read the version of the schema (see roles).")]
    if not is_whole:
        message = "a dump is being restored, or tables lack their triggers. Wait for the end of the restore. If it "
        message += "failed, restore the dump again."
    elif disabled:
        message = f"{disabled} triggers of the change feed are disabled, so a revoked key may still be accepted for "
        message += f"{dsns.config.grants.ttl_seconds:g} s. Run `sitelatch migrate`, which enables them."
    else:
        return [Finding(Status.OK, "migrations", "the schema has the version that this Sitelatch needs.")]
    return [Finding(Status.PROBLEM, "migrations", message)]
