"""Requests from real clients pass byte for byte, however unusual they look (docs/decision.md)."""

import base64
import json
import re
from dataclasses import replace
from urllib.parse import quote, urlencode

import pytest
from pydantic import ValidationError

from proxy.decision.claim import Claim
from proxy.decision.grant import Grant
from proxy.decision.route_table import RouteTable
from proxy.http.headers import Head
from proxy.http.hop_by_hop import clean_request
from proxy.http.request_header_names import RequestSpellings
from proxy.http.request_parser import RequestReader
from proxy.refusals import Refused
from proxy.settings import KeySettings, LimitSettings, RouteSettings
from tests.ordinary_traffic import REFUSED, SHAPES, WANTED
from tests.spellings import Fields
from tests.traffic import large
from tests.traffic.shape import Shape
from tests.unit.judging import covered, read

SLK = "slk_" + "A" * 38
KEY = (b"X-API-Key", SLK.encode())
HOST = (b"Host", b"api.example.com")
IDS = ("shop", "42", "blog.example.com", "my shop", "café", "a@b", "~tilde", "it's", "100:200", "a&b")


def passed(
    rules: tuple[object, ...], target: bytes, fields: Fields, *, method: bytes = b"GET", **more: object
) -> Claim:
    """Return the claim of a request that passes with a key for all of IDS, after checking that it is unchanged."""
    settings = {"name": "data", "upstream": "http://127.0.0.1:1", "sites": rules, **more}
    table = RouteTable([RouteSettings.model_validate(settings)], KeySettings())
    claim = read(table, Head(method, target, [HOST, KEY, *fields]))
    covered(claim, Grant("1", "acme", all_sites=False, sites=frozenset(IDS)))
    assert claim.target == target
    assert claim.fields == [HOST, *fields]
    assert claim.key == KEY[1]
    return claim


def claim_of(shape: Shape, **options: object) -> Claim:
    """Return the claim of a shape, read from the bytes on the wire like the front door does."""
    settings = {"name": "data", "upstream": "http://127.0.0.1:1", "sites": shape.rules, **options}
    table = RouteTable([RouteSettings.model_validate(settings)], KeySettings())
    raw, rest = RequestReader(LimitSettings(), table.methods).read(shape.wire(SLK))
    assert raw is not None
    assert rest == b""
    hop = clean_request(
        raw,
        spellings=RequestSpellings(),
        trusted=False,
        judged=table.judged_names,
        trailer_bytes=32768,
    )
    return read(table, hop.head)


def sent(shape: Shape, **options: object) -> Claim:
    """Return the claim of a shape that passes with a key for its sites, after checking that it is unchanged."""
    claim = claim_of(shape, **options)
    sites = covered(claim, Grant("1", "acme", all_sites=shape.every_site, sites=frozenset(shape.sites)))
    assert claim.target == (shape.forwarded or shape.target).encode()
    assert claim.fields == shape.fields_on(SLK)
    assert sites == shape.sites
    assert shape.keyless or claim.named.every_site == shape.every_site
    assert claim.open == shape.keyless
    assert claim.key == (None if shape.keyless else KEY[1])
    return claim


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
def test_real_requests_pass_unchanged(shape: Shape) -> None:
    sent(shape, **shape.options)


@pytest.mark.parametrize("shape", large.SHAPES, ids=[shape.name for shape in large.SHAPES])
def test_large_real_requests_pass_even_with_thirty_more_header_fields(shape: Shape) -> None:
    more = tuple(f"X-More-{number}: {number}" for number in range(30))
    sent(replace(shape, lines=(*shape.lines, *more)))


@pytest.mark.parametrize("shape", WANTED, ids=[shape.name for shape in WANTED])
def test_real_requests_pass_with_the_config_made_for_them(shape: Shape) -> None:
    sent(shape, **shape.options)


@pytest.mark.parametrize("shape", REFUSED, ids=[shape.name for shape in REFUSED])
def test_no_key_is_read_from_other_authorization_schemes(shape: Shape) -> None:
    assert claim_of(shape, **shape.options).key is None


def test_there_are_four_hundred_distinct_request_shapes_each_with_a_source() -> None:
    assert len({(shape.method, shape.target, shape.lines) for shape in SHAPES}) >= 400
    for shape in [*SHAPES, *WANTED, *REFUSED]:
        assert re.search(r"RFC \d+|https://\S+|^[\w.-]+/[\w.-]+ \S", shape.source), shape


