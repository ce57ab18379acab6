"""The parts of requests that routes read: sites, public paths, preflights, forms, refused endpoints; config errors."""

from typing import Any

import pytest

from proxy.decision.claim import Claim
from proxy.decision.route_table import RouteTable
from proxy.http.head_writer import refusal_response
from proxy.http.headers import Fields, Head
from proxy.refusals import Refused
from proxy.settings import HeaderRule, KeySettings, QueryRule, RouteSettings
from tests.unit.judging import read

KEY = (b"X-API-Key", b"k")


def table(*routes: dict[str, Any]) -> RouteTable:
    return RouteTable(
        [RouteSettings(**{"name": "data", "upstream": "http://x"} | route) for route in routes], KeySettings()
    )


def claim_or_code(
    routes: RouteTable, target: bytes, fields: Fields | None = None, *, method: bytes = b"GET", body: bool = False
) -> Claim | str:
    """Return the claim, or the refusal's code."""
    try:
        return read(routes, Head(method, target, [(b"Host", b"h"), *(fields if fields is not None else [KEY])], body))
    except Refused as refused:
        return refused.refusal.code


def sites(rules: list[Any], target: bytes, fields: Fields | None = None, **route: Any) -> tuple[str, ...] | str:
    claim = claim_or_code(table({"sites": rules, **route}), target, [KEY, *(fields or [])])
    return claim if isinstance(claim, str) else claim.sites


