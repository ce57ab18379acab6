"""CORS of a route: its header lines, and the configs that are refused (Fetch standard)."""

from typing import Any

import pytest
from pydantic import ValidationError

from proxy.decision.route_table import RouteTable
from proxy.decision.routes import Route
from proxy.http.cors import Cors
from proxy.http.headers import Fields, Head
from proxy.refusals import INVALID_KEY, TOO_MANY_UNKNOWN_KEYS, Refused
from proxy.settings import CorsSettings, HeaderRule, KeySettings, RouteSettings
from tests.unit.judging import read

APP, OTHER = b"https://app.example", b"https://evil.example"
EXPOSED = ("Access-Control-Expose-Headers", "RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id")
VARY = ("Vary", "Origin")


def route(**more: Any) -> RouteSettings:
    return RouteSettings.model_validate(
        {"name": "data", "upstream": "http://x", "cors": {"origins": [APP.decode(), "http://localhost:5173"]}} | more
    )


def cors(**more: Any) -> Cors:
    compiled = Route(route(**more), KeySettings()).cors
    assert compiled is not None
    return compiled


def parsed(lines: bytes) -> list[tuple[str, str]]:
    assert lines.endswith(b"\r\n")
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines.decode().split("\r\n")[:-1])]


def origin_of(*origins: bytes) -> bytes:
    return Head(b"GET", b"/", [(b"Host", b"h"), *((b"Origin", origin) for origin in origins)]).origin


def test_a_listed_origin_may_read_refusals() -> None:
    allowed = [("Access-Control-Allow-Origin", APP.decode()), EXPOSED, VARY]
    assert parsed(cors().refusal(origin_of(APP))) == allowed


EARLY = [
    (b"/data/sites/shop/x", True),
    (b"/data/100%", True),
    (b"/data/../data", True),
    (b"/data%2Fsites", False),
    (b"/DATA", False),
    (b"/other", False),
    (b"*", False),
    (b"http://h/data", False),
]


@pytest.mark.parametrize(("target", "found"), EARLY)
def test_the_literal_path_selects_the_route_of_a_refusal_before_the_decision(target: bytes, found: bool) -> None:
    table = RouteTable([route(path="/data")], KeySettings())
    assert (table.route_at(target) is not None) is found


def test_a_route_adds_its_challenges_only_to_a_401() -> None:
    compiled = Route(route(), KeySettings())
    allowed = compiled.lines_of(TOO_MANY_UNKNOWN_KEYS, origin_of(APP))
    assert allowed == cors().refusal(origin_of(APP))
    assert compiled.lines_of(INVALID_KEY, origin_of(APP)) == b'WWW-Authenticate: Bearer realm="api"\r\n' + allowed


NOT_LISTED = [
    (),
    (OTHER,),
    (b"null",),
    (b"",),
    (b"*",),
    (APP, APP),
    (APP, OTHER),
    (APP + b":443",),
    (APP + b"/",),
    (APP.upper(),),
    (b"http://app.example",),
    (b"https://app.example.evil.example",),
    (b"https://sub.app.example",),
    (APP + b", " + APP,),
    (b"http://localhost",),
]


@pytest.mark.parametrize("origins", NOT_LISTED)
def test_an_unlisted_origin_gets_only_a_vary_header(origins: tuple[bytes, ...]) -> None:
    for credentials in (False, True):
        compiled = cors(cors={"origins": [APP.decode(), "http://localhost:5173"], "credentials": credentials})
        assert parsed(compiled.refusal(origin_of(*origins))) == [VARY]
        assert parsed(compiled.preflight(origin_of(*origins))) == [VARY]
        assert compiled.response(origin_of(*origins), []) == ([], b"Vary: Origin\r\n")


