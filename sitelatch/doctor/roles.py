"""Checks that each database role can do what Sitelatch needs, and no more (sql/roles.sql)."""

from collections.abc import Iterator, Sequence
from typing import Final

import asyncpg

from proxy.upkeep import DAYS_KEPT, HOURS_KEPT_DAYS
from sitelatch.doctor.dsns import ADMIN_URL, URL, Dsns
from sitelatch.doctor.finding import Finding, Status
from sql.database import EMBEDDED
from sql.privileges import Privilege, granted_to_admin, granted_to_doors
from sql.queries import query

_DESCRIBE_ROLE = query("describe_role")
_HELD_PRIVILEGES = query("held_privileges")

Queries = tuple[tuple[str, tuple[object, ...]], ...]

_READS_OF_DOORS: Final[Queries] = (
    (query("find_grant"), (b"",)),
    (query("find_keys"), ([],)),
    (query("list_keys"), (b"", 8, 1)),
    (query("find_sites"), ([],)),
    (query("feed_head"), ()),
    (query("count_expiring_keys"), (7,)),
)
_WRITES_OF_DOORS: Final[Queries] = (
    (query("record_activity"), ([], [])),
    (query("record_usage"), ("00000000-0000-0000-0000-000000000000", 1, 0.0, [], [], [], [])),
    (query("roll_up_usage"), (HOURS_KEPT_DAYS, 0)),
    (query("prune_usage_days"), (DAYS_KEPT, 0)),
    (query("record_shadow_findings"), ([], [], [], [], [], [], [])),
)
_READS_OF_ADMIN: Final[Queries] = (
    (query("describe_users"), ([], None, None)),
    (query("list_workspaces"), (None, None, 1)),
)
_WRITES_OF_ADMIN: Final[Queries] = ((query("write_audit"), ("", "", "", "", [], [], [])),)
"""The queries that a role is tried with, and their arguments. They find and write no rows."""

_LISTED: Final = 5


async def role_findings(dsns: Dsns) -> list[Finding]:
    """Return the findings about the role of the front door and that of the admin API."""
    config = dsns.config
    if config.database.url.startswith(EMBEDDED):
        return [Finding(Status.SKIPPED, "roles", "the embedded database is for trials, and has one role.")]
    if reason := dsns.why_unusable(URL):
        return [Finding(Status.SKIPPED, "roles", reason)]
    doors, named = dsns.connections[URL], dsns.named(URL)
    if config.admin.database_url is None:
        both = granted_to_doors() | granted_to_admin()
        queries: Queries = (*_READS_OF_DOORS, *_READS_OF_ADMIN, *_WRITES_OF_DOORS, *_WRITES_OF_ADMIN)
        shared = "admin.database_url is not set, so the front door's role may also change what keys may access. Create "
        shared += "the roles of sql/roles.sql, name sitelatch_doors in database.url, and sitelatch_admin in "
        shared += "admin.database_url."
        return [
            *await _findings(named, doors, "sitelatch_doors", both, queries),
            Finding(Status.WARNING, "roles", shared),
        ]
    queries = (*_READS_OF_DOORS, *_WRITES_OF_DOORS)
    found = await _findings(named, doors, "sitelatch_doors", granted_to_doors(), queries)
    if reason := dsns.why_unusable(ADMIN_URL):
        return [*found, Finding(Status.SKIPPED, "roles", reason)]
    queries = (*_READS_OF_ADMIN, *_WRITES_OF_ADMIN)
    admin = dsns.connections[ADMIN_URL]
    return [
        *found,
        *await _findings(dsns.named(ADMIN_URL), admin, "sitelatch_admin", granted_to_admin(), queries),
    ]


async def _findings(
    named: str,
    connection: asyncpg.Connection,
    usual: str,
    needed: frozenset[Privilege],
    queries: Queries,
) -> list[Finding]:
    """Return the findings about one role. `usual` is the role of sql/roles.sql for this DSN."""
    [role] = await connection.fetch(_DESCRIBE_ROLE)
    held = {
        Privilege(row["privilege"], row["table_name"], row["column_name"])
        for row in await connection.fetch(_HELD_PRIVILEGES)
    }
    found = [*_missing(named, role, usual, needed, held)]
    if not found:
        found += await _failures(named, connection, queries)
    found += _excess(named, role, usual, needed, held)
    if not found:
        message = f'{named}: the role "{role["name"]}" may read and write what it needs, and no more.'
        found.append(Finding(Status.OK, "roles", message))
    return found


def _missing(
    named: str, role: asyncpg.Record, usual: str, needed: frozenset[Privilege], held: set[Privilege]
) -> Iterator[Finding]:
    missing = [] if role["uses_schema"] else ["USAGE on the schema sitelatch"]
    missing += [str(each) for each in sorted(needed - held, key=str) if each._replace(column=None) not in held]
    if missing:
        yield Finding(
            Status.PROBLEM,
            "roles",
            f'{named}: the role "{role["name"]}" lacks {_listed(missing)}. Run `sitelatch migrate` as the owner of the '
            f"schema, which grants {usual} its privileges, and let the DSN name {usual} or a member of it.",
        )


async def _failures(named: str, connection: asyncpg.Connection, queries: Queries) -> list[Finding]:
    """Run queries in a transaction that is rolled back. Privileges on tables are not all that they need."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        for statement, arguments in queries:
            await connection.fetch(statement, *arguments)
    except (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError) as error:
        reason = str(error).partition("\n")[0]
        return [
            Finding(
                Status.PROBLEM,
                "roles",
                f"{named}: a query of Sitelatch fails ({reason}). Run `sitelatch migrate` as the owner of the schema; "
                "the primary must accept writes.",
            )
        ]
    finally:
        await transaction.rollback()
    return []


def _excess(
    named: str, role: asyncpg.Record, usual: str, needed: frozenset[Privilege], held: set[Privilege]
) -> Iterator[Finding]:
    """Yield a warning if a role may do more than it needs. The strongest reason is enough."""
    may = None
    if role["superuser"]:
        may = "is a superuser, and may do anything in the server"
    elif role["owns_tables"]:
        may = "owns the tables, and may change or drop them"
    elif role["creates_objects"]:
        may = "may create objects in the schema sitelatch"
    elif excess := sorted(map(str, held - needed)):
        may = f"may do more than it needs: {_listed(excess)}"
    elif role["creates_roles"] or role["creates_databases"]:
        may = "may create roles or databases"
    if may is not None:
        yield Finding(
            Status.WARNING,
            "roles",
            f'{named}: the role "{role["name"]}" {may}. Create the roles of sql/roles.sql, and use {usual}.',
        )


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
