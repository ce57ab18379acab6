"""The privileges of the three roles, tested as each of them, on every PostgreSQL version of this machine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

import sql
from admin.app import admin_app
from sql.migrate import LATEST, MIGRATIONS, Migration, WrongSchemaVersion, migrate, require_latest
from sql.pool import open_connection, open_pool
from sql.queries import query
from tests.database import READ_ACTIVITY, add_user, add_workspace, as_role
from tests.integration.adminapi import SETTINGS, serving

ROLES = (Path(sql.__file__).parent / "roles.sql").read_text()


@pytest.fixture(scope="module")
def database_server(every_database_server: str) -> str:
    return every_database_server


@asynccontextmanager
async def with_roles(server_dsn: str, dsn: str) -> AsyncIterator[None]:
    """Create the roles. They belong to the server, which other workers use too, so this holds a lock."""
    server = await open_connection(server_dsn, role="tests")
    try:
        await server.execute("SELECT pg_advisory_lock(2)")
        superuser = await open_connection(dsn, role="tests")
        await superuser.execute(ROLES)
        await superuser.execute(ROLES)
        await superuser.close()
        yield
    finally:
        await server.close()


@pytest.fixture
async def owned_dsn(database_server: str, bare_dsn: str) -> str:
    """A database with the roles, migrated by the owner role."""
    async with with_roles(database_server, bare_dsn):
        owner = await open_connection(as_role(bare_dsn, "sitelatch_owner"), role="tests")
        await migrate(owner)
        await owner.close()
    return bare_dsn


async def log_in(dsn: str, role: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await open_connection(as_role(dsn, role), role="tests")
    assert await connection.fetchval("SELECT current_user") == role
    yield connection
    await connection.close()


@pytest.fixture
async def owner(owned_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    async for connection in log_in(owned_dsn, "sitelatch_owner"):
        yield connection


@pytest.fixture
async def doors(owned_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    async for connection in log_in(owned_dsn, "sitelatch_doors"):
        yield connection


@pytest.fixture
async def admin(owned_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    async for connection in log_in(owned_dsn, "sitelatch_admin"):
        yield connection


async def refused(connection: asyncpg.Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)


async def test_the_front_door_role_can_read_the_scope_and_write_activity(
    owner: asyncpg.Connection, doors: asyncpg.Connection
) -> None:
    await add_workspace(owner, "acme", "shop")
    user_id = await add_user(owner, "acme", "shop", digest=bytes(32))
    await require_latest(doors)
    (grant,) = await doors.fetch(query("find_grant"), bytes(32))
    assert (grant["whole"], grant["user_id"]) == (True, user_id)
    for name in ("shop", "/shop"):
        (site,) = await doors.fetch(query("find_sites"), [name])
        assert (site["whole"], site["id"], site["workspace"]) == (True, "shop", "acme")
    (checked,) = await doors.fetch(query("find_keys"), [bytes(32).hex(), bytes([1] * 32).hex()])
    (page,) = await doors.fetch(query("list_keys"), b"", 8, 10)
    assert (checked["existing"], page["prefixes"]) == ([bytes(32).hex()], bytes(8))
    assert await doors.fetchval(query("record_activity"), [user_id], ["1.0"], column=1) == 1
    assert await doors.fetch(READ_ACTIVITY, [user_id])
    second = bytes([1] * 32)
    await owner.execute("INSERT INTO sitelatch.api_keys (digest, user_id, hint) VALUES ($1, $2, '')", second, user_id)
    assert await doors.fetchval(query("record_activity"), [f"{user_id}/{second.hex()}"], ["1.0"])


async def test_the_front_door_role_can_follow_the_feed(owner: asyncpg.Connection, doors: asyncpg.Connection) -> None:
    await add_workspace(owner, "acme", "shop")
    (source,) = await doors.fetch(query("feed_source"))
    assert len(source["timeline"]) == 8
    (backend,) = await doors.fetch(query("feed_backend"))
    assert backend["pid"] == doors.get_server_pid()
    (head,) = await doors.fetch(query("feed_head"))
    assert len(await doors.fetch(query("read_feed"), head["seq"], 10)) == 1
    await doors.add_listener("sitelatch_scope", lambda *_: None)


async def test_the_front_door_role_has_no_other_privileges(doors: asyncpg.Connection) -> None:
    for statement in (
        "SELECT authorized_by_email FROM sitelatch.api_users",
        "SELECT name FROM sitelatch.api_users",
        "SELECT * FROM sitelatch.audit_log",
        "SELECT * FROM sitelatch.sessions",
        "SELECT * FROM sitelatch.sealed_keys",
        "SELECT * FROM sitelatch.idempotency_keys",
        "INSERT INTO sitelatch.api_keys (digest, user_id, hint) VALUES ('', gen_random_uuid(), '')",
        "UPDATE sitelatch.api_users SET all_sites = true",
        "UPDATE sitelatch.api_keys SET expires_at = NULL",
        "INSERT INTO sitelatch.api_user_sites (user_id, site_id) VALUES (gen_random_uuid(), 'shop')",
        "DELETE FROM sitelatch.api_user_activity",
        "INSERT INTO sitelatch.api_key_activity VALUES ('', now())",
        "DELETE FROM sitelatch.api_key_activity",
        "UPDATE sitelatch.api_key_activity SET digest = digest",
        "UPDATE sitelatch.api_user_activity SET user_id = user_id",
        "DO $$ BEGIN LOCK TABLE sitelatch.api_key_activity IN ACCESS EXCLUSIVE MODE; END $$",
        "DELETE FROM sitelatch.scope_changes",
        "INSERT INTO sitelatch.scope_pending (what, subject) VALUES ('all', '')",
        "SELECT sitelatch.note_change('all', '')",
        "CREATE TABLE sitelatch.own ()",
        "TRUNCATE sitelatch.api_user_activity",
    ):
        await refused(doors, statement)


async def test_the_admin_role_can_change_the_scope_and_append_to_the_audit_log(admin: asyncpg.Connection) -> None:
    await require_latest(admin)
    await add_workspace(admin, "acme", "shop", "blog")
    user_id = await add_user(admin, "acme", "shop", digest=bytes(32))
    await admin.execute(
        "INSERT INTO sitelatch.audit_log (actor_name, actor_email, actor_address, action) VALUES ('', '', '', 'made')"
    )
    assert await admin.fetchval("SELECT count(*) FROM sitelatch.audit_log") == 1
    assert await admin.fetch(READ_ACTIVITY, [user_id])
    for statement in (
        "UPDATE sitelatch.sites SET display_name = 'Shop'",
        "DELETE FROM sitelatch.api_users",
        "DELETE FROM sitelatch.sites",
        "DELETE FROM sitelatch.workspaces",
        "DELETE FROM sitelatch.idempotency_keys",
    ):
        await admin.execute(statement)


async def test_the_admin_role_has_no_other_privileges(admin: asyncpg.Connection) -> None:
    for statement in (
        "UPDATE sitelatch.audit_log SET actor_name = 'somebody else'",
        "DELETE FROM sitelatch.audit_log",
        "TRUNCATE sitelatch.audit_log",
        "INSERT INTO sitelatch.scope_changes (what) VALUES ('all')",
        "INSERT INTO sitelatch.schema_migrations VALUES (2, 'x')",
        "ALTER TABLE sitelatch.sites DISABLE TRIGGER ALL",
        "DROP TABLE sitelatch.sites",
        "CREATE TABLE sitelatch.own ()",
    ):
        await refused(admin, statement)


async def test_the_owner_role_changes_nothing_outside_the_schema(owner: asyncpg.Connection) -> None:
    await owner.execute("ALTER TABLE sitelatch.sites ADD COLUMN more text")
    for statement in ("CREATE SCHEMA other", "CREATE ROLE other", "CREATE DATABASE other"):
        await refused(owner, statement)


async def test_roles_created_after_the_tables_get_their_privileges_from_migrate(database_server: str, dsn: str) -> None:
    server = await open_connection(database_server, role="tests")
    connection = await open_connection(dsn, role="tests")
    try:
        await server.execute("SELECT pg_advisory_lock(2)")
        await connection.execute(ROLES)
        assert await migrate(connection) == []
        assert await connection.fetchval(
            "SELECT has_table_privilege('sitelatch_doors', 'sitelatch.api_keys', 'SELECT')"
        )
    finally:
        await connection.close()
        await server.close()


async def test_the_admin_api_says_that_it_needs_another_role(owned_dsn: str, owner: asyncpg.Connection) -> None:
    await add_workspace(owner, "acme", "shop")
    requests = (("GET", "/users", None), ("POST", "/users", {"workspace": "acme", "all_sites": True}))
    async with (
        await open_pool(as_role(owned_dsn, "sitelatch_doors"), role="admin") as pool,
        serving(admin_app(SETTINGS, pool)) as admin,
    ):
        for method, path, body in requests:
            status, problem, _ = await admin.request(method, path, body)
            assert (status, problem["code"]) == (503, "database_unavailable")
            assert "admin.database_url" in problem["detail"]


@pytest.mark.parametrize("role", ["sitelatch_doors", "sitelatch_admin"])
async def test_before_the_first_migration_the_other_roles_are_told_to_migrate_as_the_owner(
    database_server: str, bare_dsn: str, role: str
) -> None:
    async with with_roles(database_server, bare_dsn):
        pass
    async for connection in log_in(bare_dsn, role):
        for use in (migrate, require_latest):
            with pytest.raises(WrongSchemaVersion, match="run `sitelatch migrate` as the role that owns the schema"):
                await use(connection)


@pytest.mark.parametrize("role", ["sitelatch_doors", "sitelatch_admin"])
async def test_a_pending_migration_needs_the_owner_and_says_so(owned_dsn: str, role: str) -> None:
    pending = Migration(LATEST + 1, "pending", "CREATE TABLE sitelatch.pending ()")
    async for connection in log_in(owned_dsn, role):
        with pytest.raises(WrongSchemaVersion, match="run `sitelatch migrate` as the role that owns the schema"):
            await migrate(connection, (*MIGRATIONS, pending))
        await require_latest(connection)


async def test_a_role_that_may_not_create_the_schema_is_told_which_privilege_it_needs(
    database_server: str, bare_dsn: str
) -> None:
    async with with_roles(database_server, bare_dsn):
        superuser = await open_connection(bare_dsn, role="tests")
        await superuser.execute("DROP SCHEMA sitelatch CASCADE")
        async for connection in log_in(bare_dsn, "sitelatch_admin"):
            with pytest.raises(WrongSchemaVersion) as refused:
                await migrate(connection)
            statement = str(refused.value).partition("run ")[2]
            assert statement.startswith("GRANT CREATE ON DATABASE ")
            await superuser.execute(statement)
            assert len(await migrate(connection)) == LATEST
        await superuser.close()
