"""Connections that are open but useless are replaced: after certain errors, when they are old, and after a failover."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import asyncpg
import pytest

from admin.connections import Lane
from proxy.grants.connections import acquire
from sql.open_connections import OpenConnections
from sql.pool import open_pool
from tests.scopes import Clock, until

PID = "SELECT pg_backend_pid()"

Lend = Callable[[asyncpg.Pool], AbstractAsyncContextManager[Any]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(clock: Clock) -> OpenConnections:
    return OpenConnections(age=lambda: 300, clock=clock)


@pytest.fixture
async def single(dsn: str, opened: OpenConnections) -> AsyncIterator[asyncpg.Pool]:
    """A pool of one connection."""
    pool = await open_pool(dsn, maximum=1, role="tests", opened=opened)
    yield pool
    pool.terminate()


@pytest.mark.parametrize(
    "lend", [lambda pool: acquire(pool, 10), lambda pool: Lane(pool).borrow()], ids=["front door", "admin API"]
)
@pytest.mark.parametrize(
    ("before", "statement"),
    [
        # As on a standby, or on a server that was read-only when the session began.
        ("SET default_transaction_read_only = on", "CREATE TABLE made (x int)"),
        # A pooler sent the earlier statements to another server connection.
        ("SELECT 1", "EXECUTE prepared_elsewhere"),
        # Another client changed the session behind a pooler.
        ("SET ROLE pg_monitor", "SELECT * FROM sitelatch.api_keys"),
        ("SET search_path = nowhere", "SELECT * FROM api_keys"),
        # The server stops.
        ("SELECT 1", "SELECT pg_terminate_backend(pg_backend_pid())"),
    ],
)
async def test_a_connection_is_replaced_after_an_error_of_its_session(
    single: asyncpg.Pool, lend: Lend, before: str, statement: str
) -> None:
    process = 0
    with suppress(asyncpg.PostgresError, asyncpg.InternalClientError):
        async with lend(single) as connection:
            process = await connection.fetchval(PID)
            await connection.execute(before)
            await connection.execute(statement)
    assert process
    async with lend(single) as connection:
        assert await connection.fetchval(PID) != process


@pytest.mark.parametrize(
    "lend", [lambda pool: acquire(pool, 10), lambda pool: Lane(pool).borrow()], ids=["front door", "admin API"]
)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 / 0",
        "INSERT INTO sitelatch.workspaces (name) VALUES ('one'), ('one')",
        "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$",
        "DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$",
        "DO $$ BEGIN RAISE SQLSTATE '53100'; END $$",
        "DO $$ BEGIN RAISE SQLSTATE '55P03'; END $$",
        "DO $$ BEGIN RAISE SQLSTATE '57014'; END $$",
        "DO $$ BEGIN RAISE EXCEPTION 'ours'; END $$",
    ],
)
async def test_a_connection_is_kept_after_an_error_of_the_statement(
    single: asyncpg.Pool, lend: Lend, statement: str
) -> None:
    process = 0
    with suppress(asyncpg.PostgresError):
        async with lend(single) as connection:
            process = await connection.fetchval(PID)
            await connection.execute(statement)
    async with lend(single) as connection:
        assert await connection.fetchval(PID) == process


async def test_a_busy_connection_is_replaced_at_its_maximum_age(single: asyncpg.Pool, clock: Clock) -> None:
    process = await single.fetchval(PID)
    clock.now += 299
    assert await single.fetchval(PID) == process
    clock.now += 1
    assert await single.fetchval(PID) == process  # its last use
    assert await single.fetchval(PID) != process


async def test_an_idle_connection_is_replaced_at_once(single: asyncpg.Pool, opened: OpenConnections) -> None:
    process = await single.fetchval(PID)
    opened.renew(moved=False)
    assert await single.fetchval(PID) != process


async def test_a_connection_in_use_is_replaced_after_its_use(single: asyncpg.Pool, opened: OpenConnections) -> None:
    async with single.acquire() as connection:
        process = await connection.fetchval(PID)
        opened.renew(moved=False)
        assert await connection.fetchval(PID) == process
    assert await single.fetchval(PID) != process


async def test_a_connection_in_use_to_another_server_does_not_wait_for_its_answer(
    single: asyncpg.Pool, opened: OpenConnections
) -> None:
    async with single.acquire() as connection:
        waiting = asyncio.ensure_future(connection.execute("SELECT pg_sleep(3600)"))
        await asyncio.sleep(0)
        opened.renew(moved=True)
        await until(waiting.done)
        with pytest.raises((asyncpg.InterfaceError, asyncpg.PostgresConnectionError)):
            await waiting
    assert await single.fetchval("SELECT 1") == 1
