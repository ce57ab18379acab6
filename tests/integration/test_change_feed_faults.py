"""The change feed when notifications are missing, the feed is replaced, or the connection leads to the wrong server."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import pytest
from structlog.testing import capture_logs

from proxy.grants.cache import UNKNOWN, ScopeUnavailable
from proxy.grants.changes import Changes
from proxy.grants.database_status import FeedMode
from tests.database import add_user
from tests.integration.feed_harness import (
    DELETE_NEWEST,
    KEY,
    OTHER,
    SETTINGS,
    Harness,
    Start,
    acme,
    close_feed_connections,
    doors_pool,
    harness,
    intercepting,
    keys,
    over_a_wire,
    start,
)
from tests.scopes import owned, until

__all__ = ["acme", "doors_pool", "harness", "keys", "start"]

ADD_SITE_X = "INSERT INTO sitelatch.sites SELECT 'x', 'x', id, '' FROM sitelatch.workspaces"
ADD_DOCS = "INSERT INTO sitelatch.sites SELECT 'docs', 'docs', id, '' FROM sitelatch.workspaces"


def as_standby(query: str) -> str:
    return query.replace("pg_is_in_recovery()", "true")


# Notifications are missing.


class BehindAPooler(asyncpg.Connection):
    """A connection whose queries another process answers."""

    reads = 0
    """The number of times that the feed was read, over all connections."""

    def get_server_pid(self) -> int:
        return 4711

    async def fetch(self, query: str, *args: Any, **rest: Any) -> list[Any]:
        BehindAPooler.reads += "seq >= $1" in query
        return list(await super().fetch(query, *args, **rest))


async def test_without_notifications_polling_finds_changes(start: Start, keys: None, pool: asyncpg.Pool) -> None:
    harness = start(poll_seconds=0.3, connections=BehindAPooler)
    await harness.wait_for(FeedMode.POLLING)
    await harness.grant(KEY)
    await pool.execute("DELETE FROM sitelatch.api_users")
    before = BehindAPooler.reads
    await harness.wait_until_dropped(KEY)
    assert BehindAPooler.reads - before <= 2, "a read may have begun before the change"


async def test_missing_notifications_are_detected_and_delay_a_change_by_a_poll(
    harness: Harness, pool: asyncpg.Pool
) -> None:
    assert harness.mode is FeedMode.WOKEN
    await pool.execute("INSERT INTO sitelatch.scope_changes (what, at) VALUES ('all', now() - interval '1 second')")
    await harness.wait_for(FeedMode.POLLING)
    await add_user(pool, "acme", digest=KEY)
    await harness.wait_for(FeedMode.WOKEN)


# The feed is another one, or was reset.


@pytest.mark.parametrize(
    "fault",
    [
        # An older dump is restored, followed by some changes.
        "DELETE FROM sitelatch.scope_changes WHERE seq > 1",
        # The same, when the feed is already as long as before.
        "UPDATE sitelatch.scope_changes SET at = at - interval '1 second'",
        # The feed is pruned while this process is away.
        "DELETE FROM sitelatch.scope_changes",
    ],
    ids=["restored", "restored-as-long", "pruned"],
)
async def test_a_replaced_or_pruned_feed_drops_everything(
    harness: Harness, keys: None, pool: asyncpg.Pool, fault: str
) -> None:
    await harness.catch_up()
    await harness.grant(KEY)
    harness.dropped.clear()
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(fault)
        await connection.execute(ADD_SITE_X)
    await until(lambda: harness.dropped["feed"] == 1)
    await harness.catch_up()
    await harness.grant(KEY)
    await pool.execute("DELETE FROM sitelatch.api_users")
    await harness.wait_until_dropped(KEY)


async def test_a_feed_without_changes_for_days_is_resumed(
    tmp_path: Path, dsn: str, doors_pool: asyncpg.Pool, pool: asyncpg.Pool, keys: None
) -> None:
    """The first changes after a quiet weekend: the last row that this process has read is already old."""
    await pool.execute("UPDATE sitelatch.scope_changes SET at = at - interval '2 days'")
    async with over_a_wire(tmp_path, dsn, doors_pool) as (harness, wire):
        grant = await harness.grant(KEY)
        await harness.grant(OTHER)
        harness.dropped.clear()
        await wire.cut()
        await harness.wait_for(FeedMode.DOWN)
        await pool.execute("DELETE FROM sitelatch.api_keys WHERE digest = $1", OTHER)
        await pool.execute(ADD_DOCS)
        await wire.restore()
        await harness.catch_up()
        assert +harness.dropped == {"key": 1}
        assert harness.grants.peek(KEY) is grant
        assert harness.grants.peek(OTHER) is None


class FirstToOldPrimary(asyncpg.Connection):
    """A connection class whose first instance leads to an old primary, once the test has set its newest change."""

    made = 0
    newest: int | None = None

    def __init__(self, *args: Any, **rest: Any) -> None:
        super().__init__(*args, **rest)
        FirstToOldPrimary.made += 1
        self._first = FirstToOldPrimary.made == 1

    async def fetch(self, query: str, *args: Any, **rest: Any) -> list[Any]:
        newest = FirstToOldPrimary.newest
        if self._first and newest is not None:
            query = query.replace(
                "sitelatch.scope_changes\nWHERE", f"sitelatch.scope_changes WHERE seq <= {newest} AND"
            )
        return list(await super().fetch(query, *args, **rest))


async def test_a_feed_behind_the_lookups_reconnects(start: Start, pool: asyncpg.Pool) -> None:
    """After a failover, the feed's connection may still lead to an old primary that is alive."""
    harness = start(connections=FirstToOldPrimary)
    await harness.catch_up()
    FirstToOldPrimary.newest = await pool.fetchval("SELECT max(seq) FROM sitelatch.scope_changes")
    await add_user(pool, "acme", "shop", digest=KEY)
    await harness.grant(KEY)
    await until(lambda: Changes(everything=True) in harness.changes[1:])
    await pool.execute("DELETE FROM sitelatch.api_keys")
    await until(lambda: any(KEY in changes.keys for changes in harness.changes))


