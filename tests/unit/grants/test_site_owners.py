"""Whose each site is, as remembered."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.decision.grant import Grant, SiteOwner
from proxy.grants.cache import Grants, ScopeUnavailable
from proxy.settings import GrantSettings
from tests.scopes import FIND_GRANT, FIND_SITES, Clock, MemoryScope, owned, until

KEY = bytes(32)


class Door:
    """Grants over a scope table in memory with two workspaces."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.scope = MemoryScope()
        self.scope.sites = {"shop": "acme", "blog": "acme", "wiki": "globex"}
        self.grants = Grants(
            GrantSettings(lookup_seconds=30), self.scope, on_lookup=lambda result: None, clock=self.clock
        )


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    opened = Door()
    yield opened
    opened.scope.let_go()
    await opened.grants.close()


async def test_sites_are_asked_for_once_all_together(door: Door) -> None:
    assert door.grants.peek_sites(("shop", "wiki")) is None
    owners = await door.grants.fetch_sites(("shop", "wiki", "nowhere"))
    assert owners == owned({"shop": "acme", "wiki": "globex", "nowhere": None})
    assert door.grants.peek_sites(("shop", "nowhere")) == owned({"shop": "acme", "nowhere": None})
    assert door.scope.asked == [["shop", "wiki", "nowhere"]]
    assert door.grants.peek_sites(()) == {}


async def test_what_many_requests_want_meanwhile_is_one_query(door: Door) -> None:
    door.scope.hold()
    first = asyncio.create_task(door.grants.fetch_sites(("shop",)))
    await until(lambda: door.scope.under_way == 1)
    others = [asyncio.create_task(door.grants.fetch_sites(("shop", f"made-up-{number}"))) for number in range(100)]
    await asyncio.sleep(0)
    others[0].cancel()
    door.scope.let_go()
    await asyncio.gather(first, *others[1:])
    assert [len(asked) for asked in door.scope.asked if isinstance(asked, list)] == [1, 100]


async def test_a_used_site_is_refreshed_in_the_background(door: Door) -> None:
    await door.grants.fetch_sites(("shop",))
    door.clock.now += 25
    generation = door.grants.generation
    door.scope.sites["shop"] = "globex"
    assert door.grants.peek_sites(("shop",)) == owned({"shop": "acme"})
    await until(lambda: door.grants.peek_sites(("shop",)) == owned({"shop": "globex"}))
    assert door.grants.generation > generation
    assert len(door.scope.asked) == 2


async def test_a_used_site_is_not_asked_for_again_before_its_time(door: Door) -> None:
    await door.grants.fetch_sites(("shop",))
    for _ in range(17):
        door.clock.now += 1
        assert door.grants.peek_sites(("shop",)) == owned({"shop": "acme"})
        await asyncio.sleep(0)
    assert len(door.scope.asked) == 1


async def test_made_up_sites_push_out_no_real_one_and_are_asked_for_again_soon(door: Door) -> None:
    await door.grants.fetch_sites(("shop",))
    await door.grants.fetch_sites(tuple(f"made-up-{number}" for number in range(12_000)))
    assert door.grants.peek_sites(("shop",)) == owned({"shop": "acme"})
    door.clock.now += 5
    assert door.grants.peek_sites(("made-up-11999",)) is None
    assert max(len(asked) for asked in door.scope.asked if isinstance(asked, list)) == 1000


async def test_a_name_that_no_database_can_hold_is_nobodys_and_not_asked_for(door: Door) -> None:
    assert await door.grants.fetch_sites(("a\0b", "\udcff")) == owned({"a\0b": None, "\udcff": None})
    assert door.scope.asked == []


