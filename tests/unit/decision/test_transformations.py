"""Each lenient reading of docs/decision.md by itself, in a request where only that reading differs.

Every route here admits any key without a site, so only the comparison of readings can refuse a request.
"""

import pytest

from proxy.decision.claim import Claim
from proxy.decision.route_table import RouteTable
from proxy.http.headers import Head
from proxy.refusals import AMBIGUOUS_KEY, AMBIGUOUS_REQUEST, BAD_REQUEST, ENDPOINT_REFUSED, Refusal, Refused
from tests.spellings import Fields
from tests.unit.decision.any_key_routes import HOST, KEY, PATH, TWO, outcome, table
from tests.unit.judging import read

LAST = table("path:/api/{site}")
JSON = table("path:/{site}.json", "path:/data/{site}/**")
QUERY = table("query:site")
UNDERSCORE = table("query:site_id")
HEADER = table("header:X-Site")


@pytest.mark.parametrize(
    ("routes", "target"),
    [
        # Further rounds of decoding.
        (PATH, b"/api/%2573ites/blog/x"),
        (PATH, b"/api/%252573ites/blog/x"),
        (PATH, b"/%25%36%31pi/sites/blog/x"),
        (PATH, b"/api%2fsites/blog/x"),
        (PATH, b"/api%252fsites%252fblog/x"),
        (JSON, b"/blog%252ejson"),
        (JSON, b"/blog%25252ejson"),
        # Parameters dropped: before decoding, after it, and between two rounds.
        (PATH, b"/api;v=1/sites/blog/x"),
        (PATH, b"/api/sites;/blog/x"),
        (PATH, b"/;x/api/sites/blog/x"),
        (PATH, b"/api%3bv=1/sites/blog/x"),
        (PATH, b"/api/sites%253bx/blog/x"),
        (PATH, b"/api;v%3b/sites/blog/x"),
        (JSON, b"/blog.json;v=1"),
        (JSON, b"/blog.json%3bv"),
        # Slashes merged.
        (PATH, b"/api//sites/blog/x"),
        (PATH, b"/api/sites//blog/x"),
        (PATH, b"/api/%2fsites/blog/x"),
        (PATH, b"/api%2f/sites/blog/x"),
        (PATH, b"/api/%252fsites/blog/x"),
        (PATH, b"/api/;x/sites/blog/x"),
        # Fixed segments in another case.
        (PATH, b"/API/sites/blog/x"),
        (PATH, b"/api/Sites/blog/x"),
        (PATH, b"/api/%53ites/blog/x"),
        (JSON, b"/blog.JSON"),
        (JSON, b"/Data/blog/x"),
        # Two at once.
        (PATH, b"/API//sites;x/blog/x"),
        (PATH, b"/%2541PI;x/%2f/sites%253b/blog/x"),
        (JSON, b"/blog%252eJSON%253bx"),
        # These name a site only if decoded, stripped of parameters, decoded again, with slashes merged.
        (LAST, b"/api/;/%252f%253b////%252f"),
        (LAST, b"/api/;//%2f%252f%253b//%252f"),
        (LAST, b"/api/%25252f%3b//%25252f%253b"),
        (LAST, b"/api/%252f%3B/%253Bblog"),
    ],
)
def test_a_path_that_a_lenient_backend_reads_differently_is_refused(routes: RouteTable, target: bytes) -> None:
    assert outcome(routes, target) == AMBIGUOUS_REQUEST


def test_a_path_with_too_many_readings_is_refused() -> None:
    assert outcome(PATH, b"/api/sites/shop//%25252f%252f%2f/%2561%25253b;") == AMBIGUOUS_REQUEST
    assert isinstance(outcome(PATH, b"/api/sites/shop/a;b//%2f%3bc/d"), Claim)


@pytest.mark.parametrize("before", [b"/x/", b"/api/sites/shop/x/"])
@pytest.mark.parametrize("after", [b"", b"/", b"/blog", b"?q=1"])
@pytest.mark.parametrize(
    "odd",
    [
        *(b"..", b".", b"%2e%2e", b".%2E", b"%252e%252e", b"%252e.", b"%25252e%2e", b"%2e", b"%252e"),
        *(b"..;", b"..;x=1", b"%2e%2e;x", b"..%3b", b"..%3bx", b"%252e.%253b", b".;", b"..%2f", b"y%2f..", b"y%252f.."),
        *(b"\\", b"%5c", b"%5C", b"%255c", b"%25255C", b"y\\z", b"y%5cz"),
        *(b"%", b"%2", b"%zz", b"y%", b"%u002e", b"%%32e", b"%2%65"),
        *(b"%00", b"y%00", b"%0a", b"%0D", b"%1f", b"%7f", b"%09", b"%08"),
    ],
)
def test_dot_segments_backslashes_and_controls_in_a_path_are_always_refused(
    before: bytes, odd: bytes, after: bytes
) -> None:
    assert outcome(PATH, before + odd + after) == AMBIGUOUS_REQUEST