@pytest.mark.parametrize("looked_up", ["a grant", "an unknown key", "a site"])
async def test_a_feed_restored_to_the_position_last_read_drops_newer_answers(
    tmp_path: Path, dsn: str, doors_pool: asyncpg.Pool, pool: asyncpg.Pool, acme: None, looked_up: str
) -> None:
    """The restored dump is from when the feed was last read. Lookups continued in the meantime."""
    await add_user(pool, "acme", "shop", digest=OTHER)
    async with over_a_wire(tmp_path, dsn, doors_pool) as (harness, wire):
        head = await pool.fetchval("SELECT max(seq) FROM sitelatch.scope_changes")
        harness.changes.clear()
        await wire.cut()
        await harness.wait_for(FeedMode.DOWN)
        await add_user(pool, "acme", "shop", digest=KEY)
        await pool.execute(ADD_DOCS)
        await pool.execute("DELETE FROM sitelatch.api_keys WHERE digest = $1", OTHER)
        if looked_up == "a grant":
            await harness.grant(KEY)
        elif looked_up == "a site":
            assert await harness.grants.fetch_sites(("docs",)) == owned({"docs": "acme"})
        else:
            assert await harness.grants.fetch(OTHER) is UNKNOWN
        await pool.execute("DELETE FROM sitelatch.api_keys")
        await pool.execute("DELETE FROM sitelatch.sites WHERE id = 'docs'")
        await add_user(pool, "acme", "shop", digest=OTHER)
        await pool.execute("DELETE FROM sitelatch.scope_changes WHERE seq > $1", head)
        await wire.restore()
        await until(lambda: harness.changes == [Changes(everything=True)])
        assert await harness.grants.fetch(KEY) is UNKNOWN
        assert await harness.grants.fetch_sites(("docs",)) == owned({"docs": None})
        await harness.grant(OTHER)
        await harness.catch_up()
        assert harness.changes == [Changes(everything=True)]


