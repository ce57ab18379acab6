"""No reading of a request that passes with a key for one site names another site; unambiguous requests pass.

`tests.readings` finds the readings by trying everything, without using the proxy's code.
"""

import itertools
from collections import Counter

import pytest
from hypothesis import strategies as st

from proxy.http.headers import Head
from proxy.refusals import Refused
from tests.spellings import Expected, Shape, honest, spellings
from tests.unit.decision.compared_readings import (
    BETWEEN,
    FRONTS,
    GRANT,
    KEY,
    NO_FIELDS,
    OTHER,
    OWN,
    SEPARATORS,
    SITES,
    Front,
    check,
    mostly,
    route,
    run,
)
from tests.unit.judging import covered, read

# The list of hostile spellings.


@pytest.mark.parametrize("shape", Shape, ids=lambda shape: shape.name)
def test_the_list_of_hostile_spellings_has_at_least_a_hundred_distinct_names(shape: Shape) -> None:
    every = spellings(OWN, OTHER, shape)
    assert len(every) >= 100
    assert len({spelling.name for spelling in every if not spelling.wire_only}) == len(
        [spelling for spelling in every if not spelling.wire_only]
    )
    assert sum(spelling.expected is Expected.REFUSED for spelling in every) > len(every) / 2


@pytest.mark.parametrize("shape", Shape, ids=lambda shape: shape.name)
def test_the_plain_spelling_passes_byte_for_byte(shape: Shape) -> None:
    front = Front.of(route(*shape.value))
    plain = honest(OWN, shape)
    claim = read(front.table, Head(plain.method, plain.target, [*plain.fields, KEY]))
    assert covered(claim, GRANT) == (OWN,)
    assert (claim.target, claim.fields, claim.key) == (plain.target, plain.fields, KEY[1])


@pytest.mark.parametrize("shape", Shape, ids=lambda shape: shape.name)
def test_no_hostile_spelling_passes(shape: Shape) -> None:
    front = Front.of(route(*shape.value))
    failures = []
    for spelling in spellings(OWN, OTHER, shape):
        if spelling.wire_only:
            continue
        try:
            claim = read(front.table, Head(spelling.method, spelling.target, [*spelling.fields, KEY]))
            sites = covered(claim, GRANT)
        except Refused:
            continue
        unchanged = (claim.target, claim.fields) == (spelling.target, spelling.fields)
        if spelling.expected is Expected.REFUSED or sites != (OWN,) or not unchanged:
            failures.append((spelling.name, spelling.target, spelling.fields, sites))
    assert failures == []


@pytest.mark.parametrize("shape", Shape, ids=lambda shape: shape.name)
def test_no_reading_of_a_hostile_spelling_names_another_site_on_an_any_key_route(shape: Shape) -> None:
    front = Front.of(route(*shape.value, without_site="any-key"))
    for spelling in spellings(OWN, OTHER, shape):
        if spelling.wire_only:
            continue
        try:
            claim = read(front.table, Head(spelling.method, spelling.target, [*spelling.fields, KEY]))
            sites = covered(claim, GRANT)
        except Refused:
            continue
        assert set(sites) <= {OWN}, spelling
        assert front.misread(spelling.target, spelling.fields) is None, spelling


# Every target of a small grammar.

AFTER = (b"", b";", b";v", b"%3bv", b"%2f")


@pytest.mark.parametrize("name", ["path, any key", "two routes"])
def test_every_target_of_a_small_grammar_has_one_reading_or_is_refused(name: str) -> None:
    front, outcomes = FRONTS[name], Counter[str]()
    for first, one, second, two, site in itertools.product(AFTER, BETWEEN, AFTER, BETWEEN, (b"shop", b"blog")):
        for tail in (b"/x", b"", b";/x", b"%2fx"):
            target = b"/api%b%bsites%b%b%b%b" % (first, one, second, two, site, tail)
            outcomes[check(front, target, [])] += 1
    assert set(outcomes) == {"passed", "misread", "refused"} or name == "two routes"


# Properties. Targets are hostile pieces around a valid path, so many of them pass.


