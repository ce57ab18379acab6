"""The feed of changes as the doors follow it: what is forgotten when, and what a lookup on its way may still say."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import pytest
from structlog.testing import capture_logs

from proxy.decision.grant import Grant, SiteOwner
from proxy.grants.cache import UNKNOWN, Grants, ScopeUnavailable, connections_used
from proxy.grants.change_feed import ChangeFeed
from proxy.grants.changes import Changes
from proxy.grants.database_status import FeedMode
from proxy.settings import GrantSettings
from sql.pool import open_pool
from tests.database import add_user, add_workspace
from tests.scopes import Clock, owned, until
from tests.wires import Wire, wire_to

KEY = sha256(b"a key").digest()
OTHER = sha256(b"another key").digest()
SETTINGS = GrantSettings(lookup_seconds=10)


class HeldUpPool:
    """A pool whose answers can be held up: read already, not arrived yet."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._open = asyncio.Event()
        self._open.set()
        self.asked: Counter[object] = Counter()
        self.held_up = 0

    def hold(self) -> None:
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator["HeldUpPool"]:  # noqa: ASYNC109
        yield self

    async def fetch(self, query: str, /, *args: Any) -> Sequence[Any]:
        self.asked[args[0] if isinstance(args[0], bytes) else "sites"] += 1
        rows = await self._pool.fetch(query, *args)
        self.held_up += 1
        await self._open.wait()
        self.held_up -= 1
        return rows

    async def execute(self, query: str, /, *args: Any) -> str:
        raise NotImplementedError

    def terminate(self) -> None:
        """Let the next to ask have another connection, which is the same here."""


class Door:
    """Grants that follow the feed of the test's database, and what was heard of both."""

    def __init__(
        self,
        dsn: str,
        pool: asyncpg.Pool,
        *,
        poll_seconds: float = 0.05,
        connections: type[asyncpg.Connection] = asyncpg.Connection,
    ) -> None:
        self.clock = Clock()
        self.pool = HeldUpPool(pool)
        self.dropped: Counter[str] = Counter()
        self.changes: list[Changes] = []
        self.grants = Grants(SETTINGS, self.pool, on_lookup=lambda result: None, clock=self.clock)
        self.feed = ChangeFeed(
            lambda: asyncpg.connect(
                dsn,
                connection_class=connections,
                statement_cache_size=0,
                server_settings={"application_name": "sitelatch-feed"},
            ),
            self.grants,
            poll_seconds=poll_seconds,
            on_dropped=lambda cause, count: self.dropped.update({cause: count}),
            on_changes=self.changes.append,
        )
        self.task = asyncio.create_task(self.feed.run())

    async def grant(self, digest: bytes) -> Grant:
        answer = await self.grants.fetch(digest)
        assert isinstance(answer, Grant)
        return answer

    async def caught_up(self) -> None:
        """Wait until everything that was committed before is known here."""
        now = time.monotonic()
        await until(lambda: self.grants.database.feed_mode is not FeedMode.DOWN and self.feed.read_at > now)

    async def close(self) -> None:
        self.pool.let_go()
        self.task.cancel()
        await asyncio.wait({self.task})
        await self.grants.close()


@asynccontextmanager
async def following(folder: Path, dsn: str, pool: asyncpg.Pool) -> AsyncIterator[tuple[Door, Wire]]:
    """A door that has read the feed, by a wire of its own."""
    async with wire_to(dsn, folder) as wire:
        door = Door(wire.dsn, pool)
        await door.caught_up()
        yield door, wire
        await door.close()


async def cut_feeds(pool: asyncpg.Pool) -> None:
    """End the feeds' connections, as an administrator does."""
    await pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'sitelatch-feed' AND datname = current_database()"
    )