PATHS = ["path:/api/sites/{site}/**", "path:/{site}.json", "path:/Sites('{site}')", "path:/exact/{site}"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/api/sites/shop/uptime", ("shop",)),
        (b"/api/sites/shop", ("shop",)),
        (b"/api/sites/shop/", ("shop",)),
        (b"/api/sites/shop/a/b/c?x=1", ("shop",)),
        (b"/api/sites/sh%6Fp/x", ("shop",)),
        (b"/api/sites/b%C3%BCro/x", ("büro",)),
        (b"/api/sites/a.b~c/x", ("a.b~c",)),
        (b"/shop.json", ("shop",)),
        (b"/a.json.json", ("a.json",)),
        (b"/Sites('shop')", ("shop",)),
        (b"/exact/shop", ("shop",)),
        (b"/exact/shop/more", "site_missing"),
        (b"/", "site_missing"),
        (b"/.well-known/x", "site_missing"),
        # A lenient backend would read these differently.
        (b"/exact/shop/", "ambiguous_request"),
        (b"/API/sites/shop/x", "ambiguous_request"),
        (b"/shop.JSON", "ambiguous_request"),
        (b"/api//sites/shop", "ambiguous_request"),
        (b"/api/sites//shop", "ambiguous_request"),
        (b"/api/sites/shop;v=1/x", "ambiguous_request"),
        (b"/api;x/sites/shop", "ambiguous_request"),
        (b"/api/sites/shop%3Bx/y", "ambiguous_request"),
        (b"/api%2Fsites/shop", "ambiguous_request"),
        (b"/api/sites%2Fshop", "ambiguous_request"),
        (b"/api/sites/shop%2Fx/y", "ambiguous_request"),
        (b"/api/sites/sho%2570/y", "ambiguous_request"),
        (b"/api/sites/%2573hop/y", "ambiguous_request"),
        # Always refused.
        (b"/api/sites/shop/../blog", "ambiguous_request"),
        (b"/api/sites/shop/./x", "ambiguous_request"),
        (b"/api/sites/shop/%2e%2e/blog", "ambiguous_request"),
        (b"/api/sites/shop/%252E%252e/blog", "ambiguous_request"),
        (b"/api/sites/shop/%25252e%25252e/blog", "ambiguous_request"),
        (b"/api/sites/shop/..;/blog", "ambiguous_request"),
        (b"/api/sites/shop/..;x=1/blog", "ambiguous_request"),
        (b"/api/sites/shop/.%3B/blog", "ambiguous_request"),
        (b"/api/sites/shop/x%2f..%2f..%2fblog", "ambiguous_request"),
        (b"/api/sites/shop\\blog", "ambiguous_request"),
        (b"/api/sites/shop%5Cblog", "ambiguous_request"),
        (b"/api/sites/shop/%255cblog", "ambiguous_request"),
        (b"/api/sites/shop/%00", "ambiguous_request"),
        (b"/api/sites/shop/%0a", "ambiguous_request"),
        (b"/api/sites/shop/%7f", "ambiguous_request"),
        (b"/api/sites/shop/%2500", "ambiguous_request"),
        (b"/api/sites/shop/%c0%ae%c0%ae/blog", "ambiguous_request"),
        (b"/api/sites/shop/%c0%2e%c0%2e/blog", "ambiguous_request"),
        (b"/api/sites/shop/%ef%bc%8e%ef%bc%8e/blog", "ambiguous_request"),
        (b"/api/sites/shop/" + b"a%ef%bc%8f" * 33 + b"b", "ambiguous_request"),  # too many look-alikes of a slash
        (b"/api/sites/shop/%", "ambiguous_request"),
        (b"/api/sites/shop/%zz", "ambiguous_request"),
        (b"/api/sites/shop/%u002e", "ambiguous_request"),
        (b"//api/sites/shop", "ambiguous_request"),
        (b"/%2Fapi/sites/shop", "ambiguous_request"),
        (b"/api/sites/shop/" + b"%25" * 1 + b"25" * 6 + b"41", "ambiguous_request"),  # encoded too deeply
        (b"/api/sites/shop/%2e%2e/blog/%252e%252e/shop/x", "ambiguous_request"),
        (b"/api/sites/shop#x", "bad_request"),
        (b"http://h/api/sites/shop/x", "bad_request"),
        (b"*", "bad_request"),
        (b"api/sites/shop", "bad_request"),
        (b"/api/sites/shop/\xc3\xbc", "bad_request"),
        (b"/api/sites/shop/\x01", "bad_request"),
        # Unambiguous.
        (b"/api/sites/shop/a%2Fb", ("shop",)),
        (b"/api/sites/shop/100%25", ("shop",)),
        (b"/api/sites/shop/%252F", ("shop",)),
        (b"/api/sites/shop/x;v=1", ("shop",)),
        (b"/api/sites/shop/a//b", ("shop",)),
        (b"/api/sites/shop/" + b"a%ef%bc%8f" * 32 + b"b", ("shop",)),
        (b"/api/sites/shop/...", ("shop",)),
        (b"/api/sites/shop/x?q=a\\b%5C%0A%2e%2e/../", ("shop",)),
    ],
)
def test_path_rules_find_their_sites(target: bytes, expected: tuple[str, ...] | str) -> None:
    assert sites(PATHS, target) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/x?site=shop", ("shop",)),
        (b"/x?a=1&site=shop&b", ("shop",)),
        (b"/x?site=shop&site=blog", ("shop", "blog")),
        (b"/x?site=shop&site=shop", ("shop",)),
        (b"/x?site=sh%6Fp", ("shop",)),
        (b"/x?s%69te=sh%6Fp", "ambiguous_request"),
        (b"/x?site=", ("",)),  # it may mean all sites to a backend, so it must count as a site
        (b"/x?site", ("",)),
        (b"/x?site=shop,blog", ("shop,blog",)),
        (b"/x", "site_missing"),
        (b"/x?sites=shop&xsite=a&site2=b", "site_missing"),
        (b"/x?Site=shop", "ambiguous_request"),
        (b"/x?site=shop&SITE=blog", "ambiguous_request"),
        (b"/x?site[]=blog", "ambiguous_request"),
        (b"/x?site%5B0%5D=blog", "ambiguous_request"),
        (b"/x?site[=blog", "ambiguous_request"),
        (b"/x?site%00x=blog", "ambiguous_request"),
        (b"/x?+site=blog", "ambiguous_request"),
        (b"/x?%20site=blog", "ambiguous_request"),
        (b"/x?%0asite=blog", "ambiguous_request"),
        (b"/x?%2573ite=blog", "ambiguous_request"),
        (b"/x?%u0073ite=blog", "ambiguous_request"),
        (b"/x?a=1;site=blog", "ambiguous_request"),
        (b"/x?site=shop;x", "ambiguous_request"),
        (b"/x?site=shop&a=1;site=blog", "ambiguous_request"),
        (b"/x?site=a+b", ("a+b", "a b")),  # the grant decides which of the two is meant
        (b"/x?site=%2573hop", "ambiguous_request"),
        (b"/x?site=shop&q=a%26site%3Dblog", ("shop",)),  # the query is split before decoding, so this is a value
        (b"/x?site=shop&q=a%3Bsite%3Dblog", ("shop",)),
        (b"/x?site=shop&site=shop;", "ambiguous_request"),
    ],
)
def test_query_rules_find_their_sites(target: bytes, expected: tuple[str, ...] | str) -> None:
    assert sites(["query:site"], target) == expected


