"""Fixtures for all acceptance tests. A module's `bench` is one process, in which each test uses its own lane."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.acceptance.harness import Bench, Lane
from tests.acceptance.wire import Wire, connect
from tests.database import TEMPLATE, create_database, drop_database, run_aside


@pytest.fixture(scope="module")
def database_url(database_server: str) -> Iterator[str]:
    """A migrated, empty database for the module."""
    url = run_aside(create_database(database_server, TEMPLATE))
    yield url
    run_aside(drop_database(database_server, url))


@pytest.fixture
async def lane(bench: Bench) -> AsyncIterator[Lane]:
    """An unused route with its own upstream, which accepts connections."""
    lane = bench.lanes.next(bench.latch, bench.keys)
    async with lane.upstream:
        yield lane


@pytest.fixture
async def client(bench: Bench) -> AsyncIterator[Wire]:
    """A raw client connection to the front door."""
    async with connect(bench.latch.address) as wire:
        yield wire
