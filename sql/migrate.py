"""Apply the numbered migrations of `sql/migrations/` in order, each in its own transaction."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from sql.queries import query

_FILE = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")
_SCHEMA_EXISTS = query("schema_exists")
_QUOTED_NAMES = query("quoted_names")
_APPLIED_MIGRATIONS = query("applied_migrations")
_LOCK_MIGRATIONS = query("lock_migrations")
_RECORD_MIGRATION = query("record_migration")
_AFTER_MIGRATIONS = (query("grant_to_doors"), query("grant_to_admin"), query("enable_triggers"))

# A migration may rewrite a table, or wait for another process that does, so it may take longer than other commands.
_MIGRATION_SECONDS = 3600.0

_LAST_UNRELEASED = "0010_collated_sites"
_ADOPT_SCRIPT = Path(__file__).parent / "adopt_unreleased.sql"


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema. `name` is the file's name without its extension."""

    version: int
    name: str
    script: str


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Return a folder's migrations in order. Raises ValueError unless they are numbered 1, 2, 3 …"""
    migrations = []
    for file in sorted(folder.iterdir()):
        match = _FILE.match(file.name)
        if match is None:
            raise ValueError(f"{file.name} is not a valid name for a migration; use NNNN_name.sql")
        migrations.append(Migration(int(match[1]), file.stem, file.read_text(encoding="utf-8")))
    if [migration.version for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise ValueError("migrations must be numbered from 0001 without gaps or duplicates")
    return tuple(migrations)


MIGRATIONS = read_migrations(Path(__file__).parent / "migrations")
LATEST = len(MIGRATIONS)


class WrongSchemaVersion(Exception):  # noqa: N818 - names what happened
    """The database's schema does not match this version of Sitelatch. The message says how to fix it."""


class UnreleasedSchema(WrongSchemaVersion):
    """The schema was created by a development version, whose migrations were replaced before the first release."""


async def schema_version(connection: asyncpg.Connection) -> int:
    """Return the schema's version, or 0 if there is no schema. Raises UnreleasedSchema."""
    return await _schema_version(connection, MIGRATIONS)


async def require_latest(connection: asyncpg.Connection) -> None:
    """Raise WrongSchemaVersion unless the schema has the version that this Sitelatch needs."""
    found = await schema_version(connection)
    if found != LATEST:
        raise _wrong_version(found, LATEST)


async def migrate(connection: asyncpg.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> list[str]:
    """Apply the pending migrations and return their names. Several processes may do this at the same time.

    Raises WrongSchemaVersion if this Sitelatch does not know the database's schema, or if only its owner may migrate
    it. Nothing is changed then.
    """
    applied = []
    for migration in migrations:
        # The lock ends with the transaction, so it also works behind a connection pooler.
        async with connection.transaction():
            await connection.execute(_LOCK_MIGRATIONS, timeout=_MIGRATION_SECONDS)
            found = await _schema_version(connection, migrations)
            if found > len(migrations):
                raise _wrong_version(found, len(migrations))
            if found >= migration.version:
                continue
            names = await connection.fetchrow(_QUOTED_NAMES)
            try:
                await connection.execute(migration.script, timeout=_MIGRATION_SECONDS)
                await connection.execute(_RECORD_MIGRATION, migration.version, migration.name)
            except asyncpg.InsufficientPrivilegeError as error:
                if found == 0 and names is not None:
                    raise _create_needed(error, names["database"], names["role"]) from error
                raise _owner_needed(error) from error
            applied.append(migration.name)
    if len(migrations) < LATEST:
        return applied  # the privileges are those on the tables of the latest version
    # Do this on every run: the roles may have been created after the tables, and a restore may have disabled triggers.
    async with connection.transaction():
        await connection.execute(_LOCK_MIGRATIONS, timeout=_MIGRATION_SECONDS)
        for statement in _AFTER_MIGRATIONS:
            await connection.execute(statement)
    return applied


async def _schema_version(connection: asyncpg.Connection, migrations: Sequence[Migration]) -> int:
    try:
        if not await connection.fetchval(_SCHEMA_EXISTS):
            return 0
    except asyncpg.InsufficientPrivilegeError as error:
        # `migrate` grants the other roles their privileges.
        raise _owner_needed(error) from error
    applied = [(int(row["version"]), str(row["name"])) for row in await connection.fetch(_APPLIED_MIGRATIONS)]
    # A newer schema has more migrations than this version. If the names differ, another version created the schema.
    for (_, name), ours in zip(applied, migrations, strict=False):
        if name != ours.name:
            raise _unreleased(applied[-1][1])
    return applied[-1][0] if applied else 0


def _wrong_version(found: int, needed: int) -> WrongSchemaVersion:
    if found > needed:
        remedy = "the database belongs to a newer Sitelatch, so upgrade this one"
    elif found:
        remedy = "run `sitelatch migrate`"
    else:
        remedy = "there are no tables yet, so run `sitelatch migrate`"
    return WrongSchemaVersion(
        f"the database has schema version {found}, but this Sitelatch needs version {needed}: {remedy}"
    )


def _create_needed(error: asyncpg.InsufficientPrivilegeError, database: str, role: str) -> WrongSchemaVersion:
    return WrongSchemaVersion(
        f"{error}: the first migration creates the schema `sitelatch`. As the owner of the database, run "
        f"GRANT CREATE ON DATABASE {database} TO {role}"
    )


def _owner_needed(error: asyncpg.InsufficientPrivilegeError) -> WrongSchemaVersion:
    return WrongSchemaVersion(
        f"{error}: run `sitelatch migrate` as the role that owns the schema, which admin.database_url or "
        "SITELATCH_ADMIN__DATABASE_URL can name"
    )


def _unreleased(last: str) -> UnreleasedSchema:
    keep = f"run `psql -f {_ADOPT_SCRIPT}` on it, then `sitelatch migrate`"
    if last != _LAST_UNRELEASED:
        keep = f"migrate it to {_LAST_UNRELEASED} with the last Sitelatch that has this migration; then {keep}"
    return UnreleasedSchema(
        f"the database was created by a development version of Sitelatch (its last migration is {last}), whose "
        f"migrations have been replaced; nothing was changed. To start over, use a new database. "
        f"To keep this one, {keep}"
    )
