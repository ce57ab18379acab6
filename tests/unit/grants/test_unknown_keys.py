"""Keys that are known not to exist."""

import pytest

from proxy.grants.database_status import DatabaseStatus
from proxy.grants.unknown_keys import UnknownKeys
from proxy.settings import GrantSettings
from tests.scopes import Clock
from tests.unit.grants.harness import KEY, OTHER, key


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(clock: Clock) -> DatabaseStatus:
    return DatabaseStatus(clock)


@pytest.fixture
def unknown(clock: Clock, database: DatabaseStatus) -> UnknownKeys:
    return UnknownKeys(GrantSettings(unknown_ttl_seconds=5, ttl_seconds=30), database, clock)


@pytest.mark.parametrize(("feed_up", "seconds"), [(None, 5), (False, 5), (True, 30)])
def test_an_unknown_key_stays_known_for_as_long_as_a_grant_while_the_feed_is_read(
    unknown: UnknownKeys, database: DatabaseStatus, clock: Clock, feed_up: bool | None, seconds: float
) -> None:
    database.feed_up = feed_up
    unknown.add(KEY, clock.now)
    clock.now += seconds - 0.1
    assert KEY in unknown
    clock.now += 0.1
    assert KEY not in unknown
    assert unknown.remembered(KEY), "its client is not charged again"


def test_unknown_keys_have_a_shorter_lifetime_while_the_feed_is_lost(
    unknown: UnknownKeys, database: DatabaseStatus, clock: Clock
) -> None:
    database.feed_up = True
    unknown.add(KEY, clock.now)
    clock.now += 6
    database.feed_up = False
    assert KEY not in unknown
    database.feed_up = True
    assert KEY in unknown, "the feed was resumed, and has not reported the key"


def test_the_least_recently_used_unknown_keys_are_forgotten(unknown: UnknownKeys, clock: Clock) -> None:
    unknown.add(KEY, clock.now)
    unknown.add(OTHER, clock.now)
    for number in range(9_999):
        unknown.add(key(number), clock.now)
        assert KEY in unknown
    assert not unknown.remembered(OTHER)


def test_a_discarded_key_may_exist(unknown: UnknownKeys, clock: Clock) -> None:
    unknown.add(KEY, clock.now)
    unknown.add(OTHER, clock.now)
    unknown.discard(KEY)
    assert not unknown.remembered(KEY)
    unknown.clear()
    assert OTHER not in unknown
