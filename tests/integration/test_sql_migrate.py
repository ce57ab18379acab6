"""Migrations, on every PostgreSQL version of this machine."""

import asyncio
import itertools
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest

import sql
from admin.api.user_list import list_users
from sql.migrate import (
    LATEST,
    MIGRATIONS,
    Migration,
    UnreleasedSchema,
    WrongSchemaVersion,
    migrate,
    read_migrations,
    require_latest,
    schema_version,
)
from sql.pool import open_connection
from tests.database import add_user, add_workspace

UNRELEASED = (
    "0001_scope",
    "0002_feed",
    "0003_admin_page",
    "0004_idempotency",
    "0005_openid_connect",
    "0006_search",
    "0007_whole",
    "0008_full_queue",
    "0009_feed_pruning",
    "0010_collated_sites",
)
ADOPT_UNRELEASED = (Path(sql.__file__).parent / "adopt_unreleased.sql").read_text()


@pytest.fixture(scope="module")
def database_server(every_database_server: str) -> str:
    return every_database_server


async def test_migrate_applies_all_migrations_and_a_second_run_applies_none(bare_dsn: str) -> None:
    connection = await open_connection(bare_dsn, role="tests")
    try:
        assert await schema_version(connection) == 0
        with pytest.raises(WrongSchemaVersion, match="run `sitelatch migrate`"):
            await require_latest(connection)
        assert await migrate(connection) == [migration.name for migration in MIGRATIONS]
        assert await schema_version(connection) == LATEST
        await require_latest(connection)
        assert await migrate(connection) == []
    finally:
        await connection.close()


async def test_concurrent_processes_apply_each_migration_once(bare_dsn: str) -> None:
    connections = [await open_connection(bare_dsn, role="tests") for _ in range(3)]
    try:
        async with asyncio.timeout(30):
            applied = await asyncio.gather(*map(migrate, connections))
    finally:
        for connection in connections:
            await connection.close()
    assert sorted(itertools.chain.from_iterable(applied)) == [migration.name for migration in MIGRATIONS]


async def test_the_migration_for_lists_fills_its_columns_for_existing_rows(bare_dsn: str) -> None:
    connection = await open_connection(bare_dsn, role="tests")
    try:
        await migrate(connection, MIGRATIONS[:4])
        await add_workspace(connection, "acme", "blog.example.com")
        user_id = await add_user(connection, "acme", "blog.example.com", digest=b"d" * 32)
        never = await add_user(connection, "acme")
        await connection.execute(
            "UPDATE sitelatch.api_user_activity SET last_used_at = '2026-01-02 03:14:59+00' WHERE user_id = $1", user_id
        )
        assert await migrate(connection) == [migration.name for migration in MIGRATIONS[4:]]
        for search in ("admin ada", "example.com", "ab12", "wxyz", "BLOG"):
            found = await list_users(connection, search=search)
            assert user_id in [user.id for user in found.items], search
        assert [user.id for user in (await list_users(connection, sort="last_activity")).items] == [never, user_id]
        rows = await connection.fetch(
            "SELECT w.name, a.used_quarter * interval '15 minutes' + timestamp '1970-01-01' AS quarter"
            " FROM sitelatch.api_user_activity a JOIN sitelatch.workspaces w ON w.id = a.workspace_id"
            " ORDER BY a.used_quarter"
        )
        assert [tuple(row) for row in rows] == [("acme", datetime(2026, 1, 2, 3)), ("acme", None)]
    finally:
        await connection.close()


async def test_a_database_with_a_newer_schema_is_refused(dsn: str) -> None:
    connection = await open_connection(dsn, role="tests")
    try:
        await connection.execute("INSERT INTO sitelatch.schema_migrations VALUES (9999, '9999_from_the_future')")
        for use in (migrate, require_latest):
            with pytest.raises(
                WrongSchemaVersion, match=rf"version 9999, but this Sitelatch needs version {LATEST}: .*upgrade"
            ):
                await use(connection)
    finally:
        await connection.close()


async def test_a_failed_migration_is_rolled_back(dsn: str) -> None:
    connection = await open_connection(dsn, role="tests")
    broken = Migration(LATEST + 1, "broken", "CREATE TABLE sitelatch.half (); SELECT 1 / 0")
    try:
        with pytest.raises(Exception, match="division by zero"):
            await migrate(connection, (*MIGRATIONS, broken))
        assert await schema_version(connection) == LATEST
        assert await connection.fetchval("SELECT to_regclass('sitelatch.half')") is None
    finally:
        await connection.close()


