"""The changes that the triggers publish in the change feed, on every PostgreSQL of this machine."""

import asyncpg
import pytest

from sql.migrate import migrate
from tests.integration.feed_changes import KEY, acme, another, head, published

__all__ = ["acme"]


@pytest.fixture(scope="module")
def database_server(every_database_server: str) -> str:
    return every_database_server


# Changes of what a key may access are published, and no others.


async def test_a_new_database_has_one_row_in_the_feed(pool: asyncpg.Pool) -> None:
    assert await published(pool, 0) == [("all", None)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("INSERT INTO sitelatch.sites VALUES ('new', 'new', (SELECT id FROM sitelatch.workspaces), '')", ["site new"]),
        ("UPDATE sitelatch.sites SET display_name = 'The shop'", []),
        ("DELETE FROM sitelatch.sites WHERE id = 'docs'", ["site docs"]),
        ("DELETE FROM sitelatch.sites WHERE id = 'shop'", ["site shop", "user ada"]),
        ("INSERT INTO sitelatch.workspaces (name) VALUES ('globex')", []),
        ("UPDATE sitelatch.workspaces SET name = 'Acme'", ["all"]),
        ("UPDATE sitelatch.workspaces SET name = name", []),
        ("UPDATE sitelatch.api_users SET name = 'Ada'", []),
        ("UPDATE sitelatch.api_users SET all_sites = true", ["user ada"]),
        ("UPDATE sitelatch.api_users SET version = 7", []),
        ("UPDATE sitelatch.api_users SET disabled_at = now()", ["user ada"]),
        ("UPDATE sitelatch.api_users SET expires_at = now()", ["user ada"]),
        ("UPDATE sitelatch.api_users SET methods = '{GET}'", ["user ada"]),
        ("UPDATE sitelatch.api_users SET networks = '{10.0.0.0/8}'", ["user ada"]),
        ("UPDATE sitelatch.api_users SET requests_per_second = 5", ["user ada"]),
        ("UPDATE sitelatch.api_users SET requests_per_second = 5, burst = 9", ["user ada"]),
        ("UPDATE sitelatch.api_users SET requests_per_day = 5", ["user ada"]),
        ("DELETE FROM sitelatch.api_users", ["key 00", "user ada"]),
        ("INSERT INTO sitelatch.api_keys SELECT sha256(''), id, '' FROM sitelatch.api_users", ["key e3"]),
        ("UPDATE sitelatch.api_keys SET hint = 'x'", []),
        ("UPDATE sitelatch.api_keys SET expires_at = now()", ["key 00"]),
        ("UPDATE sitelatch.api_keys SET digest = sha256('')", ["key 00", "key e3"]),
        ("DELETE FROM sitelatch.api_keys", ["key 00"]),
        ("INSERT INTO sitelatch.api_user_sites SELECT id, 'docs' FROM sitelatch.api_users", ["user ada"]),
        ("UPDATE sitelatch.api_user_sites SET site_id = 'docs' WHERE site_id = 'shop'", ["user ada"]),
        ("DELETE FROM sitelatch.api_user_sites", ["user ada"]),
        ("UPDATE sitelatch.api_user_activity SET last_used_at = now()", []),
        ("INSERT INTO sitelatch.api_key_activity SELECT digest, now() FROM sitelatch.api_keys", []),
        ("TRUNCATE sitelatch.api_user_sites", ["all"]),
        ("TRUNCATE sitelatch.api_keys CASCADE", ["all"]),
        ("TRUNCATE sitelatch.api_users CASCADE", ["all"]),
        ("TRUNCATE sitelatch.workspaces CASCADE", ["all"]),
    ],
)
async def test_exactly_the_changes_of_access_are_published(
    pool: asyncpg.Pool, acme: str, change: str, expected: list[str]
) -> None:
    before = await head(pool)
    await pool.execute(change)
    short = {None: "", acme: "ada", KEY.hex(): "00"}
    found = [
        f"{what} {short.get(subject) or (subject or '')[:4]}".strip() for what, subject in await published(pool, before)
    ]
    assert [entry[:6] if entry.startswith("key") else entry for entry in found] == expected


async def test_enabling_a_user_publishes_its_keys(pool: asyncpg.Pool, acme: str) -> None:
    await pool.execute("UPDATE sitelatch.api_users SET disabled_at = now()")
    before = await head(pool)
    await pool.execute("UPDATE sitelatch.api_users SET disabled_at = NULL")
    assert await published(pool, before) == [("key", KEY.hex()), ("user", acme)]