@pytest.mark.parametrize("name", ["site_id", "site.id"])
def test_names_that_php_treats_as_equal_are_ambiguous(name: str) -> None:
    assert sites([f"query:{name}"], f"/x?{name}=shop".encode()) == ("shop",)
    for other in (b"site.id", b"site_id", b"site%20id", b"site[id", b"site+id"):
        if other.decode() != name:
            assert sites([f"query:{name}"], b"/x?" + other + b"=shop") == "ambiguous_request"


def test_refusing_a_name_in_brackets_does_not_refuse_similar_names() -> None:
    rules = ["query:filter[site]"]
    assert sites(rules, b"/x?filter[site]=shop&filter[date]=1&filter%5Bx%5D=2") == ("shop",)
    assert sites(rules, b"/x?filter%5Bsite%5D=shop") == ("shop",)
    assert sites(rules, b"/x?filter[site][]=shop") == "ambiguous_request"


MATOMO = QueryRule(query="idSite", separator=",", all="all")
POSTGREST = QueryRule(query="site_id", template="eq.{site}")


def test_a_value_can_list_sites_or_mean_all_of_them() -> None:
    assert sites([HeaderRule(header="X-Sites", separator=",")], b"/x", [(b"X-Sites", b"a, b ,c")]) == ("a", "b", "c")
    assert sites([MATOMO], b"/x?idSite=1,2%2C3", workspace="acme") == ("1", "2", "3")
    claim = claim_or_code(table({"sites": [MATOMO], "workspace": "acme"}), b"/x?idSite=all")
    assert isinstance(claim, Claim)
    assert (claim.sites, claim.named.every_site) == ((), True)
    claim = claim_or_code(table({"sites": [MATOMO], "workspace": "acme"}), b"/x?idSite=1,all")
    assert isinstance(claim, Claim)
    assert (claim.sites, claim.named.every_site) == (("1",), True)


def test_a_header_that_is_a_list_may_be_sent_in_several_lines() -> None:
    lines = [(b"X-Sites", b"a, b"), (b"x-sites", b"c")]
    assert sites([HeaderRule(header="X-Sites", separator=",")], b"/x", lines) == ("a", "b", "c")
    # Servers join lines with a comma, no matter what the separator is.
    assert sites([HeaderRule(header="X-Sites", separator=";")], b"/x", lines) == "ambiguous_request"
    in_template = HeaderRule(header="X-Sites", separator=",", template="in.({site})")
    assert sites([in_template], b"/x", [(b"X-Sites", b"in.(a)"), (b"X-Sites", b"in.(b)")]) == "ambiguous_request"


