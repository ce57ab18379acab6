"""Fixtures for all acceptance tests. A module's `bench` is one process, in which each test uses its own lane."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.acceptance.harness import Bench, Lane
from tests.acceptance.wire import Wire, connect
from tests.database import temporary_database


@pytest.fixture(scope="module")
def database_url(database_server: str) -> Iterator[str]:
    """A migrated, empty database for the module."""
    with temporary_database(database_server) as url:
        yield url


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