def test_a_preflight_response_lists_the_methods_and_headers_of_the_route() -> None:
    compiled = cors(
        methods=["GET", "LIST"],
        sites=["header:X-Site", HeaderRule(header="X-Tenant"), "query:site", "path:/{site}/**"],
        keys_from=["header:X-Key", "basic", "cookie:key", "query:key"],
        cors={"origins": [APP.decode()], "headers": ["Prefer", "x-site"], "max_age_seconds": 60},
    )
    found = dict(parsed(compiled.preflight(origin_of(APP))))
    allowed = found.pop("Access-Control-Allow-Headers").split(", ")
    assert {"X-Key", "Authorization", "X-Tenant", "Content-Type", "If-None-Match", "Range", "Prefer"} <= set(allowed)
    assert [name.lower() for name in allowed].count("x-site") == 1
    assert found == {
        "Access-Control-Allow-Origin": APP.decode(),
        "Access-Control-Allow-Methods": "GET, LIST",
        "Access-Control-Max-Age": "60",
        "Vary": "Origin",
    }


def test_the_default_key_headers_are_allowed() -> None:
    allowed = dict(parsed(cors().preflight(origin_of(APP))))["Access-Control-Allow-Headers"]
    assert allowed.startswith("X-API-Key, Authorization, Content-Type")


def test_credentials_are_allowed_if_the_route_says_so() -> None:
    compiled = cors(cors={"origins": [APP.decode()], "credentials": True})
    for lines in (compiled.preflight(origin_of(APP)), compiled.refusal(origin_of(APP))):
        assert ("Access-Control-Allow-Credentials", "true") in parsed(lines)
    for lines in (compiled.preflight(origin_of(OTHER)), compiled.refusal(origin_of(OTHER))):
        assert parsed(lines) == [VARY]


@pytest.mark.parametrize("origins", [(APP,), (b"null",), ()])
def test_a_wildcard_origin_is_sent_as_a_wildcard(origins: tuple[bytes, ...]) -> None:
    compiled = cors(cors={"origins": ["*"], "headers": ["*"]})
    assert parsed(compiled.refusal(origin_of(*origins))) == [("Access-Control-Allow-Origin", "*"), EXPOSED, VARY]
    found = dict(parsed(compiled.preflight(origin_of(*origins))))
    assert found["Access-Control-Allow-Origin"] == "*"
    assert found["Access-Control-Allow-Headers"] == "*, Authorization", "the wildcard does not cover Authorization"


def test_a_response_gets_the_missing_cors_lines() -> None:
    fields: Fields = [(b"Content-Type", b"text/plain"), (b"ETag", b"a")]
    kept, lines = cors().response(origin_of(APP), fields)
    assert kept == fields
    assert parsed(lines) == [("Access-Control-Allow-Origin", APP.decode()), EXPOSED, VARY]


@pytest.mark.parametrize("value", [b"*", b"https://another.example", APP])
def test_a_response_with_its_own_cors_headers_is_not_changed(value: bytes) -> None:
    fields: Fields = [(b"access-control-allow-origin", value), (b"Access-Control-Allow-Credentials", b"true")]
    assert cors().response(origin_of(APP), fields) == (fields, b"Vary: Origin\r\n")


@pytest.mark.parametrize(
    ("values", "added"),
    [
        ([b"Accept"], True),
        ([b"origin"], False),
        ([b"Accept-Encoding,ORIGIN , Accept"], False),
        ([b"Accept", b"Origin"], False),
        ([b"*"], False),
        ([b"X-Origin"], True),
    ],
)
def test_vary_lists_origin_only_once(values: list[bytes], added: bool) -> None:
    fields = [(b"vary", value) for value in values]
    for origin in (APP, OTHER):
        kept, lines = cors().response(origin_of(origin), fields)
        assert kept == fields
        assert (b"Vary: Origin\r\n" in lines) is added


def test_an_upstream_cannot_allow_credentials_for_the_route() -> None:
    fields: Fields = [(b"A", b"b"), (b"access-control-allow-credentials", b"true")]
    assert cors().response(origin_of(APP), fields)[0] == [(b"A", b"b")]
    assert cors().response(origin_of(OTHER), fields)[0] == fields
    kept, lines = cors(cors={"origins": [APP.decode()], "credentials": True}).response(origin_of(APP), fields)
    assert kept == [(b"A", b"b")], "browsers refuse a duplicate header"
    assert b"Access-Control-Allow-Credentials: true\r\n" in lines