async def test_repeated_changes_in_a_transaction_are_published_once(pool: asyncpg.Pool, acme: str) -> None:
    before = await head(pool)
    async with pool.acquire() as connection, connection.transaction():
        for _ in range(5):
            await connection.execute("UPDATE sitelatch.api_users SET all_sites = NOT all_sites")
            await connection.execute("DELETE FROM sitelatch.api_user_sites")
            await connection.execute(
                "INSERT INTO sitelatch.api_user_sites SELECT $1::uuid, id FROM sitelatch.sites", acme
            )
    assert await published(pool, before) == [("user", acme)]


async def test_rolled_back_changes_are_not_published(pool: asyncpg.Pool, acme: str) -> None:
    before = await head(pool)
    async with pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute("UPDATE sitelatch.api_keys SET expires_at = now()")
            part = connection.transaction()
            await part.start()
            await connection.execute("DELETE FROM sitelatch.api_user_sites")
            await part.rollback()
        whole = connection.transaction()
        await whole.start()
        await connection.execute("DELETE FROM sitelatch.api_users")
        await whole.rollback()
    assert await published(pool, before) == [("key", KEY.hex())]
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.scope_pending") == 0


async def test_changes_made_by_replication_and_restores_are_published(dsn: str, pool: asyncpg.Pool, acme: str) -> None:
    before = await head(pool)
    async with another(dsn) as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("DELETE FROM sitelatch.api_keys")
    assert await published(pool, before) == [("key", KEY.hex())]
    assert not await pool.fetch("SELECT 1 FROM pg_trigger WHERE tgname LIKE 'note%' AND tgenabled <> 'A'")


async def test_migrate_re_enables_disabled_triggers_and_publishes_everything(
    dsn: str, pool: asyncpg.Pool, acme: str
) -> None:
    """`pg_restore --data-only --disable-triggers` disables them, and enables them without ALWAYS."""
    before = await head(pool)
    await pool.execute("ALTER TABLE sitelatch.api_keys DISABLE TRIGGER ALL")
    await pool.execute("ALTER TABLE sitelatch.scope_pending DISABLE TRIGGER ALL")
    await pool.execute("DELETE FROM sitelatch.api_keys")
    await pool.execute("ALTER TABLE sitelatch.api_keys ENABLE TRIGGER ALL")
    async with another(dsn) as connection:
        await migrate(connection)
        assert await published(pool, before) == [("all", None)], "for the changes that were not published"
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(
            "INSERT INTO sitelatch.api_keys (digest, user_id, hint) VALUES ($1, $2, '')", KEY, acme
        )
        assert await published(pool, before) == [("all", None), ("key", KEY.hex())]
        await migrate(connection)
        assert await published(pool, before) == [("all", None), ("key", KEY.hex())]


async def test_changes_are_published_with_immediate_constraints(pool: asyncpg.Pool, acme: str) -> None:
    before = await head(pool)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("DELETE FROM sitelatch.api_user_sites")
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        await connection.execute("DELETE FROM sitelatch.api_keys")
    assert set(await published(pool, before)) == {("key", KEY.hex()), ("user", acme)}


async def test_writing_a_table_needs_no_privilege_on_the_feed(dsn: str, pool: asyncpg.Pool, acme: str) -> None:
    before = await head(pool)
    async with another(dsn) as connection:
        await connection.execute(
            "SELECT pg_advisory_lock(3)"
        )  # roles belong to the server, which other workers use too
        await connection.execute("DROP ROLE IF EXISTS importer")
        await connection.execute("CREATE ROLE importer")
        try:
            await connection.execute("GRANT USAGE ON SCHEMA sitelatch TO importer")
            await connection.execute("GRANT SELECT, DELETE ON sitelatch.api_keys TO importer")
            await connection.execute("SET ROLE importer")
            await connection.execute("DELETE FROM sitelatch.api_keys")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("SELECT sitelatch.note_change('all', '')")
        finally:
            await connection.execute("RESET ROLE")
            await connection.execute("DROP OWNED BY importer")
            await connection.execute("DROP ROLE importer")
    assert await published(pool, before) == [("key", KEY.hex())]
