"""Readings of targets: the shortcut for plain ones agrees with the slow way."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.refusals import Refused
from proxy.rules import Named, QuerySiteRule
from proxy.settings import QueryRule
from proxy.target import folded, means, path_readings, rounds, silent_query, value_readings
from tests.effort import calls

_TOKENS = [
    "site",
    "SITE",
    "Site",
    "si",
    "te",
    "_id",
    "&",
    "=",
    ";",
    "%",
    "25",
    "73",
    "[",
    "]",
    "+",
    ".",
    "%00",
    "a",
    "1",
    "shop",
]
QUERIES = st.lists(st.sampled_from(_TOKENS), max_size=12).map(lambda tokens: "".join(tokens).encode())


@given(QUERIES, st.sampled_from(["site", "site_id", "site.id", "s[ite]"]))
def test_a_query_that_the_shortcut_takes_names_nothing_in_the_slow_way(query: bytes, name: str) -> None:
    rule = QuerySiteRule(QueryRule(query=name))
    named = Named({})
    if silent_query([rule.folded_name]).match(query):
        rule.read(query, named)
        assert not named.sites


@pytest.mark.parametrize(
    ("query", "silent"),
    [
        (b"from=2026-01-01&to=now%2B1h&q=a+b%0A[]", True),
        (b"sites=a&xsite&site2=b&s=ite", True),
        (b"&&a&=", True),
        (b"site=a", False),
        (b"a=1&SITE", False),
        (b"a=1;b=2", False),
        (b"%73ite=a", False),
        (b"a[b]=1", False),  # may be anything: the slow way says
    ],
)
def test_plain_queries_are_silent(query: bytes, silent: bool) -> None:
    assert (silent_query(["site"]).match(query) is not None) is silent


def test_a_long_query_is_matched_in_linear_time() -> None:
    pattern = silent_query(["site"])
    assert pattern.match(b"a=b&" * 2000 + b";") is None
    assert pattern.match(b"a" * 8000 + b";") is None


def test_what_is_encoded_more_often_than_anybody_does_is_refused() -> None:
    assert rounds(b"%25252e") == [b"%25252e", b"%252e", b"%2e", b"."]
    with pytest.raises(Refused):
        rounds(b"%" + b"25" * 3000 + b"41")


def test_the_literal_reading_of_a_path_comes_first() -> None:
    assert path_readings(b"/a/b%2Fc")[0] == "\0a\0b/c"
    assert "\0a\0b\0c" in path_readings(b"/a/b%2Fc")
    assert path_readings(b"/a/b") == ["\0a\0b"]


@pytest.mark.parametrize(
    "name",
    [
        *(b"site", b"SITE", b"%73ite", b"%2573ite", b"+site", b"site[]", b"site%5b0", b"site%00x"),
        *(b"[site]", b"]site", b"site]", b"[[site]]", b"%5Dsite", b"[]site"),  # Rack, and qs the first
        b"?site",
    ],
)
def test_names_that_some_backend_reads_as_ours(name: bytes) -> None:
    assert means(name, folded("site"))


@pytest.mark.parametrize(
    "name", [b"sites", b"xsite", b"si te", b"site2", b"", b"s.ite", b"[sites]", b"a[site]", b"si]te"]
)
def test_names_that_nobody_reads_as_ours(name: bytes) -> None:
    assert not means(name, folded("site"))


def test_the_literal_reading_of_a_value_comes_first() -> None:
    assert value_readings(b"a%2Bb+c")[0] == "a+b+c"
    assert set(value_readings(b"a%2Bb+c")) == {"a+b+c", "a+b c"}
    assert value_readings(b"%2541") == ["%41", "A"]


@pytest.mark.parametrize(
    "path",
    [
        b"/" + b"a/" * 4000 + b"%25252541;b//c/",
        b"/%41" * 2000 + b"/%25252541;b//c/",
        b"/%41" * 2000 + b"/;b//c/",
        b"/;" * 4000 + b"/%25252541//c/",
    ],
)
def test_a_long_path_is_read_in_a_time_that_nobody_else_feels(path: bytes) -> None:
    with calls() as made, contextlib.suppress(Refused):
        path_readings(path)
    assert made.total() < 3 * len(path)  # a thousand a byte when each segment was an object, which took 1.5 s


def test_a_query_of_many_odd_names_is_read_in_a_time_that_nobody_else_feels() -> None:
    names = [b"%%41%d" % number for number in range(1500)]
    wanted = ("site", "site_id", "urls", "api_key")
    with calls() as made:
        assert not any(means(name, one) for name in names for one in wanted)
    assert made.total() < 20 * len(names) * len(wanted)
