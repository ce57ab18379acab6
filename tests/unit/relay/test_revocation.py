"""When open exchanges are judged again, and which of them are ended: by the feed, by the clock, and without either."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import cast

import pytest

from proxy.decision.grant import Grant
from proxy.decision.routes import RouteTable
from proxy.enforcement import Verdict
from proxy.grants.cache import Grants
from proxy.grants.changes import Changes
from proxy.refusals import INVALID_KEY, SCOPE_UNAVAILABLE, SITE_NOT_ALLOWED, Refusal
from proxy.relay.exchange import Exchange
from proxy.relay.revocation import Revokes
from proxy.settings import GrantSettings, KeySettings, RouteSettings
from tests.scopes import FIND_SITES, Clock, MemoryScope, until
from tests.unit.judging import claim_on

TABLE = RouteTable((RouteSettings(name="data", upstream="http://127.0.0.1:1"),), KeySettings())
TTL, STALE, LOOKUP = 30, 300, 30


def key_of(name: str) -> bytes:
    return sha256(name.encode()).digest()


class OpenExchange:
    """What is asked of an exchange that is open."""

    def __init__(self, key: str, grant: Grant | None, *sites: str) -> None:
        claim = claim_on(TABLE, *sites, key=key.encode())
        self.verdict: Verdict | None = Verdict(None, claim, grant)
        self.name = key
        self.key_digest = key_of(key)
        self.done = False
        self.revoked: Refusal | None = None

    def revoke(self, refusal: Refusal) -> None:
        assert not self.done
        self.done, self.revoked = True, refusal


class Door:
    """Open exchanges over a scope table in memory; the feed has just been read, unless the test says otherwise."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.scope = MemoryScope()
        self.read_at = self.clock.now
        self.ended: Counter[str] = Counter()
        self.open: list[OpenExchange] = []
        settings = GrantSettings(ttl_seconds=TTL, stale_seconds=STALE, lookup_seconds=LOOKUP)
        self.grants = Grants(
            settings,
            self.scope,
            on_lookup=lambda result: None,
            on_lost=lambda lost: self.revokes.changed(lost),
            clock=self.clock,
        )
        self.revokes = Revokes(
            lambda: [cast(Exchange, exchange) for exchange in self.open],
            self.grants,
            settings,
            read_at=lambda: self.read_at,
            on_ended=lambda cause: self.ended.update([cause]),
            clock=self.clock,
        )

    async def opened(self, key: str, *sites: str) -> OpenExchange:
        """An exchange that passed by what the scope table says."""
        grant = await self.grants.fetch(key_of(key))
        assert isinstance(grant, Grant)
        exchange = OpenExchange(key, grant, *sites)
        self.open.append(exchange)
        return exchange

    async def settled(self) -> None:
        """Wait until nothing is being looked into."""
        await until(lambda: not self.revokes._doubts and not self.revokes._settlers)

    async def swept(self) -> None:
        self.revokes.sweep()
        await self.settled()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    opened = Door()
    yield opened
    opened.scope.let_go()
    await opened.revokes.close()
    await opened.grants.close()


async def test_only_what_a_change_touches_is_looked_up(door: Door) -> None:
    for name in ("ada", "bob", "eve"):
        door.scope.add(key_of(name), name, "shop")
        await door.opened(name, "shop")
    asked = len(door.scope.asked)
    door.grants.drop(key_of("ada"))
    door.grants.drop_user("bob")
    door.revokes.changed(Changes(keys={key_of("ada"): 5}, users={"bob": 6}, sites={"docs"}))
    assert set(door.revokes._doubts) == {key_of("ada"), key_of("bob")}
    await door.settled()
    assert set(door.scope.asked[asked:]) == {key_of("ada"), key_of("bob")}
    assert not door.ended