def test_a_value_that_matches_no_template_names_an_impossible_site() -> None:
    assert sites([POSTGREST], b"/x?site_id=eq.shop") == ("shop",)
    for value in (b"neq.shop", b"in.(shop,blog)", b"shop", b"Eq.shop"):
        named = sites([POSTGREST], b"/x?site_id=" + value)
        assert isinstance(named, tuple)
        assert named[0].startswith("\0")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([(b"X-Site", b"shop")], ("shop",)),
        ([(b"x-site", b"shop"), (b"X-SITE", b"blog")], "ambiguous_request"),
        ([(b"X-Site", b"shop"), (b"X-Site", b"shop")], "ambiguous_request"),  # WSGI and CGI read `shop,shop`
        ([(b"X-Site", b"shop"), (b"X-Site", b"")], "ambiguous_request"),
        ([(b"X-Site", b"shop, blog")], ("shop, blog",)),
        ([], "site_missing"),
        ([(b"X_Site", b"shop")], "ambiguous_request"),
        ([(b"X-Site", b"shop"), (b"X_Site", b"blog")], "ambiguous_request"),
        ([(b"X-Site", b"\xff")], ("\udcff",)),
    ],
)
def test_header_rules_find_their_sites(fields: Fields, expected: tuple[str, ...] | str) -> None:
    assert sites(["header:X-Site"], b"/x", fields) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([(b"Host", b"shop.api.example.com")], ("/shop",)),
        ([(b"Host", b"SHOP.api.Example.com:8080")], ("/shop",)),
        ([(b"Host", b"a.b.api.example.com")], ("/a.b",)),
        ([(b"Host", b"api.example.com")], "site_missing"),
        ([(b"Host", b"shop.api.example.com.")], ("/shop",)),
        ([(b"Host", b"shop.api.example.com"), (b"X-Forwarded-Host", b"blog.api.example.com")], "ambiguous_request"),
        ([(b"Host", b"shop.api.example.com"), (b"X-Forwarded-Host", b"shop.api.example.com")], ("/shop",)),
        (
            [(b"Host", b"shop.api.example.com"), (b"Forwarded", b'for=1;host="blog.api.example.com"')],
            "ambiguous_request",
        ),
        (
            [(b"Host", b"shop.api.example.com"), (b"Forwarded", b'for=1; Host = ""blog.api.example.com')],
            "ambiguous_request",
        ),
    ],
)
def test_host_rules_find_their_sites(fields: Fields, expected: tuple[str, ...] | str) -> None:
    routes = table({"sites": ["host:{site}.api.example.com"]})
    try:
        got: Claim | str = read(routes, Head(b"GET", b"/x", [*fields, KEY]))
    except Refused as refused:
        got = refused.refusal.code
    assert (got if isinstance(got, str) else got.sites) == expected


def test_every_rule_that_finds_a_site_adds_it() -> None:
    rules = ["path:/{site}/**", "query:site", "header:X-Site"]
    assert sites(rules, b"/a/x?site=b", [(b"X-Site", b"c")]) == ("a", "b", "c")


def test_the_first_matching_route_handles_the_request() -> None:
    routes = table({"name": "v2", "path": "/v2/"}, {"name": "a", "path": "/a"}, {"name": "rest", "path": "/"})
    for target, name in ((b"/v2", "v2"), (b"/v2/x", "v2"), (b"/v2x", "rest"), (b"/a/b", "a"), (b"/ab", "rest")):
        claim = claim_or_code(routes, target, [])
        assert isinstance(claim, Claim)
        assert claim.route.name == name
    for target in (b"/V2/x", b"/v2%2fx", b"/v2;x/y", b"/%2561/x"):
        assert claim_or_code(routes, target, []) == "ambiguous_request"
    assert claim_or_code(table({"path": "/v2"}), b"/v1", []) == "no_route"


def test_a_key_in_the_query_is_removed_before_the_request_is_judged() -> None:
    routes = table({"sites": ["query:site"], "keys_from": ["query:key"]})
    claim = claim_or_code(routes, b"/x?site=shop&key=k", [])
    assert isinstance(claim, Claim)
    assert (claim.key, claim.target, claim.sites) == (b"k", b"/x?site=shop", ("shop",))


def test_forward_key_leaves_the_request_unchanged() -> None:
    routes = table({"forward_key": True, "without_site": "any-key", "keys_from": ["query:key", "header:X-API-Key"]})
    claim = claim_or_code(routes, b"/x?key=k")
    assert isinstance(claim, Claim)
    assert (claim.key, claim.target, claim.fields) == (b"k", b"/x?key=k", [(b"Host", b"h"), KEY])


def test_the_without_site_setting_decides_which_keys_pass_if_a_request_names_no_site() -> None:
    assert claim_or_code(table({}), b"/x") == "site_missing"
    claim = claim_or_code(table({}), b"/x", [])  # a client without a key is told about the key first
    assert isinstance(claim, Claim)
    assert claim.key is None
    claim = claim_or_code(table({"without_site": "any-key"}), b"/x")
    assert isinstance(claim, Claim)
    assert (claim.sites, claim.named.every_site) == ((), False)
    claim = claim_or_code(table({"without_site": "all-sites", "workspace": "acme"}), b"/x")
    assert isinstance(claim, Claim)
    assert claim.named.every_site


def is_keyless(claim: Claim | str) -> bool:
    return isinstance(claim, Claim) and claim.open


