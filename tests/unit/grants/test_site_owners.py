"""The cache of site owners."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.decision.grant import Grant, SiteOwner
from proxy.grants.cache import GrantCache, ScopeUnavailable
from proxy.settings import GrantSettings
from tests.scopes import FIND_GRANT, FIND_SITES, Clock, MemoryScope, owned, until

KEY = bytes(32)


class Harness:
    """A grant cache over a scope table in memory with two workspaces."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.scope = MemoryScope()
        self.scope.sites = {"shop": "acme", "blog": "acme", "wiki": "globex"}
        self.grants = GrantCache(
            GrantSettings(lookup_seconds=30), self.scope, on_lookup=lambda result: None, clock=self.clock
        )


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    opened = Harness()
    yield opened
    opened.scope.resume()
    await opened.grants.close()


async def test_sites_are_looked_up_in_one_query(harness: Harness) -> None:
    assert harness.grants.peek_sites(("shop", "wiki")) is None
    owners = await harness.grants.fetch_sites(("shop", "wiki", "nowhere"))
    assert owners == owned({"shop": "acme", "wiki": "globex", "nowhere": None})
    assert harness.grants.peek_sites(("shop", "nowhere")) == owned({"shop": "acme", "nowhere": None})
    assert harness.scope.queried == [["shop", "wiki", "nowhere"]]
    assert harness.grants.peek_sites(()) == {}


async def test_sites_requested_during_a_query_share_the_next_one(harness: Harness) -> None:
    harness.scope.hold()
    first = asyncio.create_task(harness.grants.fetch_sites(("shop",)))
    await until(lambda: harness.scope.under_way == 1)
    others = [asyncio.create_task(harness.grants.fetch_sites(("shop", f"made-up-{number}"))) for number in range(100)]
    await asyncio.sleep(0)
    others[0].cancel()
    harness.scope.resume()
    await asyncio.gather(first, *others[1:])
    assert [len(ids) for ids in harness.scope.queried if isinstance(ids, list)] == [1, 100]


async def test_a_site_in_use_is_refreshed_in_the_background(harness: Harness) -> None:
    await harness.grants.fetch_sites(("shop",))
    harness.clock.now += 25
    harness.scope.sites["shop"] = "globex"
    assert harness.grants.peek_sites(("shop",)) == owned({"shop": "acme"})
    await until(lambda: harness.grants.peek_sites(("shop",)) == owned({"shop": "globex"}))
    assert len(harness.scope.queried) == 2


async def test_a_site_in_use_is_not_refreshed_too_early(harness: Harness) -> None:
    await harness.grants.fetch_sites(("shop",))
    for _ in range(17):
        harness.clock.now += 1
        assert harness.grants.peek_sites(("shop",)) == owned({"shop": "acme"})
        await asyncio.sleep(0)
    assert len(harness.scope.queried) == 1


async def test_made_up_sites_evict_no_real_ones_and_are_cached_only_briefly(harness: Harness) -> None:
    await harness.grants.fetch_sites(("shop",))
    await harness.grants.fetch_sites(tuple(f"made-up-{number}" for number in range(12_000)))
    assert harness.grants.peek_sites(("shop",)) == owned({"shop": "acme"})
    harness.clock.now += 5
    assert harness.grants.peek_sites(("made-up-11999",)) is None
    assert max(len(ids) for ids in harness.scope.queried if isinstance(ids, list)) == 1000


async def test_a_name_that_postgresql_cannot_store_is_unknown_without_a_query(harness: Harness) -> None:
    assert await harness.grants.fetch_sites(("a\0b", "\udcff")) == owned({"a\0b": None, "\udcff": None})
    assert harness.scope.queried == []


async def test_stale_cached_sites_are_used_while_the_database_is_failing(harness: Harness) -> None:
    await harness.grants.fetch_sites(("shop",))
    harness.scope.down = ConnectionRefusedError()
    harness.clock.now += 40
    assert harness.grants.peek_sites(("shop",)) is None
    assert await harness.grants.fetch_sites(("shop",)) == owned({"shop": "acme"})
    assert harness.grants.peek_sites(("shop",)) == owned({"shop": "acme"}), (
        "without a lookup, because the breaker is open"
    )
    with pytest.raises(ScopeUnavailable):
        await harness.grants.fetch_sites(("shop", "blog"))
    harness.clock.now += 291
    with pytest.raises(ScopeUnavailable):
        await harness.grants.fetch_sites(("shop",))
    harness.scope.down = None
    harness.clock.now += 1
    assert await harness.grants.fetch_sites(("blog",)) == owned({"blog": "acme"})


