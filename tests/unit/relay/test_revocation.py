"""When open exchanges are rechecked (after a change, a refresh or an expiry), and which of them end."""

import asyncio

import pytest

from proxy.decision.grant import Grant
from proxy.grants.changes import Changes
from proxy.refusals import INVALID_KEY, SITE_NOT_ALLOWED
from tests.scopes import until
from tests.unit.relay.open_exchanges import TTL, FakeExchange, Streams, key_of


async def test_only_keys_that_a_change_affects_are_looked_up(streams: Streams) -> None:
    await streams.opened_by("ada", "bob", "eve")
    before = streams.lookups
    streams.grants.drop(key_of("ada"))
    streams.grants.drop_user("bob")
    streams.revocation.changed(Changes(keys={key_of("ada"): 5}, users={"bob": 6}, sites={"docs"}))
    assert streams.queued == {key_of("ada"), key_of("bob")}
    await streams.settled()
    assert set(streams.scope.queried[before:]) == {key_of("ada"), key_of("bob")}
    assert not streams.ended


async def test_many_exchanges_with_the_same_key_cost_one_lookup(streams: Streams) -> None:
    streams.add_user("ada", "shop")
    opened = [await streams.opened("ada", "shop") for _ in range(100)]
    before = streams.lookups
    streams.delete_key("ada")
    await streams.settled()
    assert streams.lookups == before + 1
    assert {exchange.revoked for exchange in opened} == {INVALID_KEY}
    assert streams.ended == {"key_gone": 100}


async def test_a_change_during_a_recheck_causes_another_recheck(streams: Streams) -> None:
    """The owner of the site is looked up after the key, and the key is deleted between the two lookups."""
    streams.add_user("ada", all_sites=True)
    streams.scope.sites["shop"] = "acme"
    exchange = await streams.opened("ada", "shop")
    streams.scope.hold()
    streams.revocation.changed(Changes(sites={"shop"}))
    await until(lambda: streams.scope.under_way == 1)
    streams.delete_key("ada")
    streams.scope.resume()
    await streams.settled()
    assert exchange.revoked is INVALID_KEY


@pytest.mark.parametrize("all_sites", [True, False])
async def test_removing_a_site_ends_exchanges_that_named_it_by_host(streams: Streams, all_sites: bool) -> None:
    scope = () if all_sites else ("Shop", "Blog")
    streams.add_user("ada", *scope, all_sites=all_sites)
    streams.scope.sites = {"Shop": "acme", "Blog": "acme"}
    by_host, by_id, other = [await streams.opened("ada", name) for name in ("/shop", "Shop", "/blog")]
    await streams.grants.fetch_sites(("/shop", "Shop", "/blog"))
    del streams.scope.sites["Shop"]
    streams.add_user("ada", *scope[1:], all_sites=all_sites)
    streams.grants.drop_site("Shop")
    streams.grants.drop_user("ada")
    streams.revocation.changed(Changes(sites={"Shop"}))
    await streams.settled()
    assert by_host.revoked is by_id.revoked is SITE_NOT_ALLOWED
    assert not other.done
    assert streams.ended == {"site_lost": 2}


async def test_a_change_of_a_site_rechecks_only_exchanges_that_named_it_by_host(streams: Streams) -> None:
    streams.scope.sites = {"Shop": "acme", "Blog": "acme"}
    for name in ("ada", "bob"):
        streams.add_user(name, all_sites=True)
    await streams.opened("ada", "/shop")
    await streams.opened("bob", "/blog")
    streams.revocation.changed(Changes(sites={"Shop"}))
    assert streams.queued == {key_of("ada")}
    await streams.settled()
    assert not streams.ended


async def test_a_refresh_that_finds_a_site_removed_ends_exchanges_that_named_it_by_host(streams: Streams) -> None:
    streams.add_user("ada", all_sites=True)
    streams.scope.sites = {"Shop": "acme", "Blog": "acme"}
    shop, blog, by_id = [await streams.opened("ada", name) for name in ("/shop", "/blog", "Shop")]
    await streams.grants.fetch_sites(("/shop", "/blog", "Shop"))
    del streams.scope.sites["Shop"]
    streams.clock.now += 0.9 * TTL
    streams.grants.peek_sites(("/shop", "/blog"))
    await until(lambda: shop.done and by_id.done)
    await streams.settled()
    assert not blog.done
    assert streams.ended == {"site_lost": 2}