async def test_while_the_database_fails_held_sites_are_served_and_others_unavailable(door: Door) -> None:
    await door.grants.fetch_sites(("shop",))
    door.scope.down = ConnectionRefusedError()
    door.clock.now += 40
    assert door.grants.peek_sites(("shop",)) is None
    assert await door.grants.fetch_sites(("shop",)) == owned({"shop": "acme"})
    assert door.grants.peek_sites(("shop",)) == owned({"shop": "acme"}), "at once, now that it is known to be down"
    with pytest.raises(ScopeUnavailable):
        await door.grants.fetch_sites(("shop", "blog"))
    door.clock.now += 291
    with pytest.raises(ScopeUnavailable):
        await door.grants.fetch_sites(("shop",))
    door.scope.down = None
    door.clock.now += 1
    assert await door.grants.fetch_sites(("blog",)) == owned({"blog": "acme"})


async def test_where_only_sites_cannot_be_read_keys_can_and_known_sites_are_used_at_once(door: Door) -> None:
    """As while their table is locked."""
    door.scope.add(KEY)
    await door.grants.fetch_sites(("shop",))
    door.scope.ill[FIND_SITES] = TimeoutError()
    door.clock.now += 40
    with pytest.raises(ScopeUnavailable):
        await door.grants.fetch_sites(("blog",))
    for _ in range(5):
        door.grants.drop(KEY)
        assert isinstance(await door.grants.fetch(KEY), Grant)
        assert door.grants.peek_sites(("shop",)) == owned({"shop": "acme"})
    assert door.grants.database.sites_cut_off, "this far: a site that is removed is not known to be"
    del door.scope.ill[FIND_SITES]
    door.clock.now += 1
    assert await door.grants.fetch_sites(("blog",)) == owned({"blog": "acme"})
    assert not door.grants.database.sites_cut_off


async def test_where_only_keys_cannot_be_read_sites_do_not_say_that_they_can(door: Door) -> None:
    door.scope.add(KEY)
    await door.grants.fetch(KEY)
    await door.grants.fetch_sites(("shop",))
    door.scope.ill[FIND_GRANT] = TimeoutError()
    door.clock.now += 40
    assert isinstance(await door.grants.fetch(KEY), Grant)
    assert door.grants.peek_sites(("shop",)) == owned({"shop": "acme"}), (
        "nobody waits to hear that these cannot be read either"
    )
    for number in range(5):
        assert await door.grants.fetch_sites((f"made-up-{number}",)) == {f"made-up-{number}": None}
        assert isinstance(door.grants.peek(KEY), Grant), "at once: it is known to be down"


async def test_after_an_outage_no_site_is_asked_for_that_the_feed_is_about_to_vouch_for(door: Door) -> None:
    await door.grants.fetch_sites(("shop", "blog"))
    door.grants.feed_left()
    door.scope.down = ConnectionRefusedError()
    door.clock.now += 40
    assert await door.grants.fetch_sites(("shop",)) == owned({"shop": "acme"})
    door.scope.down = None
    door.clock.now += 1
    assert await door.grants.fetch_sites(("wiki",)) == owned({"wiki": "globex"})
    door.scope.asked.clear()
    assert door.grants.peek_sites(("shop",)) == owned({"shop": "acme"})
    assert await door.grants.fetch_sites(("blog",)) == owned({"blog": "acme"})
    await asyncio.sleep(0)
    assert door.scope.asked == []
    door.clock.now += 1
    assert door.grants.peek_sites(("shop",)) is None, "the feed stays away: nobody vouches for it"
    door.grants.feed_back(0)
    assert door.grants.peek_sites(("shop", "blog")) == owned({"shop": "acme", "blog": "acme"})
    assert door.scope.asked == []


async def test_a_slow_database_is_not_waited_for_beyond_the_deadline(door: Door) -> None:
    grants = Grants(GrantSettings(lookup_seconds=0.05), door.scope, on_lookup=lambda result: None)
    door.scope.hold()
    with pytest.raises(ScopeUnavailable):
        await grants.fetch_sites(("shop",))
    await until(lambda: grants.database.sites_cut_off)
    await grants.close()


async def test_an_answer_from_before_a_site_changed_does_not_land_after_it(door: Door) -> None:
    door.scope.hold()
    asking = asyncio.create_task(door.grants.fetch_sites(("new", "shop")))
    await until(lambda: door.scope.under_way == 1)
    door.scope.sites["new"] = "acme"
    door.grants.drop_site("new")
    door.scope.let_go()
    assert await asking == owned({"new": "acme", "shop": "acme"})
    assert door.scope.asked == [["new", "shop"], ["new"]]


