"""Cached keys: narrowed grants, unknown keys, and evictions."""

import pytest

from proxy.decision.grant import Grant
from proxy.grants.cache import UNKNOWN
from proxy.grants.cached_keys import narrowed
from tests.unit.grants.harness import KEY, OTHER, Harness, harness, key, known

__all__ = ["harness"]


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
def test_a_grant_counts_as_narrowed_if_it_covers_less_than_before(before: Grant, after: Grant, expected: bool) -> None:
    assert narrowed(before, after) is expected


async def test_an_unknown_key_is_cached_only_briefly(harness: Harness) -> None:
    grants = harness.grants(unknown_ttl_seconds=5)
    assert await grants.fetch(KEY) is UNKNOWN
    assert grants.peek(KEY) is UNKNOWN
    harness.scope.add(KEY)
    harness.clock.now += 5
    assert grants.peek(KEY) is None
    assert known(await grants.fetch(KEY))
    assert harness.results == {"miss": 2, "unknown_hit": 1}


async def test_a_flood_of_unknown_keys_evicts_no_grants(harness: Harness) -> None:
    harness.scope.add(KEY)
    grants = harness.grants(max_keys=1)
    await grants.fetch(KEY)
    for number in range(300):
        await grants.fetch(key(number))
    assert known(grants.peek(KEY))
    assert len(grants) == 1


async def test_the_cache_is_limited_by_weight_and_evicts_the_least_recently_used(harness: Harness) -> None:
    sites = [f"site-{number}" for number in range(5000)]
    grants = harness.grants(max_keys=600)
    for number in range(3):
        harness.scope.add(key(number), f"user-{number}", *sites)
        harness.scope.add(key(number + 10), f"small-{number}")
        await grants.fetch(key(number))
        await grants.fetch(key(number + 10))
    assert grants.peek(key(0)) is None
    assert all(known(grants.peek(key(number))) for number in (1, 2, 11, 12))


async def test_a_grant_heavier_than_the_limit_becomes_the_only_one_in_the_cache(harness: Harness) -> None:
    harness.scope.add(KEY, "ada", *(f"site-{number}" for number in range(500)))
    harness.scope.add(OTHER)
    grants = harness.grants(max_keys=10)
    await grants.fetch(OTHER)
    await grants.fetch(KEY)
    assert known(grants.peek(KEY))
    assert len(grants) == 1
