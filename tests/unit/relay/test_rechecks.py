"""The queue of rechecks: its order, its limits, and what happens when a lookup fails."""

import asyncio

from proxy.grants.changes import Changes
from proxy.refusals import INVALID_KEY, SCOPE_UNAVAILABLE
from tests.scopes import FIND_SITES, until
from tests.unit.relay.open_exchanges import LOOKUP, TTL, Streams, key_of


async def test_a_change_during_an_outage_causes_a_recheck_afterwards(streams: Streams) -> None:
    [exchange] = await streams.opened_by("ada")
    streams.scope.down = ConnectionRefusedError()
    streams.change("ada")
    await streams.swept()
    assert not exchange.done
    streams.scope.down = None
    del streams.scope.grants[key_of("ada")]
    streams.clock.now += 1
    streams.read_at = streams.clock.now
    await streams.swept()
    assert exchange.revoked is INVALID_KEY


async def test_a_change_that_arrives_as_the_last_worker_ends_still_causes_a_recheck(streams: Streams) -> None:
    """A worker that has just ended takes nothing more from the queue."""
    _, exchange = await streams.opened_by("ada", "bob")
    # Ada's grant is cached, so the worker ends in its first turn.
    streams.revocation.changed(Changes(keys={key_of("ada"): 5}))
    asyncio.get_running_loop().call_soon(streams.delete_key, "bob", 6)
    await until(lambda: exchange.revoked is INVALID_KEY)


async def test_a_revocation_does_not_wait_for_earlier_rechecks(streams: Streams) -> None:
    names = [f"user-{number}" for number in range(50)]
    await streams.opened_by(*names)
    [exchange] = await streams.opened_by("ada")
    before = streams.lookups
    streams.scope.hold()
    streams.change(*names)
    await until(lambda: streams.scope.under_way > 0)
    streams.delete_key("ada", 6)
    assert streams.revocation.rechecks.workers == 8, "the number of workers is limited"
    streams.scope.resume()
    await until(lambda: exchange.done)
    assert streams.scope.queried[before:].index(key_of("ada")) < 20
    await streams.settled()
    assert streams.ended == {"key_gone": 1}


async def test_after_a_change_that_cannot_be_looked_up_exchanges_end_when_a_request_would_be_refused(
    streams: Streams,
) -> None:
    """The feed is read over a connection of its own, while lookups fail. The key's grant is no longer cached."""
    [exchange] = await streams.opened_by("ada")
    streams.scope.down = ConnectionRefusedError()
    streams.change("ada")
    reported = streams.clock.now
    while not exchange.done:
        assert streams.clock.now < reported + LOOKUP + 2
        streams.clock.now += 1
        streams.read_at = streams.clock.now
        await streams.swept()
    assert streams.clock.now >= reported + LOOKUP
    assert streams.ended == {"unconfirmed": 1}


async def test_a_failing_site_lookup_ends_only_exchanges_that_need_it(streams: Streams) -> None:
    """The table of sites is locked, for example, and one of the exchanges names no site."""
    streams.add_user("ada", all_sites=True)
    streams.scope.sites |= {"shop": "acme", "docs": "acme"}
    shop, siteless, docs = [await streams.opened("ada", *sites) for sites in (("shop",), (), ("docs",))]
    streams.scope.failing[FIND_SITES] = ConnectionResetError()
    streams.grants.drop_all()
    streams.revocation.changed(Changes(everything=True))
    await streams.settled()
    streams.clock.now += LOOKUP
    await streams.swept()
    assert [exchange.revoked for exchange in (shop, siteless, docs)] == [SCOPE_UNAVAILABLE, None, SCOPE_UNAVAILABLE]
    assert streams.ended == {"unconfirmed": 2}


async def test_queued_exchanges_survive_a_short_outage(streams: Streams) -> None:
    """After a restore all exchanges are rechecked. The queue takes longer than a request waits, then the database
    fails for a moment."""
    names = [f"user-{number}" for number in range(30)]
    await streams.opened_by(*names)
    streams.grants.drop_all()
    streams.scope.hold()
    streams.revocation.changed(Changes(everything=True))
    await until(lambda: streams.scope.under_way > 0)
    in_progress = len(streams.revocation.rechecks.in_progress)
    streams.clock.now += LOOKUP + 1
    streams.read_at = streams.clock.now
    streams.scope.down = ConnectionResetError()
    streams.scope.resume()
    await streams.settled()
    streams.scope.down = None
    streams.clock.now += 1
    await streams.swept()
    await streams.swept()
    assert streams.ended == {"unconfirmed": in_progress}, "only these had waited for an answer for too long"
    assert in_progress < len(names)


async def test_an_internal_error_ends_the_exchanges_of_the_key(streams: Streams) -> None:
    streams.add_user("ada", "shop", expires_at="not a time")
    exchange = await streams.opened("ada", "shop")
    streams.revocation.changed(Changes(keys={key_of("ada"): 5}))
    await streams.settled()
    assert exchange.done
    assert streams.ended == {"unconfirmed": 1}
    assert not streams.revocation.rechecks.in_progress


async def test_further_changes_do_not_extend_the_deadline(streams: Streams) -> None:
    [exchange] = await streams.opened_by("ada")
    streams.scope.down = ConnectionRefusedError()
    reported = streams.clock.now
    while not exchange.done:
        assert streams.clock.now < reported + LOOKUP + 2
        streams.clock.now += 1
        streams.read_at = streams.clock.now
        streams.change("ada")
        await streams.swept()


async def test_a_change_to_a_key_that_a_sweep_has_queued_sets_a_deadline(streams: Streams) -> None:
    """Exchanges that nothing confirms survive an outage, but not if their key is known to have changed."""
    names = [f"user-{number}" for number in range(30)]
    await streams.opened_by(*names)
    streams.clock.now += TTL + 1
    streams.scope.hold()
    streams.revocation.sweep()
    await until(lambda: streams.scope.under_way > 0)
    queued = [name for name in names if key_of(name) in streams.queued]
    streams.change(queued[0])
    streams.scope.down = ConnectionRefusedError()
    streams.scope.resume()
    await streams.settled()
    streams.clock.now += LOOKUP + 1
    await streams.swept()
    assert [exchange.done for exchange in streams.open] == [name == queued[0] for name in names]