async def test_many_streams_of_one_key_cost_one_lookup(door: Door) -> None:
    door.scope.add(key_of("ada"), "ada", "shop")
    streams = [await door.opened("ada", "shop") for _ in range(100)]
    asked = len(door.scope.asked)
    del door.scope.grants[key_of("ada")]
    door.grants.drop(key_of("ada"))
    door.revokes.changed(Changes(keys={key_of("ada"): 5}))
    await door.settled()
    assert len(door.scope.asked) == asked + 1
    assert {stream.revoked for stream in streams} == {INVALID_KEY}
    assert door.ended == {"key_gone": 100}


async def test_a_change_that_comes_while_the_last_one_is_looked_into_is_looked_into_too(door: Door) -> None:
    """The site is asked for with the second question; between the two the key goes."""
    door.scope.add(key_of("ada"), "ada", all_sites=True)
    door.scope.sites["shop"] = "acme"
    stream = await door.opened("ada", "shop")
    door.scope.hold()
    door.revokes.changed(Changes(sites={"shop"}))
    await until(lambda: door.scope.under_way == 1)
    del door.scope.grants[key_of("ada")]
    door.grants.drop(key_of("ada"))
    door.revokes.changed(Changes(keys={key_of("ada"): 5}))
    door.scope.let_go()
    await door.settled()
    assert stream.revoked is INVALID_KEY


@pytest.mark.parametrize("all_sites", [True, False])
async def test_a_removed_site_ends_what_named_it_by_host(door: Door, all_sites: bool) -> None:
    scope = () if all_sites else ("Shop", "Blog")
    door.scope.add(key_of("ada"), "ada", *scope, all_sites=all_sites)
    door.scope.sites = {"Shop": "acme", "Blog": "acme"}
    by_host, by_id, other = [await door.opened("ada", name) for name in ("/shop", "Shop", "/blog")]
    await door.grants.fetch_sites(("/shop", "Shop", "/blog"))
    del door.scope.sites["Shop"]
    door.scope.add(key_of("ada"), "ada", *scope[1:], all_sites=all_sites)
    door.grants.drop_site("Shop")
    door.grants.drop_user("ada")
    door.revokes.changed(Changes(sites={"Shop"}))
    await door.settled()
    assert by_host.revoked is by_id.revoked is SITE_NOT_ALLOWED
    assert not other.done
    assert door.ended == {"site_lost": 2}


async def test_a_change_of_a_site_looks_at_what_named_it_by_host_alone(door: Door) -> None:
    door.scope.sites = {"Shop": "acme", "Blog": "acme"}
    for name in ("ada", "bob"):
        door.scope.add(key_of(name), name, all_sites=True)
    await door.opened("ada", "/shop")
    await door.opened("bob", "/blog")
    door.revokes.changed(Changes(sites={"Shop"}))
    assert set(door.revokes._doubts) == {key_of("ada")}
    await door.settled()
    assert not door.ended


async def test_a_refresh_that_finds_a_host_named_site_gone_ends_what_is_open_there(door: Door) -> None:
    door.scope.add(key_of("ada"), "ada", all_sites=True)
    door.scope.sites = {"Shop": "acme", "Blog": "acme"}
    shop, blog, by_id = [await door.opened("ada", name) for name in ("/shop", "/blog", "Shop")]
    await door.grants.fetch_sites(("/shop", "/blog", "Shop"))
    del door.scope.sites["Shop"]
    door.clock.now += 0.9 * TTL
    door.grants.peek_sites(("/shop", "/blog"))
    await until(lambda: shop.done and by_id.done)
    await door.settled()
    assert not blog.done
    assert door.ended == {"site_lost": 2}


async def test_without_the_feed_a_host_named_site_is_confirmed_once_in_a_ttl(door: Door) -> None:
    door.scope.add(key_of("ada"), "ada", all_sites=True)
    door.scope.sites["Shop"] = "acme"
    stream = await door.opened("ada", "/shop")
    asked = len(door.scope.asked)
    for _ in range(10 * TTL + 1):
        door.clock.now += 1
        await door.swept()
    assert 16 <= len(door.scope.asked) - asked <= 20, "the key, and the site"
    del door.scope.sites["Shop"]
    for _ in range(TTL + 2):
        door.clock.now += 1
        await door.swept()
    assert stream.done
    assert door.ended == {"site_lost": 1}