async def test_an_answer_from_before_everything_was_dropped_does_not_land_after_it(door: Door) -> None:
    door.scope.hold()
    asking = asyncio.create_task(door.grants.fetch_sites(("shop",)))
    await until(lambda: door.scope.under_way == 1)
    door.scope.sites["shop"] = "globex"
    door.grants.drop_all()
    door.scope.let_go()
    assert await asking == owned({"shop": "globex"})


async def test_a_refresh_that_finds_nothing_new_changes_nothing(door: Door) -> None:
    await door.grants.fetch_sites(("shop",))
    generation = door.grants.generation
    door.clock.now += 25
    door.grants.peek_sites(("shop",))
    await until(lambda: len(door.scope.asked) == 2 and not door.scope.under_way)
    door.clock.now += 6  # more than its first time
    assert door.grants.peek_sites(("shop",)) == owned({"shop": "acme"})
    assert door.grants.generation == generation


async def test_dropping_everything_forgets_sites_too(door: Door) -> None:
    await door.grants.fetch_sites(("shop", "nowhere"))
    door.grants.drop_all()
    assert door.grants.peek_sites(("shop",)) is None
    assert door.grants.peek_sites(("nowhere",)) is None


async def test_a_site_is_found_by_its_folded_id(door: Door) -> None:
    door.scope.sites["Docs"] = "acme"
    names = ("/docs", "Docs", "docs", "/Docs", "/shop", "/nowhere", "/")
    assert await door.grants.fetch_sites(names) == {
        "/docs": SiteOwner("Docs", "acme"),
        "Docs": SiteOwner("Docs", "acme"),
        "docs": None,
        "/Docs": None,  # no fold
        "/shop": SiteOwner("shop", "acme"),
        "/nowhere": None,
        "/": None,
    }
    assert door.scope.asked == [list(names)]
    assert door.grants.peek_sites(("/docs",)) == {"/docs": SiteOwner("Docs", "acme")}


async def test_a_changed_site_is_forgotten_by_both_its_names(door: Door) -> None:
    door.scope.sites["Docs"] = "acme"
    await door.grants.fetch_sites(("/docs", "Docs", "/new", "New"))
    door.grants.drop_site("Docs")
    door.grants.drop_site("New")
    for name in ("/docs", "Docs", "/new", "New"):
        assert door.grants.peek_sites((name,)) is None, name


async def test_an_answer_from_before_a_site_changed_does_not_land_under_its_folded_id(door: Door) -> None:
    door.scope.hold()
    asking = asyncio.create_task(door.grants.fetch_sites(("/new", "shop")))
    await until(lambda: door.scope.under_way == 1)
    door.scope.sites["New"] = "acme"
    door.grants.drop_site("New")
    door.scope.let_go()
    assert await asking == {"/new": SiteOwner("New", "acme"), "shop": SiteOwner("shop", "acme")}
    assert door.scope.asked == [["/new", "shop"], ["/new"]]


async def test_a_refresh_that_finds_a_site_gone_forgets_its_other_name(door: Door) -> None:
    door.scope.sites["Docs"] = "acme"
    await door.grants.fetch_sites(("/docs", "Docs"))
    del door.scope.sites["Docs"]
    door.clock.now += 25
    door.grants.peek_sites(("/docs",))
    await until(lambda: door.grants.peek_sites(("/docs",)) == {"/docs": None})
    assert door.grants.peek_sites(("Docs",)) is None


async def test_a_site_whose_fold_in_the_table_is_not_ours_is_not_found_by_it(door: Door) -> None:
    """The feed names sites by id, so a change of this one would not reach what is remembered by such a name."""
    door.scope.other_folds["Straße"] = "straße"
    door.scope.sites["Straße"] = "acme"
    found = await door.grants.fetch_sites(("/straße", "/strasse", "Straße"))
    assert found == {"/straße": None, "/strasse": None, "Straße": SiteOwner("Straße", "acme")}