def test_nearly_all_real_requests_pass_on_a_plain_route() -> None:
    """Print the share of shapes that pass with the route's site rules and key locations and default options."""
    every = [*SHAPES, *WANTED, *REFUSED]
    refused = [shape for shape in every if not passes_plainly(shape)]
    print(f"\n{len(every) - len(refused)} of {len(every)} shapes of {len({s.source for s in every})} sources pass")  # noqa: T201
    print("\n".join(f"not on a plain route: {shape.name}" for shape in refused))  # noqa: T201
    assert len(refused) / len(every) < 0.06


def passes_plainly(shape: Shape) -> bool:
    """Return whether a shape passes on a route with only its site rules, workspace and key locations."""
    options = {name: value for name, value in shape.options.items() if name in ("keys_from", "workspace", "public")}
    try:
        sent(shape, **options)
    except (Refused, ValidationError, AssertionError):
        return False
    return True


LEFT_UNENCODED = "!$'()*,/:?@[]{}|^`\\=~"
"""Characters that browsers and careless clients do not encode in a value. Some servers separate parameters at `;`."""

PROMQL = 'sum by (site) (rate(http_requests_total{site=~"shop|blog", path!~"/api/.*\\\\d+"}[5m])) / 2 > 0.5'
GRAPHQL = (
    'query($site: ID!) {\n  site(id: "blog") {\r\n\tname # a comment\n    pages(first: 10; after: null) { url }\n  }\n}'
)
FILTER = json.dumps({"site": "blog", "path": "../x\\y", "list": [1, {"a": None}], "n": "\u0000\n"})
BASE64 = base64.b64encode(bytes(range(251, 256)) * 7 + b"?").decode()

VALUES = [
    ("PromQL", "query", PROMQL),
    ("GraphQL", "query", GRAPHQL),
    ("JSON", "filter", FILTER),
    ("base64", "cursor", BASE64),
    ("a URL with its own query", "next", "https://api.example.com/api/sites/blog/x?lang=en&page=2#top"),
    ("a path upwards", "file", "../../etc/../blog"),
    ("a Windows path", "file", "C:\\data\\shop\\..\\x.csv"),
    ("a newline", "text", "one\ntwo\r\nthree"),
    ("a tab and a NUL", "text", "one\ttwo\0three"),
    ("percents", "q", "100% of 50%25"),
    ("an escape written out", "q", "%2e%2e%2f and %252e"),
    ("a parameter written out", "q", "&site=blog;site=blog"),
    ("an ISO time", "from", "2026-11-23T18:00:00.000+02:00"),
    ("an ISO interval", "range", "2026-01-01T00:00:00Z/P1M"),
    ("OData", "$filter", "contains(Name,'O''Neil') and Price gt 3.5 or Site eq 'blog'"),
    ("OData select", "$select", "Id,Name/First"),
    ("JSON:API", "page[size]", "10"),
    ("JSON:API include", "fields[articles]", "title,body"),
    ("nested brackets", "where[site_name][like]", "b%log"),
    ("SQL", "sql", "select * from [blog] where a like '%site=blog%' -- x;\nlimit 3"),
    ("a regular expression", "match", r"^/(?:shop|blog)(?:/|$)[^;#]*\.html?$"),
    ("unicode", "q", "日本語 naïve ☃ 👩‍🚀"),
    ("fullwidth", "q", "．．／ｂｌｏｇ"),
    ("XML", "body", '<a href="&amp;site=1">]]></a>'),
    ("an empty value", "q", ""),
    ("an expression", "expr", "a+b-c*d/e%f^g|h&i~j!k"),
    ("CSV columns", "columns", "time,uptime,site,response-time"),
    ("sorting", "sort", "-created_at,+name"),
    ("an e-mail address", "user", "ada+site@example.com"),
    ("Lucene", "q", 'site:blog AND (title:"a/b" OR path:\\/x\\/*) && !draft'),
    ("a JSON path", "path", "$..sites[?(@.id=='blog')].x[0,1:3]"),
    ("a MongoDB filter", "filter", '{"$or":[{"site":{"$ne":"shop"}},{"n":{"$gt":1e+3}}]}'),
    ("a cron expression", "cron", "*/5 0-23 * * 1,3;L"),
    ("WKT", "bbox", "POLYGON((30 10, 40 40, 20 40, 30 10))"),
    ("a JWT", "state", "eyJhbGciOiJIUzI1NiJ9.eyJzaXRlIjoiYmxvZyJ9.c2ln_-x"),
    ("a data URL", "image", "data:image/png;base64,iVBORw0KGgo="),
    ("a template", "format", "{{site}} ${site} %(site)s <%= site %>"),
]