async def test_a_refresh_that_finds_less_ends_what_needs_more(door: Door) -> None:
    door.scope.add(key_of("ada"), "ada", "shop", "blog")
    shop, blog = await door.opened("ada", "shop"), await door.opened("ada", "blog")
    door.scope.add(key_of("ada"), "ada", "blog")
    door.clock.now += 0.9 * TTL
    door.grants.peek(key_of("ada"))
    await until(lambda: shop.done)
    await door.settled()
    assert not blog.done
    assert door.ended == {"site_lost": 1}
    assert blog.verdict is not None
    assert blog.verdict.grant == door.grants.peek(key_of("ada")), "by what holds now it is judged from here on"


async def test_a_refresh_that_finds_a_site_gone_ends_what_an_all_sites_key_has_open_there(door: Door) -> None:
    door.scope.add(key_of("ada"), "ada", all_sites=True)
    door.scope.sites = {"shop": "acme", "blog": "acme"}
    shop, blog = await door.opened("ada", "shop"), await door.opened("ada", "blog")
    await door.grants.fetch_sites(("shop", "blog"))
    del door.scope.sites["shop"]
    door.clock.now += 0.9 * TTL
    door.grants.peek_sites(("shop", "blog"))
    await until(lambda: shop.done)
    await door.settled()
    assert not blog.done
    assert door.ended == {"site_lost": 1}


async def test_an_expired_key_ends_what_it_opened_at_the_next_sweep(door: Door) -> None:
    door.scope.add(key_of("ada"), "ada", "shop", expires_at=time.time() + 0.05)
    stream = await door.opened("ada", "shop")
    await door.swept()
    assert not stream.done
    await until(lambda: time.time() > door.scope.grants[key_of("ada")]["expires_at"])
    await door.swept()
    assert door.ended == {"key_expired": 1}


async def test_what_passed_without_a_key_or_not_at_all_or_is_over_is_never_judged_again(door: Door) -> None:
    public = OpenExchange("", None)
    judging = OpenExchange("ada", None, "shop")
    judging.verdict = None
    refused = OpenExchange("bob", Grant("bob", "acme", False, frozenset()), "shop")
    assert refused.verdict is not None
    refused.verdict.refusal = SITE_NOT_ALLOWED
    over = OpenExchange("eve", Grant("eve", "acme", False, frozenset()), "shop")
    over.done = True
    door.open += [public, judging, refused, over]
    door.revokes.changed(Changes(everything=True))
    door.clock.now += 2 * TTL
    await door.swept()
    assert not public.done
    assert not judging.done
    assert not refused.done, "it is being told so"
    assert not door.scope.asked


async def test_where_nothing_has_to_be_asked_others_have_their_turn_between_one_key_and_the_next(door: Door) -> None:
    names = [f"user-{number}" for number in range(100)]
    for name in names:
        door.scope.add(key_of(name), name, "shop")
        await door.opened(name, "shop")
    asked = len(door.scope.asked)
    door.revokes.changed(Changes(everything=True))
    turns = 0
    while door.revokes._doubts:
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 10, "several keys in each"
    assert len(door.scope.asked) == asked


async def test_closing_waits_for_no_answer_and_judges_nothing_any_more(door: Door) -> None:
    for name in ("ada", "bob"):
        door.scope.add(key_of(name), name, "shop")
        await door.opened(name, "shop")
        door.grants.drop(key_of(name))
    del door.scope.grants[key_of("ada")]
    door.scope.hold()
    door.revokes.changed(Changes(everything=True))
    await until(lambda: door.scope.under_way > 0)
    async with asyncio.timeout(10):
        await door.revokes.close()
    assert not door.revokes._settlers
    door.scope.let_go()
    await until(lambda: not door.scope.under_way)
    assert not door.ended


