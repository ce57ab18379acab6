"""Whether the database is there: what readiness and metrics say of one that is reached and answers no look-up."""

import asyncpg
import pytest
from structlog.testing import capture_logs

from sitelatch.database_health import DatabaseState, DatabaseWatch


@pytest.mark.parametrize("table", ["api_keys", "scope_changes", "sites"])
async def test_a_database_that_answers_no_lookup_is_down(dsn: str, pool: asyncpg.Pool, table: str) -> None:
    """Its tables may be there, and not for this role, or locked for long: that looks the same from here."""
    watch = DatabaseWatch(dsn)
    found = []
    try:
        for change in (
            "SELECT",
            f"ALTER TABLE sitelatch.{table} RENAME TO moved",
            f"ALTER TABLE sitelatch.moved RENAME TO {table}",
        ):
            await pool.execute(change)
            await watch.look()
            found.append(watch.state)
    finally:
        watch.close()
    assert found == [DatabaseState.UP, DatabaseState.DOWN, DatabaseState.UP]


async def test_a_database_in_the_middle_of_a_restore_is_not_there_yet(dsn: str, pool: asyncpg.Pool) -> None:
    await pool.execute("DROP TRIGGER publish_changes ON sitelatch.scope_pending")
    watch = DatabaseWatch(dsn)
    try:
        await watch.look()
        assert (watch.state, watch.proven) == (DatabaseState.UNREACHED, False)
    finally:
        watch.close()


async def test_a_database_whose_tables_are_gone_or_of_another_version_is_down_unless_it_answers_all_the_same(
    dsn: str, pool: asyncpg.Pool
) -> None:
    """It is dropped to be restored, or an older dump is. While it is migrated for a successor it goes on answering."""
    watch = DatabaseWatch(dsn)
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
                await watch.look()
                found.append(watch.state)
    finally:
        watch.close()
    assert found == [DatabaseState.UP, DatabaseState.UP, DatabaseState.DOWN, DatabaseState.DOWN]
    said = [str(log.get("reason") or log.get("note")).partition(",")[0] for log in logs]
    version = "the database has schema version"
    assert said == ["None", f"{version} 9999", f"{version} 9999", f"{version} 0"]