@pytest.fixture
async def doors_pool(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    opened = await open_pool(dsn, maximum=connections_used(SETTINGS), role="doors")
    yield opened
    opened.terminate()


@pytest.fixture
async def door(dsn: str, doors_pool: asyncpg.Pool, pool: asyncpg.Pool) -> AsyncIterator[Door]:
    """A door that has read the feed, and a workspace acme with the sites shop and blog."""
    await add_workspace(pool, "acme", "shop", "blog")
    opened = Door(dsn, doors_pool)
    await opened.caught_up()
    yield opened
    await opened.close()


# What changed is looked up again, and only that.


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("DELETE FROM sitelatch.api_keys WHERE digest = $1", "key"),
        ("UPDATE sitelatch.api_keys SET expires_at = now() WHERE digest = $1", "key"),
        ("DELETE FROM sitelatch.api_users WHERE id = ({user})", None),
        ("UPDATE sitelatch.api_users SET disabled_at = now() WHERE id = ({user})", "user"),
        ("DELETE FROM sitelatch.api_user_sites WHERE user_id = ({user})", "user"),
    ],
)
async def test_a_change_drops_the_grant_it_touches_and_no_other(
    door: Door, pool: asyncpg.Pool, change: str, cause: str | None
) -> None:
    await add_user(pool, "acme", "shop", digest=KEY)
    await add_user(pool, "acme", "shop", digest=OTHER)
    await door.caught_up()
    for digest in (KEY, OTHER):
        await door.grant(digest)
    door.dropped.clear()
    await pool.execute(change.format(user="SELECT user_id FROM sitelatch.api_keys WHERE digest = $1"), KEY)
    await until(lambda: door.grants.peek(KEY) is None)
    assert door.grants.peek(OTHER) is not None
    assert +door.dropped in ([{cause: 1}] if cause else [{"key": 1}, {"user": 1}])


async def test_a_notification_wakes_the_feed(dsn: str, doors_pool: asyncpg.Pool, pool: asyncpg.Pool) -> None:
    await add_workspace(pool, "acme", "shop")
    door = Door(dsn, doors_pool, poll_seconds=60)
    try:
        await until(lambda: door.grants.database.feed_mode is FeedMode.WOKEN)
        for _ in range(20):
            await add_user(pool, "acme", "shop", digest=KEY)
            await until(lambda: door.grants.peek(KEY) is None)
            await door.grant(KEY)
            await pool.execute("DELETE FROM sitelatch.api_users")
            await until(lambda: door.grants.peek(KEY) is None)
            assert await door.grants.fetch(KEY) is UNKNOWN
    finally:
        await door.close()


async def test_a_new_key_is_known_at_once_where_it_was_tried_before(door: Door, pool: asyncpg.Pool) -> None:
    assert await door.grants.fetch(KEY) is UNKNOWN
    assert await door.grants.fetch(OTHER) is UNKNOWN
    user_id = await add_user(pool, "acme", "shop", digest=KEY)
    await until(lambda: door.grants.peek(KEY) is None)
    assert (await door.grant(KEY)).user_id == user_id
    assert door.grants.peek(OTHER) is UNKNOWN


async def test_a_user_that_is_enabled_again_is_known_at_once(door: Door, pool: asyncpg.Pool) -> None:
    await add_user(pool, "acme", "shop", digest=KEY)
    await pool.execute("UPDATE sitelatch.api_users SET disabled_at = now()")
    assert await door.grants.fetch(KEY) is UNKNOWN
    await pool.execute("UPDATE sitelatch.api_users SET disabled_at = NULL")
    await door.caught_up()
    await door.grant(KEY)


async def test_a_site_that_is_added_or_removed_is_known_at_once(door: Door, pool: asyncpg.Pool) -> None:
    assert await door.grants.fetch_sites(("shop", "docs")) == owned({"shop": "acme", "docs": None})
    await pool.execute(
        "INSERT INTO sitelatch.sites SELECT 'docs', 'docs', workspace_id, '' FROM sitelatch.sites WHERE id = 'shop'"
    )
    await pool.execute("DELETE FROM sitelatch.sites WHERE id = 'shop'")
    await door.caught_up()
    assert await door.grants.fetch_sites(("shop", "docs")) == owned({"shop": None, "docs": "acme"})