# Who vouches for what nobody asks for any more.


async def test_while_the_feed_is_read_a_long_stream_costs_no_lookup(door: Door) -> None:
    door.scope.add(key_of("ada"), "ada", "shop")
    await door.opened("ada", "shop")
    asked = len(door.scope.asked)
    for _ in range(100):
        door.clock.now += TTL
        door.read_at = door.clock.now
        await door.swept()
    assert len(door.scope.asked) == asked


async def test_without_the_feed_a_stream_is_confirmed_once_in_a_ttl_and_ended_when_its_key_is_gone(door: Door) -> None:
    door.scope.add(key_of("ada"), "ada", "shop")
    stream = await door.opened("ada", "shop")
    asked = len(door.scope.asked)
    for _ in range(10 * TTL + 1):
        door.clock.now += 1
        await door.swept()
    assert 8 <= len(door.scope.asked) - asked <= 10
    del door.scope.grants[key_of("ada")]
    for _ in range(TTL + 1):
        door.clock.now += 1
        await door.swept()
    assert stream.revoked is INVALID_KEY


async def test_without_the_feed_a_key_that_is_being_asked_for_is_put_in_line_by_no_further_sweep(door: Door) -> None:
    """Each time it would take one of the few places of those that are looked into."""
    door.scope.add(key_of("ada"), "ada", "shop")
    await door.opened("ada", "shop")
    door.clock.now += TTL + 1
    door.scope.hold()
    door.revokes.sweep()
    await until(lambda: door.scope.under_way == 1)
    door.revokes.sweep()
    assert not door.revokes._doubts


async def test_without_the_feed_a_stream_is_not_confirmed_by_less_than_it_passed_by(door: Door) -> None:
    """Its grant was pushed out of the cache, and the next request's look-up, which found less, is no news there."""
    door.scope.add(key_of("ada"), "ada", "shop", "blog")
    stream = await door.opened("ada", "shop")
    door.grants.drop(key_of("ada"), 1)
    door.scope.add(key_of("ada"), "ada", "blog")
    door.scope.position = 1
    door.clock.now += TTL + 1
    await door.grants.fetch(key_of("ada"))
    await door.swept()
    assert stream.done
    assert door.ended == {"site_lost": 1}


async def test_without_the_feed_a_removed_site_ends_what_an_all_sites_key_has_open_there(door: Door) -> None:
    """The key itself is in use, and asked for again and again."""
    door.scope.add(key_of("ada"), "ada", all_sites=True)
    door.scope.sites["shop"] = "acme"
    stream = await door.opened("ada", "shop")
    await door.grants.fetch_sites(("shop",))
    del door.scope.sites["shop"]
    removed = door.clock.now
    while not stream.done:
        assert door.clock.now < removed + TTL + 2
        door.clock.now += 1
        if door.grants.peek(key_of("ada")) is None:
            await door.grants.fetch(key_of("ada"))
        await door.swept()
    assert door.ended == {"site_lost": 1}


async def test_without_the_feed_a_site_is_confirmed_once_in_a_ttl_too(door: Door) -> None:
    door.scope.add(key_of("ada"), "ada", all_sites=True)
    door.scope.sites["shop"] = "acme"
    stream = await door.opened("ada", "shop")
    asked = len(door.scope.asked)
    for _ in range(10 * TTL + 1):
        door.clock.now += 1
        await door.swept()
    assert 16 <= len(door.scope.asked) - asked <= 20, "the key, and the site"
    door.grants.feed_left()
    door.clock.now += TTL + 1
    asked = len(door.scope.asked)
    door.grants.feed_back(0)
    await door.swept()
    assert len(door.scope.asked) == asked, "the feed vouches for both"
    assert not stream.done


