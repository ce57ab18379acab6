"""The filter of all keys, over a scope table in memory. tests/integration/test_key_filter.py covers the rest."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256

import pytest
from structlog.testing import capture_logs

from proxy.grants.database_status import DatabaseStatus
from proxy.grants.key_filter import KeyFilter
from proxy.grants.scope_table import ScopeTable
from tests.scopes import Clock, MemoryScope, VirtualLoop, until


def key(number: int) -> bytes:
    return sha256(str(number).encode()).digest()


class Filtered:
    """A filter whose feed is up, over a scope table in memory."""

    def __init__(self, keys: int = 0) -> None:
        self.clock = Clock()
        self.scope = MemoryScope()
        for number in range(keys):
            self.scope.add(key(number))
        self.table = ScopeTable(self.scope, 30)
        self.database = DatabaseStatus(self.clock)
        self.database.feed_up = True
        self.filter = KeyFilter(self.table, self.database, self.clock)

    async def load(self) -> None:
        self.filter.load()
        await until(lambda: self.filter.idle)


@pytest.fixture
async def filtered() -> AsyncIterator[Filtered]:
    made = Filtered(100)
    yield made
    made.scope.resume()
    await made.filter.close()


async def test_a_loaded_filter_contains_exactly_the_keys_that_exist(filtered: Filtered) -> None:
    assert not filtered.filter.usable
    await filtered.load()
    assert filtered.filter.usable
    assert len(filtered.filter) == 100
    assert all(key(number) in filtered.filter for number in range(100))
    assert not any(key(number) in filtered.filter for number in range(100, 10_000))


@pytest.mark.parametrize("count", [0, 1, 4_999, 5_000, 5_001, 10_000])
async def test_every_page_is_loaded(count: int) -> None:
    filtered = Filtered(count)
    await filtered.load()
    assert len(filtered.filter) == count
    assert all(key(number) in filtered.filter for number in range(count))
    assert key(count) not in filtered.filter


async def test_keys_with_the_same_prefix_and_extreme_digests_are_loaded() -> None:
    filtered = Filtered()
    digests = [bytes(32), bytes(31) + b"\1", b"\xff" * 32, b"\xff" * 31 + b"\xfe", b"\x80" + bytes(31)]
    for digest in digests:
        filtered.scope.add(digest)
    await filtered.load()
    assert all(digest in filtered.filter for digest in digests)
    assert b"\x7f" + b"\xff" * 31 not in filtered.filter


async def test_keys_that_are_reported_while_pages_are_read_are_contained(filtered: Filtered) -> None:
    filtered.scope.hold()
    filtered.filter.load()
    filtered.filter.add(key(1_000))  # before the first page is asked for
    await until(lambda: filtered.scope.under_way == 1)
    filtered.filter.add(key(1_001))
    filtered.scope.resume()
    await until(lambda: filtered.filter.usable)
    filtered.filter.add(key(1_002))
    assert all(key(number) in filtered.filter for number in (1_000, 1_001, 1_002))


async def test_a_filter_that_is_dropped_while_it_is_loaded_is_loaded_again(filtered: Filtered) -> None:
    filtered.scope.hold()
    filtered.filter.load()
    await until(lambda: filtered.scope.under_way == 1)
    filtered.scope.add(key(1_000))  # after the first page was read
    filtered.filter.drop()
    filtered.scope.resume()
    await until(lambda: filtered.filter.usable)
    assert len(filtered.filter) == 101
    assert key(1_000) in filtered.filter


async def test_a_dropped_filter_is_not_usable_and_is_loaded_when_it_is_needed(filtered: Filtered) -> None:
    await filtered.load()
    filtered.filter.drop()
    assert not filtered.filter.usable
    assert len(filtered.filter) == 0
    filtered.filter.add(key(1_000))  # not remembered, because the next load includes it
    await filtered.load()
    assert filtered.filter.usable
    assert key(1_000) not in filtered.filter


async def test_the_filter_is_kept_but_not_used_while_the_feed_is_away(filtered: Filtered) -> None:
    await filtered.load()
    pages = len(filtered.scope.queried)
    filtered.database.feed_up = False
    assert not filtered.filter.usable
    await filtered.load()
    assert len(filtered.scope.queried) == pages
    filtered.filter.add(key(1_000))  # when the feed is resumed
    filtered.database.feed_up = True
    assert filtered.filter.usable
    assert key(1_000) in filtered.filter


def test_a_page_that_fails_is_read_again_and_logged_once() -> None:
    async def scenario() -> None:
        filtered = Filtered(12_000)
        filtered.database.feed_up = None
        filtered.scope.failures = [OSError("gone"), TimeoutError(), OSError("gone")]
        filtered.filter.load()
        await asyncio.sleep(0.5)
        assert filtered.scope.queried == [], "the feed has not been read yet"
        filtered.database.feed_up = True
        await asyncio.sleep(10)
        assert len(filtered.filter) == 12_000

    with capture_logs() as lines, asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario())
    assert [line["event"] for line in lines] == ["key_filter_not_loaded", "key_filter_loaded"]


async def test_a_page_that_is_older_than_the_feed_is_not_used() -> None:
    filtered = Filtered(10)
    filtered.table.feed_position = 5
    filtered.scope.position = 4
    filtered.filter.load()
    await until(lambda: len(filtered.scope.queried) > 0)
    await asyncio.sleep(0.01)
    assert not filtered.filter.usable
    await filtered.filter.close()


async def test_an_old_filter_is_loaded_again(filtered: Filtered) -> None:
    await filtered.load()
    filtered.scope.add(key(1_000))  # not reported by the feed
    filtered.clock.now += 600
    assert not filtered.filter.usable
    await filtered.load()
    assert key(1_000) in filtered.filter


async def test_a_key_that_is_missing_although_the_feed_was_read_drops_the_filter(filtered: Filtered) -> None:
    await filtered.load()
    filtered.table.feed_position = 7
    filtered.filter.expect(key(1_000), 8)
    assert filtered.filter.usable, "the feed may still report the key"
    filtered.filter.expect(key(5), 7)
    assert filtered.filter.usable
    with capture_logs() as lines:
        filtered.filter.expect(key(1_000), 7)
    assert not filtered.filter.usable
    assert [line["event"] for line in lines] == ["key_filter_incomplete"]


async def test_after_very_many_changes_the_filter_is_loaded_again(filtered: Filtered) -> None:
    await filtered.load()
    for number in range(1_000, 101_000):
        filtered.filter.add(number.to_bytes(32, "little"))
    assert filtered.filter.usable
    assert len(filtered.filter) == 100_100
    filtered.filter.add(key(1_000))
    assert not filtered.filter.usable