@pytest.mark.parametrize(("parameter", "value"), [case[1:] for case in VALUES], ids=[case[0] for case in VALUES])
@pytest.mark.parametrize("encode", ["percent", "form", "minimal", "lower"])
@pytest.mark.parametrize(
    ("rules", "start"),
    [
        (("path:/api/sites/{site}/**",), "/api/sites/shop/query?"),
        (("query:site",), "/api/query?site=shop&"),
        (("query:site_id", "path:/api/{site}/x"), "/api/query?step=15s&site_id=shop&"),
        (("header:X-Site",), "/api/query?"),
    ],
    ids=["path", "query", "mixed", "header"],
)
def test_any_value_of_an_unrelated_parameter_passes(
    rules: tuple[str, ...], start: str, encode: str, parameter: str, value: str
) -> None:
    pair = {
        "percent": f"{quote(parameter, safe='')}={quote(value, safe='')}",
        "form": urlencode({parameter: value}),
        "minimal": f"{quote(parameter, safe='$[]')}={quote(value, safe=LEFT_UNENCODED)}",
        "lower": f"{parameter}={quote(value, safe='')}".replace("%2F", "%2f").replace("%3D", "%3d"),
    }[encode]
    fields = [(b"X-Site", b"shop")] if rules[0].startswith("header") else []
    for target in (start + pair, start + pair + "&z=1", start + "a=1&" + pair):
        assert passed(rules, target.encode(), fields).sites == ("shop",)


@pytest.mark.parametrize(
    "query",
    [
        "&".join(f"p{number}={number}" for number in range(300)),
        "&".join(f"id={number}" for number in range(300)),
        "a&b&c",
        "a=&b=&c=",
        "&&a=1&&b=2&",
        "=",
        "=1",
        "a==b=",
        "a=1;b=2",
        "a=1;b",
        ";",
        "a;b;c=1&d=2",
        "flag",
        "sites=blog&siteId=blog&website=blog&site-id=blog&my_site=blog",
        "sit=blog&ite=blog&xsite=blog&sitex=blog",
        "100%25",
        "a=100%",
        "a=%",
        "a=%zz&%=1",
        "a=%u0041",
        "%5B%5D=1",
        "[]=1",
        "[a]=1",
        "filter[site]=blog",
        "filter.site=blog",
        "q=?a=1?b=2",
        "?",
        "/../..",
        "\\",
        "q=%FF%FE",
        "q=caf%E9",
        "%E9=1",
        "$top=10&$skip=20&$orderby=Name%20desc",
        "_=1763920800000",
        "@a=1&!b=2&~c=3&'d'=4",
        "a+b=c+d",
        "q=" + "x" * 6000,
        "q=" + "%41" * 2000,
    ],
)
def test_queries_in_any_format_pass(query: str) -> None:
    assert passed(("query:site",), f"/api/data?site=shop&{query}".encode(), []).sites == ("shop",)
    assert passed(("path:/api/sites/{site}/**",), f"/api/sites/shop/x?{query}".encode(), []).sites == ("shop",)


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "/",
        "/x",
        "/x/",
        "/x//y",
        "//",
        "/a/b/c/d/e/f/g",
        "/index.html",
        "/.well-known/x",
        "/.hidden",
        "/...",
        "/..x",
        "/x..",
        "/a..b/c.",
        "/v1.2.3/file.tar.gz",
        "/~ada/x",
        "/@ada",
        "/a@b.example",
        "/a:b",
        "/a,b,c",
        "/a+b",
        "/a=b",
        "/a&b",
        "/(a)!*'$",
        "/a%20b",
        "/100%25",
        "/100%25%20sure",
        "/%25",
        "/a%2Fb",
        "/a%2fb%2Fc",
        "/owner%2Frepository/issues",
        "/https%3A%2F%2Fexample.com%2Fx%23top",
        "/a%252Fb",
        "/a;b",
        "/a;v=1",
        "/a;v=1;w=2/b;x",
        "/matrix;lat=50;long=20;scale=32000",
        "/a%3Bb",
        "/caf%C3%A9",
        "/%E6%97%A5%E6%9C%AC",
        "/caf%E9",
        "/%F0%9F%91%A9%E2%80%8D%F0%9F%9A%80",
        "/A/B/Sites/SHOP",
        "/api/sites/blog/x",
        "/sites/blog",
        "/blog",
        "/Products('a%20b')/Name",
        "/Products(Id=1,Key='x')",
        "/2026-11-23T18:00:00+02:00",
        "/%7Ba,b%7D",
        "/%5B1%5D",
        "/%22quoted%22",
        "/%3Ctag%3E",
        "/a%7Cb",
        "/a%5Eb",
        "/%60x%60",
        "/a%23b",
        "/a%3Fb",
        "/" + "x" * 6000,
        "/" + "/".join("abcdefgh" * 50),
        "/" + "%41" * 2000,
    ],
)
@pytest.mark.parametrize("query", ["", "?", "?a=/../b"])
def test_any_path_below_the_site_passes(rest: str, query: str) -> None:
    target = f"/api/sites/shop{rest}{query}".encode()
    assert passed(("path:/api/sites/{site}/**",), target, []).sites == ("shop",)
    assert passed(("path:/api/sites/{site}/**", "query:site", "header:X-Site"), target, []).sites == ("shop",)