async def test_a_site_named_by_its_folded_id_is_known_or_forgotten_at_once(door: Door, pool: asyncpg.Pool) -> None:
    assert await door.grants.fetch_sites(("/shop", "/docs")) == {"/shop": SiteOwner("shop", "acme"), "/docs": None}
    await pool.execute(
        "INSERT INTO sitelatch.sites SELECT 'Docs', 'docs', workspace_id, '' FROM sitelatch.sites WHERE id = 'shop'"
    )
    await pool.execute("DELETE FROM sitelatch.sites WHERE id = 'shop'")
    await door.caught_up()
    assert door.grants.peek_sites(("/shop",)) is door.grants.peek_sites(("/docs",)) is None
    assert await door.grants.fetch_sites(("/shop", "/docs")) == {"/shop": None, "/docs": SiteOwner("Docs", "acme")}
    await pool.execute("DELETE FROM sitelatch.sites WHERE id = 'Docs'")
    await door.caught_up()
    assert await door.grants.fetch_sites(("/docs",)) == {"/docs": None}


@pytest.mark.parametrize(
    "change",
    [
        "TRUNCATE sitelatch.api_keys CASCADE",
        "UPDATE sitelatch.workspaces SET name = 'Acme'",
        "TRUNCATE sitelatch.scope_changes",
    ],
)
async def test_what_cannot_be_told_one_by_one_drops_everything(door: Door, pool: asyncpg.Pool, change: str) -> None:
    await add_user(pool, "acme", "shop", digest=KEY)
    await door.grant(KEY)
    await door.grants.fetch_sites(("shop",))
    await pool.execute(change)
    await pool.execute("INSERT INTO sitelatch.sites SELECT 'x', 'x', id, '' FROM sitelatch.workspaces")
    await until(lambda: door.grants.peek(KEY) is None)
    assert door.grants.peek_sites(("shop",)) is None
    assert door.changes[-1].everything or door.changes[-2].everything


# A lookup that began before a change and ends after it.


async def asking(door: Door, what: str, pool: asyncpg.Pool) -> "asyncio.Task[Grant | object]":
    """Have the key looked up: the answer was read, and is held up on its way."""
    if what == "refresh":
        await door.grant(KEY)
        door.clock.now += 0.9 * SETTINGS.ttl_seconds
    door.pool.hold()
    if what == "refresh":
        assert door.grants.peek(KEY) is not None
        task: asyncio.Task[Grant | object] = asyncio.create_task(asyncio.sleep(0))
    else:
        task = asyncio.create_task(door.grants.fetch(KEY))
    await until(lambda: door.pool.held_up == 1)
    return task


@pytest.mark.parametrize("what", ["cold", "refresh"])
async def test_an_answer_from_before_a_delete_does_not_land_after_it(door: Door, pool: asyncpg.Pool, what: str) -> None:
    await add_user(pool, "acme", "shop", digest=KEY)
    await door.caught_up()
    task = await asking(door, what, pool)
    await pool.execute("DELETE FROM sitelatch.api_users")
    await door.caught_up()
    assert door.grants.peek(KEY) is None
    door.pool.let_go()
    answer = await task
    if what == "cold":
        assert answer is UNKNOWN
    assert await door.grants.fetch(KEY) is UNKNOWN


async def test_an_unknown_from_before_a_create_does_not_land_after_it(door: Door, pool: asyncpg.Pool) -> None:
    task = await asking(door, "cold", pool)
    user_id = await add_user(pool, "acme", "shop", digest=KEY)
    await door.caught_up()
    door.pool.let_go()
    answer = await task
    assert isinstance(answer, Grant)
    assert answer.user_id == user_id
    assert door.grants.peek(KEY) == answer


async def test_whose_a_site_was_before_it_was_removed_does_not_land_after_it(door: Door, pool: asyncpg.Pool) -> None:
    door.pool.hold()
    task = asyncio.create_task(door.grants.fetch_sites(("shop",)))
    await until(lambda: door.pool.held_up == 1)
    await pool.execute("DELETE FROM sitelatch.sites WHERE id = 'shop'")
    await door.caught_up()
    door.pool.let_go()
    assert await task == {"shop": None}


