"""Grants held by digest, found by user, bounded by weight."""

import random

import pytest

from proxy.decision.grant import Grant
from proxy.grants.entries import GrantEntries, Lifetimes
from proxy.settings import GrantSettings

LIFETIMES = Lifetimes(GrantSettings(ttl_seconds=30, stale_seconds=300), jitter=lambda: 0.5)


def test_an_answer_is_as_old_as_its_question() -> None:
    held = LIFETIMES.new_entry("answer", 7, read_at=1000.0)
    assert (held.refresh_at, held.fresh_until, held.stale_until) == (1021.0, 1030.0, 1330.0)


def test_an_answer_that_was_vouched_for_is_as_old_as_that_and_never_older_than_it_is() -> None:
    lifetimes = Lifetimes(GrantSettings(ttl_seconds=30, stale_seconds=300), jitter=lambda: 0.5)
    held, later = lifetimes.new_entry("answer", 7, read_at=1000.0), lifetimes.new_entry("answer", 7, read_at=2001.0)
    lifetimes.validate_all(2000.0)
    for answer in (held, later):
        lifetimes.extend(answer)
    assert (held.refresh_at, held.fresh_until, held.stale_until) == (2018.0, 2030.0, 2330.0)
    assert (later.refresh_at, later.fresh_until, later.stale_until) == (2022.0, 2031.0, 2331.0)


def test_what_was_vouched_for_is_renewed_once_so_that_its_refresh_is_not_put_off_at_each_use() -> None:
    spread = iter([0.5, 0.0, 1.0])
    lifetimes = Lifetimes(GrantSettings(ttl_seconds=30, stale_seconds=300), jitter=lambda: next(spread))
    held = lifetimes.new_entry("answer", 7, read_at=1000.0)
    lifetimes.validate_all(1010.0)
    for _ in range(2):
        lifetimes.extend(held)
        assert (held.refresh_at, held.fresh_until, held.stale_until) == (1022.0, 1040.0, 1340.0)


@pytest.mark.parametrize("seed", range(10))
def test_what_is_held_is_found_by_its_user_and_nothing_else_is(seed: int) -> None:
    chance = random.Random(seed)
    held = GrantEntries(50)
    for _ in range(500):
        digest = chance.randbytes(1)
        match chance.randrange(4):
            case 0:
                held.pop(digest, None)
            case 1 if chance.random() < 0.02:
                held.clear()
            case _:
                sites = frozenset(f"site-{number}" for number in range(chance.choice([0, 1, 100, 2000])))
                grant = Grant(f"user-{chance.randrange(10)}", "acme", False, sites)
                held[digest] = LIFETIMES.new_entry(grant, 0, 0.0)
        by_user: dict[str, set[bytes]] = {}
        for key, entry in dict(held).items():
            by_user.setdefault(entry.value.user_id, set()).add(key)
        assert {user: held.digests_of(user) for user in by_user} == by_user
        assert held.users == by_user.keys(), "nothing is kept of users of whom nothing is held"
        assert not any(held.digests_of(f"user-{number}") for number in range(10) if f"user-{number}" not in by_user)
        assert held.currsize <= 50
