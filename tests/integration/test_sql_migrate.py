"""Bringing the schema up to date, on every PostgreSQL of this machine."""

import asyncio
import itertools
from pathlib import Path

import pytest

from sql.migrate import (
    LATEST,
    MIGRATIONS,
    Migration,
    WrongSchemaVersion,
    migrate,
    read_migrations,
    require_latest,
    schema_version,
)
from sql.pool import open_connection


@pytest.fixture(scope="module")
def database_server(every_database_server: str) -> str:
    return every_database_server


async def test_migrating_an_empty_database_brings_it_to_the_latest_version_and_again_does_nothing(
    bare_dsn: str,
) -> None:
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


async def test_two_migrators_at_once_apply_each_migration_once(bare_dsn: str) -> None:
    connections = [await open_connection(bare_dsn, role="tests") for _ in range(3)]
    try:
        async with asyncio.timeout(30):
            applied = await asyncio.gather(*map(migrate, connections))
    finally:
        for connection in connections:
            await connection.close()
    assert sorted(itertools.chain.from_iterable(applied)) == [migration.name for migration in MIGRATIONS]


async def test_a_database_of_a_newer_version_is_left_alone(dsn: str) -> None:
    connection = await open_connection(dsn, role="tests")
    try:
        await connection.execute("INSERT INTO sitelatch.schema_migrations VALUES (9999, '9999_from_the_future')")
        for use in (migrate, require_latest):
            with pytest.raises(WrongSchemaVersion, match=rf"version 9999, this Sitelatch needs {LATEST}; .*upgrade"):
                await use(connection)
    finally:
        await connection.close()


async def test_a_migration_that_fails_leaves_nothing_of_itself(dsn: str) -> None:
    connection = await open_connection(dsn, role="tests")
    broken = Migration(LATEST + 1, "broken", "CREATE TABLE sitelatch.half (); SELECT 1 / 0")
    try:
        with pytest.raises(Exception, match="division by zero"):
            await migrate(connection, (*MIGRATIONS, broken))
        assert await schema_version(connection) == LATEST
        assert await connection.fetchval("SELECT to_regclass('sitelatch.half')") is None
    finally:
        await connection.close()


@pytest.mark.parametrize("names", [["0002_a.sql"], ["0001_a.sql", "0003_b.sql"], ["0001_a.sql", "0001_b.sql"], ["x"]])
def test_migrations_are_numbered_without_gaps(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(ValueError, match=r"numbered|name"):
        read_migrations(tmp_path)