async def test_a_refresh_that_finds_a_smaller_grant_ends_exchanges_beyond_it(streams: Streams) -> None:
    streams.add_user("ada", "shop", "blog")
    shop, blog = await streams.opened("ada", "shop"), await streams.opened("ada", "blog")
    streams.add_user("ada", "blog")
    streams.clock.now += 0.9 * TTL
    streams.grants.peek(key_of("ada"))
    await until(lambda: shop.done)
    await streams.settled()
    assert not blog.done
    assert streams.ended == {"site_lost": 1}
    assert blog.verdict is not None
    assert blog.verdict.grant == streams.grants.peek(key_of("ada")), "later rechecks compare with the new grant"


async def test_a_refresh_that_finds_a_site_removed_ends_exchanges_of_all_sites_keys_on_it(streams: Streams) -> None:
    streams.add_user("ada", all_sites=True)
    streams.scope.sites = {"shop": "acme", "blog": "acme"}
    shop, blog = await streams.opened("ada", "shop"), await streams.opened("ada", "blog")
    await streams.grants.fetch_sites(("shop", "blog"))
    del streams.scope.sites["shop"]
    streams.clock.now += 0.9 * TTL
    streams.grants.peek_sites(("shop", "blog"))
    await until(lambda: shop.done)
    await streams.settled()
    assert not blog.done
    assert streams.ended == {"site_lost": 1}


async def test_an_expired_key_ends_its_exchanges_at_the_next_sweep(streams: Streams) -> None:
    streams.add_user("ada", "shop", expires_at=streams.wall_clock.now + 0.05)
    exchange = await streams.opened("ada", "shop")
    await streams.swept()
    assert not exchange.done
    streams.wall_clock.now += 0.06
    await streams.swept()
    assert streams.ended == {"key_expired": 1}


@pytest.mark.parametrize(
    ("condition", "cause"),
    [
        ({"disabled": True}, "key_disabled"),
        ({"methods": ["POST"]}, "method_lost"),
        ({"networks": ["198.51.100.0/24"]}, "network_lost"),
    ],
)
async def test_a_new_condition_ends_the_exchanges_that_do_not_meet_it(
    streams: Streams, condition: dict[str, object], cause: str
) -> None:
    for name in ("ada", "bob"):
        streams.add_user(name, "shop")
    ended, kept = await streams.opened("ada", "shop"), await streams.opened("bob", "shop")
    streams.add_user("ada", "shop", **condition)
    streams.add_user("bob", "shop", methods=["GET"], networks=["192.0.2.0/24"])
    for name in ("ada", "bob"):
        streams.grants.drop_user(name)
    streams.revocation.changed(Changes(users={"ada": 1, "bob": 1}))
    await streams.settled()
    assert ended.done
    assert not kept.done
    assert streams.ended == {cause: 1}


async def test_exchanges_without_a_key_or_a_passing_verdict_are_never_rechecked(streams: Streams) -> None:
    public = FakeExchange("", None)
    judging = FakeExchange("ada", None, "shop")
    judging.verdict = None
    refused = FakeExchange("bob", Grant("bob", "acme", False, frozenset()), "shop")
    assert refused.verdict is not None
    refused.verdict.refusal = SITE_NOT_ALLOWED
    ended = FakeExchange("eve", Grant("eve", "acme", False, frozenset()), "shop")
    ended.done = True
    streams.open += [public, judging, refused, ended]
    streams.revocation.changed(Changes(everything=True))
    streams.clock.now += 2 * TTL
    await streams.swept()
    assert not public.done
    assert not judging.done
    assert not refused.done, "its refusal is on its way"
    assert not streams.scope.queried


async def test_rechecks_without_lookups_yield_to_the_event_loop(streams: Streams) -> None:
    await streams.opened_by(*(f"user-{number}" for number in range(100)))
    before = streams.lookups
    streams.revocation.changed(Changes(everything=True))
    turns = 0
    while streams.queued:
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 10, "a few keys are rechecked in each turn"
    assert streams.lookups == before


async def test_closing_neither_waits_for_lookups_nor_ends_an_exchange(streams: Streams) -> None:
    await streams.opened_by("ada", "bob")
    for name in ("ada", "bob"):
        streams.grants.drop(key_of(name))
    del streams.scope.grants[key_of("ada")]
    streams.scope.hold()
    streams.revocation.changed(Changes(everything=True))
    await until(lambda: streams.scope.under_way > 0)
    async with asyncio.timeout(10):
        await streams.revocation.close()
    assert not streams.revocation.rechecks.workers
    streams.scope.resume()
    await until(lambda: not streams.scope.under_way)
    assert not streams.ended
