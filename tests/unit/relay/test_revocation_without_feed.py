"""The confirmation of open exchanges while the change feed cannot be read, and during outages of the database."""

import pytest

from proxy.refusals import INVALID_KEY
from tests.scopes import until
from tests.unit.relay.open_exchanges import STALE, TTL, Streams, key_of


async def test_while_the_feed_is_read_a_long_stream_causes_no_lookup(streams: Streams) -> None:
    await streams.opened_by("ada")
    before = streams.lookups
    for _ in range(100):
        streams.clock.now += TTL
        streams.read_at = streams.clock.now
        await streams.swept()
    assert streams.lookups == before


async def test_a_stream_is_confirmed_once_per_ttl_and_ends_when_its_key_is_deleted(streams: Streams) -> None:
    [exchange] = await streams.opened_by("ada")
    before = streams.lookups
    await streams.sweep_each_second(10 * TTL + 1)
    assert 8 <= streams.lookups - before <= 10
    del streams.scope.grants[key_of("ada")]
    await streams.sweep_each_second(TTL + 1)
    assert exchange.revoked is INVALID_KEY


async def test_a_key_that_is_being_looked_up_is_not_queued_again(streams: Streams) -> None:
    """Each further recheck would occupy one of the few workers."""
    await streams.opened_by("ada")
    streams.clock.now += TTL + 1
    streams.scope.hold()
    streams.revocation.sweep()
    await until(lambda: streams.scope.under_way == 1)
    streams.revocation.sweep()
    assert not streams.queued


async def test_a_grant_that_no_longer_covers_a_stream_does_not_confirm_it(streams: Streams) -> None:
    """The grant was evicted from the cache, so the next request's lookup found less without noticing a difference."""
    streams.add_user("ada", "shop", "blog")
    exchange = await streams.opened("ada", "shop")
    streams.grants.drop(key_of("ada"), 1)
    streams.add_user("ada", "blog")
    streams.scope.position = 1
    streams.clock.now += TTL + 1
    await streams.grants.fetch(key_of("ada"))
    await streams.swept()
    assert exchange.done
    assert streams.ended == {"site_lost": 1}


async def test_a_removed_site_ends_the_streams_of_an_all_sites_key_within_a_ttl(streams: Streams) -> None:
    """Other requests use the key, so it is looked up again and again."""
    streams.add_user("ada", all_sites=True)
    streams.scope.sites["shop"] = "acme"
    exchange = await streams.opened("ada", "shop")
    await streams.grants.fetch_sites(("shop",))
    del streams.scope.sites["shop"]
    removed = streams.clock.now
    while not exchange.done:
        assert streams.clock.now < removed + TTL + 2
        streams.clock.now += 1
        if streams.grants.peek(key_of("ada")) is None:
            await streams.grants.fetch(key_of("ada"))
        await streams.swept()
    assert streams.ended == {"site_lost": 1}


async def test_the_owner_of_a_site_is_confirmed_once_per_ttl(streams: Streams) -> None:
    streams.add_user("ada", all_sites=True)
    streams.scope.sites["shop"] = "acme"
    exchange = await streams.opened("ada", "shop")
    before = streams.lookups
    await streams.sweep_each_second(10 * TTL + 1)
    assert 16 <= streams.lookups - before <= 20, "the key, and the site"
    streams.grants.feed_down()
    streams.clock.now += TTL + 1
    before = streams.lookups
    streams.grants.feed_resumed(0)
    await streams.swept()
    assert streams.lookups == before, "the feed confirms both"
    assert not exchange.done


async def test_the_owner_of_a_site_named_by_host_is_confirmed_once_per_ttl(streams: Streams) -> None:
    streams.add_user("ada", all_sites=True)
    streams.scope.sites["Shop"] = "acme"
    exchange = await streams.opened("ada", "/shop")
    before = streams.lookups
    await streams.sweep_each_second(10 * TTL + 1)
    assert 16 <= streams.lookups - before <= 20, "the key, and the site"
    del streams.scope.sites["Shop"]
    await streams.sweep_each_second(TTL + 2)
    assert exchange.done
    assert streams.ended == {"site_lost": 1}