TAILS = st.lists(
    st.sampled_from([
        b"x", b"a.b", b"...", b".x", b"%20", b"%25", b"100%25", b"%2525", b"+", b"~", b"@", b"'", b"(", b"%c3%a9", b",",
        b"/", b"/", b"//", b"%2f", b"%252f", b";p=1", b";", b"%3b", b"%253bq", b"api", b"sites", b"blog", b"shop",
        b".json", b"=", b"%3d", b"%3f", b"..", b"/..", b".", b"%2e", b"%252e%252e", b"%5c", b"%00", b"%0a", b"%",
        b"%ff", b"%e9", b"%25ff", b"/(S(x))/", b"/%28S(x)F(y)%29", b"/Pages(1)", b"/(1)",
    ]),
    max_size=6,
).map(b"".join)  # fmt: skip
PATH_TARGETS = st.builds(
    lambda *pieces: b"".join(pieces),
    st.just(b"/"),
    mostly(b"api", b"API", b"%61pi", b"%2561pi", b"api;v=1", b"api%3bv", b"api%253bv", b"Sites('shop')", b"ap%ffi"),
    SEPARATORS,
    mostly(b"sites", b"Sites", b"site%73", b"sites;", b"sites%3b", b"sites%253b", b"s%25e9ites", b"sites%e2%82"),
    SEPARATORS,
    SITES,
    mostly(b"/", b"", b"%2f", b";/", b"//"),
    TAILS,
    mostly(b"", b"?", b"?site=shop", b"?site=blog", b"?a=b", b"?SITE=shop", b"?x=/../blog;y", b"?;site=blog"),
)
SHORT_TARGETS = st.builds(
    lambda *pieces: b"".join(pieces),
    mostly(b"/", b"//", b"/;/", b"/%2f"),
    SITES,
    mostly(b"/", b"", b"%2f", b".json"),
    TAILS,
)
PARAMETERS = st.builds(
    lambda *pieces: b"".join(pieces),
    mostly(
        b"q", b"site", b"site", b"site", b"SITE", b"sit%65", b"sit%2565", b"+site", b"%20site", b"site[]", b"site%5b0",
        b"site%00", b"site.x", b"site.id", b"site_id", b"site%20id", b"site[id", b"sites", b"xsite", b"", b"site%2500[",
        b"s%ffite", b"s%ite", b"%01site", b"%25e9site",
        out_of=2,
    ),
    mostly(b"=", b"", b"==", b"%3d"),
    mostly(
        b"shop", b"blog", b"sho%70", b"sho%2570", b"shop+", b"shop,blog", b"shop%26site=blog", b"shop%2c", b"", b"a;b",
        b"shop;site=blog", b"a;site=shop", b"%25", b"%zz", b"100%25", b"a+b", b"%5B%7B%7D%5D", b"1%0a2", b"\\", b"/../",
    ),
)  # fmt: skip
QUERY_TARGETS = st.lists(PARAMETERS, min_size=0, max_size=4).flatmap(
    lambda parts: mostly(b"&", b";", b"&&", b"&;").map(lambda mark: b"/api/data?site=shop&" + mark.join(parts))
) | st.lists(PARAMETERS, min_size=0, max_size=4).map(lambda parts: b"/api/data?" + b"&".join(parts))
FIELDS = st.lists(
    st.tuples(
        st.sampled_from([b"X-Site", b"x-site", b"X_Site", b"X-SITE", b"X-Sites", b"Site", b"Accept"]),
        st.sampled_from([b"shop", b"shop", b"shop", b"blog", b"shop,blog", b""]),
    ),
    max_size=3,
)


def assert_both_outcomes_occur(outcomes: Counter[str]) -> None:
    """Check that enough requests passed, which tests safety, and that enough were refused, which tests precision."""
    every = outcomes.total()
    assert outcomes["passed"] > every / 20, outcomes
    assert outcomes["misread"] > every / 20, outcomes


MERGED_AFTER_SPLITTING = b"/api/sites%3b/%3b//%2f"
"""A reader that splits, decodes, drops parameters and then ignores empty segments finds the site `/`."""


@pytest.mark.parametrize(
    "name", ["path", "path, any key", "everywhere", "two routes", "a route in a route", "slash at the end"]
)
def test_an_accepted_path_has_no_reading_that_names_another_site(name: str) -> None:
    assert_both_outcomes_occur(run(FRONTS[name], PATH_TARGETS, NO_FIELDS, MERGED_AFTER_SPLITTING))


@pytest.mark.parametrize("name", ["datasette", "datasette, any key"])
def test_an_accepted_short_path_has_no_reading_that_names_another_site(name: str) -> None:
    assert_both_outcomes_occur(run(FRONTS[name], SHORT_TARGETS, NO_FIELDS))


@pytest.mark.parametrize("name", ["query", "query, any key", "everywhere"])
def test_an_accepted_query_has_no_reading_that_names_another_site(name: str) -> None:
    assert_both_outcomes_occur(run(FRONTS[name], QUERY_TARGETS, NO_FIELDS))


def test_an_accepted_query_has_no_reading_that_names_another_site_through_an_underscore() -> None:
    targets = QUERY_TARGETS.map(lambda target: target.replace(b"site=", b"site_id=").replace(b"site.x", b"Site%2eid"))
    # Such names are rare, so every other target gets one more: both outcomes must occur often enough.
    targets |= targets.map(lambda target: target.replace(b"q=", b"site.id="))
    assert_both_outcomes_occur(run(FRONTS["query with underscore, any key"], targets, NO_FIELDS))


@pytest.mark.parametrize("name", ["header, any key", "everywhere"])
def test_no_reading_of_header_fields_that_pass_names_another_site(name: str) -> None:
    outcomes = run(FRONTS[name], st.just(b"/api/data"), FIELDS)
    assert_both_outcomes_occur(outcomes)
