"""What is remembered of the scope table while it cannot be asked, and when it is back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from proxy.grants.cache import UNKNOWN, Grants, ScopeUnavailable
from tests.scopes import MemoryScope, until
from tests.unit.grants_door import KEY, OTHER, Door, door, key, known

__all__ = ["door"]


# The database is away.


async def test_a_lookup_that_takes_too_long_is_given_up_and_never_called_unknown(door: Door) -> None:
    door.scope.hold()
    grants = door.grants(lookup_seconds=0.05)
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(KEY)
    assert door.heard == {"error": 1}
    assert grants.database.keys.is_open


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.CannotConnectNowError("starting up"),
        asyncpg.UndefinedTableError("no table"),
    ],
)
async def test_while_the_database_fails_a_held_grant_is_served_until_it_is_too_stale(
    door: Door, failure: Exception
) -> None:
    door.scope.add(KEY)
    grants = door.grants(ttl_seconds=30, stale_seconds=300)
    await grants.fetch(KEY)
    door.scope.down = failure
    door.clock.now += 31
    assert grants.peek(KEY) is None
    assert known(await grants.fetch(KEY))
    door.clock.now += 298
    assert known(grants.peek(KEY))
    door.clock.now += 1
    assert grants.peek(KEY) is None
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(KEY)
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(OTHER)
    assert door.heard["stale"] == 2
    assert not door.lost


async def test_once_the_database_is_known_to_be_down_nobody_waits_and_one_lookup_at_a_time_tries(door: Door) -> None:
    for number in range(20):
        door.scope.add(key(number))
    grants = door.grants(ttl_seconds=30)
    await asyncio.gather(*(grants.fetch(key(number)) for number in range(20)))
    door.clock.now += 40
    door.scope.down = ConnectionRefusedError()
    assert known(await grants.fetch(key(0)))
    door.clock.now += 1
    door.scope.hold()
    before = len(door.scope.asked)
    for _ in range(3):
        assert all(known(grants.peek(key(number))) for number in range(20))
    await until(lambda: door.scope.under_way == 1)
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(OTHER)
    assert len(door.scope.asked) == before + 1
    door.scope.down = None
    door.scope.let_go()
    await until(lambda: not grants.database.keys.is_open)
    assert await grants.fetch(OTHER) is UNKNOWN


async def test_nobody_is_refused_for_want_of_a_probe_where_it_was_tried_again_meanwhile(door: Door) -> None:
    """The last requests before a pause met an outage, and the first ones after it come all at once."""
    grants = door.grants()
    door.scope.down = ConnectionRefusedError()
    for asking in (grants.fetch(KEY), grants.fetch_sites(["shop"])):
        with pytest.raises(ScopeUnavailable):
            await asking
    door.scope.down = None
    door.scope.asked.clear()
    door.clock.now += 1
    door.scope.hold()
    for _ in range(3):
        grants.try_again()
        await until(lambda: door.scope.under_way == 2)
    door.scope.let_go()
    await until(lambda: not grants.database.sites_cut_off)
    grants.try_again()
    assert set(await asyncio.gather(*(grants.fetch(key(number)) for number in range(20)))) == {UNKNOWN}
    assert len(door.scope.asked) == 2 + 20


class Stuck(MemoryScope):
    """A refresh of KEY is not answered; others are."""

    async def fetch(self, query: str, /, *args: Any) -> Sequence[dict[str, Any]]:
        rows = await super().fetch(query, *args)
        if self.asked.count(KEY) == 2 and args[0] == KEY:
            await asyncio.Event().wait()
        return rows


async def test_to_try_again_waits_in_no_line_and_so_keeps_nobody_from_passing(door: Door) -> None:
    door.scope = Stuck()
    door.scope.add(KEY)
    grants = door.grants(lookups_at_once=4)  # one refresh at once
    await grants.fetch(KEY)
    door.clock.now += 25
    assert grants.peek(KEY) is not None, "and in the background it is refreshed"
    await until(lambda: door.scope.asked.count(KEY) == 2)
    grants.database.keys.failed("no answer")
    door.clock.now += 1
    grants.try_again()
    assert await grants.fetch(OTHER) is UNKNOWN


async def test_who_would_wait_in_line_keeps_nobody_from_finding_out_whether_the_database_is_back(door: Door) -> None:
    door.scope = Stuck()
    door.scope.add(KEY)
    grants = door.grants(lookups_at_once=1)
    await grants.fetch(KEY)
    door.clock.now += 400
    stuck = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: door.scope.asked.count(KEY) == 2)
    grants.database.keys.failed("no answer")
    door.clock.now += 1
    with pytest.raises(ScopeUnavailable):
        await asyncio.wait_for(grants.fetch(key(1)), 10)
    assert await grants.confirm(OTHER) is UNKNOWN, "which is in another line"
    assert not grants.database.keys.is_open
    stuck.cancel()


async def test_a_connection_that_was_cut_while_it_lay_idle_is_no_outage(door: Door) -> None:
    door.scope.add(KEY)
    door.scope.failures = [asyncpg.ConnectionDoesNotExistError("cut")]
    grants = door.grants()
    assert known(await grants.fetch(KEY))
    assert not grants.database.keys.is_open


async def test_a_connection_that_heard_a_good_bye_is_ended_so_that_nobody_is_lent_it_again(door: Door) -> None:
    class Farewell(MemoryScope):
        terminated = 0

        def terminate(self) -> None:
            self.terminated += 1

    scope = Farewell()
    scope.add(KEY)
    scope.failures = [asyncpg.InternalClientError("good-bye")]
    door.scope = scope
    assert known(await door.grants().fetch(KEY))
    assert scope.terminated == 1


async def test_where_no_connection_can_be_made_a_lookup_tries_once(door: Door) -> None:
    class Away(MemoryScope):
        tries = 0

        @asynccontextmanager
        async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[MemoryScope]:  # noqa: ASYNC109
            self.tries += 1
            raise ConnectionRefusedError
            yield self

    scope = Away()
    door.scope = scope
    with pytest.raises(ScopeUnavailable):
        await door.grants().fetch(KEY)
    assert scope.tries == 1


async def test_a_defect_in_a_lookup_is_an_error_and_not_a_wait_without_end(door: Door) -> None:
    door.scope.failures = [ZeroDivisionError()]
    with pytest.raises(ScopeUnavailable):
        await door.grants().fetch(KEY)


async def test_closing_answers_everyone_who_waits(door: Door) -> None:
    door.scope.hold()
    grants = door.grants()
    waiting = [asyncio.create_task(grants.fetch(key(number))) for number in range(20)]
    sites = asyncio.create_task(grants.fetch_sites(("shop",)))
    await until(lambda: door.scope.under_way > 1)
    await grants.close()
    outcomes = await asyncio.gather(sites, *waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ScopeUnavailable}
    assert door.scope.under_way == 0


@pytest.mark.parametrize("followed", [True, False])
@pytest.mark.parametrize("asked", ["a key", "an unknown key", "a site"])
async def test_an_answer_from_before_what_the_feed_has_said_does_not_land(
    door: Door, asked: str, followed: bool
) -> None:
    """It is a standby's, or an old primary's that nobody has told: what it allows may have been revoked long ago.

    Nor while the feed is away: it will not say again what it has said, and vouch for what landed meanwhile.
    """
    grants = door.grants()
    door.scope.add(KEY)
    door.scope.sites["shop"] = "acme"

    async def ask() -> object:
        return await (
            grants.fetch_sites(("shop",)) if asked == "a site" else grants.fetch(KEY if asked == "a key" else OTHER)
        )

    grants.feed_at(7)
    if not followed:
        grants.feed_left()
    door.scope.position = 6
    with pytest.raises(ScopeUnavailable):
        await ask()
    door.scope.position = 7
    door.clock.now += 1
    assert await ask()


async def test_an_answer_from_after_a_restore_is_no_outage_where_the_feed_is_given_up_meanwhile(door: Door) -> None:
    scope, grants = door.scope, door.grants()
    scope.add(KEY, "ada", "shop")
    grants.feed_at(7)
    scope.position = 3  # restored from an older dump
    scope.hold()
    asked = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: scope.under_way == 1)
    grants.feed_at(0)
    grants.answered()
    grants.drop_all()
    grants.feed_at(3)
    scope.let_go()
    assert await asked != UNKNOWN
    assert not grants.database.keys.is_open


# The database is back, and the feed says what changed meanwhile.


async def outage(door: Door, grants: Grants, seconds: float) -> None:
    """Let the database be away for so long, and answer again before the feed is read again."""
    grants.feed_left()
    door.scope.down = ConnectionRefusedError()
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(key(999))
    door.clock.now += seconds
    door.scope.down = None
    assert await grants.fetch(key(998)) is UNKNOWN
    door.scope.asked.clear()


@pytest.mark.parametrize("seconds", [5, 50, 5000])
async def test_after_an_outage_what_the_feed_did_not_mention_is_as_good_as_asked_for(
    door: Door, seconds: float
) -> None:
    grants = door.grants(ttl_seconds=30, stale_seconds=300)
    for digest in (KEY, OTHER):
        door.scope.add(digest, digest.hex())
        await grants.fetch(digest)
    await outage(door, grants, seconds)
    grants.drop(OTHER)
    assert grants.database.sites_cut_off
    grants.feed_back(2)
    assert not grants.database.sites_cut_off
    door.clock.now += 9.9  # 30 × 0.4 = 12 s after the reading, which was 2 s ago
    assert known(grants.peek(KEY))
    assert grants.peek(OTHER) is None
    await asyncio.sleep(0)
    assert door.scope.asked == []


async def test_when_the_feed_is_back_nobody_is_refused_for_want_of_a_probe(door: Door) -> None:
    grants = door.grants()
    grants.feed_left()
    door.scope.down = ConnectionRefusedError()
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(key(999))
    with pytest.raises(ScopeUnavailable):
        await grants.fetch_sites(("shop",))
    door.scope.down = None
    grants.feed_back(0)
    answers = await asyncio.gather(*(grants.fetch(key(number)) for number in range(5)))
    assert answers == [UNKNOWN] * 5
    assert await grants.fetch_sites(("shop",)) == {"shop": None}


async def test_what_the_feed_vouched_for_is_refreshed_and_ends_as_if_it_had_been_read_then(door: Door) -> None:
    grants = door.grants(ttl_seconds=30, stale_seconds=0)
    door.scope.add(KEY)
    await grants.fetch(KEY)
    await outage(door, grants, 50)
    grants.feed_back(2)
    door.clock.now += 16  # 30 × 0.6 = 18 s
    assert known(grants.peek(KEY))
    await until(lambda: door.scope.asked == [KEY])
    door.clock.now += 30
    assert grants.peek(KEY) is None


async def test_refreshes_of_what_the_feed_vouched_for_are_spread(door: Door) -> None:
    spread = iter([0.0, 0.0, 0.0, 1.0])
    grants = door.grants(ttl_seconds=30, jitter=lambda: next(spread))
    for digest in (KEY, OTHER):
        door.scope.add(digest)
        await grants.fetch(digest)
    await outage(door, grants, 50)
    grants.feed_back(0)
    for digest in (KEY, OTHER):
        assert known(grants.peek(digest))
    now = door.clock.now
    assert [grants.fresh(digest) - now for digest in (KEY, OTHER)] == pytest.approx([12, 24])


async def test_until_the_feed_is_back_stale_grants_are_served_for_a_second_at_most(door: Door) -> None:
    grants = door.grants(ttl_seconds=30, stale_seconds=300)
    door.scope.add(KEY)
    await grants.fetch(KEY)
    await outage(door, grants, 50)
    assert grants.database.sites_cut_off
    assert known(grants.peek(KEY))
    assert grants.idle, "nothing that is not worth asking takes a place in line"
    await asyncio.sleep(0)
    assert door.scope.asked == []
    door.clock.now += 1
    assert not grants.database.sites_cut_off
    assert grants.peek(KEY) is None
    assert known(await grants.fetch(KEY))
    assert door.scope.asked == [KEY]


async def test_where_only_the_feed_is_away_grants_end_in_their_time(door: Door) -> None:
    grants = door.grants(ttl_seconds=30, stale_seconds=300)
    door.scope.add(KEY)
    await grants.fetch(KEY)
    grants.feed_left()
    door.clock.now += 30
    assert not grants.database.sites_cut_off
    assert grants.peek(KEY) is None


async def test_a_refresh_that_waits_in_line_is_not_made_when_the_feed_makes_it_needless(door: Door) -> None:
    grants = door.grants(ttl_seconds=30, lookups_at_once=4)
    for digest in (KEY, OTHER):
        door.scope.add(digest)
        await grants.fetch(digest)
    door.scope.asked.clear()
    door.clock.now += 25
    door.scope.hold()
    for digest in (KEY, OTHER):
        assert known(grants.peek(digest))
    await until(lambda: door.scope.asked == [KEY])
    grants.feed_back(0)
    door.scope.let_go()
    await until(lambda: grants.fresh(KEY) > door.clock.now)
    assert known(grants.peek(OTHER))
    await until(lambda: not door.scope.under_way)
    assert door.scope.asked == [KEY]
    door.clock.now += 25
    assert known(grants.peek(OTHER))
    await until(lambda: door.scope.asked == [KEY, OTHER])


async def test_a_refresh_that_waits_in_line_is_not_made_when_the_feed_is_about_to_make_it_needless(door: Door) -> None:
    grants = door.grants(ttl_seconds=30, lookups_at_once=4)
    for digest in (KEY, OTHER):
        door.scope.add(digest)
        await grants.fetch(digest)
    door.scope.asked.clear()
    door.clock.now += 25
    door.scope.hold()
    for digest in (KEY, OTHER):
        assert known(grants.peek(digest))
    await until(lambda: door.scope.asked == [KEY])
    grants.feed_left()
    grants.database.keys.failed("no answer")
    grants.answered()
    door.scope.let_go()
    await until(lambda: grants.idle)
    assert door.scope.asked == [KEY]


async def test_a_refresh_that_is_wanted_in_the_moment_the_last_one_ends_is_made_too(door: Door) -> None:
    """A task that has just ended takes nothing on any more."""
    grants = door.grants(ttl_seconds=30, lookups_at_once=4)
    for digest in (KEY, OTHER):
        door.scope.add(digest)
        await grants.fetch(digest)
    door.scope.asked.clear()

    def want_the_other() -> None:
        door.clock.now += 25
        grants.peek(OTHER)

    door.clock.now += 25
    grants.peek(KEY)
    grants.feed_back(0)  # nothing to ask: the refresh is over as soon as its task runs
    asyncio.get_running_loop().call_soon(want_the_other)
    await until(lambda: door.scope.asked == [OTHER])