async def test_without_the_feed_a_site_that_is_anothers_now_ends_what_was_open_there(door: Door) -> None:
    """Another database took the place of this one; the site was pushed out of what is held, and asked for since."""
    door.scope.add(key_of("ada"), "ada", all_sites=True)
    door.scope.sites["shop"] = "acme"
    stream = await door.opened("ada", "shop")
    door.scope.sites["shop"] = "globex"
    door.clock.now += TTL + 1
    await door.grants.fetch(key_of("ada"))
    await door.grants.fetch_sites(("shop",))
    await door.swept()
    assert stream.done
    assert door.ended == {"site_lost": 1}


async def test_a_feed_that_is_away_for_less_than_a_ttl_costs_no_lookup(door: Door) -> None:
    door.scope.add(key_of("ada"), "ada", "shop")
    await door.opened("ada", "shop")
    asked = len(door.scope.asked)
    door.clock.now += 100 * TTL
    door.read_at = door.clock.now - 0.9 * TTL
    await door.swept()
    assert len(door.scope.asked) == asked


async def test_cut_off_from_the_database_a_stream_lives_as_long_as_stale_grants_are_served(door: Door) -> None:
    door.scope.add(key_of("ada"), "ada", "shop")
    stream = await door.opened("ada", "shop")
    door.scope.down = ConnectionRefusedError()
    outage = door.clock.now
    while not stream.done:
        assert door.clock.now < outage + TTL + STALE + 3
        door.clock.now += 1
        await door.swept()
    assert door.clock.now >= outage + TTL + STALE
    assert door.ended == {"unconfirmed": 1}


@pytest.mark.parametrize("known_to_be_down", [False, True])
async def test_cut_off_for_too_long_all_streams_end_however_many_they_are(door: Door, known_to_be_down: bool) -> None:
    names = [f"user-{number}" for number in range(50)]
    for name in names:
        door.scope.add(key_of(name), name, "shop")
        await door.opened(name, "shop")
    door.scope.down = ConnectionRefusedError()
    door.clock.now += TTL + 1
    if known_to_be_down:
        await door.swept()
    assert not door.ended
    door.clock.now += STALE
    await door.swept()
    assert door.ended == {"unconfirmed": len(names)}, "though one question at a time is asked"


async def test_when_the_database_is_back_in_time_nothing_is_ended_that_has_its_right(door: Door) -> None:
    for name in ("ada", "bob"):
        door.scope.add(key_of(name), name, "shop")
    ada, bob = await door.opened("ada", "shop"), await door.opened("bob", "shop")
    door.scope.down = ConnectionRefusedError()
    for _ in range(TTL + STALE - 10):
        door.clock.now += 1
        await door.swept()
    assert not ada.done
    del door.scope.grants[key_of("bob")]
    door.scope.down = None
    for _ in range(5):
        door.clock.now += 1
        await door.swept()
    assert not ada.done
    assert bob.revoked is INVALID_KEY


async def test_a_change_that_cannot_be_looked_into_at_once_is_when_the_database_is_back(door: Door) -> None:
    door.scope.add(key_of("ada"), "ada", "shop")
    stream = await door.opened("ada", "shop")
    door.scope.down = ConnectionRefusedError()
    door.grants.drop(key_of("ada"))
    door.revokes.changed(Changes(keys={key_of("ada"): 5}))
    await door.swept()
    assert not stream.done
    door.scope.down = None
    del door.scope.grants[key_of("ada")]
    door.clock.now += 1
    door.read_at = door.clock.now
    await door.swept()
    assert stream.revoked is INVALID_KEY


async def test_a_revoke_that_comes_in_the_moment_the_last_one_is_settled_is_settled_too(door: Door) -> None:
    """A task that has just ended takes nothing on any more."""
    for name in ("ada", "bob"):
        door.scope.add(key_of(name), name, "shop")
    await door.opened("ada", "shop")
    stream = await door.opened("bob", "shop")

    def revoke() -> None:
        del door.scope.grants[key_of("bob")]
        door.grants.drop(key_of("bob"))
        door.revokes.changed(Changes(keys={key_of("bob"): 6}))

    door.revokes.changed(Changes(keys={key_of("ada"): 5}))  # nothing to ask: it is settled as soon as its task runs
    asyncio.get_running_loop().call_soon(revoke)
    await until(lambda: stream.revoked is INVALID_KEY)


