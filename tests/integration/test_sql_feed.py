"""Which changes the triggers publish in the change feed, and in which order, on every PostgreSQL of this machine."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from sql.embedded.server import EmbeddedServer
from sql.migrate import migrate
from sql.pool import open_connection
from sql.queries import query
from tests.database import UNSAFE, add_user, add_workspace

KEY = bytes(32)
OTHER = bytes(31) + b"\x01"


@pytest.fixture(scope="module")
def database_server(every_database_server: str) -> str:
    return every_database_server


@pytest.fixture
async def acme(pool: asyncpg.Pool) -> str:
    """The id of an API user of acme with the sites shop and blog and the key KEY."""
    await add_workspace(pool, "acme", "shop", "blog", "docs")
    return await add_user(pool, "acme", "shop", "blog", digest=KEY)


@asynccontextmanager
async def another(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await open_connection(dsn, role="tests")
    try:
        yield connection
    finally:
        connection.terminate()


@asynccontextmanager
async def stopwatch(name: str, longest: dict[str, float]) -> AsyncIterator[None]:
    """Record how long this takes, in seconds, if it is the longest time so far."""
    began = time.perf_counter()
    yield
    longest[name] = max(longest.get(name, 0), time.perf_counter() - began)


async def head(connection: asyncpg.Connection | asyncpg.Pool) -> int:
    (row,) = await connection.fetch(query("feed_head"))
    return int(row["seq"])


async def published(connection: asyncpg.Connection | asyncpg.Pool, after: int) -> list[tuple[str, str | None]]:
    """Return the changes after a position, sorted."""
    rows = await connection.fetch(query("read_feed"), after, 1_000_000)
    return sorted((row["what"], row["subject"]) for row in rows if row["seq"] > after)


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
        ("UPDATE sitelatch.api_users SET disabled_at = now()", ["user ada"]),
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
        ("TRUNCATE sitelatch.api_user_sites", ["all"]),
        ("TRUNCATE sitelatch.api_keys CASCADE", ["all"]),
        ("TRUNCATE sitelatch.api_users CASCADE", ["all"]),
        ("TRUNCATE sitelatch.workspaces CASCADE", ["all"]),
    ],
)
async def test_each_change_of_access_is_published_and_no_other(
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


async def test_changes_by_replication_and_restores_are_published(dsn: str, pool: asyncpg.Pool, acme: str) -> None:
    before = await head(pool)
    async with another(dsn) as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("DELETE FROM sitelatch.api_keys")
    assert await published(pool, before) == [("key", KEY.hex())]
    assert not await pool.fetch("SELECT 1 FROM pg_trigger WHERE tgname LIKE 'note%' AND tgenabled <> 'A'")


async def test_migrate_enables_disabled_triggers_and_publishes_everything(
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


# The order of the rows is the order in which the changes became visible.


async def test_no_change_becomes_visible_after_one_with_a_higher_number(dsn: str, pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme")
    stop = asyncio.Event()

    async def write(name: str) -> None:
        async with another(dsn) as connection:
            for number in range(40):
                async with connection.transaction():
                    await connection.execute(
                        "INSERT INTO sitelatch.sites SELECT site, site, workspaces.id, ''"
                        " FROM sitelatch.workspaces, unnest($1::text[]) AS site",
                        [f"{name}-{number}-{part}" for part in range(number % 5 + 1)],
                    )

    async def follow() -> list[int]:
        seen: list[int] = []
        async with another(dsn) as connection:
            while not stop.is_set():
                rows = await connection.fetch(query("read_feed"), (seen[-1] if seen else 0) + 1, 1000)
                seen += [row["seq"] for row in rows]
        return seen

    followers = [asyncio.create_task(follow()) for _ in range(2)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(write(name) for name in "abcd"))
        await asyncio.sleep(0.1)
        stop.set()
        everything = [row["seq"] for row in await pool.fetch("SELECT seq FROM sitelatch.scope_changes ORDER BY seq")]
        for seen in await asyncio.gather(*followers):
            assert seen == everything


async def test_a_writer_idle_in_a_transaction_delays_nobody(dsn: str, pool: asyncpg.Pool, acme: str) -> None:
    await add_user(pool, "acme", digest=OTHER)
    async with another(dsn) as idle:
        transaction = idle.transaction()
        await transaction.start()
        await idle.execute("DELETE FROM sitelatch.api_keys WHERE digest = $1", KEY)
        await idle.execute("TRUNCATE sitelatch.sessions")
        before = await head(pool)
        async with asyncio.timeout(5):
            await pool.execute("DELETE FROM sitelatch.api_keys WHERE digest = $1", OTHER)
        assert await published(pool, before) == [("key", OTHER.hex())]
        await transaction.commit()
        assert await published(pool, before) == [("key", KEY.hex()), ("key", OTHER.hex())]


async def test_writers_in_opposite_order_do_not_deadlock(dsn: str, pool: asyncpg.Pool) -> None:
    """Each writer changes one user, and then the sites of the other one."""
    await add_workspace(pool, "acme", "shop")
    one = await add_user(pool, "acme", "shop", digest=KEY)
    two = await add_user(pool, "acme", "shop", digest=OTHER)

    async def write(connection: asyncpg.Connection, first: bytes, second: str, met: asyncio.Barrier) -> None:
        async with connection.transaction():
            await connection.execute("UPDATE sitelatch.api_keys SET expires_at = now() WHERE digest = $1", first)
            await met.wait()
            await connection.execute("DELETE FROM sitelatch.api_user_sites WHERE user_id = $1::uuid", second)

    async with another(dsn) as left, another(dsn) as right:
        before = await head(pool)
        met = asyncio.Barrier(2)
        async with asyncio.timeout(10):
            await asyncio.gather(write(left, KEY, two, met), write(right, OTHER, one, met))
    assert await published(pool, before) == sorted(
        [("key", KEY.hex()), ("key", OTHER.hex()), ("user", one), ("user", two)]
    )


async def test_truncate_does_not_deadlock_with_a_commit(dsn: str, pool: asyncpg.Pool, acme: str) -> None:
    """They would wait for each other if TRUNCATE took the feed's lock immediately."""
    async with another(dsn) as emptier, another(dsn) as writer:
        emptying, writing = emptier.transaction(), writer.transaction()
        await emptying.start()
        await emptier.execute("TRUNCATE sitelatch.api_user_sites")
        await writing.start()
        await writer.execute("UPDATE sitelatch.api_users SET all_sites = true")
        after = asyncio.create_task(emptier.execute("UPDATE sitelatch.api_users SET disabled_at = now()"))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            await writing.commit()
            await after
            await emptying.commit()