def test_only_exact_public_paths_pass_without_a_key() -> None:
    routes = table({"public": ["GET /api/health"], "sites": ["path:/api/sites/{site}/**"]})
    assert is_keyless(claim_or_code(routes, b"/api/health", []))
    assert is_keyless(claim_or_code(routes, b"/api/health?x=1", []))
    assert is_keyless(claim_or_code(routes, b"/api/h%65alth", []))
    for target in (
        b"/api/health/",
        b"/API/health",
        b"/api/health/x",
        b"/api//health",
        b"/api/health;x",
        b"/api/health%2f",
    ):
        assert not is_keyless(claim_or_code(routes, target, []))
    assert not is_keyless(claim_or_code(routes, b"/api/health", [], method=b"POST"))
    assert not is_keyless(claim_or_code(routes, b"/api/health", [], method=b"HEAD"))
    assert not is_keyless(claim_or_code(routes, b"/api/health?_method=DELETE", []))


def test_the_key_and_method_overrides_are_removed_from_a_public_request() -> None:
    routes = table({"public": ["GET /h"]})
    claim = claim_or_code(
        routes, b"/h", [KEY, (b"X-HTTP-Method-Override", b"DELETE"), (b"X_Http_Method", b"PUT"), (b"A", b"b")]
    )
    assert isinstance(claim, Claim)
    assert claim.fields == [(b"Host", b"h"), (b"A", b"b")]


PREFLIGHT: Fields = [(b"Origin", b"https://a.example"), (b"Access-Control-Request-Method", b"GET")]


def test_the_route_decides_whether_a_preflight_passes() -> None:
    rules = {"sites": ["path:/{site}/**"]}
    assert claim_or_code(table(rules), b"/shop/x", PREFLIGHT, method=b"OPTIONS") == "preflight_refused"
    passing = table(rules | {"preflight": "pass"})
    claim = claim_or_code(passing, b"/shop/x", [*PREFLIGHT, (b"X-Http-Method-Override", b"GET")], method=b"OPTIONS")
    assert isinstance(claim, Claim)
    assert claim.open
    assert claim.fields == [(b"Host", b"h"), *PREFLIGHT]
    assert not is_keyless(claim_or_code(passing, b"/shop/x", PREFLIGHT, method=b"GET"))
    assert not is_keyless(claim_or_code(passing, b"/shop/x", PREFLIGHT[:1], method=b"OPTIONS"))
    assert claim_or_code(passing, b"/shop/%2e%2e/x", PREFLIGHT, method=b"OPTIONS") == "ambiguous_request"


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        (b"POST", b"application/x-www-form-urlencoded"),
        (b"POST", b"Multipart/Form-Data; boundary=x"),
        (b"PUT", b"application/X-WWW-form-urlencoded; charset=utf-8"),
        (b"POST", b"application/x-url-encoded"),  # Bottle and Zope
        (b"GET", b"multipart/mixed; boundary=x"),
        (b"POST", None),  # Rack reads a POST without a type as a form
    ],
)
def test_form_bodies_are_refused_where_a_query_rule_applies_to_the_route(method: bytes, kind: bytes | None) -> None:
    fields = [KEY] + ([(b"Content-Type", kind)] if kind else [])
    by_query = {"sites": ["query:site"]}
    target = b"/x?site=shop"
    assert claim_or_code(table(by_query), target, fields, method=method, body=True) == "form_body_not_read"
    assert isinstance(
        claim_or_code(table(by_query), target, fields, method=method), Claim
    )  # without a body there is nothing to merge
    assert isinstance(
        claim_or_code(table(by_query | {"form_body": "pass"}), target, fields, method=method, body=True), Claim
    )
    assert isinstance(
        claim_or_code(table({"sites": ["path:/{site}"]}), b"/shop", fields, method=method, body=True), Claim
    )


def test_bodies_that_are_not_forms_pass() -> None:
    fields = [KEY, (b"Content-Type", b"application/json")]
    assert isinstance(
        claim_or_code(table({"sites": ["query:site"]}), b"/x?site=a", fields, method=b"POST", body=True), Claim
    )


def test_an_endpoint_refused_for_get_is_refused_for_head() -> None:
    routes = table({"refuse": ["GET /dump"], "without_site": "any-key"})
    assert claim_or_code(routes, b"/dump", method=b"HEAD") == "endpoint_refused"
    assert isinstance(claim_or_code(routes, b"/dump", method=b"PUT"), Claim)


