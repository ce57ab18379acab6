"""Databases whose encoding is not UTF-8: what they cannot store is unknown or invalid, and the rest works."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from admin.api.user_creation import create_user
from admin.api.user_list import list_users
from admin.app import admin_app
from proxy.grants.scope_table import ScopeTable
from sql.migrate import migrate
from sql.pool import open_connection, open_pool
from tests.database import add_workspace, on_database
from tests.integration.adminapi import BY_ADA, SETTINGS, serving

UNKNOWN_CHARACTER = "shop-\N{PILE OF POO}"


@pytest.fixture(params=["LATIN1", "EUC_JP", "SQL_ASCII"])
async def encoded(database_server: str, request: pytest.FixtureRequest) -> AsyncIterator[asyncpg.Pool]:
    """A pool for a database with this encoding, with the sites `shop` and `blog` of the workspace acme."""
    name = f"other_encoding_{request.param.lower()}"
    server = await open_connection(database_server, role="tests")
    try:
        await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await server.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{request.param}' LOCALE_PROVIDER libc LOCALE 'C'"
        )
        dsn = on_database(database_server, name)
        connection = await open_connection(dsn, role="tests")
        await migrate(connection)
        await connection.close()
        async with await open_pool(dsn, maximum=2, role="tests") as pool:
            await add_workspace(pool, "acme", "shop", "blog")
            yield pool
    finally:
        await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await server.close()


async def test_api_users_are_created_and_found_in_databases_with_other_encodings(encoded: asyncpg.Pool) -> None:
    async with encoded.acquire() as connection:
        user = await create_user(
            connection, workspace="acme", all_sites=False, sites=["shop"], name="Nightly-export", by=BY_ADA
        )
        [key] = user.keys
        for search in ("export", "ada", "shop", key.hint, key.hint[-4:], key.hint[:8], user.api_key):
            found = await list_users(connection, search=search)
            assert [one.id for one in found.items] == [user.id], search
        assert not (await list_users(connection, search="xport")).items


async def test_a_site_that_the_database_cannot_store_is_unknown_and_does_not_affect_other_lookups(
    encoded: asyncpg.Pool,
) -> None:
    scope = ScopeTable(encoded, seconds=20)
    names = ["shop", UNKNOWN_CHARACTER, "さくら-é", "blog", f"/{UNKNOWN_CHARACTER}"]
    assert set(await scope.find_sites(names)) == {"shop", "blog"}
    assert await scope.find_sites([UNKNOWN_CHARACTER]) == {}


async def test_text_that_the_database_cannot_store_is_refused_as_invalid(encoded: asyncpg.Pool) -> None:
    async with serving(admin_app(SETTINGS, encoded)) as admin:
        is_ascii = await encoded.fetchval("SELECT getdatabaseencoding() = 'SQL_ASCII'")
        body = {"workspace": "acme", "all_sites": True, "name": UNKNOWN_CHARACTER}
        status, answer, _ = await admin.request("POST", "/users", body)
        assert status == (201 if is_ascii else 422), answer
        status, answer, _ = await admin.request("GET", "/users?search=%F0%9F%92%A9")
        assert status == (200 if is_ascii else 422), answer
        assert is_ascii or "encoding" in answer["detail"]