async def test_a_hundred_thousand_changes_delay_no_other_revoke_and_no_lookup(
    dsn: str, pool: asyncpg.Pool, acme: str
) -> None:
    await pool.execute(
        "WITH users AS (INSERT INTO sitelatch.api_users"
        " (workspace_id, all_sites, authorized_by_name, authorized_by_email)"
        " SELECT id, true, '', '' FROM sitelatch.workspaces, generate_series(1, 20000) RETURNING id)"
        " INSERT INTO sitelatch.api_keys SELECT sha256((id::text || key)::bytea), id, ''"
        " FROM users, generate_series(1, 5) AS key",
        timeout=300,
    )
    before = await head(pool)
    waits: dict[str, float] = {}
    async with another(dsn) as crowd, another(dsn) as single:
        await crowd.execute("BEGIN")
        await crowd.execute("UPDATE sitelatch.api_keys SET expires_at = now() WHERE digest <> $1", KEY, timeout=300)
        commit = asyncio.create_task(crowd.execute("COMMIT", timeout=300))
        number = 0
        while not commit.done():
            async with stopwatch("lookup", waits):
                (grant,) = await single.fetch(query("find_grant"), KEY)
                assert grant["user_id"]
            async with stopwatch("revoke", waits):
                await single.execute(
                    "UPDATE sitelatch.api_keys SET expires_at = clock_timestamp() WHERE digest = $1", KEY
                )
            number += 1
            await asyncio.sleep(0.005)
        await commit
    print(f"longest waits in seconds during 100,000 changes: {waits}")  # noqa: T201 - for the record
    assert number > 10, "lookups and revokes during the commit"
    assert waits["revoke"] < 3
    assert waits["lookup"] < 1
    assert len(await published(pool, before)) == 100_000 + number


# Pruning, and a full notification queue.


