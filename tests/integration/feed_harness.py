"""A grant cache that follows the change feed of a test's database, and connections that can delay, change or cut it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from proxy.decision.grant import Grant
from proxy.grants.cache import GrantCache, connections_used
from proxy.grants.change_feed import ChangeFeed
from proxy.grants.changes import Changes
from proxy.grants.database_status import FeedMode
from proxy.grants.token_bucket import TokenBuckets
from proxy.settings import GrantSettings
from sql.pool import open_pool
from tests.database import add_user, add_workspace
from tests.scopes import Clock, until
from tests.wires import Wire, wire_to

KEY = sha256(b"a key").digest()
OTHER = sha256(b"another key").digest()
SETTINGS = GrantSettings(lookup_seconds=10)

DELETE_NEWEST = "DELETE FROM sitelatch.scope_changes WHERE seq = (SELECT max(seq) FROM sitelatch.scope_changes)"


class DelayedPool:
    """A pool that can hold answers back after they were read."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._open = asyncio.Event()
        self._open.set()
        self.queries: Counter[object] = Counter()
        """How often each key was looked up, and all other queries."""
        self.held_back = 0

    def hold(self) -> None:
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator["DelayedPool"]:  # noqa: ASYNC109
        yield self

    async def fetch(self, query: str, /, *args: Any) -> Sequence[Any]:
        self.queries[args[0] if isinstance(args[0], bytes) else "sites"] += 1
        rows = await self._pool.fetch(query, *args)
        self.held_back += 1
        await self._open.wait()
        self.held_back -= 1
        return rows

    async def execute(self, query: str, /, *args: Any) -> str:
        raise NotImplementedError

    def terminate(self) -> None:
        """Do nothing: every connection is this object."""


class Harness:
    """A grant cache and its change feed, with their callbacks recorded."""

    def __init__(
        self,
        dsn: str,
        pool: asyncpg.Pool,
        *,
        poll_seconds: float = 0.05,
        connections: type[asyncpg.Connection] = asyncpg.Connection,
        budget: TokenBuckets | None = None,
    ) -> None:
        self.clock = Clock()
        self.pool = DelayedPool(pool)
        self.dropped: Counter[str] = Counter()
        self.changes: list[Changes] = []
        self.lookups: Counter[str] = Counter()
        self.grants = GrantCache(
            SETTINGS,
            self.pool,
            on_lookup=lambda result: self.lookups.update([result]),
            budget=budget,
            clock=self.clock,
        )
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
        self._task = asyncio.create_task(self.feed.run())

    @property
    def mode(self) -> FeedMode:
        return self.grants.database.feed_mode

    async def wait_for(self, mode: FeedMode) -> None:
        await until(lambda: self.mode is mode)

    async def wait_until_up(self) -> None:
        await until(lambda: self.mode is not FeedMode.DOWN)

    async def grant(self, digest: bytes) -> Grant:
        answer = await self.grants.fetch(digest)
        assert isinstance(answer, Grant)
        return answer

    async def catch_up(self) -> None:
        """Wait until the feed has read everything that was committed before this call."""
        now = time.monotonic()
        await until(lambda: self.mode is not FeedMode.DOWN and self.feed.read_at > now)

    async def wait_until_dropped(self, digest: bytes, seconds: float = 10) -> None:
        await until(lambda: self.grants.peek(digest) is None, seconds)

    async def close(self) -> None:
        self.pool.resume()
        self._task.cancel()
        await asyncio.wait({self._task})
        await self.grants.close()


Start = Callable[..., Harness]


@pytest.fixture
async def doors_pool(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    opened = await open_pool(dsn, maximum=connections_used(SETTINGS), role="doors")
    yield opened
    opened.terminate()


@pytest.fixture
async def acme(pool: asyncpg.Pool) -> None:
    """A workspace acme with the sites shop and blog."""
    await add_workspace(pool, "acme", "shop", "blog")


@pytest.fixture
async def keys(pool: asyncpg.Pool, acme: None) -> None:
    """KEY and OTHER, each of its own user of acme with the site shop."""
    for digest in (KEY, OTHER):
        await add_user(pool, "acme", "shop", digest=digest)


@pytest.fixture
async def start(dsn: str, doors_pool: asyncpg.Pool, acme: None) -> AsyncIterator[Start]:
    """A function that starts a harness with these options, to be closed after the test."""
    opened: list[Harness] = []

    def start(**options: Any) -> Harness:
        opened.append(Harness(dsn, doors_pool, **options))
        return opened[-1]

    yield start
    for each in opened:
        await each.close()


@pytest.fixture
async def harness(start: Start) -> Harness:
    """A harness that has read the feed."""
    started = start()
    await started.catch_up()
    return started


@asynccontextmanager
async def over_a_wire(folder: Path, dsn: str, pool: asyncpg.Pool) -> AsyncIterator[tuple[Harness, Wire]]:
    """A harness that has read the feed, over a connection that can be cut."""
    async with wire_to(dsn, folder) as wire:
        started = Harness(wire.dsn, pool)
        await started.catch_up()
        yield started, wire
        await started.close()


async def close_feed_connections(pool: asyncpg.Pool) -> None:
    """Close the feed's connections, as an administrator would."""
    await pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'sitelatch-feed' AND datname = current_database()"
    )


def intercepting(on_fetch: Callable[[str], str | list[Any]]) -> type[asyncpg.Connection]:
    """Return a connection class that passes each query to `on_fetch`, which returns another query or the rows."""

    class Intercepting(asyncpg.Connection):
        async def fetch(self, query: str, *args: Any, **rest: Any) -> list[Any]:
            result = on_fetch(query)
            return result if isinstance(result, list) else list(await super().fetch(result, *args, **rest))

    return Intercepting