@pytest.mark.parametrize("place", [b"/api/sites/shop/%b", b"/%b", b"/x?%b", b"/x?q=%b", b"/x?q=1&%b=2"])
@pytest.mark.parametrize(
    "odd", [b"\x00", b"\x01", b"\t", b"\r", b"\n", b"\x1f", b"\x7f", b"\x80", b"\xc3\xa9", b"\xff", b"#"]
)
def test_raw_control_bytes_high_bytes_and_fragments_are_refused_anywhere_in_the_target(
    place: bytes, odd: bytes
) -> None:
    if place == b"/x?q=%b" and odd == "é".encode():
        return  # UTF-8 in a value that no rule reads passes
    assert outcome(PATH, place % odd) in (AMBIGUOUS_REQUEST, BAD_REQUEST)


@pytest.mark.parametrize(
    "target",
    [
        b"http://api.example.com/x",
        b"HTTPS://api.example.com/x",
        b"api.example.com:80",
        b"*",
        b"",
        b"x",
        b"?x",
        b"api/x",
    ],
)
def test_every_form_except_origin_form_is_refused(target: bytes) -> None:
    assert outcome(PATH, target) in (AMBIGUOUS_REQUEST, BAD_REQUEST)


@pytest.mark.parametrize(
    "query",
    [
        # A semicolon is a separator too.
        b"a=1;site=blog",
        b"a;site=blog",
        b";site=blog",
        b"site=blog;a=1",
        # Names after further rounds of decoding.
        b"%2573ite=blog",
        b"sit%252565=blog",
        # Left-trimmed names, and a plus as a space.
        b"+site=blog",
        b"%20site=blog",
        b"%2520site=blog",
        b"%2bsite=blog",
        b"++%20site=blog",
        # Cut at NUL and at an opening bracket.
        b"site%00=blog",
        b"site%00x=blog",
        b"site%2500=blog",
        b"site[]=blog",
        b"site[0][x]=blog",
        b"site%5b%5d=blog",
        b"site%255b%255d=blog",
        b"site[=blog",
        # In another case.
        b"SITE=blog",
        b"sItE=blog",
        b"%53ite=blog",
        # Several at once.
        b"a=1;+%53it%2565%00[]=blog",
        # Next to a plain one: first, last, and every duplicate.
        b"site=shop&SITE=blog",
        b"SITE=blog&site=shop",
        b"site=shop&site[]=blog",
        b"site=shop&a=1;site=blog",
        b"site=shop;site=blog",
        # Values after further rounds of decoding, and with a plus as a space.
        b"site=sh%256fp",
        b"site=sh%25256fp",
        b"site=shop%252b2",
    ],
)
def test_a_query_that_a_lenient_backend_reads_differently_is_refused(query: bytes) -> None:
    assert outcome(QUERY, b"/data?" + query) == AMBIGUOUS_REQUEST


@pytest.mark.parametrize(
    "name", [b"site.id", b"site%2eid", b"site+id", b"site%20id", b"site[id", b"site%5Bid", b"site%252eid", b"SITE.ID"]
)
def test_dots_spaces_and_brackets_in_a_name_are_read_as_underscores(name: bytes) -> None:
    assert outcome(UNDERSCORE, b"/data?%b=blog" % name) == AMBIGUOUS_REQUEST


def test_every_value_of_a_repeated_parameter_is_a_site() -> None:
    claim = outcome(QUERY, b"/data?site=shop&site=blog&site=shop")
    assert isinstance(claim, Claim)
    assert claim.sites == ("shop", "blog")


@pytest.mark.parametrize(
    "fields",
    [
        [(b"X_Site", b"blog")],
        [(b"x_site", b"blog")],
        [(b"X-Site", b"shop"), (b"X_Site", b"blog")],
        [(b"X_SITE", b"blog"), (b"X-Site", b"shop")],
    ],
)
def test_an_underscore_in_a_header_is_read_as_a_hyphen(fields: Fields) -> None:
    assert outcome(HEADER, b"/data", *fields) == AMBIGUOUS_REQUEST


