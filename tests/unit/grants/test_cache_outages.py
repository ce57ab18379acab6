"""The grant cache while the database is down, and after it is back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from proxy.grants.cache import UNKNOWN, Grants, ScopeUnavailable
from tests.scopes import MemoryScope, until
from tests.unit.grants.harness import KEY, OTHER, Harness, harness, key, known

__all__ = ["harness"]


# The database is down.


async def test_a_lookup_that_times_out_does_not_make_the_key_unknown(harness: Harness) -> None:
    harness.scope.hold()
    grants = harness.grants(lookup_seconds=0.05)
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(KEY)
    assert harness.results == {"error": 1}
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
async def test_a_cached_grant_is_used_stale_while_the_database_fails(harness: Harness, failure: Exception) -> None:
    harness.scope.add(KEY)
    grants = harness.grants(ttl_seconds=30, stale_seconds=300)
    await grants.fetch(KEY)
    harness.scope.down = failure
    harness.clock.now += 31
    assert grants.peek(KEY) is None
    assert known(await grants.fetch(KEY))
    harness.clock.now += 298
    assert known(grants.peek(KEY))
    harness.clock.now += 1
    assert grants.peek(KEY) is None
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(KEY)
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(OTHER)
    assert harness.results["stale"] == 2
    assert not harness.lost


async def test_while_the_breaker_is_open_requests_do_not_wait_and_one_lookup_probes(harness: Harness) -> None:
    for number in range(20):
        harness.scope.add(key(number))
    grants = harness.grants(ttl_seconds=30)
    await asyncio.gather(*(grants.fetch(key(number)) for number in range(20)))
    harness.clock.now += 40
    harness.scope.down = ConnectionRefusedError()
    assert known(await grants.fetch(key(0)))
    harness.clock.now += 1
    harness.scope.hold()
    before = len(harness.scope.asked)
    for _ in range(3):
        assert all(known(grants.peek(key(number))) for number in range(20))
    await until(lambda: harness.scope.under_way == 1)
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(OTHER)
    assert len(harness.scope.asked) == before + 1
    harness.scope.down = None
    harness.scope.let_go()
    await until(lambda: not grants.database.keys.is_open)
    assert await grants.fetch(OTHER) is UNKNOWN


async def test_recovery_is_detected_without_traffic(harness: Harness) -> None:
    """The last requests before a pause met an outage, and the first ones after it arrive all at once."""
    grants = harness.grants()
    harness.scope.down = ConnectionRefusedError()
    for asking in (grants.fetch(KEY), grants.fetch_sites(["shop"])):
        with pytest.raises(ScopeUnavailable):
            await asking
    harness.scope.down = None
    harness.scope.asked.clear()
    harness.clock.now += 1
    harness.scope.hold()
    for _ in range(3):
        grants.try_again()
        await until(lambda: harness.scope.under_way == 2)
    harness.scope.let_go()
    await until(lambda: not grants.database.sites_cut_off)
    grants.try_again()
    assert set(await asyncio.gather(*(grants.fetch(key(number)) for number in range(20)))) == {UNKNOWN}
    assert len(harness.scope.asked) == 2 + 20


class Stuck(MemoryScope):
    """A database that does not answer the second query for KEY."""

    async def fetch(self, query: str, /, *args: Any) -> Sequence[dict[str, Any]]:
        rows = await super().fetch(query, *args)
        if self.asked.count(KEY) == 2 and args[0] == KEY:
            await asyncio.Event().wait()
        return rows


async def test_the_recovery_probe_is_never_queued(harness: Harness) -> None:
    harness.scope = Stuck()
    harness.scope.add(KEY)
    grants = harness.grants(lookups_at_once=4)  # one refresh at once
    await grants.fetch(KEY)
    harness.clock.now += 25
    assert grants.peek(KEY) is not None, "it is refreshed in the background"
    await until(lambda: harness.scope.asked.count(KEY) == 2)
    grants.database.keys.failed("no answer")
    harness.clock.now += 1
    grants.try_again()
    assert await grants.fetch(OTHER) is UNKNOWN


async def test_a_request_that_would_be_queued_does_not_take_the_probe(harness: Harness) -> None:
    harness.scope = Stuck()
    harness.scope.add(KEY)
    grants = harness.grants(lookups_at_once=1)
    await grants.fetch(KEY)
    harness.clock.now += 400
    stuck = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: harness.scope.asked.count(KEY) == 2)
    grants.database.keys.failed("no answer")
    harness.clock.now += 1
    with pytest.raises(ScopeUnavailable):
        await asyncio.wait_for(grants.fetch(key(1)), 10)
    assert await grants.confirm(OTHER) is UNKNOWN, "which uses another queue"
    assert not grants.database.keys.is_open
    stuck.cancel()


async def test_an_idle_connection_that_was_closed_is_not_an_outage(harness: Harness) -> None:
    harness.scope.add(KEY)
    harness.scope.failures = [asyncpg.ConnectionDoesNotExistError("cut")]
    grants = harness.grants()
    assert known(await grants.fetch(KEY))
    assert not grants.database.keys.is_open


async def test_a_connection_the_server_said_goodbye_on_is_terminated(harness: Harness) -> None:
    class Goodbye(MemoryScope):
        terminated = 0

        def terminate(self) -> None:
            self.terminated += 1

    scope = Goodbye()
    scope.add(KEY)
    scope.failures = [asyncpg.InternalClientError("goodbye")]
    harness.scope = scope
    assert known(await harness.grants().fetch(KEY))
    assert scope.terminated == 1


async def test_a_lookup_that_cannot_connect_does_not_retry(harness: Harness) -> None:
    class Unreachable(MemoryScope):
        tries = 0

        @asynccontextmanager
        async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[MemoryScope]:  # noqa: ASYNC109
            self.tries += 1
            raise ConnectionRefusedError
            yield self

    scope = Unreachable()
    harness.scope = scope
    with pytest.raises(ScopeUnavailable):
        await harness.grants().fetch(KEY)
    assert scope.tries == 1


async def test_an_unexpected_error_in_a_lookup_ends_it(harness: Harness) -> None:
    harness.scope.failures = [ZeroDivisionError()]
    with pytest.raises(ScopeUnavailable):
        await harness.grants().fetch(KEY)


async def test_closing_answers_all_waiting_callers(harness: Harness) -> None:
    harness.scope.hold()
    grants = harness.grants()
    waiting = [asyncio.create_task(grants.fetch(key(number))) for number in range(20)]
    sites = asyncio.create_task(grants.fetch_sites(("shop",)))
    await until(lambda: harness.scope.under_way > 1)
    await grants.close()
    outcomes = await asyncio.gather(sites, *waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ScopeUnavailable}
    assert harness.scope.under_way == 0


@pytest.mark.parametrize("followed", [True, False])
@pytest.mark.parametrize("asked", ["a key", "an unknown key", "a site"])
async def test_an_answer_older_than_the_feed_is_discarded(harness: Harness, asked: str, followed: bool) -> None:
    """It comes from a standby or an old primary, so the grant may have been revoked long ago.

    The same holds while the feed is down: when it resumes, it does not repeat changes that it has already reported.
    """
    grants = harness.grants()
    harness.scope.add(KEY)
    harness.scope.sites["shop"] = "acme"

    async def ask() -> object:
        return await (
            grants.fetch_sites(("shop",)) if asked == "a site" else grants.fetch(KEY if asked == "a key" else OTHER)
        )

    grants.feed_at(7)
    if not followed:
        grants.feed_left()
    harness.scope.position = 6
    with pytest.raises(ScopeUnavailable):
        await ask()
    harness.scope.position = 7
    harness.clock.now += 1
    assert await ask()


async def test_an_answer_after_a_restore_is_accepted_once_the_feed_is_lost(harness: Harness) -> None:
    scope, grants = harness.scope, harness.grants()
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


# The database is back, and the feed reports the changes of the meantime.


async def outage(harness: Harness, grants: Grants, seconds: float) -> None:
    """Simulate an outage of this length. The database answers again, but the feed has not resumed yet."""
    grants.feed_left()
    harness.scope.down = ConnectionRefusedError()
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(key(999))
    harness.clock.now += seconds
    harness.scope.down = None
    assert await grants.fetch(key(998)) is UNKNOWN
    harness.scope.asked.clear()


@pytest.mark.parametrize("seconds", [5, 50, 5000])
async def test_after_an_outage_grants_that_the_feed_does_not_mention_are_still_valid(
    harness: Harness, seconds: float
) -> None:
    grants = harness.grants(ttl_seconds=30, stale_seconds=300)
    for digest in (KEY, OTHER):
        harness.scope.add(digest, digest.hex())
        await grants.fetch(digest)
    await outage(harness, grants, seconds)
    grants.drop(OTHER)
    assert grants.database.sites_cut_off
    grants.feed_back(2)
    assert not grants.database.sites_cut_off
    harness.clock.now += 9.9  # 30 × 0.4 = 12 s after the feed was read, which was 2 s ago
    assert known(grants.peek(KEY))
    assert grants.peek(OTHER) is None
    await asyncio.sleep(0)
    assert harness.scope.asked == []


async def test_the_feed_resuming_closes_the_circuit_breakers(harness: Harness) -> None:
    grants = harness.grants()
    grants.feed_left()
    harness.scope.down = ConnectionRefusedError()
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(key(999))
    with pytest.raises(ScopeUnavailable):
        await grants.fetch_sites(("shop",))
    harness.scope.down = None
    grants.feed_back(0)
    answers = await asyncio.gather(*(grants.fetch(key(number)) for number in range(5)))
    assert answers == [UNKNOWN] * 5
    assert await grants.fetch_sites(("shop",)) == {"shop": None}


async def test_the_ttl_of_an_entry_restarts_when_the_feed_resumes(harness: Harness) -> None:
    grants = harness.grants(ttl_seconds=30, stale_seconds=0)
    harness.scope.add(KEY)
    await grants.fetch(KEY)
    await outage(harness, grants, 50)
    grants.feed_back(2)
    harness.clock.now += 16  # 30 × 0.6 = 18 s
    assert known(grants.peek(KEY))
    await until(lambda: harness.scope.asked == [KEY])
    harness.clock.now += 30
    assert grants.peek(KEY) is None


async def test_refreshes_are_spread_after_the_feed_resumes(harness: Harness) -> None:
    spread = iter([0.0, 0.0, 0.0, 1.0])
    grants = harness.grants(ttl_seconds=30, jitter=lambda: next(spread))
    for digest in (KEY, OTHER):
        harness.scope.add(digest)
        await grants.fetch(digest)
    await outage(harness, grants, 50)
    grants.feed_back(0)
    for digest in (KEY, OTHER):
        assert known(grants.peek(digest))
    now = harness.clock.now
    assert [grants.fresh(digest) - now for digest in (KEY, OTHER)] == pytest.approx([12, 24])


async def test_after_an_outage_stale_grants_are_used_for_a_second_until_the_feed_resumes(harness: Harness) -> None:
    grants = harness.grants(ttl_seconds=30, stale_seconds=300)
    harness.scope.add(KEY)
    await grants.fetch(KEY)
    await outage(harness, grants, 50)
    assert grants.database.sites_cut_off
    assert known(grants.peek(KEY))
    assert grants.idle, "no refresh is queued while the feed is expected back"
    await asyncio.sleep(0)
    assert harness.scope.asked == []
    harness.clock.now += 1
    assert not grants.database.sites_cut_off
    assert grants.peek(KEY) is None
    assert known(await grants.fetch(KEY))
    assert harness.scope.asked == [KEY]


async def test_while_only_the_feed_is_down_grants_expire_after_their_ttl(harness: Harness) -> None:
    grants = harness.grants(ttl_seconds=30, stale_seconds=300)
    harness.scope.add(KEY)
    await grants.fetch(KEY)
    grants.feed_left()
    harness.clock.now += 30
    assert not grants.database.sites_cut_off
    assert grants.peek(KEY) is None


async def test_a_queued_refresh_is_skipped_if_the_feed_validates_the_entry(harness: Harness) -> None:
    grants = harness.grants(ttl_seconds=30, lookups_at_once=4)
    for digest in (KEY, OTHER):
        harness.scope.add(digest)
        await grants.fetch(digest)
    harness.scope.asked.clear()
    harness.clock.now += 25
    harness.scope.hold()
    for digest in (KEY, OTHER):
        assert known(grants.peek(digest))
    await until(lambda: harness.scope.asked == [KEY])
    grants.feed_back(0)
    harness.scope.let_go()
    await until(lambda: grants.fresh(KEY) > harness.clock.now)
    assert known(grants.peek(OTHER))
    await until(lambda: not harness.scope.under_way)
    assert harness.scope.asked == [KEY]
    harness.clock.now += 25
    assert known(grants.peek(OTHER))
    await until(lambda: harness.scope.asked == [KEY, OTHER])


async def test_a_queued_refresh_is_skipped_while_the_feed_is_expected_back(harness: Harness) -> None:
    grants = harness.grants(ttl_seconds=30, lookups_at_once=4)
    for digest in (KEY, OTHER):
        harness.scope.add(digest)
        await grants.fetch(digest)
    harness.scope.asked.clear()
    harness.clock.now += 25
    harness.scope.hold()
    for digest in (KEY, OTHER):
        assert known(grants.peek(digest))
    await until(lambda: harness.scope.asked == [KEY])
    grants.feed_left()
    grants.database.keys.failed("no answer")
    grants.answered()
    harness.scope.let_go()
    await until(lambda: grants.idle)
    assert harness.scope.asked == [KEY]


async def test_a_refresh_scheduled_just_as_the_last_one_ends_still_runs(harness: Harness) -> None:
    """A task that has just ended takes no more work."""
    grants = harness.grants(ttl_seconds=30, lookups_at_once=4)
    for digest in (KEY, OTHER):
        harness.scope.add(digest)
        await grants.fetch(digest)
    harness.scope.asked.clear()

    def schedule_the_other() -> None:
        harness.clock.now += 25
        grants.peek(OTHER)

    harness.clock.now += 25
    grants.peek(KEY)
    grants.feed_back(0)  # so the refresh ends as soon as its task runs, without a query
    asyncio.get_running_loop().call_soon(schedule_the_other)
    await until(lambda: harness.scope.asked == [OTHER])