def test_refused_endpoints_are_refused_with_a_format() -> None:
    # Rails, Grape and Spring before 5.3 serve `/api/batch.json` like `/api/batch`.
    routes = table({"refuse": ["POST /api/batch", "* /internal/**"], "without_site": "any-key"})
    for target in (
        b"/api/batch.json",
        b"/api/batch.tar.gz",
        b"/API/BATCH.",
        b"/api/batch%2Ejson/",
        b"/api/batch.json;a",
    ):
        assert claim_or_code(routes, target, method=b"POST") == "endpoint_refused"
    assert claim_or_code(routes, b"/internal.json") == "endpoint_refused"
    for target in (b"/api/batches", b"/api/batch.d/x", b"/internal.d/x", b"/api/x.batch"):
        assert isinstance(claim_or_code(routes, target, method=b"POST"), Claim)


def test_public_endpoints_need_the_format_that_they_are_listed_with() -> None:
    routes = table({"public": ["GET /api/health"]})
    assert claim_or_code(routes, b"/api/health.json") == "site_missing"


def test_refused_endpoints_are_refused_in_every_reading() -> None:
    routes = table({"refuse": ["POST /api/$batch", "* /internal/**", "query:urls"], "without_site": "any-key"})
    for target in (
        b"/api/$batch",
        b"/API/%24Batch",
        b"/api//$batch",
        b"/api/$batch/",
        b"/api/$batch;x",
        b"/api%2f$batch",
    ):
        assert claim_or_code(routes, target, method=b"POST") == "endpoint_refused"
    assert isinstance(claim_or_code(routes, b"/api/$batch"), Claim)
    override = [KEY, (b"X-HTTP-Method-Override", b"post")]
    assert claim_or_code(routes, b"/api/$batch", override) == "endpoint_refused"
    assert claim_or_code(routes, b"/internal/x", method=b"DELETE") == "endpoint_refused"
    assert claim_or_code(routes, b"/api/$batch?_method=post") == "endpoint_refused"
    for query in (b"urls=a", b"URLS[]=a", b"x=1;urls=a", b"%75rls", b"+urls=a"):
        assert claim_or_code(routes, b"/x?" + query) == "endpoint_refused"
    assert isinstance(claim_or_code(routes, b"/x?url=a&urlset=b"), Claim)


@pytest.mark.parametrize(
    ("route", "hint"),
    [
        ({"sites": ["site"]}, "site rule"),
        ({"sites": ["path:api/{site}"]}, "beginning with"),
        ({"sites": ["path:/api/x"]}, "does not name a site"),
        ({"sites": ["path:/{site}/{site}"]}, "only placeholder"),
        ({"sites": ["path:/{id}"]}, "only placeholder"),
        ({"sites": ["path:/**/{site}"]}, "last segment"),
        ({"sites": ["path:/{site}?x"]}, "without"),
        ({"sites": ["host:api.example.com"]}, "with one {site}"),
        ({"sites": ["header:X Site"]}, "not a header name"),
        ({"sites": [QueryRule(query="a", template="x")]}, "must contain {site}"),
        ({"sites": [QueryRule(query="a", separator="")]}, "separator"),
        ({"sites": [MATOMO]}, "needs workspace"),
        ({"without_site": "all-sites"}, "needs workspace"),
        ({"public": ["/health"]}, "METHOD /path"),
        ({"public": ["GET /{site}"]}, "one exact path"),
        ({"path": "/{site}"}, "plain prefix"),
        ({"keys_from": ["body:x"]}, "header:NAME"),
    ],
)
def test_a_config_error_names_the_mistake_and_how_to_correct_it(route: dict[str, Any], hint: str) -> None:
    with pytest.raises(ValueError, match="route 'data'") as error:
        table(route)
    assert hint in str(error.value)


def test_two_routes_with_the_same_name_are_a_config_error() -> None:
    with pytest.raises(ValueError, match="same name"):
        table({}, {})


def test_a_table_lists_the_headers_that_its_decision_reads() -> None:
    routes = table({"sites": ["header:X_Site"], "keys_from": ["bearer", "cookie:k", "header:X-API-Key"]})
    assert routes.judged_names == {b"x-site", b"authorization", b"cookie", b"x-api-key", b"content-type"}


