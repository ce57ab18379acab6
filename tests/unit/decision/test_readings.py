"""No reading of a request that passes with a key for one site names another site; unambiguous requests pass.

`tests.readings` finds the readings by trying everything, without using the proxy's code.
"""

import itertools
import re
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from proxy.decision.claim import Claim
from proxy.decision.grant import Grant
from proxy.decision.route_table import RouteTable
from proxy.http.headers import Head
from proxy.refusals import AMBIGUOUS_REQUEST, BAD_REQUEST, Refusal, Refused
from proxy.settings import HeaderRule, KeySettings, QueryRule, RouteSettings
from tests import readings
from tests.spellings import Expected, Fields, Shape, honest, spellings
from tests.unit.judging import covered, read

OWN, OTHER = "shop", "blog"
KEY = (b"X-API-Key", b"slk_" + b"A" * 38)
HOST = (b"Host", b"api.example.com")
GRANT = Grant("1", "acme", all_sites=False, sites=frozenset({OWN}))

MISREAD = (AMBIGUOUS_REQUEST, BAD_REQUEST)
"""The refusals of requests that servers may read differently."""


@dataclass(frozen=True)
class Front:
    """A route table, and the same routes for the naive reader."""

    routes: tuple[RouteSettings, ...]
    table: RouteTable
    naive: tuple[readings.Prefixed, ...]

    @classmethod
    def of(cls, *routes: RouteSettings) -> "Front":
        naive = tuple(
            readings.Prefixed(
                route.name,
                route.path.encode(),
                tuple(readings.Template(rule.encode()) for rule in _rules(route, "path")),
            )
            for route in routes
        )
        return cls(routes, RouteTable(routes, KeySettings()), naive)

    def outcome(self, target: bytes, fields: Fields, method: bytes = b"GET") -> Claim | Refusal:
        """Return the claim of a request that passes with a key for OWN, or the refusal."""
        try:
            claim = read(self.table, Head(method, target, [HOST, *fields, KEY]))
            covered(claim, GRANT)
        except Refused as refused:
            return refused.refusal
        return claim

    def route(self, name: str) -> RouteSettings:
        return next(route for route in self.routes if route.name == name)

    def misread(self, target: bytes, fields: Fields) -> str | None:
        """Say how the naive readings of a request differ, or return None."""
        why = readings.always_refused(target)
        if why is not None:
            return why
        path, _, query = target.partition(b"?")
        strictly = readings.named_by_path(self.naive, readings.literal(path), readings.STRICT)
        every = readings.path_readings(self.naive, path)
        if every != {strictly}:
            return f"the path, to some: {sorted(map(str, every))}, literally {strictly}"
        if strictly[0] is None:
            return None
        route = self.route(strictly[0])
        for name in _rules(route, "query"):
            exact = readings.literally_named(query, name.encode())
            for lenient in readings.named_by_query(query, name.encode()):
                if lenient != exact:
                    return f"{name} in the query, to some: {sorted(lenient)}, literally {sorted(exact)}"
        for name in _rules(route, "header"):
            if look_alikes := readings.look_alikes(fields, name.encode()):
                return f"the header {name}, to some also spelled {sorted(look_alikes)}"
            if sum(spelled.lower() == name.lower().encode() for spelled, _ in fields) > 1:
                return f"the header {name}, whose values some servers join"
        return None


def _rules(route: RouteSettings, kind: str) -> list[str]:
    return [rule.partition(":")[2] for rule in route.sites if isinstance(rule, str) and rule.startswith(kind + ":")]


def route(
    *sites: str | QueryRule | HeaderRule, name: str = "data", without_site: str = "refuse", **more: object
) -> RouteSettings:
    return RouteSettings.model_validate(
        {"name": name, "upstream": "http://127.0.0.1:1", "sites": sites, "without_site": without_site, **more}
    )


FRONTS = {
    "path": Front.of(route(*Shape.PATH.value)),
    "path, any key": Front.of(route(*Shape.PATH.value, without_site="any-key")),
    "datasette": Front.of(route(*Shape.DATASETTE.value)),
    "datasette, any key": Front.of(route(*Shape.DATASETTE.value, without_site="any-key")),
    "odata, any key": Front.of(route("path:/Sites('{site}')/**", without_site="any-key")),
    "query": Front.of(route(*Shape.QUERY.value)),
    "query, any key": Front.of(route(*Shape.QUERY.value, without_site="any-key")),
    "query with underscore, any key": Front.of(route(*Shape.QUERY_ID.value, without_site="any-key")),
    "header, any key": Front.of(route(*Shape.HEADER.value, without_site="any-key")),
    "everywhere": Front.of(route("path:/api/sites/{site}/**", "query:site", "header:X-Site", without_site="any-key")),
    "two routes": Front.of(
        route(*Shape.PATH.value, name="sites", path="/api/sites"),
        route(name="rest", path="/", without_site="any-key"),
    ),
    "slash at the end": Front.of(route("path:/api/sites/{site}", "path:/api/sites/{site}/**")),
    "a route in a route": Front.of(
        route("path:/api/sites/{site}/**", name="api", path="/api"),
        route("path:/open/{site}", name="open", path="/open", without_site="any-key"),
    ),
}


