"""What is remembered of the scope table: for how long, for whom, and what makes it void."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import asyncpg
import pytest

from proxy.budget import LookupBudget
from proxy.changes import Changes
from proxy.decision import Grant
from proxy.grants import UNKNOWN, Grants, ScopeUnavailable, TooManyUnknownKeys, connections_used, narrowed
from proxy.settings import GrantSettings
from tests.scopes import Clock, MemoryScope, until

KEY = sha256(b"a key").digest()
OTHER = sha256(b"another key").digest()


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


class Door:
    """Grants over a scope table in memory, and what was heard from them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.scope = MemoryScope()
        self.heard: Counter[str] = Counter()
        self.lost: list[Changes] = []
        self.opened: list[Grants] = []

    def grants(
        self, *, budget: LookupBudget | None = None, jitter: Callable[[], float] = lambda: 0.5, **settings: float
    ) -> Grants:
        grants = Grants(
            GrantSettings.model_validate({"lookup_seconds": 30} | settings),
            self.scope,
            on_lookup=lambda result: self.heard.update([result]),
            on_lost=self.lost.append,
            budget=budget,
            clock=self.clock,
            jitter=jitter,
        )
        self.opened.append(grants)
        return grants


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    opened = Door()
    yield opened
    opened.scope.let_go()
    for grants in opened.opened:
        await grants.close()


def known(answer: object) -> Grant:
    assert isinstance(answer, Grant)
    return answer


# One lookup for all who ask.


async def test_a_burst_of_requests_with_one_cold_key_makes_one_query(door: Door) -> None:
    door.scope.add(KEY, "ada", "shop")
    grants = door.grants()
    assert grants.peek(KEY) is None
    answers = await asyncio.gather(*(grants.fetch(KEY) for _ in range(1000)))
    assert {known(answer).user_id for answer in answers} == {"ada"}
    assert door.scope.asked == [KEY]
    assert door.heard == {"miss": 1, "hit": 999}


