"""The order of the change feed, concurrent writers, pruning and restores, on every PostgreSQL of this machine."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from sql.embedded.server import EmbeddedServer
from sql.migrate import migrate
from sql.queries import query
from tests.database import UNSAFE, add_user, add_workspace
from tests.integration.feed_changes import KEY, OTHER, acme, another, head, published

__all__ = ["acme"]


@pytest.fixture(scope="module")
def database_server(every_database_server: str) -> str:
    return every_database_server


@asynccontextmanager
async def stopwatch(name: str, longest: dict[str, float]) -> AsyncIterator[None]:
    """Record how long this takes, in seconds, if it is the longest time so far."""
    began = time.perf_counter()
    yield
    longest[name] = max(longest.get(name, 0), time.perf_counter() - began)


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


async def test_a_writer_idle_in_a_transaction_delays_no_other_writer(dsn: str, pool: asyncpg.Pool, acme: str) -> None:
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


@pytest.mark.faults
async def test_a_hundred_thousand_changes_delay_no_other_revocation_and_no_lookup(
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
    assert len(await published(pool, before)) == 1 + number, "they are published as one"


async def test_a_feed_row_is_pruned_a_day_after_the_next_one_was_added(pool: asyncpg.Pool, acme: str) -> None:
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


async def test_concurrent_pruning_does_not_make_the_writer_fail(dsn: str, pool: asyncpg.Pool, acme: str) -> None:
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
    [
        "workspaces",
        "sites",
        "api_users",
        "api_keys",
        "api_user_sites",
        "api_user_activity",
        "api_key_activity",
        "scope_pending",
    ],
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


async def test_a_full_notification_queue_does_not_make_a_change_fail(tmp_path_factory: pytest.TempPathFactory) -> None:
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
