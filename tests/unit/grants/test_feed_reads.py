"""Callers that wait for the next read of the change feed."""

import asyncio

import pytest

from proxy.grants.feed_reads import FeedReads
from tests.scopes import until


class Feed:
    """Feed reads, and how often one was requested."""

    def __init__(self) -> None:
        self.reads = FeedReads()
        self.wanted = 0
        self.reads.on_wanted = self.want

    def want(self) -> None:
        self.wanted += 1

    def call(self) -> "asyncio.Task[bool]":
        return asyncio.create_task(self.reads.next())


@pytest.fixture
async def feed() -> Feed:
    return Feed()


async def test_callers_share_a_read(feed: Feed) -> None:
    callers = [feed.call() for _ in range(100)]
    await until(lambda: feed.wanted == 1)
    feed.reads.begun()
    feed.reads.ended()
    assert await asyncio.gather(*callers) == [True] * 100
    assert feed.wanted == 1


async def test_a_read_that_began_before_the_call_does_not_count(feed: Feed) -> None:
    first = feed.call()
    await until(lambda: feed.wanted == 1)
    feed.reads.begun()
    second = feed.call()
    await asyncio.sleep(0)
    feed.reads.ended()
    assert await first
    assert not second.done()
    await until(lambda: feed.wanted == 2)
    feed.reads.begun()
    feed.reads.ended()
    assert await second


async def test_a_read_of_several_pages_counts_when_it_ends(feed: Feed) -> None:
    first = feed.call()
    await asyncio.sleep(0)
    feed.reads.begun()
    second = feed.call()
    await asyncio.sleep(0)
    feed.reads.begun()
    assert not first.done()
    feed.reads.ended()
    assert await first
    assert await second


async def test_when_the_feed_fails_all_callers_are_told(feed: Feed) -> None:
    reading = feed.call()
    await asyncio.sleep(0)
    feed.reads.begun()
    waiting = feed.call()
    await asyncio.sleep(0)
    feed.reads.failed()
    assert not await reading
    assert not await waiting


async def test_a_canceled_caller_does_not_affect_the_others(feed: Feed) -> None:
    leaving, staying = feed.call(), feed.call()
    await asyncio.sleep(0)
    feed.reads.begun()
    leaving.cancel()
    await asyncio.wait({leaving})
    feed.reads.ended()
    assert await staying