UNRELEASED_NAMES = """
    ALTER TABLE sitelatch.idempotency_keys RENAME COLUMN caller TO asker;
    ALTER TABLE sitelatch.idempotency_keys RENAME COLUMN request_digest TO wish;
    ALTER TABLE sitelatch.idempotency_keys
        RENAME CONSTRAINT idempotency_keys_request_digest_length TO idempotency_keys_wish_length;
    ALTER TABLE sitelatch.oidc_logins RENAME TO round_trips;
    ALTER TABLE sitelatch.round_trips RENAME CONSTRAINT oidc_logins_pkey TO round_trips_pkey;
    ALTER TABLE sitelatch.round_trips RENAME CONSTRAINT oidc_logins_digest_length TO round_trips_digest_length;
    ALTER INDEX sitelatch.oidc_logins_expires_idx RENAME TO round_trips_expires_idx;
"""
"""Restores the names that the development versions used."""


async def schema_names(connection: asyncpg.Connection) -> list[asyncpg.Record]:
    """Return the names of all tables, indexes, columns and constraints."""
    return await connection.fetch("""
        SELECT c.relname, a.attname FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace = 'sitelatch'::regnamespace
        UNION ALL SELECT conrelid::regclass::text, conname FROM pg_constraint
        WHERE connamespace = 'sitelatch'::regnamespace ORDER BY 1, 2
    """)


async def record_unreleased(connection: asyncpg.Connection, names: tuple[str, ...]) -> None:
    """Record the schema as created by the development version that these migrations belong to."""
    await connection.execute("DELETE FROM sitelatch.schema_migrations")
    for version, name in enumerate(names, 1):
        await connection.execute("INSERT INTO sitelatch.schema_migrations VALUES ($1, $2)", version, name)


@pytest.mark.parametrize("last", range(1, len(UNRELEASED) + 1))
async def test_a_database_from_a_development_version_is_refused_with_instructions_and_left_untouched(
    dsn: str, last: int
) -> None:
    connection = await open_connection(dsn, role="tests")
    try:
        await record_unreleased(connection, UNRELEASED[:last])
        before = await connection.fetch("SELECT * FROM sitelatch.schema_migrations ORDER BY version")
        for use in (migrate, require_latest):
            with pytest.raises(
                UnreleasedSchema, match=r"use a new database.*psql -f \S+adopt_unreleased.sql"
            ) as refused:
                await use(connection)
            assert f"its last migration is {UNRELEASED[last - 1]}" in str(refused.value)
            assert ("migrate it to 0010_collated_sites" in str(refused.value)) == (last < len(UNRELEASED))
        assert await connection.fetch("SELECT * FROM sitelatch.schema_migrations ORDER BY version") == before
    finally:
        await connection.close()


async def test_the_adopt_script_keeps_a_database_of_the_last_development_version(bare_dsn: str) -> None:
    connection = await open_connection(bare_dsn, role="tests")
    try:
        await migrate(connection, MIGRATIONS[:4])  # they create the same schema, with other names
        await add_workspace(connection, "acme", "shop")
        user_id = await add_user(connection, "acme", "shop", digest=bytes(32))
        names = await schema_names(connection)
        await connection.execute(UNRELEASED_NAMES)
        await record_unreleased(connection, UNRELEASED)
        await connection.execute(ADOPT_UNRELEASED)
        assert await schema_names(connection) == names
        assert await migrate(connection) == [migration.name for migration in MIGRATIONS[4:]]
        await require_latest(connection)
        assert str(await connection.fetchval("SELECT user_id FROM sitelatch.api_keys")) == user_id
    finally:
        await connection.close()


async def test_the_adopt_script_refuses_any_other_database(dsn: str) -> None:
    connection = await open_connection(dsn, role="tests")
    try:
        for names in ((), UNRELEASED[:9], tuple(migration.name for migration in MIGRATIONS)):
            await record_unreleased(connection, names)
            with pytest.raises(asyncpg.RaiseError, match="nothing was changed"):
                await connection.execute(ADOPT_UNRELEASED)
            assert await connection.fetchval("SELECT count(*) FROM sitelatch.schema_migrations") == len(names)
    finally:
        await connection.close()


@pytest.mark.parametrize("names", [["0002_a.sql"], ["0001_a.sql", "0003_b.sql"], ["0001_a.sql", "0001_b.sql"], ["x"]])
def test_migrations_with_gaps_duplicates_or_other_names_are_rejected(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(ValueError, match=r"numbered|name"):
        read_migrations(tmp_path)