@pytest.mark.parametrize("name", [b"]site", b"[site]", b"site]", b"%5Bsite", b"?site"])
def test_a_name_in_stray_brackets_is_ambiguous(name: bytes) -> None:
    assert sites(["query:site"], b"/x?site=shop&" + name + b"=blog") == "ambiguous_request"


def test_a_bracketed_name_is_recognized_with_any_brackets() -> None:
    for name in (b"filter]site", b"[filter]site", b"filter[[site]]"):
        assert sites(["query:filter[site]"], b"/x?filter[site]=shop&" + name + b"=blog") == "ambiguous_request"


def test_a_site_named_after_the_parameters_that_backends_read_is_refused() -> None:
    for pad in (b"a&" * 900, b"&" * 900, b"a=1&" * 100):
        assert sites(["query:site"], b"/x?" + pad + b"site=shop") == "ambiguous_request"
        assert sites(["query:site"], b"/x?site=shop&" + pad + b"a") == ("shop",)


def test_a_query_after_an_encoded_question_mark_is_ambiguous() -> None:
    for path in (b"/x%3Fsite=blog&y=", b"/x%253Fa=1&site=blog", b"/x%3Fsit%65[]=blog"):
        assert sites(["query:site"], path + b"?site=shop") == "ambiguous_request"
    for path in (b"/who%3Fab", b"/Who%3F%20Really...", b"/%3fa.b"):  # no server reads these as a site
        assert sites(["query:site"], path + b"?site=shop") == ("shop",)


@pytest.mark.parametrize("name", [b"X.Site", b"X~Site", b"X_Site", b"x!site"])
def test_a_header_that_php_or_lighttpd_reads_as_the_site_header_is_refused(name: bytes) -> None:
    assert sites(["header:X-Site"], b"/x", [(b"X-Site", b"shop"), (name, b"blog")]) == "ambiguous_request"


def test_a_template_may_end_with_a_slash() -> None:
    rules = ["path:/sites/{site}/", "path:/sites/{site}/uptime/"]
    assert sites(rules, b"/sites/shop/") == ("shop",)
    assert sites(rules, b"/sites/shop/uptime/") == ("shop",)
    assert sites(rules, b"/sites/shop//") == "ambiguous_request"
    routes = table({"public": ["GET /health/"], "sites": rules})
    assert is_keyless(claim_or_code(routes, b"/health/", []))
    assert not is_keyless(claim_or_code(routes, b"/health", []))


def test_a_path_with_many_readings_is_not_remembered() -> None:
    routes = table({"sites": ["path:/sites/{site}/**"]})
    for number in range(20):
        claim_or_code(routes, b"/sites/shop/%d/%%2525252F;a//%%3B/" % number)
        assert not routes.remembers(b"/sites/shop/%d/%%2525252F;a//%%3B/" % number)


def test_a_route_forwards_the_methods_it_lists() -> None:
    routes = table(
        {"name": "files", "path": "/files", "without_site": "any-key", "methods": ["GET", "PROPFIND", "LIST"]},
        {"path": "/api", "without_site": "any-key"},
    )
    assert routes.methods >= {b"LIST", b"PROPFIND", b"DELETE"}
    for method in (b"GET", b"PROPFIND", b"LIST"):
        assert isinstance(claim_or_code(routes, b"/files/a", method=method), Claim)
    for method in (b"HEAD", b"POST", b"list", b"COPY"):
        assert claim_or_code(routes, b"/files/a", method=method) == "method_not_allowed"
    for method in (b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"PATCH", b"DELETE"):
        assert isinstance(claim_or_code(routes, b"/api/a", method=method), Claim)
    assert claim_or_code(routes, b"/api/a", method=b"LIST") == "method_not_allowed"


def test_an_unlisted_method_is_refused_before_the_key_is_checked_and_the_refusal_lists_the_allowed_methods() -> None:
    with pytest.raises(Refused) as caught:
        read(table({"methods": ["GET", "LIST"]}), Head(b"POST", b"/a", [(b"Host", b"h")]))
    answer = refusal_response(caught.value.refusal, b"id", close=False)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert b"Allow: GET, LIST" in head.split(b"\r\n")
    assert b'"code": "method_not_allowed"' in body
