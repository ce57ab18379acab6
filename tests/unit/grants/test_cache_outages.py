"""The grant cache while the database is down, and after it is back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from proxy.grants.cache import UNKNOWN, ScopeUnavailable
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
    assert grants.database.key_breaker.is_open


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.CannotConnectNowError("starting up"),
        asyncpg.UndefinedTableError("no table"),
    ],
)
async def test_a_stale_cached_grant_is_used_while_the_database_is_failing(harness: Harness, failure: Exception) -> None:
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
    before = len(harness.scope.queried)
    for _ in range(3):
        assert all(known(grants.peek(key(number))) for number in range(20))
    await until(lambda: harness.scope.under_way == 1)
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(OTHER)
    assert len(harness.scope.queried) == before + 1
    harness.scope.down = None
    harness.scope.resume()
    await until(lambda: not grants.database.key_breaker.is_open)
    assert await grants.fetch(OTHER) is UNKNOWN


async def test_recovery_is_detected_without_traffic(harness: Harness) -> None:
    """The last requests before a pause hit an outage, and the first ones after the pause arrive all at once."""
    grants = harness.grants()
    harness.scope.down = ConnectionRefusedError()
    for asking in (grants.fetch(KEY), grants.fetch_sites(["shop"])):
        with pytest.raises(ScopeUnavailable):
            await asking
    harness.scope.down = None
    harness.scope.queried.clear()
    harness.clock.now += 1
    harness.scope.hold()
    for _ in range(3):
        grants.probe()
        await until(lambda: harness.scope.under_way == 2)
    harness.scope.resume()
    await until(lambda: not grants.database.sites_cut_off)
    grants.probe()
    assert set(await asyncio.gather(*(grants.fetch(key(number)) for number in range(20)))) == {UNKNOWN}
    assert len(harness.scope.queried) == 2 + 20


class Stuck(MemoryScope):
    """A database that does not answer the second query for KEY."""

    async def fetch(self, query: str, /, *args: Any) -> Sequence[dict[str, Any]]:
        rows = await super().fetch(query, *args)
        if self.queried.count(KEY) == 2 and args[0] == KEY:
            await asyncio.Event().wait()
        return rows


async def test_the_recovery_probe_is_never_queued(harness: Harness) -> None:
    harness.scope = Stuck()
    harness.scope.add(KEY)
    grants = harness.grants(lookups_at_once=4)  # one refresh at once
    await grants.fetch(KEY)
    harness.clock.now += 25
    assert grants.peek(KEY) is not None, "it is refreshed in the background"
    await until(lambda: harness.scope.queried.count(KEY) == 2)
    grants.database.key_breaker.failed("no answer")
    harness.clock.now += 1
    grants.probe()
    assert await grants.fetch(OTHER) is UNKNOWN


async def test_a_request_that_would_be_queued_does_not_become_the_probe(harness: Harness) -> None:
    harness.scope = Stuck()
    harness.scope.add(KEY)
    grants = harness.grants(lookups_at_once=1)
    await grants.fetch(KEY)
    harness.clock.now += 400
    stuck = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: harness.scope.queried.count(KEY) == 2)
    grants.database.key_breaker.failed("no answer")
    harness.clock.now += 1
    with pytest.raises(ScopeUnavailable):
        await asyncio.wait_for(grants.fetch(key(1)), 10)
    assert await grants.confirm(OTHER) is UNKNOWN, "a confirmation uses another queue, so it can be the probe"
    assert not grants.database.key_breaker.is_open
    stuck.cancel()


async def test_an_idle_connection_that_was_closed_is_not_an_outage(harness: Harness) -> None:
    harness.scope.add(KEY)
    harness.scope.failures = [asyncpg.ConnectionDoesNotExistError("cut")]
    grants = harness.grants()
    assert known(await grants.fetch(KEY))
    assert not grants.database.key_breaker.is_open


async def test_a_connection_with_an_internal_client_error_is_terminated(harness: Harness) -> None:
    class Broken(MemoryScope):
        terminated = 0

        def terminate(self) -> None:
            self.terminated += 1

    scope = Broken()
    scope.add(KEY)
    scope.failures = [asyncpg.InternalClientError("unexpected message")]
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


async def test_close_answers_every_waiting_caller(harness: Harness) -> None:
    harness.scope.hold()
    grants = harness.grants()
    waiting = [asyncio.create_task(grants.fetch(key(number))) for number in range(20)]
    sites = asyncio.create_task(grants.fetch_sites(("shop",)))
    await until(lambda: harness.scope.under_way > 1)
    await grants.close()
    outcomes = await asyncio.gather(sites, *waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ScopeUnavailable}
    assert harness.scope.under_way == 0


@pytest.mark.parametrize("looked_up", ["a key", "an unknown key", "a site"])
async def test_an_answer_of_a_standby_is_discarded(harness: Harness, looked_up: str) -> None:
    """The standby may lag behind, or never learn of a revocation because it was cut off."""
    grants = harness.grants()
    harness.scope.add(KEY)
    harness.scope.sites["shop"] = "acme"
    harness.scope.standby = True
    with pytest.raises(ScopeUnavailable):
        await (
            grants.fetch_sites(("shop",))
            if looked_up == "a site"
            else grants.fetch(KEY if looked_up == "a key" else OTHER)
        )


@pytest.mark.parametrize("followed", [True, False])
@pytest.mark.parametrize("looked_up", ["a key", "an unknown key", "a site"])
async def test_an_answer_older_than_the_feed_is_discarded(harness: Harness, looked_up: str, followed: bool) -> None:
    """Such an answer comes from a standby or an old primary, so the grant may have been revoked long ago.

    The same holds while the feed is down: when it resumes, it does not repeat changes that it has already reported.
    """
    grants = harness.grants()
    harness.scope.add(KEY)
    harness.scope.sites["shop"] = "acme"

    async def look_up() -> object:
        return await (
            grants.fetch_sites(("shop",))
            if looked_up == "a site"
            else grants.fetch(KEY if looked_up == "a key" else OTHER)
        )

    grants.feed_at(7)
    if not followed:
        grants.feed_down()
    harness.scope.position = 6
    with pytest.raises(ScopeUnavailable):
        await look_up()
    harness.scope.position = 7
    harness.clock.now += 1
    assert await look_up()


async def test_an_answer_after_a_restore_is_accepted_once_the_feed_is_lost(harness: Harness) -> None:
    scope, grants = harness.scope, harness.grants()
    scope.add(KEY, "ada", "shop")
    grants.feed_at(7)
    scope.position = 3  # restored from an older dump
    scope.hold()
    lookup = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: scope.under_way == 1)
    grants.feed_at(0)
    grants.answered()
    grants.drop_all()
    grants.feed_at(3)
    scope.resume()
    assert await lookup != UNKNOWN
    assert not grants.database.key_breaker.is_open