async def test_what_was_read_after_a_change_that_is_told_later_is_not_asked_for_twice(
    dsn: str, tmp_path: Path, doors_pool: asyncpg.Pool, pool: asyncpg.Pool
) -> None:
    await add_workspace(pool, "acme", "shop", "blog")
    await add_user(pool, "acme", "shop", "blog", digest=KEY)
    async with following(tmp_path, dsn, doors_pool) as (door, wire):
        wire.freeze()
        await pool.execute("DELETE FROM sitelatch.api_user_sites WHERE site_id = 'blog'")
        grant = await door.grant(KEY)
        assert grant.sites == {"shop"}
        await wire.mend()
        await until(lambda: bool(door.changes[-1].users))
        assert door.grants.peek(KEY) is grant
        assert door.pool.asked[KEY] == 1


# Many changes.


async def test_a_hundred_thousand_changes_starve_no_cold_key_and_drop_no_other(
    door: Door, pool: asyncpg.Pool, dsn: str
) -> None:
    await pool.execute(
        "WITH users AS (INSERT INTO sitelatch.api_users"
        " (workspace_id, all_sites, authorized_by_name, authorized_by_email)"
        " SELECT id, true, '', '' FROM sitelatch.workspaces, generate_series(1, 20000) RETURNING id)"
        " INSERT INTO sitelatch.api_keys SELECT sha256((id::text || key)::bytea), id, ''"
        " FROM users, generate_series(1, 5) AS key",
        timeout=300,
    )
    digests = [sha256(str(number).encode()).digest() for number in range(500)]
    for digest in digests:
        await add_user(pool, "acme", digest=digest)
    await door.caught_up()
    held, cold = digests[:100], digests[100:]
    for digest in held:
        await door.grant(digest)
    door.dropped.clear()
    done = asyncio.Event()
    longest_turn = 0.0

    async def watch_the_loop() -> None:
        nonlocal longest_turn
        while not done.is_set():
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            longest_turn = max(longest_turn, time.perf_counter() - began)

    watcher = asyncio.create_task(watch_the_loop())
    await pool.execute(
        "UPDATE sitelatch.api_keys SET expires_at = now() + interval '1 day' WHERE hint = ''", timeout=300
    )
    slowest = 0.0
    began_reading = time.perf_counter()
    caught_up = asyncio.create_task(door.caught_up())
    while cold and not caught_up.done():
        began = time.perf_counter()
        await door.grant(cold.pop())
        slowest = max(slowest, time.perf_counter() - began)
    await caught_up
    reading = time.perf_counter() - began_reading
    done.set()
    await watcher
    print(f"{reading=:.3f} {slowest=:.3f} {longest_turn=:.3f}, cold keys left {len(cold)}")  # noqa: T201 - for the record
    assert slowest < 1
    assert len(cold) < 400 - 10, "one after the other was answered while the feed was read"
    assert not +door.dropped
    assert all(door.grants.peek(digest) for digest in held)


# The feed itself goes wrong.


class Pooled(asyncpg.Connection):
    """As behind a pooler: the process that answers is not the one that the connection began with."""

    reads = 0
    """How often the feed was read over any of these."""

    def get_server_pid(self) -> int:
        return 4711

    async def fetch(self, query: str, *args: Any, **rest: Any) -> list[Any]:
        Pooled.reads += "seq >= $1" in query
        return list(await super().fetch(query, *args, **rest))


async def test_without_notifications_the_poll_finds_what_changed(
    dsn: str, doors_pool: asyncpg.Pool, pool: asyncpg.Pool
) -> None:
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    door = Door(dsn, doors_pool, poll_seconds=0.3, connections=Pooled)
    try:
        await until(lambda: door.grants.database.feed_mode is FeedMode.POLLING)
        await door.grant(KEY)
        await pool.execute("DELETE FROM sitelatch.api_users")
        before = Pooled.reads
        await until(lambda: door.grants.peek(KEY) is None)
        assert Pooled.reads - before <= 2, "one may have begun before"
    finally:
        await door.close()


async def test_notifications_that_stop_arriving_are_noticed_and_cost_a_poll(door: Door, pool: asyncpg.Pool) -> None:
    assert door.grants.database.feed_mode is FeedMode.WOKEN
    await pool.execute("INSERT INTO sitelatch.scope_changes (what, at) VALUES ('all', now() - interval '1 second')")
    await until(lambda: door.grants.database.feed_mode is FeedMode.POLLING)
    await add_user(pool, "acme", digest=KEY)
    await until(lambda: door.grants.database.feed_mode is FeedMode.WOKEN)


