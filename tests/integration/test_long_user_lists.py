"""Lists of 100,000 API users: no query reads a whole table, and none visits more rows than a bound."""

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from admin.api.user_list import NO_FILTERS, Filters, count_users, list_users
from admin.api.user_search import FAR
from bench.admin_data import fill
from sql.pool import connected, open_connection
from sql.queries import query
from tests.database import TEMPLATE, create_database, drop_database, run_aside

pytestmark = pytest.mark.slow

USERS = 100_000
LARGE = {"api_users", "api_keys", "api_user_sites", "api_user_activity"}
MOST_VISITED = 8 * FAR
"""How many rows of the large tables one query may visit: a few of each user that it checks. One that checks all 100,000
users visits several hundred thousand."""

SEARCHES = (None, "integration", "nightly exp", "1", "ada admin", "loader site-1", "site-123", "q7", "nobody")
FILTERS = (NO_FILTERS, Filters(never_used=True), Filters(unused_days=30), Filters(authorized_by="ben"))


@pytest.fixture(scope="module")
def many_users(database_server: str) -> Iterator[str]:
    """The DSN of a database with many users."""

    async def create() -> str:
        dsn = await create_database(database_server, TEMPLATE)
        connection = await open_connection(dsn, role="tests")
        await fill(connection, users=USERS, sites=5_000)
        await connection.close()
        return dsn

    dsn = run_aside(create())
    yield dsn
    run_aside(drop_database(database_server, dsn))


class Measuring:
    """A connection that measures how many rows of large tables each query visits."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.complaints: list[str] = []

    async def fetchval(self, statement: str, *parameters: Any) -> Any:
        rows = await self.fetch(statement, *parameters)
        return rows[0][0] if rows else None

    async def fetch(self, statement: str, *parameters: Any) -> list[asyncpg.Record]:
        explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"
        [plan] = json.loads(await self._connection.fetchval(explain, *parameters))
        scans = list(_scans(plan["Plan"]))
        visited = sum(_visited(scan) for scan in scans)
        if visited > MOST_VISITED or any(scan["Node Type"] == "Seq Scan" for scan in scans):
            self.complaints.append(f"{visited} rows: {parameters}\n{statement}\n{json.dumps(scans, indent=1)}")
        return await self._connection.fetch(statement, *parameters)


def _scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the scans of large tables, without the parts of bitmaps: these read only an index."""
    if node.get("Relation Name") in LARGE:
        yield {name: value for name, value in node.items() if name != "Plans"}
    for child in node.get("Plans", ()):
        yield from _scans(child)


def _visited(scan: dict[str, Any]) -> int:
    removed = scan.get("Rows Removed by Filter", 0) + scan.get("Rows Removed by Index Recheck", 0)
    rows: int = scan["Actual Rows"] + removed
    return rows * int(scan["Actual Loops"])


@pytest.mark.parametrize("search", SEARCHES)
async def test_no_list_and_no_count_visits_many_rows(many_users: str, search: str | None) -> None:
    async with connected(many_users, role="tests") as connection, connection.transaction():
        await connection.execute(query("limit_reads"), "60000")
        measuring: Any = Measuring(connection)
        for within in (None, frozenset({"acme"})):
            for filters in FILTERS:
                selected: dict[str, Any] = {"within": within, "search": search, "filters": filters}
                for sort in ("created", "-last_activity", "name", "-authorized_by"):
                    page = await list_users(measuring, **selected, sort=sort)
                    if page.next is not None:
                        await list_users(measuring, **selected, sort=sort, after=page.next)
                await count_users(measuring, **selected)
                assert measuring.complaints == []
