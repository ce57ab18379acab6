"""Slow queries of the admin API end when their client leaves or their time is up.

They keep no connection from other requests. The queries wait for real locks.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from admin.api.user_list import list_users
from admin.app import admin_app
from admin.connections import LANE_SIZE, Lane, Lanes, database_problem
from admin.problems import Busy
from sql.pool import open_pool
from tests.database import add_user, add_workspace
from tests.integration.adminapi import SETTINGS, AdminClient, acme, admin, serving

__all__ = ["acme", "admin"]

WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'sitelatch-admin' AND wait_event_type = 'Lock'
"""


@pytest.fixture
async def admin_pool(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool as that of `serve`."""
    pool = await open_pool(dsn, maximum=Lanes.COUNT * LANE_SIZE, role="admin")
    yield pool
    pool.terminate()


@pytest.fixture
async def busy(admin_pool: asyncpg.Pool, pool: asyncpg.Pool) -> AsyncIterator[AdminClient]:
    """The admin API on a pool like the one that `serve` uses, with the workspace acme."""
    await add_workspace(pool, "acme", "shop")
    async with serving(admin_app(SETTINGS, admin_pool)) as client:
        yield client


@asynccontextmanager
async def locked(pool: asyncpg.Pool, statement: str, *parameters: Any) -> AsyncIterator[None]:
    """Hold the locks of a statement."""
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(statement, *parameters)
        try:
            yield
        finally:
            await transaction.rollback()


async def until_waiting(pool: asyncpg.Pool, count: int) -> None:
    """Wait until this many queries of the admin API wait for a lock."""
    async with asyncio.timeout(20):
        while await pool.fetchval(WAITING) != count:  # noqa: ASYNC110 - the condition is in the database
            await asyncio.sleep(0.01)


def start(request: Coroutine[Any, Any, Any], stack: AsyncExitStack) -> "asyncio.Task[Any]":
    """Send a request, and cancel it at the end of the test if it has not ended."""
    task = asyncio.create_task(request)
    stack.callback(task.cancel)
    return task


async def test_a_client_that_leaves_ends_its_query(busy: AdminClient, pool: asyncpg.Pool) -> None:
    async with locked(pool, "LOCK TABLE sitelatch.api_users"):
        for _ in range(2 * LANE_SIZE):
            request = asyncio.create_task(busy.get("/users"))
            await until_waiting(pool, 1)
            request.cancel()
            await until_waiting(pool, 0)
    assert (await busy.get("/users"))["items"] == []


async def test_a_client_that_leaves_does_not_stop_its_change(busy: AdminClient, pool: asyncpg.Pool) -> None:
    user_id = await add_user(pool, "acme")
    async with locked(pool, "SELECT FROM sitelatch.api_users WHERE id = $1 FOR UPDATE", user_id):
        request = asyncio.create_task(busy.request("DELETE", f"/users/{user_id}"))
        await until_waiting(pool, 1)
        request.cancel()
    async with asyncio.timeout(20):
        while await pool.fetchval("SELECT count(*) FROM sitelatch.api_users"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_slow_lists_delay_neither_lookups_nor_changes_nor_deletions(
    busy: AdminClient, pool: asyncpg.Pool
) -> None:
    user_id = await add_user(pool, "acme")
    signed_in = await busy.signed_in()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(locked(pool, "LOCK TABLE sitelatch.audit_log"))
        for _ in range(3 * LANE_SIZE):
            start(busy.get("/audit"), stack)
        await until_waiting(pool, LANE_SIZE)
        async with asyncio.timeout(20):
            assert [item["name"] for item in (await signed_in.get("/workspaces"))["items"]] == ["acme"]
            assert (await busy.get(f"/users/{user_id}"))["id"] == user_id


async def test_a_deletion_gets_a_connection_while_everything_else_is_slow(
    busy: AdminClient, pool: asyncpg.Pool
) -> None:
    kept, deleted = await add_user(pool, "acme"), await add_user(pool, "acme")
    signed_in = await busy.signed_in()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(locked(pool, "SELECT FROM sitelatch.api_users WHERE id = $1 FOR UPDATE", kept))
        await stack.enter_async_context(locked(pool, "SELECT FROM sitelatch.sites WHERE id = 'shop' FOR UPDATE"))
        for _ in range(2 * LANE_SIZE):
            start(busy.create(workspace="acme", sites=["shop"]), stack)
        await until_waiting(pool, LANE_SIZE)
        status, problem, answer = await busy.request("DELETE", f"/users/{kept}")
        assert (status, problem["code"], problem["type"]) == (503, "busy", "urn:sitelatch:problem:busy")
        assert int(answer.headers["Retry-After"]) > 0
        async with asyncio.timeout(20):
            assert (await signed_in.request("DELETE", f"/users/{deleted}"))[0] == 204


async def test_a_request_that_waits_too_long_for_its_turn_is_refused_as_busy(admin_pool: asyncpg.Pool) -> None:
    lane = Lane(admin_pool, wait_seconds=0.1)
    async with AsyncExitStack() as stack:
        for _ in range(LANE_SIZE):
            await stack.enter_async_context(lane.borrow())
        with pytest.raises(Busy):
            await stack.enter_async_context(lane.borrow())
    async with lane.borrow() as connection:
        assert await connection.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("statement", ["LOCK TABLE sitelatch.api_users", "LOCK TABLE sitelatch.api_user_activity"])
async def test_a_slow_list_is_stopped_and_reported_as_busy(
    admin_pool: asyncpg.Pool, pool: asyncpg.Pool, statement: str
) -> None:
    lane = Lane(admin_pool, read_seconds=0.1)
    async with locked(pool, statement):
        with pytest.raises(asyncpg.QueryCanceledError) as stopped:
            async with lane.read() as connection:
                await list_users(connection, sort="last_activity", search="export")
    problem = database_problem(stopped.value)
    assert isinstance(problem, Busy)
    assert "took too long" in problem.detail
    async with lane.read() as connection:
        assert (await list_users(connection)).items == []


async def test_the_limits_of_a_read_do_not_apply_to_later_statements(admin_pool: asyncpg.Pool) -> None:
    lane = Lane(admin_pool, read_seconds=7)
    async with lane.read() as connection:
        assert await connection.fetchval("SHOW statement_timeout") == "7s"
        assert await connection.fetchval("SHOW transaction_read_only") == "on"
    async with lane.borrow() as connection:
        assert await connection.fetchval("SHOW statement_timeout") == "0"
        assert await connection.fetchval("SHOW transaction_read_only") == "off"


async def test_a_change_that_a_read_only_database_refuses_is_not_logged_as_an_outage(dsn: str) -> None:
    read_only = await open_pool(f"{dsn}&options=-c%20default_transaction_read_only%3Don", role="admin")
    async with serving(admin_app(SETTINGS, read_only)) as client:
        with capture_logs() as logs:
            status, problem, _ = await client.request("POST", "/workspaces", {"name": "acme"})
    assert (status, problem["code"]) == (503, "database_unavailable")
    assert [line["event"] for line in logs] == ["admin_change_refused"]
    read_only.terminate()