async def test_an_answer_older_than_the_feed_is_discarded(start: Start, keys: None, pool: asyncpg.Pool) -> None:
    """Such answers come from an old primary that some connections may still lead to."""
    harness = start(poll_seconds=60)
    await harness.catch_up()
    await pool.execute(DELETE_NEWEST)
    with pytest.raises(ScopeUnavailable):
        await harness.grants.fetch(KEY)
    await close_feed_connections(pool)  # the feed finds that it was reset, and starts over
    await until(lambda: harness.dropped.keys() >= {"feed"} and len(harness.changes) == 2)
    await harness.grant(KEY)


async def test_an_answer_older_than_the_feeds_start_is_discarded(start: Start, keys: None, pool: asyncpg.Pool) -> None:
    def refuse_to_read(query: str) -> str:
        if "seq >= $1" in query:
            raise TimeoutError
        return query

    harness = start(connections=intercepting(refuse_to_read))
    await until(lambda: bool(harness.changes))
    await pool.execute(DELETE_NEWEST)
    with pytest.raises(ScopeUnavailable):
        await harness.grants.fetch(KEY)


async def test_another_timeline_drops_everything(start: Start, keys: None, pool: asyncpg.Pool) -> None:
    """Each connection leads to another timeline of the server, as after failovers."""
    timelines = 0

    def change_timeline(query: str) -> str | list[Any]:
        nonlocal timelines
        if "pg_control_system" not in query:
            return query
        timelines += 1
        return [{"system_identifier": "7", "timeline": f"{timelines:08X}"}]

    harness = start(connections=intercepting(change_timeline))
    await harness.catch_up()
    await harness.grant(KEY)
    await close_feed_connections(pool)
    await until(lambda: harness.dropped["feed"] == 1)
    assert harness.grants.peek(KEY) is None


class Slow(asyncpg.Connection):
    """A connection whose answers arrive some time after they were read."""

    asked_at: ClassVar[list[float]] = []

    async def fetch(self, query: str, *args: Any, **rest: Any) -> list[Any]:
        if "seq >= $1" in query:
            Slow.asked_at.append(time.monotonic())
        rows = list(await super().fetch(query, *args, **rest))
        await asyncio.sleep(0.05)
        return rows


async def test_the_feed_counts_as_read_as_of_the_time_of_the_query(start: Start) -> None:
    harness = start(poll_seconds=60, connections=Slow)
    await harness.wait_until_up()
    assert harness.feed.read_at <= Slow.asked_at[0]


# The server is a standby, is being restored, or does not answer.


def standby_logged(logs: list[Any]) -> Callable[[], bool]:
    return lambda: any("standby" in line.get("reason", "") for line in logs)


async def test_the_feed_of_a_standby_counts_as_down(start: Start) -> None:
    with capture_logs() as logs:
        harness = start(connections=intercepting(as_standby))
        await until(standby_logged(logs))
        assert harness.mode is FeedMode.DOWN


async def test_on_a_standby_the_changes_read_earlier_stay_valid(start: Start, keys: None, pool: asyncpg.Pool) -> None:
    """A standby has an older state of the same feed, so what the feed reported before still holds."""
    standby = False
    harness = start(connections=intercepting(lambda query: as_standby(query) if standby else query))
    await harness.catch_up()
    await harness.grant(KEY)
    with capture_logs() as logs:
        standby = True
        await close_feed_connections(pool)
        await until(standby_logged(logs))
    newest = await pool.fetchrow(f"{DELETE_NEWEST} RETURNING *")
    assert newest is not None
    with pytest.raises(ScopeUnavailable):
        await harness.grants.fetch(OTHER)
    await pool.execute("INSERT INTO sitelatch.scope_changes OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4)", *newest)
    standby = False
    await harness.catch_up()
    assert harness.grants.peek(KEY) is not None
    assert harness.dropped["feed"] == 0


async def test_a_connection_that_a_pooler_leads_to_a_standby_counts_as_down(start: Start) -> None:
    standby = False
    harness = start(connections=intercepting(lambda query: as_standby(query) if standby else query))
    await harness.catch_up()
    with capture_logs() as logs:
        standby = True
        await until(standby_logged(logs))
        assert harness.mode is FeedMode.DOWN