async def test_the_streams_of_a_site_that_now_belongs_to_another_workspace_end(streams: Streams) -> None:
    """Another database replaced this one. The site was evicted from the cache, and has been looked up since."""
    streams.add_user("ada", all_sites=True)
    streams.scope.sites["shop"] = "acme"
    exchange = await streams.opened("ada", "shop")
    streams.scope.sites["shop"] = "globex"
    streams.clock.now += TTL + 1
    await streams.grants.fetch(key_of("ada"))
    await streams.grants.fetch_sites(("shop",))
    await streams.swept()
    assert exchange.done
    assert streams.ended == {"site_lost": 1}


async def test_a_feed_outage_shorter_than_the_ttl_causes_no_lookup(streams: Streams) -> None:
    await streams.opened_by("ada")
    before = streams.lookups
    streams.clock.now += 100 * TTL
    streams.read_at = streams.clock.now - 0.9 * TTL
    await streams.swept()
    assert streams.lookups == before


async def test_in_an_outage_a_stream_stays_open_as_long_as_stale_grants_are_used(streams: Streams) -> None:
    [exchange] = await streams.opened_by("ada")
    streams.scope.down = ConnectionRefusedError()
    outage = streams.clock.now
    while not exchange.done:
        assert streams.clock.now < outage + TTL + STALE + 3
        await streams.sweep_each_second(1)
    assert streams.clock.now >= outage + TTL + STALE
    assert streams.ended == {"unconfirmed": 1}


@pytest.mark.parametrize("known_to_be_down", [False, True])
async def test_a_long_outage_ends_all_streams_at_once(streams: Streams, known_to_be_down: bool) -> None:
    names = [f"user-{number}" for number in range(50)]
    await streams.opened_by(*names)
    streams.scope.down = ConnectionRefusedError()
    streams.clock.now += TTL + 1
    if known_to_be_down:
        await streams.swept()
    assert not streams.ended
    streams.clock.now += STALE
    await streams.swept()
    assert streams.ended == {"unconfirmed": len(names)}, "although one query at a time probes the database"


async def test_after_an_outage_only_revoked_streams_end(streams: Streams) -> None:
    ada, bob = await streams.opened_by("ada", "bob")
    streams.scope.down = ConnectionRefusedError()
    await streams.sweep_each_second(TTL + STALE - 10)
    assert not ada.done
    del streams.scope.grants[key_of("bob")]
    streams.scope.down = None
    await streams.sweep_each_second(5)
    assert not ada.done
    assert bob.revoked is INVALID_KEY


async def test_an_expired_key_keeps_no_stream_open_in_an_outage(streams: Streams) -> None:
    streams.add_user("ada", "shop", expires_at=streams.wall_clock.now - 1)
    exchange = await streams.opened("ada", "shop")
    streams.scope.down = ConnectionRefusedError()
    streams.clock.now += TTL + 1
    await streams.swept()
    assert exchange.done, "a new request would be refused at once"
    assert streams.ended == {"key_expired": 1}


async def test_in_an_outage_thousands_of_streams_cost_one_query_per_sweep(streams: Streams) -> None:
    await streams.opened_by(*(f"user-{number}" for number in range(1000)))
    streams.scope.down = ConnectionRefusedError()
    streams.clock.now += TTL + 1
    await streams.swept()  # this sweep notices the outage
    for _ in range(10):
        streams.clock.now += 1
        streams.revocation.sweep()
        assert len(streams.queued) == 1
        await streams.settled()
    assert not streams.ended


async def test_after_an_outage_streams_wait_for_the_feed_to_confirm_them(streams: Streams) -> None:
    names = [f"user-{number}" for number in range(20)]
    await streams.opened_by(*names)
    streams.grants.feed_down()
    streams.scope.down = ConnectionRefusedError()
    streams.clock.now += TTL + 1
    await streams.swept()
    streams.scope.down = None
    streams.clock.now += 1
    before = streams.lookups
    await streams.swept()  # the probe, which the database answers
    await streams.swept()
    assert streams.lookups == before + 1
    streams.clock.now += 1.1  # the feed stays away, so nothing confirms them
    await streams.swept()
    assert streams.lookups == before + len(names)