@pytest.mark.parametrize(
    "fault",
    [
        # Restored from an older dump, and some changes later.
        "DELETE FROM sitelatch.scope_changes WHERE seq > 1",
        # The same, and already as far as before.
        "UPDATE sitelatch.scope_changes SET at = at - interval '1 second'",
        # Pruned while this door was away.
        "DELETE FROM sitelatch.scope_changes",
    ],
    ids=["back", "another", "pruned"],
)
async def test_a_feed_that_is_another_or_does_not_reach_back_drops_everything(
    door: Door, pool: asyncpg.Pool, fault: str
) -> None:
    await add_user(pool, "acme", "shop", digest=KEY)
    await door.caught_up()
    await door.grant(KEY)
    door.dropped.clear()
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(fault)
        await connection.execute("INSERT INTO sitelatch.sites SELECT 'x', 'x', id, '' FROM sitelatch.workspaces")
    await until(lambda: door.dropped["feed"] == 1)
    await door.caught_up()
    await door.grant(KEY)
    await pool.execute("DELETE FROM sitelatch.api_users")
    await until(lambda: door.grants.peek(KEY) is None)


async def test_a_feed_that_had_nothing_to_say_for_days_goes_on_where_it_was_left(
    tmp_path: Path, dsn: str, doors_pool: asyncpg.Pool, pool: asyncpg.Pool
) -> None:
    """The first changes after a quiet weekend: the row that the doors know is old, and they have not read on yet."""
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    await add_user(pool, "acme", "shop", digest=OTHER)
    await pool.execute("UPDATE sitelatch.scope_changes SET at = at - interval '2 days'")
    async with following(tmp_path, dsn, doors_pool) as (door, wire):
        grant = await door.grant(KEY)
        await door.grant(OTHER)
        door.dropped.clear()
        await wire.cut()
        await until(lambda: door.grants.database.feed_mode is FeedMode.DOWN)
        await pool.execute("DELETE FROM sitelatch.api_keys WHERE digest = $1", OTHER)
        await pool.execute("INSERT INTO sitelatch.sites SELECT 'docs', 'docs', id, '' FROM sitelatch.workspaces")
        await wire.mend()
        await door.caught_up()
        assert +door.dropped == {"key": 1}
        assert door.grants.peek(KEY) is grant
        assert door.grants.peek(OTHER) is None


class Left(asyncpg.Connection):
    """The first one leads to an old primary from when one says what its newest change is."""

    made = 0
    newest: int | None = None

    def __init__(self, *args: Any, **rest: Any) -> None:
        super().__init__(*args, **rest)
        Left.made += 1
        self._first = Left.made == 1

    async def fetch(self, query: str, *args: Any, **rest: Any) -> list[Any]:
        if self._first and Left.newest is not None:
            query = query.replace(
                "sitelatch.scope_changes\nWHERE", f"sitelatch.scope_changes WHERE seq <= {Left.newest} AND"
            )
        return list(await super().fetch(query, *args, **rest))


async def test_a_feed_that_look_ups_are_ahead_of_is_looked_for_anew(
    dsn: str, doors_pool: asyncpg.Pool, pool: asyncpg.Pool
) -> None:
    """After a failover, where an old primary that lives on is what its connection leads to."""
    await add_workspace(pool, "acme", "shop")
    door = Door(dsn, doors_pool, connections=Left)
    try:
        await door.caught_up()
        Left.newest = await pool.fetchval("SELECT max(seq) FROM sitelatch.scope_changes")
        await add_user(pool, "acme", "shop", digest=KEY)
        await door.grant(KEY)
        await until(lambda: Changes(everything=True) in door.changes[1:])
        await pool.execute("DELETE FROM sitelatch.api_keys")
        await until(lambda: any(KEY in changes.keys for changes in door.changes))
    finally:
        await door.close()