async def test_a_revoke_does_not_wait_for_all_that_was_in_doubt_before(door: Door) -> None:
    names = [f"user-{number}" for number in range(50)]
    for name in names:
        door.scope.add(key_of(name), name, "shop")
        await door.opened(name, "shop")
    door.scope.add(key_of("ada"), "ada", "shop")
    stream = await door.opened("ada", "shop")
    for name in names:
        door.grants.drop(key_of(name))
    asked = len(door.scope.asked)
    door.scope.hold()
    door.revokes.changed(Changes(keys={key_of(name): 5 for name in names}))
    await until(lambda: door.scope.under_way > 0)
    del door.scope.grants[key_of("ada")]
    door.grants.drop(key_of("ada"))
    door.revokes.changed(Changes(keys={key_of("ada"): 6}))
    assert len(door.revokes._settlers) == 8, "so many are looked into at once, whatever comes"
    door.scope.let_go()
    await until(lambda: stream.done)
    assert door.scope.asked[asked:].index(key_of("ada")) < 20
    await door.settled()
    assert door.ended == {"key_gone": 1}


# What the feed told of and nobody can look into.


async def test_a_change_that_nobody_can_look_into_ends_what_is_open_when_a_request_would_be_refused(door: Door) -> None:
    """The feed is read, by a connection of its own; look-ups fail. Of this key nothing is known any more."""
    door.scope.add(key_of("ada"), "ada", "shop")
    stream = await door.opened("ada", "shop")
    door.scope.down = ConnectionRefusedError()
    door.grants.drop(key_of("ada"))
    door.revokes.changed(Changes(keys={key_of("ada"): 5}))
    heard = door.clock.now
    while not stream.done:
        assert door.clock.now < heard + LOOKUP + 2
        door.clock.now += 1
        door.read_at = door.clock.now
        await door.swept()
    assert door.clock.now >= heard + LOOKUP
    assert door.ended == {"unconfirmed": 1}


async def test_what_is_known_to_have_its_right_goes_on_whatever_else_of_its_key_cannot_be_looked_into(
    door: Door,
) -> None:
    """The table of sites is locked, say, and one of the streams is of no site."""
    door.scope.add(key_of("ada"), "ada", all_sites=True)
    door.scope.sites |= {"shop": "acme", "docs": "acme"}
    bound, free, other = await door.opened("ada", "shop"), await door.opened("ada"), await door.opened("ada", "docs")
    door.scope.ill[FIND_SITES] = ConnectionResetError()
    door.grants.drop_all()
    door.revokes.changed(Changes(everything=True))
    await door.settled()
    door.clock.now += LOOKUP
    await door.swept()
    assert [stream.revoked for stream in (bound, free, other)] == [SCOPE_UNAVAILABLE, None, SCOPE_UNAVAILABLE]
    assert door.ended == {"unconfirmed": 2}


async def test_what_waits_in_line_to_be_looked_into_is_not_ended_by_a_moment_without_a_database(door: Door) -> None:
    """A restore puts all in doubt. The line is longer than a request waits, and then the database stumbles."""
    names = [f"user-{number}" for number in range(30)]
    for name in names:
        door.scope.add(key_of(name), name, "shop")
        await door.opened(name, "shop")
    door.grants.drop_all()
    door.scope.hold()
    door.revokes.changed(Changes(everything=True))
    await until(lambda: door.scope.under_way > 0)
    asked = len(door.revokes._asking)
    door.clock.now += LOOKUP + 1
    door.read_at = door.clock.now
    door.scope.down = ConnectionResetError()
    door.scope.let_go()
    await door.settled()
    door.scope.down = None
    door.clock.now += 1
    await door.swept()
    await door.swept()
    assert door.ended == {"unconfirmed": asked}, "these had been asked for in vain for so long"
    assert asked < len(names)


