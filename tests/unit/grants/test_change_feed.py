"""A replaced or reset change feed, and how much one poll reads.

tests/integration/test_change_feed.py covers the rest with PostgreSQL.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import asyncpg
import pytest

from proxy.grants.cache import GrantCache
from proxy.grants.change_feed import ChangeFeed
from proxy.grants.database_status import FeedMode
from proxy.settings import GrantSettings
from sql.queries import query
from tests.scopes import MemoryScope, VirtualLoop

Source = tuple[str, str] | None


class Connection:
    """A fake connection. `source` is the server's identifier and timeline; None if they may not be queried."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.cut = False
        self.standby = False
        self.rows = [{"standby": False, "seq": 7, "what": "all", "subject": None, "at": 5.0, "age": 1.0}]

    async def fetch(self, sql: str, /, *args: Any) -> list[dict[str, Any]]:
        if self.cut:
            raise ConnectionResetError
        if sql == query("feed_source"):
            if self._source is None:
                raise asyncpg.InsufficientPrivilegeError
            return [dict(zip(("system_identifier", "timeline"), self._source, strict=True))]
        if sql == query("feed_backend"):
            return [{"pid": 1, "standby": self.standby}]
        if sql == query("feed_head"):
            return self.rows[-1:]
        return [row for row in self.rows if row["seq"] >= args[0]][: args[1]]

    def get_server_pid(self) -> int:
        return 1

    async def add_listener(self, channel: str, wake: Callable[[], object]) -> None:
        pass

    def add_termination_listener(self, ended: Callable[[], object]) -> None:
        pass

    def terminate(self) -> None:
        pass


class Followed:
    """A running change feed that uses the next of these connections each time, and the reasons for its drops."""

    def __init__(self, *connections: Connection) -> None:
        clock = asyncio.get_running_loop().time
        self.connections = list(connections)
        self.scope = MemoryScope()
        self.dropped: list[str] = []
        self.grants = GrantCache(GrantSettings(), self.scope, on_lookup=lambda result: None, clock=clock)
        self.feed = ChangeFeed(
            self._connect,
            self.grants,
            poll_seconds=1,
            on_dropped=lambda cause, count: self.dropped.append(cause),
            on_changes=lambda changes: None,
            clock=clock,
        )
        self._running = asyncio.create_task(self.feed.run())

    async def _connect(self) -> asyncpg.Connection:
        return cast(asyncpg.Connection, self.connections.pop(0))

    async def close(self) -> None:
        self._running.cancel()
        await asyncio.wait({self._running})
        await self.grants.close()


def in_virtual_time(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())


@pytest.mark.parametrize(
    ("sources", "begun"),
    [
        ([("one", "1"), ("one", "1")], 1),
        ([("one", "1"), ("two", "1")], 2),
        ([("one", "1"), ("one", "2")], 2),
        ([None, None], 1),
        ([None, ("one", "1")], 1),
        ([("one", "1"), None, ("one", "1")], 1),
        ([("one", "1"), None, ("two", "1")], 2),
    ],
)
def test_another_server_or_timeline_drops_everything(sources: list[Source], begun: int) -> None:
    async def scenario() -> None:
        connections = [Connection(source) for source in sources]
        followed = Followed(*connections)
        for connection in connections:
            await asyncio.sleep(3)
            assert followed.grants.database.feed_mode is FeedMode.WOKEN
            connection.cut = connection is not connections[-1]
        assert not followed.connections
        await followed.close()
        assert followed.dropped == ["feed"] * begun

    in_virtual_time(scenario)


def test_connections_to_a_standby_back_off_until_the_primary_is_found() -> None:
    async def scenario() -> None:
        standbys = [Connection(None) for _ in range(20)]
        for connection in standbys:
            connection.standby = True
        followed = Followed(*standbys, Connection(None))
        await asyncio.sleep(10)
        opened = 21 - len(followed.connections)
        assert 5 <= opened <= 9
        del followed.connections[:-1]
        followed.feed.reconnect()
        await asyncio.sleep(0.01)
        assert followed.grants.database.feed_mode is FeedMode.WOKEN
        await followed.close()

    in_virtual_time(scenario)


def test_one_poll_reads_all_changes_no_matter_how_many() -> None:
    async def scenario() -> None:
        connection = Connection(None)
        followed = Followed(connection)
        await asyncio.sleep(0.5)
        connection.rows += [
            {"standby": False, "seq": 7 + number, "what": "user", "subject": f"user-{number}", "at": 6.0, "age": 1.0}
            for number in range(1, 2501)
        ]
        await asyncio.sleep(1)
        assert followed.feed.position == 2507
        await followed.close()

    in_virtual_time(scenario)


def test_a_feed_behind_the_lookups_drops_everything() -> None:
    """A lookup had seen later changes, which may no longer exist."""

    async def scenario() -> None:
        followed = Followed(Connection(None))
        await asyncio.sleep(0.5)
        followed.scope.position = 50
        await followed.grants.fetch(bytes(32))
        await asyncio.sleep(1)
        assert followed.dropped == ["feed", "feed"]
        assert followed.grants.newest_position == 0
        await followed.close()

    in_virtual_time(scenario)
