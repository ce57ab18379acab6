"""Pools and connections: their names, their limits, and passwords in errors."""

import asyncio
import logging
from pathlib import Path

import asyncpg
import pytest

from sql.connect import CannotConnect
from sql.dsn.syntax import BadDatabaseUrl
from sql.pool import open_connection, open_pool
from sql.queries import query
from sql.settings import DatabaseSettings
from tests.database import as_role

SECRET = "hunter2"


async def test_a_pool_sets_its_name_and_prepares_no_statements(dsn: str) -> None:
    async with await open_pool(dsn, role="doors") as pool, pool.acquire() as connection:
        assert await connection.fetchval("SELECT current_setting('application_name')") == "sitelatch-doors"
        await connection.fetchrow(query("find_grant"), bytes(32))
        assert await connection.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0


async def test_a_pool_can_be_opened_while_the_server_is_down(dsn: str) -> None:
    async with await open_pool("postgresql://nobody@127.0.0.1:1/none", role="doors") as pool:
        with pytest.raises(CannotConnect, match=r"127\.0\.0\.1 port 1: Connection refused"):
            await pool.fetchval("SELECT 1")
    async with await open_pool(dsn, role="doors") as pool:
        assert pool.get_size() == 0
        await pool.fetchval("SELECT 1")
        # As after an outage, when the pool discards its old connections.
        async with pool.acquire() as connection:
            await connection.execute("SELECT 1")
        await pool.expire_connections()
        assert await pool.fetchval("SELECT 2") == 2


async def test_a_connection_closed_by_the_server_is_replaced(dsn: str, pool: asyncpg.Pool) -> None:
    async with await open_pool(dsn, role="doors", maximum=1) as doors:
        process = await doors.fetchval("SELECT pg_backend_pid()")
        await pool.execute("SELECT pg_terminate_backend($1)", process)
        async with asyncio.timeout(10):
            while True:
                try:
                    assert await doors.fetchval("SELECT pg_backend_pid()") != process
                except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
                    continue
                break


async def test_settings_of_a_dsn_reach_the_server(dsn: str) -> None:
    settings = "application_name=latch&statement_timeout=7000&options=-c%20lock_timeout%3D8000%20-c%20jit%3Doff"
    connection = await open_connection(f"{dsn}&{settings}", role="tests")
    names = ("application_name", "statement_timeout", "lock_timeout", "jit")
    found = [await connection.fetchval("SELECT current_setting($1)", name) for name in names]
    await connection.close()
    assert found == ["latch", "7s", "8s", "off"]


async def test_a_refused_login_without_a_password_names_the_password_file(dsn: str, tmp_path: Path) -> None:
    url = f"{as_role(dsn, 'no_such_role')}&passfile={tmp_path}/gone"
    with pytest.raises(CannotConnect, match=r"the DSN has no password, and .*/gone: No such file or directory\)$"):
        await open_connection(url, role="tests")


async def test_an_invalid_dsn_is_refused_before_connecting() -> None:
    for use in (open_pool, open_connection):
        with pytest.raises(BadDatabaseUrl):
            await use(f"postgresql://user:{SECRET}/x@host/db", role="doors")


async def test_passwords_appear_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for url in (
        f"postgresql://user:{SECRET}@127.0.0.1:1/db",
        f"postgresql://user:{SECRET}@name.invalid/db",
        f"postgresql://user:{SECRET}@/db?host=/nowhere",
        f"postgresql://user@127.0.0.1:1/db?password={SECRET}&sslmode=require",
        f"postgresql://user:[{SECRET}]@127.0.0.1:1/db",
        f"postgresql://user:{SECRET}＠@127.0.0.1:1/db",
    ):
        async with await open_pool(url, role="doors") as pool:
            with pytest.raises(CannotConnect) as failed:
                await pool.fetchval("SELECT 1")
        assert SECRET not in str(failed.value)
    assert SECRET not in caplog.text
    assert SECRET not in repr(DatabaseSettings(url=f"postgresql://user:{SECRET}@host/db"))
