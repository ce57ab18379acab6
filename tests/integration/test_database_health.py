"""Whether the database is there: what readiness and metrics say of one that is reached and answers no look-up."""

import asyncpg
import pytest
from structlog.testing import capture_logs

from proxy.grants.database_status import DatabaseStatus, Health
from sitelatch.database_health import HealthCheck


@pytest.mark.parametrize("table", ["api_keys", "scope_changes", "sites"])
async def test_a_database_that_answers_no_lookup_is_down(dsn: str, pool: asyncpg.Pool, table: str) -> None:
    """Its tables may be there, and not for this role, or locked for long: that looks the same from here."""
    database = DatabaseStatus()
    check = HealthCheck(dsn, database)
    found = []
    try:
        for change in (
            "SELECT",
            f"ALTER TABLE sitelatch.{table} RENAME TO moved",
            f"ALTER TABLE sitelatch.moved RENAME TO {table}",
        ):
            await pool.execute(change)
            await check.check()
            found.append(database.health)
    finally:
        check.close()
    assert found == [Health.UP, Health.DOWN, Health.UP]


async def test_a_database_in_the_middle_of_a_restore_is_not_there_yet(dsn: str, pool: asyncpg.Pool) -> None:
    await pool.execute("DROP TRIGGER publish_changes ON sitelatch.scope_pending")
    database = DatabaseStatus()
    check = HealthCheck(dsn, database)
    try:
        await check.check()
        assert (database.health, database.schema_proven) == (Health.UNREACHED, False)
    finally:
        check.close()


async def test_a_database_whose_tables_are_gone_or_of_another_version_is_down_unless_it_answers_all_the_same(
    dsn: str, pool: asyncpg.Pool
) -> None:
    """It is dropped to be restored, or an older dump is. While it is migrated for a successor it goes on answering."""
    database = DatabaseStatus()
    check = HealthCheck(dsn, database)
    found = []
    try:
        with capture_logs() as logs:
            for change in (
                "SELECT",
                "INSERT INTO sitelatch.schema_migrations VALUES (9999, '9999_from_the_future')",
                "ALTER FUNCTION sitelatch.is_whole RENAME TO not_made_yet",
                "DROP SCHEMA sitelatch CASCADE",
            ):
                await pool.execute(change)
                await check.check()
                found.append(database.health)
    finally:
        check.close()
    assert found == [Health.UP, Health.UP, Health.DOWN, Health.DOWN]
    said = [str(log.get("reason") or log.get("note")).partition(",")[0] for log in logs]
    version = "the database has schema version"
    assert said == ["None", f"{version} 9999", f"{version} 9999", f"{version} 0"]