async def test_an_empty_feed_counts_as_down_and_drops_nothing(harness: Harness, keys: None, pool: asyncpg.Pool) -> None:
    await harness.catch_up()
    await harness.grant(KEY)
    await pool.execute("DELETE FROM sitelatch.scope_changes")
    await harness.wait_for(FeedMode.DOWN)
    assert harness.grants.peek(KEY) is not None
    await pool.execute(ADD_SITE_X)
    await harness.wait_until_dropped(KEY)


async def test_during_a_restore_nothing_is_unknown_and_nothing_is_dropped(harness: Harness, pool: asyncpg.Pool) -> None:
    await add_user(pool, "acme", "shop", digest=KEY)
    await harness.catch_up()
    await harness.grant(KEY)
    # A restore writes the rows of all tables, and then their triggers.
    trigger = await pool.fetchval("SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'publish_changes'")
    await pool.execute("DROP TRIGGER publish_changes ON sitelatch.scope_pending")
    await pool.execute("UPDATE sitelatch.scope_changes SET at = at - interval '1 hour'")
    await harness.wait_for(FeedMode.DOWN)
    with pytest.raises(ScopeUnavailable):
        await harness.grants.fetch(OTHER)
    with pytest.raises(ScopeUnavailable):
        await harness.grants.fetch_sites(("docs",))
    assert harness.grants.peek(KEY) is not None
    await pool.execute(trigger)
    await harness.wait_until_up()
    assert harness.dropped["feed"] == 1
    assert await harness.grants.fetch(OTHER) is UNKNOWN


async def test_a_feed_that_cannot_be_read_validates_no_entries(
    harness: Harness, keys: None, pool: asyncpg.Pool
) -> None:
    await harness.catch_up()
    await harness.grant(KEY)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE sitelatch.scope_changes")
        await harness.wait_for(FeedMode.DOWN)
        assert harness.grants.database.feed_up is False
        harness.clock.now += SETTINGS.ttl_seconds + 1
        await asyncio.sleep(1)  # the feed reconnects in this time
        assert harness.grants.peek(KEY) is None
    await harness.wait_until_up()
    assert harness.grants.database.feed_up
    assert harness.grants.peek(KEY) is not None


@pytest.mark.parametrize("fault", ["cut", "frozen", "refused"])
async def test_after_an_outage_only_changed_keys_are_looked_up_again(
    dsn: str, tmp_path: Path, doors_pool: asyncpg.Pool, pool: asyncpg.Pool, keys: None, fault: str
) -> None:
    async with over_a_wire(tmp_path, dsn, doors_pool) as (harness, wire):
        for digest in (KEY, OTHER):
            await harness.grant(digest)
        if fault == "cut":
            wire.cut_connections()
        elif fault == "frozen":
            wire.freeze()
            await harness.wait_for(FeedMode.DOWN)
        else:
            await wire.cut()
            await harness.wait_for(FeedMode.DOWN)
        await pool.execute("DELETE FROM sitelatch.api_keys WHERE digest = $1", KEY)
        await wire.restore()
        await harness.wait_until_dropped(KEY, seconds=20)
        assert harness.grants.peek(OTHER) is not None
        await harness.wait_for(FeedMode.WOKEN)


async def test_a_feed_works_without_the_privilege_to_identify_the_server(
    start: Start, keys: None, pool: asyncpg.Pool
) -> None:
    def refuse_to_identify(query: str) -> str:
        if "pg_control_system" in query:
            raise asyncpg.InsufficientPrivilegeError("permission denied for function pg_control_system")
        return query

    harness = start(connections=intercepting(refuse_to_identify))
    await harness.catch_up()
    await harness.grant(KEY)
    await close_feed_connections(pool)
    await harness.wait_for(FeedMode.DOWN)
    assert harness.grants.peek(KEY) is not None
    await pool.execute("DELETE FROM sitelatch.api_keys")
    await harness.wait_until_dropped(KEY)
