"""What every acceptance test stands on. A module's `bench` fixture is one process; each test takes a lane of it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.acceptance.harness import Bench, Lane
from tests.acceptance.wire import Wire, connect
from tests.database import TEMPLATE, create_database, drop_database, run_aside


@pytest.fixture(scope="module")
def database_url(database_server: str) -> Iterator[str]:
    """A migrated, empty database of the module's own."""
    url = run_aside(create_database(database_server, TEMPLATE))
    yield url
    run_aside(drop_database(database_server, url))


@pytest.fixture
async def lane(bench: Bench) -> AsyncIterator[Lane]:
    """A route nobody used before, its data service waiting for connections."""
    lane = bench.lanes.next(bench.latch, bench.keys)
    async with lane.upstream:
        yield lane


@pytest.fixture
async def client(bench: Bench) -> AsyncIterator[Wire]:
    """A raw client's connection to the front door."""
    async with connect(bench.latch.address) as wire:
        yield wire
