"""Invalidations while lookups are in flight."""

from proxy.grants.invalidations import EVERYTHING, Invalidations

KEY = bytes(32)


def test_an_invalidation_is_forgotten_when_no_older_lookup_is_in_flight() -> None:
    invalidations = Invalidations()
    first = invalidations.begin()
    invalidations.add(KEY)
    second = invalidations.begin()
    invalidations.add("ada", 5)
    assert invalidations.affects(first, (KEY,), None)
    assert not invalidations.affects(second, (KEY, EVERYTHING), None)
    invalidations.end(first)
    assert not invalidations.affects(first, (KEY,), None), "a lookup that has ended is forgotten"
    assert invalidations.affects(second, ("ada",), 4)
    assert not invalidations.affects(second, ("ada",), 5)
    invalidations.end(second)
    assert not len(invalidations), "no lookup in flight needs the invalidations"
    invalidations.add("eve")
    assert not len(invalidations)
    third = invalidations.begin()
    assert not invalidations.affects(third, (KEY, "ada"), None)


def test_an_invalidation_never_moves_to_an_earlier_position() -> None:
    invalidations = Invalidations()
    began = invalidations.begin()
    invalidations.add("ada", 5)
    invalidations.add("ada", 3)
    assert invalidations.affects(began, ("ada",), 4)
    invalidations.add("ada")
    invalidations.add("ada", 3)
    assert invalidations.affects(began, ("ada",), 100)