async def test_a_row_is_pruned_a_day_after_the_next_one_was_added(pool: asyncpg.Pool, acme: str) -> None:
    await pool.execute("UPDATE sitelatch.scope_changes SET at = now() - interval '25 hours'")
    await pool.execute(
        "INSERT INTO sitelatch.scope_changes (what, at)"
        " SELECT 'all', now() - interval '25 hours' FROM generate_series(1, 250)"
    )
    newest = await head(pool)
    old = await pool.fetchval("SELECT count(*) FROM sitelatch.scope_changes")
    for new in range(1, 5):
        await pool.execute("UPDATE sitelatch.api_keys SET expires_at = clock_timestamp()")
        old = max(1, old - 102)
        assert await pool.fetchval("SELECT count(*) FROM sitelatch.scope_changes") == old + new
    assert await published(pool, newest) == [("key", KEY.hex())] * 4
    assert await pool.fetchval("SELECT min(seq) FROM sitelatch.scope_changes") == newest
    last = await head(pool)
    await pool.execute("UPDATE sitelatch.scope_changes SET at = at - interval '25 hours'")
    await pool.execute("UPDATE sitelatch.api_keys SET expires_at = clock_timestamp()")
    assert await pool.fetchval("SELECT min(seq) FROM sitelatch.scope_changes") == last


async def test_pruning_leaves_no_gap_even_if_the_clock_was_wrong(pool: asyncpg.Pool, acme: str) -> None:
    """A reader positioned before a gap would continue after it, and miss the changes in it."""
    await pool.execute("DELETE FROM sitelatch.scope_changes")
    hours = [25, 23, 25, 25]  # the clock was fast for a while
    for ago in hours:
        await pool.execute(
            "INSERT INTO sitelatch.scope_changes (what, at) VALUES ('all', now() - make_interval(hours => $1))", ago
        )
    newest = await head(pool)
    await pool.execute("UPDATE sitelatch.api_keys SET expires_at = clock_timestamp()")
    left = [row["seq"] for row in await pool.fetch("SELECT seq FROM sitelatch.scope_changes ORDER BY seq")]
    assert left == [newest, newest + 1]


async def test_concurrent_pruning_does_not_fail_the_writer(dsn: str, pool: asyncpg.Pool, acme: str) -> None:
    """The database's default isolation level may be REPEATABLE READ."""
    await pool.execute("UPDATE sitelatch.scope_changes SET at = now() - interval '25 hours'")
    await pool.execute("INSERT INTO sitelatch.scope_changes (what, at) VALUES ('all', now() - interval '25 hours')")
    before = await head(pool)
    async with another(dsn) as connection, connection.transaction(isolation="repeatable_read"):
        await connection.execute("DELETE FROM sitelatch.api_user_sites WHERE site_id = 'blog'")
        await pool.execute("DELETE FROM sitelatch.sites WHERE id = 'docs'")
    assert await published(pool, before) == [("site", "docs"), ("user", acme)]
    assert await pool.fetchval("SELECT min(seq) FROM sitelatch.scope_changes") == before


@pytest.mark.parametrize(
    "table",
    ["workspaces", "sites", "api_users", "api_keys", "api_user_sites", "api_user_activity", "scope_pending"],
)
async def test_the_scope_is_incomplete_while_a_table_has_no_triggers(pool: asyncpg.Pool, table: str) -> None:
    assert await pool.fetchval("SELECT sitelatch.is_whole()")
    await pool.execute(
        f"""
        DO $$
        DECLARE made record;
        BEGIN
            FOR made IN SELECT conrelid::regclass AS at, conname FROM pg_constraint
                WHERE contype = 'f' AND 'sitelatch.{table}'::regclass IN (conrelid, confrelid)
            LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', made.at, made.conname); END LOOP;
            FOR made IN SELECT tgname FROM pg_trigger
                WHERE NOT tgisinternal AND tgrelid = 'sitelatch.{table}'::regclass
            LOOP EXECUTE format('DROP TRIGGER %I ON sitelatch.{table}', made.tgname); END LOOP;
        END $$
        """  # noqa: S608 - the table is one of ours
    )
    assert not await pool.fetchval("SELECT sitelatch.is_whole()")


async def test_a_full_notification_queue_does_not_fail_a_change(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("queue")
    with contextlib.closing(EmbeddedServer.open(home, {**UNSAFE, "max_notify_queue_pages": "64"})) as server:
        async with another(server.dsn) as listener, another(server.dsn) as writer:
            await migrate(writer)
            await add_workspace(writer, "acme", "shop")
            await listener.execute("LISTEN elsewhere")
            # A listener that is idle in a transaction keeps the queue from emptying.
            await listener.execute("BEGIN")
            fill = "SELECT pg_notify('elsewhere', repeat(i::text, 3000)) FROM generate_series(1, 9) AS i"
            with contextlib.suppress(asyncpg.ProgramLimitExceededError):
                while True:
                    await writer.execute(fill)
            before = await head(writer)
            await writer.execute("DELETE FROM sitelatch.sites WHERE id = 'shop'")
            assert await published(writer, before) == [("site", "shop")]
