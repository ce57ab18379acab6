"""The numbered migrations of `sql/migrations/`, applied in order, each in a transaction of its own."""

import re
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from sql.queries import query

_FILE = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")
_SCHEMA_IS_THERE = query("schema_is_there")
_SCHEMA_VERSION = query("schema_version")
_WAIT_FOR_MIGRATORS = query("wait_for_migrators")
_RECORD_MIGRATION = query("record_migration")
_EACH_TIME = (query("grant_to_doors"), query("grant_to_admin"), query("enable_triggers"))

# A migration may rewrite a table, and wait for another migrator who does: longer than a pool lets a command take.
_MIGRATION_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema. `name` is the file's, without its ending."""

    version: int
    name: str
    script: str


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Return a folder's migrations in order; ValueError unless they are numbered 1, 2, 3 …"""
    migrations = []
    for file in sorted(folder.iterdir()):
        match = _FILE.match(file.name)
        if match is None:
            raise ValueError(f"{file.name} is no migration's name: NNNN_name.sql is")
        migrations.append(Migration(int(match[1]), file.stem, file.read_text(encoding="utf-8")))
    if [migration.version for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise ValueError("migrations are numbered from 0001 without gaps, each number once")
    return tuple(migrations)


MIGRATIONS = read_migrations(Path(__file__).parent / "migrations")
LATEST = len(MIGRATIONS)


class WrongSchemaVersion(Exception):  # noqa: N818 - it says what it is
    """The database's schema is not the one this program is written for; the text says how to mend it."""

    def __init__(self, found: int) -> None:
        if found > LATEST:
            mend = "it belongs to a newer Sitelatch: upgrade this one"
        elif found:
            mend = "run `sitelatch migrate`"
        else:
            mend = "there are no tables yet: run `sitelatch migrate`"
        super().__init__(f"the database has schema version {found}, this Sitelatch needs {LATEST}; {mend}")
        self.found = found


async def schema_version(connection: asyncpg.Connection) -> int:
    """Return the version of the database's schema, 0 when nothing is there."""
    if not await connection.fetchval(_SCHEMA_IS_THERE):
        return 0
    return int(await connection.fetchval(_SCHEMA_VERSION))


async def require_latest(connection: asyncpg.Connection) -> None:
    """Raise WrongSchemaVersion unless the database's schema is the one this program is written for."""
    found = await schema_version(connection)
    if found != LATEST:
        raise WrongSchemaVersion(found)


async def migrate(connection: asyncpg.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> list[str]:
    """Bring the schema up to date; return the names of the migrations applied, none where it already was.

    WrongSchemaVersion where the database is of a newer version. Any number of processes may do this at once.
    """
    applied = []
    for migration in migrations:
        # The lock ends with the transaction, so it also holds behind a pooler that shares connections.
        async with connection.transaction():
            await connection.execute(_WAIT_FOR_MIGRATORS, timeout=_MIGRATION_SECONDS)
            found = await schema_version(connection)
            if found > len(migrations):
                raise WrongSchemaVersion(found)
            if found >= migration.version:
                continue
            await connection.execute(migration.script, timeout=_MIGRATION_SECONDS)
            await connection.execute(_RECORD_MIGRATION, migration.version, migration.name)
            applied.append(migration.name)
    # Each time, for the roles may be younger than the tables, and whoever restored data may have disabled triggers.
    async with connection.transaction():
        await connection.execute(_WAIT_FOR_MIGRATORS, timeout=_MIGRATION_SECONDS)
        for statement in _EACH_TIME:
            await connection.execute(statement)
    return applied