def check(front: Front, target: bytes, fields: Fields) -> str:
    """Judge one request in both ways and compare. Return which outcome it had."""
    outcome = front.outcome(target, fields)
    misread = front.misread(target, fields)
    if isinstance(outcome, Claim):
        assert misread is None, misread
        assert set(outcome.sites) <= {OWN}
        assert outcome.target == target
        assert outcome.fields == [HOST, *fields]
        return "passed"
    if outcome in MISREAD:
        assert misread is not None or _is_deliberately_stricter(target), f"refused unnecessarily: {outcome.code}"
        return "misread"
    return "refused"


def _is_deliberately_stricter(target: bytes) -> bool:
    """Return whether the proxy is deliberately stricter than the readings of docs/decision.md."""
    path = target.partition(b"?")[0]
    overlong = any(first in reading for reading in readings.paths(path) for first in (b"\xc0", b"\xc1"))
    slash_in_parameters = any(re.search(rb";[^/]*%2[Ff]", reading) for reading in readings.paths(path))
    at_the_start = any(reading.startswith(b"//") for reading in readings.paths(path))
    parameter = any(
        re.search(rb"[&?#][^&?#/=;!'()*,]+=|[&?#;][\W_]*site", reading, re.IGNORECASE)
        for reading in readings.paths(path)
    )
    many = len(readings.splits(path)) > 24
    names = [piece.partition(b"=")[0] for piece in re.split(rb"[&;?]", target.partition(b"?")[2])]
    hidden = any(re.search(rb"[&;?#=]", reading) for name in names for reading in readings.rounds(name))
    # More than four values are refused if one may be encoded twice.
    often = b"%25" in target and target.count(b"=") > 4
    beyond_paths = hidden or many or often or b"%u" in target
    return at_the_start or overlong or slash_in_parameters or parameter or beyond_paths


# The list of hostile spellings.

SHAPED = [(shape, spelling) for shape in Shape for spelling in spellings(OWN, OTHER, shape) if not spelling.wire_only]


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
BETWEEN = (b"/", b"%2f", b"//", b"/;/")


@pytest.mark.parametrize("name", ["path, any key", "two routes"])
def test_every_target_of_a_small_grammar_has_one_reading_or_is_refused(name: str) -> None:
    front, outcomes = FRONTS[name], Counter[str]()
    for first, one, second, two, site in itertools.product(AFTER, BETWEEN, AFTER, BETWEEN, (b"shop", b"blog")):
        for tail in (b"/x", b"", b";/x", b"%2fx"):
            target = b"/api%b%bsites%b%b%b%b" % (first, one, second, two, site, tail)
            outcomes[check(front, target, [])] += 1
    assert set(outcomes) == {"passed", "misread", "refused"} or name == "two routes"


# Properties. Targets are hostile pieces around a valid path, so many of them pass.


def mostly(usual: bytes, *odd: bytes, out_of: int = 4) -> st.SearchStrategy[bytes]:
    """Draw from `usual` most of the time, and otherwise from everything."""
    return st.integers(0, out_of - 1).flatmap(lambda dice: st.sampled_from(odd) if dice == 0 else st.just(usual))


SEPARATORS = mostly(b"/", b"//", b"%2f", b"%2F", b"%252f", b"/;/", b"/./", b"/%2e/", b";x/", b"/%3b/", b"///")
SITES = mostly(
    b"shop", b"blog", b"sho%70", b"%73hop", b"shop;", b"shop;x=blog", b"shop%3b", b"blog;shop", b"SHOP", b"sho%2570",
    b"shop.json", b"blog.json", b"shop.JSON", b"shop%2ejson", b"shop%252ejson", b"", b"%62log", b"shop%20",
)  # fmt: skip
TAILS = st.lists(
    st.sampled_from([
        b"x", b"a.b", b"...", b".x", b"%20", b"%25", b"100%25", b"%2525", b"+", b"~", b"@", b"'", b"(", b"%c3%a9", b",",
        b"/", b"/", b"//", b"%2f", b"%252f", b";p=1", b";", b"%3b", b"%253bq", b"api", b"sites", b"blog", b"shop",
        b".json", b"=", b"%3d", b"%3f", b"..", b"/..", b".", b"%2e", b"%252e%252e", b"%5c", b"%00", b"%0a", b"%",
    ]),
    max_size=6,
).map(b"".join)  # fmt: skip
PATH_TARGETS = st.builds(
    lambda *pieces: b"".join(pieces),
    st.just(b"/"),
    mostly(b"api", b"API", b"%61pi", b"%2561pi", b"api;v=1", b"api%3bv", b"api%253bv", b"Sites('shop')"),
    SEPARATORS,
    mostly(b"sites", b"Sites", b"site%73", b"sites;", b"sites%3b", b"sites%253b"),
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
NO_FIELDS: st.SearchStrategy[Fields] = st.just([])


def assert_both_outcomes_occur(outcomes: Counter[str]) -> None:
    """Check that a property saw enough requests of each outcome: passed ones test safety, refused ones precision."""
    every = outcomes.total()
    assert outcomes["passed"] > every / 20, outcomes
    assert outcomes["misread"] > every / 20, outcomes


def run(
    front: Front, targets: st.SearchStrategy[bytes], fields: st.SearchStrategy[Fields], *examples: bytes
) -> Counter[str]:
    """Run the property over a strategy, the examples first. Return how many requests had each outcome."""
    outcomes = Counter[str]()

    def property_of(target: bytes, drawn: Fields) -> None:
        outcome = check(front, target, drawn)
        outcomes[outcome] += 1
        event(outcome)

    for target in examples:
        property_of = example(target, [])(property_of)
    settings(max_examples=250)(given(targets, fields)(property_of))()
    return outcomes


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