async def test_while_only_sites_cannot_be_read_keys_are_still_looked_up(harness: Harness) -> None:
    """For example while their table is locked."""
    harness.scope.add(KEY)
    await harness.grants.fetch_sites(("shop",))
    harness.scope.failing[FIND_SITES] = TimeoutError()
    harness.clock.now += 40
    with pytest.raises(ScopeUnavailable):
        await harness.grants.fetch_sites(("blog",))
    for _ in range(5):
        harness.grants.drop(KEY)
        assert isinstance(await harness.grants.fetch(KEY), Grant)
        assert harness.grants.peek_sites(("shop",)) == owned({"shop": "acme"})
    assert harness.grants.database.sites_cut_off, "the removal of a site may go unnoticed"
    del harness.scope.failing[FIND_SITES]
    harness.clock.now += 1
    assert await harness.grants.fetch_sites(("blog",)) == owned({"blog": "acme"})
    assert not harness.grants.database.sites_cut_off


async def test_while_only_keys_cannot_be_read_site_lookups_do_not_close_the_key_breaker(harness: Harness) -> None:
    harness.scope.add(KEY)
    await harness.grants.fetch(KEY)
    await harness.grants.fetch_sites(("shop",))
    harness.scope.failing[FIND_GRANT] = TimeoutError()
    harness.clock.now += 40
    assert isinstance(await harness.grants.fetch(KEY), Grant)
    assert harness.grants.peek_sites(("shop",)) == owned({"shop": "acme"}), (
        "no request waits to find out whether sites can be read"
    )
    for number in range(5):
        assert await harness.grants.fetch_sites((f"made-up-{number}",)) == {f"made-up-{number}": None}
        assert isinstance(harness.grants.peek(KEY), Grant), "without a lookup, because the breaker is open"


async def test_after_an_outage_sites_are_not_looked_up_while_the_feed_is_expected_back(harness: Harness) -> None:
    await harness.grants.fetch_sites(("shop", "blog"))
    harness.grants.feed_down()
    harness.scope.down = ConnectionRefusedError()
    harness.clock.now += 40
    assert await harness.grants.fetch_sites(("shop",)) == owned({"shop": "acme"})
    harness.scope.down = None
    harness.clock.now += 1
    assert await harness.grants.fetch_sites(("wiki",)) == owned({"wiki": "globex"})
    harness.scope.queried.clear()
    assert harness.grants.peek_sites(("shop",)) == owned({"shop": "acme"})
    assert await harness.grants.fetch_sites(("blog",)) == owned({"blog": "acme"})
    await asyncio.sleep(0)
    assert harness.scope.queried == []
    harness.clock.now += 1
    assert harness.grants.peek_sites(("shop",)) is None, "the feed did not resume, so the entry is not validated"
    harness.grants.feed_resumed(0)
    assert harness.grants.peek_sites(("shop", "blog")) == owned({"shop": "acme", "blog": "acme"})
    assert harness.scope.queried == []


async def test_a_slow_site_lookup_times_out(harness: Harness) -> None:
    grants = GrantCache(GrantSettings(lookup_seconds=0.05), harness.scope, on_lookup=lambda result: None)
    harness.scope.hold()
    with pytest.raises(ScopeUnavailable):
        await grants.fetch_sites(("shop",))
    await until(lambda: grants.database.sites_cut_off)
    await grants.close()


async def test_an_answer_from_before_a_site_changed_is_not_used_after_it(harness: Harness) -> None:
    harness.scope.hold()
    asking = asyncio.create_task(harness.grants.fetch_sites(("new", "shop")))
    await until(lambda: harness.scope.under_way == 1)
    harness.scope.sites["new"] = "acme"
    harness.grants.drop_site("new")
    harness.scope.resume()
    assert await asking == owned({"new": "acme", "shop": "acme"})
    assert harness.scope.queried == [["new", "shop"], ["new"]]