@pytest.mark.parametrize("looked_up", ["a grant", "an unknown key", "a site"])
async def test_a_feed_that_went_back_to_where_it_was_left_drops_what_was_looked_up_since(
    tmp_path: Path, dsn: str, doors_pool: asyncpg.Pool, pool: asyncpg.Pool, looked_up: str
) -> None:
    """A dump is restored that is from when the door read the feed last; look-ups went on meanwhile."""
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=OTHER)
    async with following(tmp_path, dsn, doors_pool) as (door, wire):
        head = await pool.fetchval("SELECT max(seq) FROM sitelatch.scope_changes")
        door.changes.clear()
        await wire.cut()
        await until(lambda: door.grants.database.feed_mode is FeedMode.DOWN)
        await add_user(pool, "acme", "shop", digest=KEY)
        await pool.execute("INSERT INTO sitelatch.sites SELECT 'docs', 'docs', id, '' FROM sitelatch.workspaces")
        await pool.execute("DELETE FROM sitelatch.api_keys WHERE digest = $1", OTHER)
        if looked_up == "a grant":
            await door.grant(KEY)
        elif looked_up == "a site":
            assert await door.grants.fetch_sites(("docs",)) == owned({"docs": "acme"})
        else:
            assert await door.grants.fetch(OTHER) is UNKNOWN
        await pool.execute("DELETE FROM sitelatch.api_keys")
        await pool.execute("DELETE FROM sitelatch.sites WHERE id = 'docs'")
        await add_user(pool, "acme", "shop", digest=OTHER)
        await pool.execute("DELETE FROM sitelatch.scope_changes WHERE seq > $1", head)
        await wire.mend()
        await until(lambda: door.changes == [Changes(everything=True)])
        assert await door.grants.fetch(KEY) is UNKNOWN
        assert await door.grants.fetch_sites(("docs",)) == owned({"docs": None})
        await door.grant(OTHER)
        await door.caught_up()
        assert door.changes == [Changes(everything=True)]


async def test_an_answer_that_is_older_than_what_the_feed_has_said_does_not_land(
    dsn: str, doors_pool: asyncpg.Pool, pool: asyncpg.Pool
) -> None:
    """As from an old primary, to which some connections still lead."""
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    door = Door(dsn, doors_pool, poll_seconds=60)
    try:
        await door.caught_up()
        await pool.execute(
            "DELETE FROM sitelatch.scope_changes WHERE seq = (SELECT max(seq) FROM sitelatch.scope_changes)"
        )
        with pytest.raises(ScopeUnavailable):
            await door.grants.fetch(KEY)
        await cut_feeds(pool)  # it finds out that the feed went back, and begins anew
        await until(lambda: door.dropped.keys() >= {"feed"} and len(door.changes) == 2)
        await door.grant(KEY)
    finally:
        await door.close()


class Taciturn(asyncpg.Connection):
    """It says where the feed begins, and nothing more."""

    async def fetch(self, query: str, *args: Any, **rest: Any) -> list[Any]:
        if "seq >= $1" in query:
            raise TimeoutError
        return list(await super().fetch(query, *args, **rest))


async def test_an_answer_that_is_older_than_where_the_feed_begins_does_not_land(
    dsn: str, doors_pool: asyncpg.Pool, pool: asyncpg.Pool
) -> None:
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    door = Door(dsn, doors_pool, connections=Taciturn)
    try:
        await until(lambda: bool(door.changes))
        await pool.execute(
            "DELETE FROM sitelatch.scope_changes WHERE seq = (SELECT max(seq) FROM sitelatch.scope_changes)"
        )
        with pytest.raises(ScopeUnavailable):
            await door.grants.fetch(KEY)
    finally:
        await door.close()


class Elsewhere(asyncpg.Connection):
    """As after a failover: each connection is to another timeline of the server."""

    timelines = 0

    async def fetch(self, query: str, *args: Any, **rest: Any) -> list[Any]:
        if "pg_control_system" not in query:
            return list(await super().fetch(query, *args, **rest))
        Elsewhere.timelines += 1
        return [{"system_identifier": "7", "timeline": f"{Elsewhere.timelines:08X}"}]