def test_a_site_header_in_several_lines_is_refused() -> None:
    assert outcome(HEADER, b"/data", (b"X-Site", b"shop"), (b"x-site", b"blog")) == AMBIGUOUS_REQUEST
    assert outcome(HEADER, b"/data", (b"X-Site", b"shop"), (b"X-Site", b"shop")) == AMBIGUOUS_REQUEST


def test_a_host_and_a_parameter_both_name_their_sites() -> None:
    routes = table("host:{site}.api.example.com", "query:site")
    claim = read(
        routes, Head(b"GET", b"/data?site=blog", [(b"Host", b"SHOP.api.example.com:8080"), (b"X-API-Key", KEY)])
    )
    assert set(claim.sites) == {"/shop", "blog"}


def test_only_an_encoded_plus_in_a_value_is_unambiguous() -> None:
    claim = outcome(QUERY, b"/data?site=a%2bb")
    assert isinstance(claim, Claim)
    assert claim.sites == ("a+b",)
    either = outcome(QUERY, b"/data?site=a+b")
    assert isinstance(either, Claim)
    assert either.plus_as_space is not None
    assert (either.named.sites, either.plus_as_space.sites) == (("a+b",), ("a b",))


# Routes and endpoints, which are compared like sites.


@pytest.mark.parametrize(
    "target",
    [
        b"/API/sites/blog/x",
        b"/api//sites/blog/x",
        b"/api%2fsites/blog/x",
        b"/api/%2573ites/blog",
        b"/api;/sites/blog/x",
        b"/api/sites;x",
        b"/api/sites%2fblog",
        b"/api/sites%3b/blog",
    ],
)
def test_a_path_that_leads_to_another_route_in_some_reading_is_refused(target: bytes) -> None:
    assert outcome(TWO, target) == AMBIGUOUS_REQUEST


def test_a_route_matches_whole_segments_only() -> None:
    claim = outcome(TWO, b"/api/sitesmap/blog")
    assert isinstance(claim, Claim)
    assert claim.route.name == "rest"


OPEN = table("path:/api/sites/{site}/**", public=("GET /api/health",))


@pytest.mark.parametrize(
    "target",
    [
        b"/api/health/",
        b"/api/health;x",
        b"/api//health",
        b"/API/health",
        b"/api/health%2f",
        b"/api%2fhealth",
        b"/api/health%3bx",
        b"/api/%2568ealth",
        b"/api/health/x",
        b"/api/healthy",
        b"/api/health%20",
        b"/api/health.",
    ],
)
def test_a_path_is_public_only_if_all_its_readings_are_public(target: bytes) -> None:
    found = outcome(OPEN, target)
    assert isinstance(found, Refusal) or not found.open


def test_a_public_path_applies_only_to_its_method_and_strips_method_overrides_and_the_key() -> None:
    override = (b"X-HTTP-Method-Override", b"DELETE")
    claim = outcome(OPEN, b"/api/%68ealth?x=1", override, (b"X_HTTP_Method", b"PUT"), (b"Accept", b"*/*"))
    assert isinstance(claim, Claim)
    assert claim.open
    assert (claim.target, claim.fields) == (b"/api/%68ealth?x=1", [HOST, (b"Accept", b"*/*")])
    for method in (b"HEAD", b"POST", b"get", b"DELETE"):
        other = outcome(OPEN, b"/api/health", override, method=method)
        assert isinstance(other, Refusal) or not other.open


SHUT = table("path:/api/sites/{site}/**", refuse=("POST /api/$batch", "GET /api/sites/shop/dump/all", "query:urls"))


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"POST", b"/api/$batch"),
        (b"POST", b"/api/%24batch"),
        (b"POST", b"/api/%2524batch"),
        (b"POST", b"/API/$Batch"),
        (b"POST", b"/api/$batch/"),
        (b"POST", b"/api//$batch"),
        (b"POST", b"/api/$batch;x"),
        (b"POST", b"/api;x/$batch"),
        (b"POST", b"/api%2f$batch"),
        (b"POST", b"/api/$batch?x=1"),
        (b"GET", b"/api/sites/shop/dump/all"),
        (b"GET", b"/api/sites/shop/dump%2fall"),
        (b"GET", b"/api/sites/shop/Dump/ALL"),
        (b"GET", b"/api/sites/shop/dump;v/all"),
        (b"GET", b"/api/sites/shop/dump;%2fv%2fall/all"),
        (b"GET", b"/api/sites/shop;%2fv/dump%2fall"),
        (b"GET", b"/x?urls=1"),
        (b"GET", b"/x?a;URLS[]=1"),
        (b"GET", b"/x?%2575rls=1"),
        (b"GET", b"/x?urls"),
    ],
)
def test_an_endpoint_is_refused_in_every_reading(method: bytes, target: bytes) -> None:
    assert outcome(SHUT, target, (b"Content-Type", b"application/json"), method=method) in (
        ENDPOINT_REFUSED,
        AMBIGUOUS_REQUEST,
    )


