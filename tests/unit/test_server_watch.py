"""The watch over the server that a database's address leads to."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from sitelatch.server_watch import ServerWatch
from sql.connect import CannotConnect
from sql.servers import Servers
from tests.scopes import Clock


class Database:
    """An address that leads to a server, or to a pooler with several servers behind it."""

    def __init__(self) -> None:
        self.server = "one"
        self.standby = False
        self.read_only = False
        self.refuses = False
        self.connections = 0

    async def connect(self, role: str, *, may_wait: bool = False) -> "Connection":
        if self.refuses:
            raise CannotConnect("too many connections")
        self.connections += 1
        return Connection(self, self.server)


class Connection:
    """A connection that stays with its server, unless the test moves it behind a pooler."""

    def __init__(self, database: Database, server: str) -> None:
        self._database = database
        self.server = server

    async def fetch(self, query: str, /, *args: Any) -> Sequence[dict[str, Any]]:
        return [
            {
                "started": self.server,
                "standby": self._database.standby,
                "read_only": self._database.standby or self._database.read_only,
            }
        ]

    def terminate(self) -> None:
        pass


class Watched:
    """A watch over a database, and what it reported."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.database = Database()
        self.primaries: list[str] = []
        self.watch = ServerWatch(cast(Servers, self.database), on_primary=self._found, clock=self.clock)

    async def _found(self, moved: bool) -> None:
        self.primaries.append("another" if moved else "found")

    async def look(self, seconds: float = 1) -> str:
        self.clock.now += seconds
        return (await self.watch.look()).fault


@pytest.fixture
def watched() -> Watched:
    return Watched()


async def test_a_server_is_reported_once(watched: Watched) -> None:
    for _ in range(20):
        assert await watched.look() == ""
    assert watched.primaries == ["found"]
    assert watched.database.connections == 4


async def test_an_address_that_moves_is_noticed_although_the_old_connection_works(watched: Watched) -> None:
    await watched.look()
    watched.database.server = "two"
    for _ in range(6):
        await watched.look()
    assert watched.primaries == ["found", "another"]


@pytest.mark.parametrize("standby", [False, True])
async def test_a_read_only_server_is_reported_once_it_accepts_writes(watched: Watched, standby: bool) -> None:
    await watched.look()
    watched.database.standby, watched.database.read_only = standby, True
    assert "standby" in await watched.look() if standby else "read-only" in await watched.look()
    assert watched.primaries == ["found"]
    watched.database.standby = watched.database.read_only = False
    assert await watched.look() == ""
    assert watched.primaries == ["found", "found"]


async def test_a_failover_through_a_standby_is_reported_once(watched: Watched) -> None:
    await watched.look()
    watched.database.server, watched.database.standby = "two", True
    await watched.look(6)
    watched.database.server, watched.database.standby = "three", False
    await watched.look()
    assert watched.primaries == ["found", "another"]


async def test_each_check_of_a_read_only_server_opens_a_new_connection(watched: Watched) -> None:
    watched.database.standby = True
    for number in range(1, 4):
        await watched.look()
        assert watched.database.connections == number


async def test_queries_that_a_pooler_spreads_over_two_servers_are_not_a_failover(watched: Watched) -> None:
    await watched.look()
    connection = await watched.watch.connection()
    cast(Connection, connection).server = "two"
    await watched.look()
    assert watched.primaries == ["found"]


async def test_the_old_connection_is_used_while_new_ones_are_refused(watched: Watched) -> None:
    await watched.look()
    watched.database.refuses = True
    with capture_logs() as logs:
        for _ in range(20):
            assert await watched.look() == ""
    assert [log["event"] for log in logs] == ["database_refuses_connections"]
    watched.database.refuses = False
    watched.database.server = "two"
    await watched.look(6)
    assert watched.primaries == ["found", "another"]