async def test_what_cannot_be_judged_again_for_a_defect_is_ended(door: Door) -> None:
    door.scope.add(key_of("ada"), "ada", "shop", expires_at="no time at all")
    stream = await door.opened("ada", "shop")
    door.revokes.changed(Changes(keys={key_of("ada"): 5}))
    await door.settled()
    assert stream.done
    assert door.ended == {"unconfirmed": 1}
    assert not door.revokes._asking


async def test_further_changes_give_no_further_time(door: Door) -> None:
    door.scope.add(key_of("ada"), "ada", "shop")
    stream = await door.opened("ada", "shop")
    door.scope.down = ConnectionRefusedError()
    heard = door.clock.now
    while not stream.done:
        assert door.clock.now < heard + LOOKUP + 2
        door.clock.now += 1
        door.read_at = door.clock.now
        door.grants.drop(key_of("ada"))
        door.revokes.changed(Changes(keys={key_of("ada"): 5}))
        await door.swept()


async def test_a_change_to_what_a_sweep_has_in_line_already_counts_as_heard_of(door: Door) -> None:
    """What nobody vouches for lives on through an outage; what is known to have changed does not."""
    names = [f"user-{number}" for number in range(30)]
    for name in names:
        door.scope.add(key_of(name), name, "shop")
        await door.opened(name, "shop")
    door.clock.now += TTL + 1
    door.scope.hold()
    door.revokes.sweep()
    await until(lambda: door.scope.under_way > 0)
    waiting = [name for name in names if key_of(name) in door.revokes._doubts]
    door.grants.drop(key_of(waiting[0]))
    door.revokes.changed(Changes(keys={key_of(waiting[0]): 5}))
    door.scope.down = ConnectionRefusedError()
    door.scope.let_go()
    await door.settled()
    door.clock.now += LOOKUP + 1
    await door.swept()
    assert [stream.done for stream in door.open] == [name == waiting[0] for name in names]


async def test_an_expired_key_keeps_nothing_open_through_an_outage(door: Door) -> None:
    door.scope.add(key_of("ada"), "ada", "shop", expires_at=time.time() - 1)
    stream = await door.opened("ada", "shop")
    door.scope.down = ConnectionRefusedError()
    door.clock.now += TTL + 1
    await door.swept()
    assert stream.done, "a request would be refused at once"
    assert door.ended == {"key_expired": 1}


async def test_thousands_of_streams_cost_one_question_a_sweep_in_an_outage(door: Door) -> None:
    for number in range(1000):
        door.scope.add(key_of(f"user-{number}"), f"user-{number}", "shop")
        await door.opened(f"user-{number}", "shop")
    door.scope.down = ConnectionRefusedError()
    door.clock.now += TTL + 1
    await door.swept()  # here it is found out
    for _ in range(10):
        door.clock.now += 1
        door.revokes.sweep()
        assert len(door.revokes._doubts) == 1
        await door.settled()
    assert not door.ended


async def test_when_the_database_is_back_no_stream_is_asked_for_that_the_feed_is_about_to_vouch_for(door: Door) -> None:
    names = [f"user-{number}" for number in range(20)]
    for name in names:
        door.scope.add(key_of(name), name, "shop")
        await door.opened(name, "shop")
    door.grants.feed_left()
    door.scope.down = ConnectionRefusedError()
    door.clock.now += TTL + 1
    await door.swept()
    door.scope.down = None
    door.clock.now += 1
    asked = len(door.scope.asked)
    await door.swept()  # the probe, which the database answers
    await door.swept()
    assert len(door.scope.asked) == asked + 1
    door.clock.now += 1.1  # the feed stays away: nobody vouches for them
    await door.swept()
    assert len(door.scope.asked) == asked + len(names)
