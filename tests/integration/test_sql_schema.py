"""The constraints of the tables, on every PostgreSQL version of this machine."""

import asyncpg
import pytest

from tests.database import add_user, add_workspace

ADD_SITE = "INSERT INTO sitelatch.sites (id, folded, workspace_id, display_name) VALUES ($1, $2, $3, $1)"


@pytest.fixture(scope="module")
def database_server(every_database_server: str) -> str:
    return every_database_server


async def test_unusual_site_ids_are_accepted(pool: asyncpg.Pool) -> None:
    workspace = await add_workspace(pool, "acme")
    for site in ("shop", "42", "blog.example.com", "a b", "Straße", "日本", "a'b\"c:d@e!$&()*+=~[]{}|<>^`", "x" * 255):
        await pool.execute(ADD_SITE, site, site.casefold(), workspace)


async def test_site_ids_cannot_contain_delimiters_or_control_characters(pool: asyncpg.Pool) -> None:
    workspace = await add_workspace(pool, "acme")
    for character in "/\\;,%?#\t\n\r\x01\x1f\x7f\x80\x9f":
        for site, folded in ((f"a{character}b", "ab"), ("ab", f"a{character}b")):
            with pytest.raises(asyncpg.CheckViolationError):
                await pool.execute(ADD_SITE, site, folded, workspace)


async def test_invalid_sites_are_refused(pool: asyncpg.Pool) -> None:
    workspace = await add_workspace(pool, "acme")
    for site, folded in (
        ("", ""),  # empty
        (" shop", "shop"),  # surrounding spaces
        ("shop ", "shop"),
        ("shop", "shop "),
        ("x" * 256, "x" * 256),  # too long
        ("Shop", "Shop"),  # not folded
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            await pool.execute(ADD_SITE, site, folded, workspace)


async def test_two_sites_cannot_have_the_same_folded_id(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    globex = await add_workspace(pool, "globex")
    with pytest.raises(asyncpg.UniqueViolationError) as refused:
        await pool.execute(ADD_SITE, "SHOP", "shop", globex)
    assert refused.value.constraint_name == "sites_folded_key"


async def test_a_user_cannot_get_a_site_of_another_workspace(pool: asyncpg.Pool) -> None:
    acme = await add_workspace(pool, "acme", "shop")
    globex = await add_workspace(pool, "globex", "wiki")
    user_id = await add_user(pool, "acme", "shop")
    add = "INSERT INTO sitelatch.api_user_sites (user_id, site_id, workspace_id) VALUES ($1::uuid, 'wiki', $2)"
    for workspace, constraint in (
        (None, "api_user_sites_site_workspace_fkey"),
        (acme, "api_user_sites_site_workspace_fkey"),
        (globex, "api_user_sites_user_workspace_fkey"),
    ):
        with pytest.raises(asyncpg.ForeignKeyViolationError) as refused:
            await pool.execute(add, user_id, workspace)
        assert refused.value.constraint_name == constraint


async def test_sites_and_users_cannot_change_their_workspace(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    globex = await add_workspace(pool, "globex")
    await add_user(pool, "acme")
    for change in (
        "UPDATE sitelatch.sites SET workspace_id = $1",
        "UPDATE sitelatch.sites SET id = 'other' || $1::bigint",
        "UPDATE sitelatch.api_users SET workspace_id = $1",
    ):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="cannot be changed"):
            await pool.execute(change, globex)
    assert await pool.execute("UPDATE sitelatch.sites SET display_name = 'The shop'") == "UPDATE 1"


async def test_deleting_a_site_or_user_deletes_what_belongs_to_it(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop", "blog")
    await add_user(pool, "acme", "shop", "blog", digest=bytes(32))
    await pool.execute("DELETE FROM sitelatch.sites WHERE id = 'shop'")
    assert await pool.fetchval("SELECT array_agg(site_id) FROM sitelatch.api_user_sites") == ["blog"]
    await pool.execute("DELETE FROM sitelatch.api_users")
    for table in ("api_keys", "api_user_sites", "api_user_activity"):
        assert await pool.fetchval(f"SELECT count(*) FROM sitelatch.{table}") == 0  # noqa: S608 - from the line above


async def test_a_workspace_with_sites_or_users_cannot_be_deleted(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await pool.execute("DELETE FROM sitelatch.workspaces")


async def test_a_digest_has_32_bytes_and_is_unique(pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme")
    for length in (0, 31, 33):
        with pytest.raises(asyncpg.CheckViolationError):
            await add_user(pool, "acme", digest=bytes(length))
    await add_user(pool, "acme", digest=bytes(32))
    with pytest.raises(asyncpg.UniqueViolationError):
        await add_user(pool, "acme", digest=bytes(32))


async def test_a_workspace_name_must_be_a_valid_header_value(pool: asyncpg.Pool) -> None:
    for name in ("", " acme", "acme ", "ac\nme", "acmé", "a" * 256):
        with pytest.raises(asyncpg.CheckViolationError):
            await add_workspace(pool, name)
    await add_workspace(pool, "Acme & Sons, Ltd.")