async def test_another_timeline_of_the_server_drops_everything(
    dsn: str, doors_pool: asyncpg.Pool, pool: asyncpg.Pool
) -> None:
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    door = Door(dsn, doors_pool, connections=Elsewhere)
    try:
        await door.caught_up()
        await door.grant(KEY)
        await cut_feeds(pool)
        await until(lambda: door.dropped["feed"] == 1)
        assert door.grants.peek(KEY) is None
    finally:
        await door.close()


class Slow(asyncpg.Connection):
    """Its answers take a while, read already."""

    asked_at: ClassVar[list[float]] = []

    async def fetch(self, query: str, *args: Any, **rest: Any) -> list[Any]:
        if "seq >= $1" in query:
            Slow.asked_at.append(time.monotonic())
        rows = list(await super().fetch(query, *args, **rest))
        await asyncio.sleep(0.05)
        return rows


async def test_the_feed_is_known_up_to_when_it_was_asked_and_not_to_when_it_answered(
    dsn: str, doors_pool: asyncpg.Pool
) -> None:
    door = Door(dsn, doors_pool, poll_seconds=60, connections=Slow)
    try:
        await until(lambda: door.grants.database.feed_mode is not FeedMode.DOWN)
        assert door.feed.read_at <= Slow.asked_at[0]
    finally:
        await door.close()


class Standby(asyncpg.Connection):
    """As to a replica, which has the feed of its primary as it was a while ago."""

    async def fetch(self, query: str, *args: Any, **rest: Any) -> list[Any]:
        return list(await super().fetch(query.replace("pg_is_in_recovery()", "true"), *args, **rest))


async def test_the_feed_of_a_standby_is_late_so_it_counts_as_down(dsn: str, doors_pool: asyncpg.Pool) -> None:
    with capture_logs() as logs:
        door = Door(dsn, doors_pool, connections=Standby)
        try:
            await until(lambda: any("standby" in line.get("reason", "") for line in logs))
            assert door.grants.database.feed_mode is FeedMode.DOWN
        finally:
            await door.close()


class Demoted(asyncpg.Connection):
    """A standby's from when one says so."""

    standby = False

    async def fetch(self, query: str, *args: Any, **rest: Any) -> list[Any]:
        if Demoted.standby:
            query = query.replace("pg_is_in_recovery()", "true")
        return list(await super().fetch(query, *args, **rest))


async def test_while_the_feed_is_a_standbys_what_it_said_before_counts(
    dsn: str, doors_pool: asyncpg.Pool, pool: asyncpg.Pool
) -> None:
    """A standby is no other feed, but an older state of the same one: what it does not know was said nevertheless."""
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    door = Door(dsn, doors_pool, connections=Demoted)
    try:
        await door.caught_up()
        await door.grant(KEY)
        with capture_logs() as logs:
            Demoted.standby = True
            await cut_feeds(pool)
            await until(lambda: any("standby" in line.get("reason", "") for line in logs))
        newest = await pool.fetchrow(
            "DELETE FROM sitelatch.scope_changes WHERE seq = (SELECT max(seq) FROM sitelatch.scope_changes) RETURNING *"
        )
        assert newest is not None
        with pytest.raises(ScopeUnavailable):
            await door.grants.fetch(OTHER)
        await pool.execute(
            "INSERT INTO sitelatch.scope_changes OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4)", *newest
        )
        Demoted.standby = False
        await door.caught_up()
        assert door.grants.peek(KEY) is not None
        assert door.dropped["feed"] == 0
    finally:
        Demoted.standby = False
        await door.close()


async def test_an_empty_feed_tells_nothing_so_it_counts_as_down_and_keeps_what_is_known(
    door: Door, pool: asyncpg.Pool
) -> None:
    await add_user(pool, "acme", "shop", digest=KEY)
    await door.caught_up()
    await door.grant(KEY)
    await pool.execute("DELETE FROM sitelatch.scope_changes")
    await until(lambda: door.grants.database.feed_mode is FeedMode.DOWN)
    assert door.grants.peek(KEY) is not None
    await pool.execute("INSERT INTO sitelatch.sites SELECT 'x', 'x', id, '' FROM sitelatch.workspaces")
    await until(lambda: door.grants.peek(KEY) is None)