@pytest.mark.parametrize("site", IDS)
def test_site_ids_pass_in_the_usual_encodings(site: str) -> None:
    for safe in ("", "@:~'&="):
        spelt = quote(site, safe=safe)
        for target in (f"/api/sites/{spelt}/x", f"/api/sites/{spelt}", f"/api/sites/{spelt}/x?a=1"):
            assert passed(("path:/api/sites/{site}/**",), target.encode(), []).sites == (site,)
    spelt = quote(site, safe="")
    for target in (f"/data?site={spelt}", f"/data?a=1&site={spelt}&b", f"/data?site={spelt}&site={spelt}"):
        assert passed(("query:site",), target.encode(), []).sites == (site,)
    if site.isascii():
        assert passed(("header:X-Site",), b"/data", [(b"X-Site", site.encode())]).sites == (site,)


@pytest.mark.parametrize(
    ("rules", "target", "sites"),
    [
        (("path:/{site}.json", "path:/{site}/**"), "/shop.json?_stream=on&_shape=array&_size=max", ("shop",)),
        (("path:/{site}.json", "path:/{site}/**"), "/shop", ("shop",)),
        (("path:/{site}.json", "path:/{site}/**"), "/shop?sql=select+*+from+%5Bx%5D", ("shop",)),
        (("path:/{site}.json", "path:/{site}/**"), "/shop/orders.csv?_stream=on&_dl=on", ("shop",)),
        (("path:/{site}.json", "path:/{site}/**"), "/shop/a~2Fb~2Ejson/1~2C2.json?_labels=on", ("shop",)),
        (("path:/{site}.json", "path:/{site}/**"), "/blog.example.com.json", ("blog.example.com",)),
        (("path:/{site}.json", "path:/{site}/**"), "/blog.example.com/posts.json", ("blog.example.com",)),
        (
            ("path:/Sites('{site}')/**",),
            "/Sites('shop')/Pages?$filter=Url%20eq%20'/x'&$expand=Links($top=3)",
            ("shop",),
        ),
        (("path:/Sites('{site}')/**",), "/Sites(%27shop%27)/Pages", ("shop",)),
        (("path:/Sites('{site}')/**",), "/Sites('it's')/Pages(Id=1)", ("it's",)),
        (("path:/v1/sites/{site}/stats", "path:/v1/{site}"), "/v1/sites/shop/stats?period=custom&date=a,b", ("shop",)),
        (({"query": "idSite", "separator": ","},), "/index.php?module=API&idSite=42,shop&token=%25", ("42", "shop")),
        (({"query": "idSite", "separator": ","},), "/index.php?idSite=42%2Cshop", ("42", "shop")),
        (({"query": "site_id", "template": "eq.{site}"},), "/stats?site_id=eq.42&select=*,pages(url)", ("42",)),
        (("query:filter[site]",), "/stats?filter[site]=shop&page[number]=2", ("shop",)),
        (("query:filter[site]",), "/stats?filter%5Bsite%5D=shop", ("shop",)),
        (("query:site.id",), "/stats?site.id=shop&site.name=x", ("shop",)),
        (("query:$site",), "/stats?%24site=shop&$top=1", ("shop",)),
        (("query:site", "path:/s/{site}/**"), "/s/shop/x?site=42", ("shop", "42")),
    ],
)
def test_rules_of_real_data_services_find_their_sites(
    rules: tuple[object, ...], target: str, sites: tuple[str, ...]
) -> None:
    assert passed(rules, target.encode(), []).sites == sites


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Accept", b"text/html,application/json;q=0.9,*/*;q=0.8")],
        [(b"Cookie", b"a=1; b=%2e%2e; site=blog"), (b"Cookie", b"c=\xc3\xa9")],
        [(b"Authorization", b"Basic dXNlcjpwYXNz")],
        [(b"Authorization", b'Digest username="x", uri="/api/sites/blog"')],
        [(b"If-None-Match", b'"a", W/"b"'), (b"Range", b"bytes=0-1,5-")],
        [(b"Referer", b"https://app.example.com/sites/blog?site=blog#x")],
        [(b"User-Agent", b"x/1 (a; b) \xff")],
        [(b"x-odd_name.with~all!marks", b"1"), (b"X-Empty", b"")],
        [(b"Prefer", b"return=minimal"), (b"prefer", b"count=exact")],
        [(b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), (b"baggage", b"site=blog")],
        [(b"Content-Type", b"application/json"), (b"Content-Length", b"2")],
    ],
)
def test_unrelated_header_fields_pass(fields: Fields) -> None:
    assert passed(("path:/api/sites/{site}/**",), b"/api/sites/shop/x", fields).sites == ("shop",)
    assert passed(("header:X-Site",), b"/x", [*fields, (b"X-Site", b"shop")]).sites == ("shop",)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"])
def test_every_forwarded_method_passes(method: bytes) -> None:
    fields = [(b"Content-Type", b"application/json")]
    more = {} if method not in (b"REPORT", b"QUERY") else {"methods": ("GET", "REPORT", "QUERY")}
    assert passed(("query:site",), b"/x?site=shop", fields, method=method, **more).sites == ("shop",)
    assert passed(("path:/{site}/**",), b"/shop/x", fields, method=method, **more).sites == ("shop",)


def test_a_host_with_a_port_names_its_site() -> None:
    table = RouteTable(
        [RouteSettings(name="data", upstream="http://127.0.0.1:1", sites=("host:{site}.api.example.com",))],
        KeySettings(),
    )
    for host in (
        b"shop.api.example.com",
        b"shop.api.example.com:8080",
        b"SHOP.API.example.com",
        b"Shop.api.example.com:80",
    ):
        claim = read(table, Head(b"GET", b"/x", [(b"Host", host), KEY]))
        assert (claim.sites, claim.fields) == (("/shop",), [(b"Host", host)])


@pytest.mark.parametrize(
    "query",
    [
        urlencode({"from": "2026-01-01T00:00:00+01:00", "ids": list(range(900))}, doseq=True),  # requests, httpx
        urlencode({"version": "1.0", "ids": list(range(900))}, doseq=True),
        urlencode({"ids[]": list(range(570))}, doseq=True),  # jQuery, Rails
        "&".join(f"items[]={number}" for number in range(620)),  # jQuery, unencoded
        urlencode({f"поле {number}": "да" for number in range(110)}),
        urlencode({f"名前{number}": "1" for number in range(300)}),
    ],
    ids=["a list and a date", "a list and a decimal", "an array", "a raw array", "Cyrillic names", "Japanese names"],
)
def test_as_many_ids_pass_as_fit_into_a_target(query: str) -> None:
    target = f"/api/sites/shop/rows?{query}".encode()
    assert 4000 < len(target) < LimitSettings().target_bytes
    passed(("path:/api/sites/{site}/**", "query:site"), target, [(b"Accept", b"*/*")])
