"""The health check on databases that can be reached but do not answer lookups."""

import asyncpg
import pytest
from structlog.testing import capture_logs

from proxy.grants.database_status import DatabaseStatus, Health
from sitelatch.database_health import HealthCheck
from sitelatch.server_watch import ServerWatch
from sql.dsn.dsn import read_dsn
from sql.servers import Servers


@pytest.mark.parametrize("table", ["api_keys", "scope_changes", "sites"])
async def test_a_database_that_answers_no_lookups_counts_as_down(dsn: str, pool: asyncpg.Pool, table: str) -> None:
    """The same result as for tables that are locked, or that the role may not read."""
    database = DatabaseStatus()
    watch = ServerWatch(Servers(read_dsn(dsn)))
    check = HealthCheck(watch, database)
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
        watch.close()
    assert found == [Health.UP, Health.DOWN, Health.UP]


async def test_a_database_being_restored_counts_as_unreached(dsn: str, pool: asyncpg.Pool) -> None:
    await pool.execute("DROP TRIGGER publish_changes ON sitelatch.scope_pending")
    database = DatabaseStatus()
    watch = ServerWatch(Servers(read_dsn(dsn)))
    check = HealthCheck(watch, database)
    try:
        await check.check()
        assert (database.health, database.schema_proven) == (Health.UNREACHED, False)
    finally:
        watch.close()


async def test_a_database_with_a_wrong_schema_is_down_unless_lookups_still_work(dsn: str, pool: asyncpg.Pool) -> None:
    """A restore of an older dump causes this. A database migrated for a newer Sitelatch still answers lookups."""
    database = DatabaseStatus()
    watch = ServerWatch(Servers(read_dsn(dsn)))
    check = HealthCheck(watch, database)
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
        watch.close()
    assert found == [Health.UP, Health.UP, Health.DOWN, Health.DOWN]
    messages = [str(log.get("reason") or log.get("note")).partition(",")[0] for log in logs]
    version = "the database has schema version"
    assert messages == ["None", f"{version} 9999", f"{version} 9999", f"{version} 0"]