async def test_in_the_middle_of_a_restore_nothing_is_called_unknown_and_nothing_is_dropped(
    door: Door, pool: asyncpg.Pool
) -> None:
    await add_user(pool, "acme", "shop", digest=KEY)
    await door.caught_up()
    await door.grant(KEY)
    # A restore writes the rows of one table after the other, and the triggers when all are there.
    trigger = await pool.fetchval("SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'publish_changes'")
    await pool.execute("DROP TRIGGER publish_changes ON sitelatch.scope_pending")
    await pool.execute("UPDATE sitelatch.scope_changes SET at = at - interval '1 hour'")
    await until(lambda: door.grants.database.feed_mode is FeedMode.DOWN)
    with pytest.raises(ScopeUnavailable):
        await door.grants.fetch(OTHER)
    with pytest.raises(ScopeUnavailable):
        await door.grants.fetch_sites(("docs",))
    assert door.grants.peek(KEY) is not None
    await pool.execute(trigger)
    await until(lambda: door.grants.database.feed_mode is not FeedMode.DOWN)
    assert door.dropped["feed"] == 1
    assert await door.grants.fetch(OTHER) is UNKNOWN


async def test_a_feed_that_is_reached_and_cannot_be_read_vouches_for_nothing(door: Door, pool: asyncpg.Pool) -> None:
    await add_user(pool, "acme", "shop", digest=KEY)
    await door.caught_up()
    await door.grant(KEY)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE sitelatch.scope_changes")
        await until(lambda: door.grants.database.feed_mode is FeedMode.DOWN)
        assert door.grants.database.feed_up is False, "so nobody is about to tell what still holds"
        door.clock.now += SETTINGS.ttl_seconds + 1
        await asyncio.sleep(1)  # it has begun a connection anew meanwhile
        assert door.grants.peek(KEY) is None
    await until(lambda: door.grants.database.feed_mode is not FeedMode.DOWN)
    assert door.grants.database.feed_up
    assert door.grants.peek(KEY) is not None


@pytest.mark.parametrize("fault", ["cut", "frozen", "refused"])
async def test_after_an_outage_only_what_changed_in_it_is_looked_up_again(
    dsn: str, tmp_path: Path, doors_pool: asyncpg.Pool, pool: asyncpg.Pool, fault: str
) -> None:
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    await add_user(pool, "acme", "shop", digest=OTHER)
    async with following(tmp_path, dsn, doors_pool) as (door, wire):
        for digest in (KEY, OTHER):
            await door.grant(digest)
        if fault == "cut":
            wire.cut_connections()
        elif fault == "frozen":
            wire.freeze()
            await until(lambda: door.grants.database.feed_mode is FeedMode.DOWN)
        else:
            await wire.cut()
            await until(lambda: door.grants.database.feed_mode is FeedMode.DOWN)
        await pool.execute("DELETE FROM sitelatch.api_keys WHERE digest = $1", KEY)
        await wire.mend()
        await until(lambda: door.grants.peek(KEY) is None, seconds=20)
        assert door.grants.peek(OTHER) is not None
        await until(lambda: door.grants.database.feed_mode is FeedMode.WOKEN)


class Restricted(asyncpg.Connection):
    """As where only some may ask which server this is."""

    async def fetch(self, query: str, *args: Any, **rest: Any) -> list[Any]:
        if "pg_control_system" in query:
            raise asyncpg.InsufficientPrivilegeError("permission denied for function pg_control_system")
        return list(await super().fetch(query, *args, **rest))


async def test_a_feed_that_may_not_ask_which_server_it_is_follows_all_the_same(
    dsn: str, doors_pool: asyncpg.Pool, pool: asyncpg.Pool
) -> None:
    await add_workspace(pool, "acme", "shop")
    await add_user(pool, "acme", "shop", digest=KEY)
    door = Door(dsn, doors_pool, connections=Restricted)
    try:
        await door.caught_up()
        await door.grant(KEY)
        await cut_feeds(pool)
        await until(lambda: door.grants.database.feed_mode is FeedMode.DOWN)
        assert door.grants.peek(KEY) is not None
        await pool.execute("DELETE FROM sitelatch.api_keys")
        await until(lambda: door.grants.peek(KEY) is None)
    finally:
        await door.close()
