"""Lookups of host names, of which some are never answered."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from sql.name_lookups import Addresses, NameLookups

GOOD: Addresses = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("192.0.2.1", 80))]


class NameServer:
    """Answers names that begin with "good", refuses those that begin with "bad", and is silent about others."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.end = threading.Event()

    def __call__(self, host: str, port: int) -> Addresses:
        self.asked.append(host)
        if host.startswith("good"):
            return GOOD
        if host.startswith("late") and self.asked.count(host) > 1:
            return GOOD
        if not host.startswith("bad"):
            self.end.wait()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.fixture
def names() -> Iterator[NameServer]:
    names = NameServer()
    yield names
    names.end.set()


async def test_a_silent_name_holds_up_no_other_name(names: NameServer) -> None:
    lookups = NameLookups(names)
    silent = [asyncio.ensure_future(lookups.resolve(f"silent-{number % 40}", 80)) for number in range(200)]
    await asyncio.sleep(0)
    assert await lookups.resolve("good", 80) == GOOD
    assert not any(each.done() for each in silent)
    for each in silent:
        each.cancel()


async def test_callers_share_a_lookup(names: NameServer) -> None:
    lookups = NameLookups(names)
    callers = [asyncio.ensure_future(lookups.resolve("silent", 80)) for _ in range(50)]
    await asyncio.sleep(0)
    callers[0].cancel()
    names.end.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert names.asked == ["silent"]
    assert isinstance(results[0], asyncio.CancelledError)
    assert all(isinstance(result, socket.gaierror) for result in results[1:])


async def test_a_name_is_asked_for_once_more_if_the_answer_is_late(names: NameServer) -> None:
    """A lost packet costs seconds otherwise, and would delay everyone who shares the lookup."""
    lookups = NameLookups(names, patience_seconds=0)
    first = asyncio.ensure_future(lookups.resolve("late", 80))
    await asyncio.sleep(0)
    assert await lookups.resolve("late", 80) == GOOD
    assert await first == GOOD
    assert names.asked == ["late", "late"]


async def test_a_silent_name_occupies_few_threads(names: NameServer) -> None:
    lookups = NameLookups(names, patience_seconds=0)
    callers = [asyncio.ensure_future(lookups.resolve("silent", 80)) for _ in range(50)]
    await asyncio.sleep(0)
    names.end.set()
    with pytest.raises(socket.gaierror):
        await callers[0]
    assert len(names.asked) == 4
    await asyncio.gather(*callers, return_exceptions=True)


async def test_an_answer_is_not_kept(names: NameServer) -> None:
    lookups = NameLookups(names)
    for _ in range(2):
        assert await lookups.resolve("good", 80) == GOOD
        with pytest.raises(socket.gaierror):
            await lookups.resolve("bad", 80)
    assert sorted(names.asked) == ["bad", "bad", "good", "good"]


async def test_the_system_looks_names_up() -> None:
    assert ("127.0.0.1", 80) in [address[4] for address in await NameLookups().resolve("localhost", 80)]
    with pytest.raises(UnicodeError):
        await NameLookups().resolve("a" * 64 + ".example", 80)