async def test_a_burst_that_trickles_in_while_the_answer_lands_makes_one_query(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants()
    waiting = []
    for _ in range(50):
        waiting.append(asyncio.create_task(grants.fetch(KEY)))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert door.scope.asked == [KEY]


async def test_a_caller_that_leaves_does_not_take_the_lookup_from_the_others(door: Door) -> None:
    door.scope.add(KEY)
    door.scope.hold()
    grants = door.grants()
    first, second = asyncio.create_task(grants.fetch(KEY)), asyncio.create_task(grants.fetch(KEY))
    await until(lambda: door.scope.under_way == 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    door.scope.let_go()
    assert known(await second).user_id == "ada"
    assert door.scope.asked == [KEY]


async def test_an_answer_lands_even_if_everyone_who_asked_has_left(door: Door) -> None:
    door.scope.add(KEY)
    door.scope.hold()
    grants = door.grants()
    only = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: door.scope.under_way == 1)
    only.cancel()
    door.scope.let_go()
    await until(lambda: grants.peek(KEY) is not None)


# For how long.


async def test_a_grant_is_held_for_its_time_and_asked_for_again_after_it(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(ttl_seconds=30)
    await grants.fetch(KEY)
    door.clock.now += 17
    assert known(grants.peek(KEY)).user_id == "ada"
    door.clock.now += 13
    assert grants.peek(KEY) is None
    await grants.fetch(KEY)
    assert door.scope.asked == [KEY, KEY]
    assert door.heard == {"miss": 2, "hit": 1}


async def test_a_used_grant_is_refreshed_in_the_background_before_it_ends(door: Door) -> None:
    door.scope.add(KEY, "ada", "shop")
    grants = door.grants(ttl_seconds=30)
    first = await grants.fetch(KEY)
    generation = grants.generation
    for _ in range(10):
        door.clock.now += 22
        asked = len(door.scope.asked)
        assert grants.peek(KEY) is first
        assert grants.peek(KEY) is first
        await until(lambda asked=asked: grants.fresh(KEY) > door.clock.now and len(door.scope.asked) == asked + 1)  # type: ignore[misc]
    assert door.heard == {"miss": 1, "hit": 20}
    assert grants.generation == generation, "an equal grant is no change"
    assert grants.peek(KEY) is first, "what was made of the grant outside stays good"


async def test_an_unused_grant_is_not_refreshed(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(ttl_seconds=30)
    await grants.fetch(KEY)
    door.clock.now += 25
    await asyncio.sleep(0)
    assert door.scope.asked == [KEY]


async def test_refreshes_are_spread_over_a_fifth_of_the_time(door: Door) -> None:
    door.scope.add(KEY)
    early, late = door.grants(jitter=lambda: 0.0), door.grants(jitter=lambda: 1.0)
    await early.fetch(KEY)
    await late.fetch(KEY)
    assert (early.fresh(KEY), late.fresh(KEY)) == (1018.0, 1024.0)


async def test_refreshes_have_a_lane_of_their_own(door: Door) -> None:
    for number in range(20):
        door.scope.add(key(number))
    grants = door.grants(lookups_at_once=4)
    await asyncio.gather(*(grants.fetch(key(number)) for number in range(20)))
    door.scope.hold()
    strangers = [asyncio.create_task(grants.fetch(key(number), str(number))) for number in range(100, 120)]
    await until(lambda: door.scope.under_way == 4)
    door.clock.now += 22
    for number in range(20):
        assert known(grants.peek(key(number)))
    await until(lambda: door.scope.under_way == 5)
    door.scope.let_go()
    await until(lambda: all(grants.fresh(key(number)) > door.clock.now for number in range(20)))
    await asyncio.gather(*strangers)
    assert door.scope.most_under_way == 5 < connections_used(GrantSettings(lookups_at_once=4))


async def test_a_grant_that_is_being_refreshed_takes_no_second_place_in_line(door: Door) -> None:
    grants = door.grants(lookups_at_once=8)  # two refreshes
    for digest in (KEY, OTHER):
        door.scope.add(digest)
        await grants.fetch(digest)
    door.scope.asked.clear()
    door.clock.now += 22
    door.scope.hold()
    for _ in range(100):
        assert known(grants.peek(KEY))
    assert known(grants.peek(OTHER))
    await until(lambda: door.scope.asked == [KEY, OTHER])
    assert not grants._refreshes._waiting


async def test_what_is_dropped_in_line_to_be_refreshed_is_not_asked_for_and_holds_up_nothing_behind_it(
    door: Door,
) -> None:
    grants = door.grants(lookups_at_once=4)  # one refresh
    digests = [KEY, OTHER, key(1)]
    for digest in digests:
        door.scope.add(digest, digest.hex())
        await grants.fetch(digest)
    door.scope.asked.clear()
    door.clock.now += 22
    door.scope.hold()
    assert all(known(grants.peek(digest)) for digest in digests)
    await until(lambda: door.scope.under_way == 1)
    grants.drop(OTHER)
    door.scope.let_go()
    await until(lambda: grants.fresh(key(1)) > door.clock.now)
    assert door.scope.asked == [KEY, key(1)]


async def test_a_refresh_joins_the_lookup_of_a_request_that_could_not_wait_for_it(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(ttl_seconds=30)
    await grants.fetch(KEY)
    door.scope.asked.clear()
    door.clock.now += 22
    asking = asyncio.create_task(grants.fetch(KEY))
    assert known(grants.peek(KEY))
    door.clock.now += 10  # before either of them has begun
    assert known(await asking)
    await until(lambda: not grants._refreshes._tasks)
    assert door.scope.asked == [KEY]


async def test_closing_gives_up_refreshes_at_once(door: Door) -> None:
    grants = door.grants(lookups_at_once=4)
    for digest in (KEY, OTHER):
        door.scope.add(digest)
        await grants.fetch(digest)
    door.scope.asked.clear()
    door.clock.now += 22
    door.scope.hold()
    for digest in (KEY, OTHER):
        assert known(grants.peek(digest))
    await until(lambda: door.scope.under_way == 1)
    async with asyncio.timeout(10):
        await grants.close()
    assert not grants._refreshes._tasks
    assert door.scope.asked == [KEY]
    assert door.scope.under_way == 0


async def test_nothing_is_kept_of_a_refresh_that_has_ended(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants()
    await grants.fetch(KEY)
    door.clock.now += 22
    assert known(grants.peek(KEY))
    assert grants._refreshes._tasks
    await until(lambda: not grants._refreshes._tasks)


async def test_a_refresh_that_fails_leaves_the_grant_and_is_tried_again_later(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(ttl_seconds=30)
    await grants.fetch(KEY)
    door.clock.now += 22
    door.scope.down = ConnectionRefusedError()
    assert known(grants.peek(KEY))
    await until(lambda: grants.breaker.down and grants.fresh(KEY) > door.clock.now)
    door.scope.down = None
    door.clock.now += 2
    assert known(grants.peek(KEY))
    await until(lambda: not grants.breaker.down)
    assert grants.fresh(KEY) > door.clock.now


# What a lookup finds to have changed.


async def test_a_key_that_a_refresh_finds_gone_is_dropped_and_told(door: Door) -> None:
    door.scope.add(KEY, "ada", "shop")
    grants = door.grants()
    grant = known(await grants.fetch(KEY))
    generation = grants.generation
    del door.scope.grants[KEY]
    door.clock.now += 22
    assert grants.peek(KEY) is grant
    await until(lambda: grants.peek(KEY) is UNKNOWN)
    assert grants.generation > generation
    assert [set(lost.keys) for lost in door.lost] == [{KEY}]
    assert len(grants) == 0


async def test_a_site_that_a_refresh_finds_taken_is_told(door: Door) -> None:
    door.scope.add(KEY, "ada", "shop", "blog")
    grants = door.grants()
    await grants.fetch(KEY)
    door.scope.add(KEY, "ada", "shop")
    door.clock.now += 22
    generation = grants.generation
    grants.peek(KEY)
    await until(lambda: grants.generation > generation)
    assert known(grants.peek(KEY)).sites == {"shop"}
    assert [set(lost.keys) for lost in door.lost] == [{KEY}]


async def test_a_site_that_a_refresh_finds_added_is_a_change_and_no_loss(door: Door) -> None:
    door.scope.add(KEY, "ada", "shop")
    grants = door.grants()
    await grants.fetch(KEY)
    door.scope.add(KEY, "ada", "shop", "blog")
    door.clock.now += 40
    generation = grants.generation
    assert known(await grants.fetch(KEY)).sites == {"shop", "blog"}
    assert grants.generation > generation
    assert not door.lost


ALL = Grant("ada", "acme", True, frozenset())
TWO = Grant("ada", "acme", False, frozenset({"shop", "blog"}))
ONE = Grant("ada", "acme", False, frozenset({"shop"}))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (ONE, ONE, False),
        (ONE, TWO, False),
        (TWO, ONE, True),
        (ONE, ALL, False),
        (ALL, TWO, True),
        (ALL, Grant("ada", "globex", True, frozenset()), True),
        (ONE, Grant("bob", "acme", False, frozenset({"shop"})), True),
        (ONE, Grant("ada", "acme", False, frozenset({"shop"}), 5.0), True),
        (Grant("ada", "acme", True, frozenset(), 5.0), ALL, False),
        (Grant("ada", "acme", True, frozenset(), 5.0), Grant("ada", "acme", True, frozenset(), 6.0), False),
        (Grant("ada", "acme", True, frozenset(), 5.0), Grant("ada", "acme", True, frozenset(), 4.0), True),
    ],
)
def test_a_grant_is_narrowed_where_something_it_covered_is_covered_no_more(
    before: Grant, after: Grant, expected: bool
) -> None:
    assert narrowed(before, after) is expected


async def test_an_expired_key_keeps_its_grant_for_the_decision_to_refuse(door: Door) -> None:
    door.scope.add(KEY, expires_at=5.0)
    assert known(await door.grants().fetch(KEY)).expires_at == 5.0


# Unknown keys.


async def test_an_unknown_key_is_remembered_shortly_so_that_a_new_key_works_soon(door: Door) -> None:
    grants = door.grants(unknown_ttl_seconds=5)
    assert await grants.fetch(KEY) is UNKNOWN
    assert grants.peek(KEY) is UNKNOWN
    door.scope.add(KEY)
    door.clock.now += 5
    assert grants.peek(KEY) is None
    assert known(await grants.fetch(KEY))
    assert door.heard == {"miss": 2, "unknown_hit": 1}


async def test_a_flood_of_unknown_keys_pushes_out_no_grant(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(max_keys=1)
    await grants.fetch(KEY)
    for number in range(300):
        await grants.fetch(key(number))
    assert known(grants.peek(KEY))
    assert len(grants) == 1


async def test_grants_are_bounded_by_weight_and_the_least_used_goes_first(door: Door) -> None:
    sites = [f"site-{number}" for number in range(5000)]
    grants = door.grants(max_keys=600)
    for number in range(3):
        door.scope.add(key(number), f"user-{number}", *sites)
        door.scope.add(key(number + 10), f"small-{number}")
        await grants.fetch(key(number))
        await grants.fetch(key(number + 10))
    assert grants.peek(key(0)) is None
    assert all(known(grants.peek(key(number))) for number in (1, 2, 11, 12))


async def test_a_grant_heavier_than_all_together_may_be_is_held_alone(door: Door) -> None:
    door.scope.add(KEY, "ada", *(f"site-{number}" for number in range(500)))
    door.scope.add(OTHER)
    grants = door.grants(max_keys=10)
    await grants.fetch(OTHER)
    await grants.fetch(KEY)
    assert known(grants.peek(KEY))
    assert len(grants) == 1


# Bounds, and whom they hit.


async def test_no_more_lookups_run_at_once_than_allowed(door: Door) -> None:
    grants = door.grants(lookups_at_once=3)
    await asyncio.gather(*(grants.fetch(key(number), f"192.0.2.{number % 7}") for number in range(100)))
    assert door.scope.most_under_way == 3


async def test_one_address_never_holds_all_lookups(door: Door) -> None:
    door.scope.hold()
    grants = door.grants(lookups_at_once=8)
    flood = [asyncio.create_task(grants.fetch(key(number), "192.0.2.1")) for number in range(50)]
    await until(lambda: door.scope.under_way == 4)
    other = asyncio.create_task(grants.fetch(KEY, "192.0.2.2"))
    await until(lambda: door.scope.under_way == 5)
    assert door.scope.asked[-1] == KEY
    door.scope.let_go()
    await asyncio.gather(other, *flood)


async def test_a_flood_of_unknown_keys_costs_the_database_the_addresses_budget_and_others_nothing(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(budget=LookupBudget(60, clock=door.clock))
    flood = [asyncio.create_task(grants.fetch(key(number), "192.0.2.1")) for number in range(10_000)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert known(await grants.fetch(KEY, "192.0.2.2"))
    assert len(door.scope.asked) < 20, "the known key did not wait for the flood"
    outcomes = Counter(
        type(outcome) if isinstance(outcome, Exception) else outcome
        for outcome in await asyncio.gather(*flood, return_exceptions=True)
    )
    assert outcomes.keys() == {UNKNOWN, TooManyUnknownKeys}
    assert 60 <= outcomes[UNKNOWN] <= 64
    assert len(door.scope.asked) == outcomes[UNKNOWN] + 1


async def test_a_known_key_is_not_refused_for_the_unknown_ones_of_its_address(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(budget=LookupBudget(2, clock=door.clock), ttl_seconds=30)
    await grants.fetch(KEY, "192.0.2.1")
    door.clock.now += 40
    for number in range(2):
        await grants.fetch(key(number), "192.0.2.1")
    with pytest.raises(TooManyUnknownKeys):
        await grants.fetch(OTHER, "192.0.2.1")
    assert known(await grants.fetch(KEY, "192.0.2.1")), "its time is over, but it is held: nobody guesses"


@pytest.mark.parametrize(
    "drop",
    [lambda grants: grants.drop(KEY), lambda grants: grants.drop_user("ada"), lambda grants: grants.drop_all()],
    ids=["key", "user", "all"],
)
async def test_a_key_that_was_changed_is_not_refused_for_the_unknown_ones_of_its_address(
    door: Door, drop: Callable[[Grants], object]
) -> None:
    door.scope.add(KEY, "ada")
    grants = door.grants(budget=LookupBudget(2, clock=door.clock))
    await grants.fetch(KEY, "192.0.2.1")
    for number in range(2):
        await grants.fetch(key(number), "192.0.2.1")
    drop(grants)
    assert known(await grants.fetch(KEY, "192.0.2.1"))
    drop(grants)
    del door.scope.grants[KEY]
    assert await grants.fetch(KEY, "192.0.2.1") is UNKNOWN
    door.clock.now += 10
    with pytest.raises(TooManyUnknownKeys):
        await grants.fetch(KEY, "192.0.2.1")


async def test_no_more_keys_are_remembered_to_have_been_known_than_there_can_be_grants(door: Door) -> None:
    grants = door.grants(max_keys=10)
    for number in range(100):
        door.scope.add(key(number))
        await grants.fetch(key(number))
        grants.drop(key(number))
    assert len(grants._once_known) == 10


async def test_many_requests_with_one_unknown_key_are_charged_once(door: Door) -> None:
    budget = LookupBudget(2, clock=door.clock)
    grants = door.grants(budget=budget)
    await asyncio.gather(*(grants.fetch(KEY, "192.0.2.1") for _ in range(100)))
    assert budget.allow("192.0.2.1")


async def test_known_keys_cost_no_budget_however_many_start_cold_behind_one_address(door: Door) -> None:
    for number in range(300):
        door.scope.add(key(number))
    grants = door.grants(budget=LookupBudget(2, clock=door.clock))
    answers = await asyncio.gather(*(grants.fetch(key(number), "192.0.2.1") for number in range(300)))
    assert all(known(answer) for answer in answers)


async def test_who_has_something_open_joins_a_lookup_under_way_and_pays_for_no_stranger(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants(budget=LookupBudget(1, clock=door.clock), lookups_at_once=1)
    door.scope.hold()
    guesses = [asyncio.create_task(grants.fetch(digest, "192.0.2.1")) for digest in (OTHER, KEY)]
    await until(lambda: door.scope.asked == [OTHER])
    confirming = asyncio.create_task(grants.confirm(KEY))
    await asyncio.sleep(0)
    assert door.scope.asked == [OTHER], "the other is in line, which will be over its budget then"
    door.scope.let_go()
    assert known(await confirming)
    assert [type(outcome) for outcome in await asyncio.gather(*guesses, return_exceptions=True)] == [
        type(UNKNOWN),
        TooManyUnknownKeys,
    ]
    assert door.scope.asked == [OTHER, KEY]


async def test_who_has_something_open_and_a_request_share_one_lookup(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants()
    door.scope.hold()
    asking = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: door.scope.under_way == 1)
    confirming = asyncio.create_task(grants.confirm(KEY))
    await asyncio.sleep(0)
    door.scope.let_go()
    assert known(await confirming) is known(await asking)
    assert door.scope.asked == [KEY]


async def test_who_has_used_up_the_budget_is_refused_at_once_and_waits_in_no_line(door: Door) -> None:
    grants = door.grants(budget=LookupBudget(1, clock=door.clock), lookups_at_once=1)
    assert await grants.fetch(OTHER, "192.0.2.1") is UNKNOWN
    door.scope.hold()
    another = asyncio.create_task(grants.fetch(key(1), "192.0.2.2"))
    await until(lambda: door.scope.under_way == 1)
    async with asyncio.timeout(10):
        with pytest.raises(TooManyUnknownKeys):
            await grants.fetch(KEY, "192.0.2.1")
    door.scope.let_go()
    await another


async def test_a_refusal_for_one_addresss_budget_is_not_handed_to_another(door: Door) -> None:
    door.scope.add(KEY)
    budget = LookupBudget(1, clock=door.clock)
    grants = door.grants(budget=budget, lookups_at_once=2)
    door.scope.hold()
    guess = asyncio.create_task(grants.fetch(OTHER, "192.0.2.1"))
    await until(lambda: door.scope.under_way == 1)
    behind = asyncio.create_task(grants.fetch(KEY, "192.0.2.1"))
    await asyncio.sleep(0)
    joined = asyncio.create_task(grants.fetch(KEY, "192.0.2.2"))
    await asyncio.sleep(0)
    door.scope.let_go()
    assert await guess is UNKNOWN
    with pytest.raises(TooManyUnknownKeys):
        await behind
    assert known(await joined)


# The database is away.


async def test_a_lookup_that_takes_too_long_is_given_up_and_never_called_unknown(door: Door) -> None:
    door.scope.hold()
    grants = door.grants(lookup_seconds=0.05)
    with pytest.raises(ScopeUnavailable):
        await grants.fetch(KEY)
    assert door.heard == {"error": 1}
    assert grants.breaker.down


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
    await until(lambda: not grants.breaker.down)
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
    await until(lambda: not grants.cut_off)
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
    grants.breaker.failed("no answer")
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
    grants.breaker.failed("no answer")
    door.clock.now += 1
    with pytest.raises(ScopeUnavailable):
        await asyncio.wait_for(grants.fetch(key(1)), 10)
    assert await grants.confirm(OTHER) is UNKNOWN, "which is in another line"
    assert not grants.breaker.down
    stuck.cancel()


async def test_a_connection_that_was_cut_while_it_lay_idle_is_no_outage(door: Door) -> None:
    door.scope.add(KEY)
    door.scope.failures = [asyncpg.ConnectionDoesNotExistError("cut")]
    grants = door.grants()
    assert known(await grants.fetch(KEY))
    assert not grants.breaker.down


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
    assert not grants.breaker.down


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
    assert grants.cut_off
    grants.feed_back(2)
    assert not grants.cut_off
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
    assert grants.cut_off
    assert known(grants.peek(KEY))
    assert not grants._refreshes._tasks, "nothing that is not worth asking takes a place in line"
    await asyncio.sleep(0)
    assert door.scope.asked == []
    door.clock.now += 1
    assert not grants.cut_off
    assert grants.peek(KEY) is None
    assert known(await grants.fetch(KEY))
    assert door.scope.asked == [KEY]


async def test_where_only_the_feed_is_away_grants_end_in_their_time(door: Door) -> None:
    grants = door.grants(ttl_seconds=30, stale_seconds=300)
    door.scope.add(KEY)
    await grants.fetch(KEY)
    grants.feed_left()
    door.clock.now += 30
    assert not grants.cut_off
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
    grants.breaker.failed("no answer")
    grants.answered()
    door.scope.let_go()
    await until(lambda: not grants._refreshes._tasks)
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


# What the change feed will say.


async def test_a_dropped_grant_is_asked_for_anew(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants()
    grant = await grants.fetch(KEY)
    generation = grants.generation
    assert grants.drop(KEY) is grant
    assert grants.generation > generation
    assert grants.peek(KEY) is None
    assert grants.fresh(KEY) < door.clock.now, "nor is it remembered outside"


@pytest.mark.parametrize(
    "drop",
    [
        lambda grants: grants.drop(KEY),
        lambda grants: grants.drop_user("ada"),
        lambda grants: grants.drop_site("shop"),
        lambda grants: grants.drop_all(),
    ],
    ids=["key", "user", "site", "all"],
)
async def test_dropping_tells_those_who_remember_it_outside_also_where_it_is_not_held(
    door: Door, drop: Callable[[Grants], object]
) -> None:
    door.scope.add(KEY, "ada", "shop")
    grants = door.grants()
    generation = grants.generation
    assert not drop(grants)
    assert grants.generation > generation
    await grants.fetch(KEY)
    generation = grants.generation
    drop(grants)
    assert grants.generation > generation


async def test_a_grant_read_at_or_after_the_change_stays(door: Door) -> None:
    door.scope.add(KEY)
    door.scope.position = 7
    grants = door.grants()
    await grants.fetch(KEY)
    assert grants.drop(KEY, position=7) is None
    assert not grants.drop_user("ada", position=7)
    assert known(grants.peek(KEY))
    assert grants.drop(KEY, position=8)


async def test_all_keys_of_a_user_are_dropped_together(door: Door) -> None:
    door.scope.add(KEY, "ada")
    door.scope.add(OTHER, "ada")
    door.scope.add(key(1), "bob")
    grants = door.grants()
    for digest in (KEY, OTHER, key(1)):
        await grants.fetch(digest)
    assert grants.drop_user("ada").keys() == {KEY, OTHER}
    assert grants.peek(KEY) is None
    assert grants.peek(OTHER) is None
    assert known(grants.peek(key(1)))
    assert not grants.drop_user("ada")


@pytest.mark.parametrize(
    "recall",
    [
        lambda grants: grants.drop(KEY),
        lambda grants: grants.drop(KEY, position=1),
        lambda grants: grants.drop_user("ada"),
        lambda grants: grants.drop_user("ada", position=1),
        lambda grants: grants.drop_all(),
    ],
    ids=["key", "key at a position", "user", "user at a position", "all"],
)
async def test_an_answer_from_before_a_revoke_does_not_land_after_it(
    door: Door, recall: Callable[[Grants], object]
) -> None:
    door.scope.add(KEY, "ada")
    door.scope.hold()
    grants = door.grants()
    asking = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: door.scope.under_way == 1)
    del door.scope.grants[KEY]
    recall(grants)
    door.scope.let_go()
    assert await asking is UNKNOWN
    assert door.scope.asked == [KEY, KEY]


async def test_a_refresh_from_before_a_revoke_does_not_bring_the_grant_back(door: Door) -> None:
    door.scope.add(KEY)
    grants = door.grants()
    await grants.fetch(KEY)
    door.clock.now += 22
    door.scope.hold()
    grants.peek(KEY)
    await until(lambda: door.scope.under_way == 1)
    del door.scope.grants[KEY]
    grants.drop(KEY)
    door.scope.let_go()
    assert await grants.fetch(KEY) is UNKNOWN


async def test_an_unknown_from_before_a_create_does_not_land_after_it(door: Door) -> None:
    grants = door.grants()
    door.scope.hold()
    asking = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: door.scope.under_way == 1)
    door.scope.add(KEY)
    grants.drop(KEY, position=1)
    door.scope.let_go()
    assert known(await asking)


async def test_a_new_key_is_no_longer_unknown(door: Door) -> None:
    grants = door.grants()
    await grants.fetch(KEY)
    await grants.fetch(OTHER)
    grants.drop(KEY, position=1)
    assert (grants.peek(KEY), grants.peek(OTHER)) == (None, UNKNOWN)


async def test_after_everything_was_dropped_no_key_is_unknown_and_no_position_of_the_feed_was_seen(door: Door) -> None:
    """A restore may bring keys, and takes the feed back."""
    grants = door.grants()
    door.scope.position = 7
    await grants.fetch(KEY)
    assert grants.newest_position == 7
    grants.drop_all()
    assert grants.newest_position == 0
    assert grants.peek(KEY) is None


async def test_changes_of_others_and_changes_already_seen_do_not_hold_a_lookup_up(door: Door) -> None:
    door.scope.add(KEY, "ada")
    door.scope.position = 50_000
    door.scope.hold()
    grants = door.grants()
    asking = asyncio.create_task(grants.fetch(KEY))
    await until(lambda: door.scope.under_way == 1)
    for number in range(10_000):
        grants.drop_user(f"user-{number}", position=60_000)
        grants.drop(key(number), position=60_000)
    grants.drop(KEY, position=50_000)
    door.scope.let_go()
    assert known(await asking)
    assert door.scope.asked == [KEY]