@pytest.mark.parametrize(
    "name", [b"X-HTTP-Method-Override", b"x_http_method_override", b"X-HTTP-Method", b"X-Method-Override"]
)
def test_an_endpoint_is_refused_for_the_method_named_by_an_override(name: bytes) -> None:
    assert outcome(SHUT, b"/api/$batch", (name, b"post"), method=b"PUT") is ENDPOINT_REFUSED


# The key: found in every location and removed, with everything else unchanged.


def query_keyed(*places: str) -> RouteTable:
    return table("query:site", keys_from=places)


@pytest.mark.parametrize(
    "name",
    [
        *(b"api_key", b"API_KEY", b"api%5fkey", b"api%255Fkey", b"api.key"),
        *(b"+api_key", b"api_key[]", b"api%20key", b"api_key%00"),
    ],
)
@pytest.mark.parametrize("rest", [b"site=shop", b"q=100%25&site=shop", b"site=sho%70&q=a%2Fb+c%20d", b"site=shop&&q=;"])
def test_only_the_key_is_removed_from_a_query_in_any_spelling(name: bytes, rest: bytes) -> None:
    routes = query_keyed("query:api_key")
    pieces = rest.split(b"&")
    for at in range(len(pieces) + 1):
        query = b"&".join([*pieces[:at], name + b"=" + KEY, *pieces[at:]])
        claim = read(routes, Head(b"GET", b"/d%61ta;v?" + query, [HOST]))
        assert claim.key == KEY
        assert claim.target == b"/d%61ta;v?" + rest
        assert claim.fields == [HOST]


def test_two_different_keys_are_ambiguous_in_any_two_locations() -> None:
    routes = query_keyed("query:api_key", "header:X-API-Key", "bearer", "basic", "cookie:key")
    other = b"slk_" + b"B" * 38
    for fields, target in [
        ([(b"X-API-Key", KEY), (b"X-API-Key", other)], b"/data"),
        ([(b"X-API-Key", KEY), (b"x_api_key", other)], b"/data"),
        ([(b"X-API-Key", KEY), (b"Authorization", b"bearer " + other)], b"/data"),
        ([(b"Authorization", b"Bearer " + KEY), (b"Authorization", b"Bearer " + other)], b"/data"),
        ([(b"X-API-Key", KEY), (b"Cookie", b"a=1; key=" + other)], b"/data"),
        ([(b"Cookie", b"key=" + KEY + b"; key=" + other)], b"/data"),
        ([(b"X-API-Key", KEY)], b"/data?API%5Fkey=" + other),
        ([], b"/data?api_key=" + KEY + b"&api_key=" + other),
    ]:
        with pytest.raises(Refused) as refused:
            read(routes, Head(b"GET", target, [HOST, *fields]))
        assert refused.value.refusal == AMBIGUOUS_KEY


def test_the_same_key_in_every_location_is_one_key_and_is_removed_everywhere() -> None:
    routes = query_keyed("query:api_key", "header:X-API-Key", "bearer", "cookie:key")
    fields = [
        HOST,
        (b"X-API-Key", KEY),
        (b"Accept", b"*/*"),
        (b"x_api_key", KEY),
        (b"AUTHORIZATION", b"bearer  " + KEY),
        (b"Cookie", b"a=1; key=%b; b=2" % KEY),
        (b"cookie", b"KEY=" + KEY),
    ]
    claim = read(routes, Head(b"GET", b"/data?site=shop&api_key=" + KEY, fields))
    assert claim.key == KEY
    assert claim.target == b"/data?site=shop"
    assert KEY not in b"".join(value for _, value in claim.fields)
    assert claim.fields[:2] == [HOST, (b"Accept", b"*/*")]
    assert [name for name, _ in claim.fields] == [b"Host", b"Accept", b"Cookie"]
    assert claim.fields[2][1].replace(b" ", b"") == b"a=1;b=2"