async def test_an_answer_from_before_everything_was_dropped_is_not_used_after_it(harness: Harness) -> None:
    harness.scope.hold()
    asking = asyncio.create_task(harness.grants.fetch_sites(("shop",)))
    await until(lambda: harness.scope.under_way == 1)
    harness.scope.sites["shop"] = "globex"
    harness.grants.drop_all()
    harness.scope.resume()
    assert await asking == owned({"shop": "globex"})


async def test_a_refresh_that_finds_nothing_new_changes_nothing(harness: Harness) -> None:
    await harness.grants.fetch_sites(("shop",))
    harness.clock.now += 25
    harness.grants.peek_sites(("shop",))
    await until(lambda: len(harness.scope.queried) == 2 and not harness.scope.under_way)
    harness.clock.now += 6  # more than the original TTL
    assert harness.grants.peek_sites(("shop",)) == owned({"shop": "acme"})


async def test_dropping_everything_also_drops_sites(harness: Harness) -> None:
    await harness.grants.fetch_sites(("shop", "nowhere"))
    harness.grants.drop_all()
    assert harness.grants.peek_sites(("shop",)) is None
    assert harness.grants.peek_sites(("nowhere",)) is None


async def test_a_site_is_found_by_its_folded_id(harness: Harness) -> None:
    harness.scope.sites["Docs"] = "acme"
    names = ("/docs", "Docs", "docs", "/Docs", "/shop", "/nowhere", "/")
    assert await harness.grants.fetch_sites(names) == {
        "/docs": SiteOwner("Docs", "acme"),
        "Docs": SiteOwner("Docs", "acme"),
        "docs": None,
        "/Docs": None,  # not a folded id
        "/shop": SiteOwner("shop", "acme"),
        "/nowhere": None,
        "/": None,
    }
    assert harness.scope.queried == [list(names)]
    assert harness.grants.peek_sites(("/docs",)) == {"/docs": SiteOwner("Docs", "acme")}


async def test_a_changed_site_is_dropped_under_both_of_its_names(harness: Harness) -> None:
    harness.scope.sites["Docs"] = "acme"
    await harness.grants.fetch_sites(("/docs", "Docs", "/new", "New"))
    harness.grants.drop_site("Docs")
    harness.grants.drop_site("New")
    for name in ("/docs", "Docs", "/new", "New"):
        assert harness.grants.peek_sites((name,)) is None, name


async def test_an_answer_from_before_a_site_changed_is_not_used_under_its_folded_id(harness: Harness) -> None:
    harness.scope.hold()
    asking = asyncio.create_task(harness.grants.fetch_sites(("/new", "shop")))
    await until(lambda: harness.scope.under_way == 1)
    harness.scope.sites["New"] = "acme"
    harness.grants.drop_site("New")
    harness.scope.resume()
    assert await asking == {"/new": SiteOwner("New", "acme"), "shop": SiteOwner("shop", "acme")}
    assert harness.scope.queried == [["/new", "shop"], ["/new"]]


async def test_a_refresh_that_finds_a_site_deleted_drops_its_other_name(harness: Harness) -> None:
    harness.scope.sites["Docs"] = "acme"
    await harness.grants.fetch_sites(("/docs", "Docs"))
    del harness.scope.sites["Docs"]
    harness.clock.now += 25
    harness.grants.peek_sites(("/docs",))
    await until(lambda: harness.grants.peek_sites(("/docs",)) == {"/docs": None})
    assert harness.grants.peek_sites(("Docs",)) is None


async def test_a_site_stored_with_a_wrong_folded_id_is_not_found_by_it(harness: Harness) -> None:
    """The feed names sites by id, so a change of this site would not reach an entry under that name."""
    harness.scope.other_folds["Straße"] = "straße"
    harness.scope.sites["Straße"] = "acme"
    found = await harness.grants.fetch_sites(("/straße", "/strasse", "Straße"))
    assert found == {"/straße": None, "/strasse": None, "Straße": SiteOwner("Straße", "acme")}
