"""Cache entries: their lifetimes, and grants found by digest or user."""

import random
import tracemalloc

import pytest

from proxy.decision.grant import Grant
from proxy.grants.entries import GrantEntries, Lifetimes
from proxy.settings import GrantSettings

LIFETIMES = Lifetimes(GrantSettings(ttl_seconds=30, stale_seconds=300), jitter=lambda: 0.5)


def test_the_age_of_an_entry_counts_from_the_start_of_its_lookup() -> None:
    entry = LIFETIMES.new_entry("answer", 7, read_at=1000.0)
    assert (entry.refresh_at, entry.fresh_until, entry.stale_until) == (1021.0, 1030.0, 1330.0)


def test_validating_an_entry_extends_it_but_never_shortens_it() -> None:
    lifetimes = Lifetimes(GrantSettings(ttl_seconds=30, stale_seconds=300), jitter=lambda: 0.5)
    entry, later = lifetimes.new_entry("answer", 7, read_at=1000.0), lifetimes.new_entry("answer", 7, read_at=2001.0)
    lifetimes.validate_all(2000.0)
    for each in (entry, later):
        lifetimes.extend(each)
    assert (entry.refresh_at, entry.fresh_until, entry.stale_until) == (2018.0, 2030.0, 2330.0)
    assert (later.refresh_at, later.fresh_until, later.stale_until) == (2022.0, 2031.0, 2331.0)


def test_extending_a_validated_entry_twice_changes_it_only_once() -> None:
    spread = iter([0.5, 0.0, 1.0])
    lifetimes = Lifetimes(GrantSettings(ttl_seconds=30, stale_seconds=300), jitter=lambda: next(spread))
    entry = lifetimes.new_entry("answer", 7, read_at=1000.0)
    lifetimes.validate_all(1010.0)
    for _ in range(2):
        lifetimes.extend(entry)
        assert (entry.refresh_at, entry.fresh_until, entry.stale_until) == (1022.0, 1040.0, 1340.0)


@pytest.mark.parametrize("seed", range(10))
def test_entries_are_found_by_user(seed: int) -> None:
    chance = random.Random(seed)
    entries = GrantEntries(50)
    for _ in range(500):
        digest = chance.randbytes(1)
        match chance.randrange(4):
            case 0:
                entries.pop(digest, None)
            case 1 if chance.random() < 0.02:
                entries.clear()
            case _:
                sites = frozenset(f"site-{number}" for number in range(chance.choice([0, 1, 100, 2000])))
                grant = Grant(f"user-{chance.randrange(10)}", "acme", False, sites)
                entries[digest] = LIFETIMES.new_entry(grant, 0, 0.0)
        by_user: dict[str, set[bytes]] = {}
        for key, entry in dict(entries).items():
            by_user.setdefault(entry.value.user_id, set()).add(key)
        assert {user: entries.digests_of(user) for user in by_user} == by_user
        assert entries.users == by_user.keys(), "users without entries are removed"
        assert not any(entries.digests_of(f"user-{number}") for number in range(10) if f"user-{number}" not in by_user)
        assert entries.currsize <= 50


def test_the_cache_takes_less_than_400_bytes_for_each_grant() -> None:
    entries = GrantEntries(10_000)
    digests = [number.to_bytes(32, "big") for number in range(4096)]
    grants = [Grant(f"user {number}", "acme", False, frozenset({"shop"})) for number in range(4096)]
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for digest, grant in zip(digests, grants, strict=True):
        entries[digest] = LIFETIMES.new_entry(grant, 1, 1000.0)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / len(grants) < 400
