"""Whether the database is there: what readiness and metrics say of one that is reached and answers no look-up."""

import asyncpg
import pytest

from sitelatch.database_watch import DatabaseState, DatabaseWatch


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