# The decision.

ORIGIN, ASKS = (b"Origin", APP), (b"Access-Control-Request-Method", b"PUT")


@pytest.mark.parametrize(
    "target", [b"/sites/blog/x", b"/", b"/x?site=shop&site=blog", b"/a//b/../c", b"/health", b"/shut"]
)
@pytest.mark.parametrize("fields", [[], [(b"X-API-Key", b"k")], [(b"Origin", OTHER)]])
def test_a_preflight_passes_regardless_of_its_site_and_key(target: bytes, fields: Fields) -> None:
    settings = route(
        sites=["path:/sites/{site}/**", "query:site"],
        methods=["GET", "PUT"],
        public=["GET /health"],
        refuse=["* /shut"],
    )
    head = Head(b"OPTIONS", target, [(b"Host", b"h"), ASKS, *(fields or [ORIGIN])])
    if fields == [(b"X-API-Key", b"k")]:
        head.fields.append(ORIGIN)
    if b".." in target:
        with pytest.raises(Refused, match="ambiguous_request"):
            read(RouteTable([settings], KeySettings()), head)
        return
    claim = read(RouteTable([settings], KeySettings()), head)
    assert (claim.preflight, claim.open, claim.sites) == (True, True, ())


@pytest.mark.parametrize(
    ("method", "fields"), [(b"OPTIONS", [ORIGIN]), (b"OPTIONS", [ASKS]), (b"OPTIONS", []), (b"GET", [ORIGIN, ASKS])]
)
def test_requests_that_are_not_preflights_are_judged_as_usual(method: bytes, fields: Fields) -> None:
    table = RouteTable([route(sites=["path:/sites/{site}/**"])], KeySettings())
    claim = read(table, Head(method, b"/sites/shop/x", [(b"Host", b"h"), *fields]))
    assert (claim.preflight, claim.open, claim.sites) == (False, False, ("shop",))


def test_a_preflight_to_a_route_without_cors_is_refused() -> None:
    table = RouteTable([route(cors=None)], KeySettings())
    with pytest.raises(Refused, match="preflight_refused"):
        read(table, Head(b"OPTIONS", b"/", [(b"Host", b"h"), ORIGIN, ASKS]))


# The config.


@pytest.mark.parametrize(
    "origin",
    [
        *("https://app.example", "http://localhost:5173", "http://127.0.0.1:1", "https://[::1]:8443"),
        *(
            "chrome-extension://abcdef",
            "capacitor://localhost",
            "https://xn--bcher-kva.example",
            "https://app_1.example",
            "https://a.",
        ),
    ],
)
def test_an_exact_origin_is_accepted(origin: str) -> None:
    assert CorsSettings(origins=(origin,)).origins == (origin,)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"origins": []},
        *(
            {"origins": [origin]}
            for origin in (
                *("null", "", "app.example", "https://app.example/", "https://app.example/x", "https://App.example"),
                *("https://*.app.example", "HTTPS://app.example", "https://app.example:443", "http://app.example:80"),
                *("https://user@app.example", "https://app.example\r\nX: y", "https://büro.example", "https://"),
                *(
                    "https://a:99999",
                    "https://a:0443",
                    "https://a..b",
                    "https://.a",
                    "https://[:::]",
                    "https://1.2.3.999",
                ),
            )
        ),
        {"origins": ["*", "https://app.example"]},
        {"origins": ["*"], "credentials": True},
        {"origins": ["https://app.example"], "headers": ["*"], "credentials": True},
        {"origins": ["*"], "headers": ["*", "X-A"]},
        {"origins": ["*"], "headers": ["X A"]},
        {"origins": ["*"], "headers": ["X-A\r\n"]},
        {"origins": ["*"], "max_age_seconds": -1},
        {"origins": ["*"], "methods": ["GET"]},
    ],
)
def test_any_other_cors_table_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CorsSettings.model_validate(settings)


def test_cors_cannot_be_combined_with_forwarded_preflights() -> None:
    with pytest.raises(ValidationError, match="cannot be combined with cors"):
        route(preflight="pass")
