"""The shortcut for plain requests claims exactly what the full steps of the decision claim, or nothing."""

from collections import Counter
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.decision.claim import Claim
from proxy.decision.decide import decide
from proxy.decision.plain_claims import claim_plainly
from proxy.decision.route_table import RouteTable
from proxy.decision.verdict import Answers, Verdict
from proxy.http.headers import Head
from proxy.http.plain_requests import PlainRequests
from proxy.http.request_header_names import RequestSpellings
from proxy.settings import LimitSettings
from tests.spellings import Shape, spellings
from tests.unit.judging import selected, table

KEY = b"slk_" + b"A" * 38
GRANT = selected("shop")
ROUTES: dict[str, list[dict[str, Any]]] = {
    "path, query and header": [{"sites": ["path:/api/sites/{site}/**", "query:site", "header:X-Site"]}],
    "several routes": [
        {"path": "/admin", "sites": ["query:id"], "keys_from": ["bearer"], "without_site": "any-key"},
        {"path": "/api/sites/blog", "sites": ["header:X-Site"]},
        {"sites": ["path:/api/sites/{site}/**", "path:/{site}/**"], "methods": ["GET", "POST"]},
    ],
    "endpoints": [
        {
            "sites": ["path:/api/sites/{site}/**", "query:site"],
            "public": ["GET /api/sites/shop/x"],
            "refuse": ["POST /api/data", "query:urls"],
        }
    ],
    "scopes": [{"sites": [{"query": "site", "paths": ["/api/data"]}, {"query": "id", "separator": ","}]}],
    "keys elsewhere": [
        {"sites": ["query:site"], "keys_from": ["cookie:key", "query:key", "basic", "bearer", "header:X-Key"]}
    ],
    "other settings": [
        {"path": "/a", "sites": ["query:site"], "forward_key": True, "form_body": "refuse"},
        {"path": "/b", "sites": ["query:site"], "drop_headers": ["X-Drop"], "cookies": "ignore"},
        {"sites": ["host:{site}.api.example.com", "query:site"], "second_resource": "pass", "form_body": "pass"},
    ],
}


@cache
def front(name: str) -> tuple[RouteTable, PlainRequests]:
    routes = table(*ROUTES[name])
    return routes, PlainRequests(LimitSettings(), RequestSpellings(), routes.noticed_names, routes.plain_key_fields)


def outcome(routes: RouteTable, head: Head) -> tuple[object, ...]:
    """Return everything that the decision finds out about a request."""
    claim = Claim(routes, head)
    verdict = decide(claim, Answers(GRANT, {}, accept_foreign=True), 0)
    assert isinstance(verdict, Verdict)
    refusal = verdict.refusal
    found: tuple[object, ...] = (
        refusal and (refusal.code, refusal.detail),
        verdict.claim is claim,
        verdict.sites,
        claim.passes_by_itself,
        claim.open,
        claim.preflight,
        (claim.named, claim.plus_as_space, claim.key),
    )
    names = ("route", "target", "fields")
    return (*found, *(getattr(claim, name, None) for name in names if verdict.claim is not None))


def check(name: str, raw: bytes) -> bool:
    """Compare both ways. Return whether the request is plain."""
    routes, requests = front(name)
    read = requests.read(raw, trusted=False)
    if read is None:
        return False
    plain = read[0]
    full = Head(plain.method, plain.target, plain.fields, plain.has_body, plain.dropped, plain.minor)
    expected = outcome(routes, full)
    assert outcome(routes, plain) == expected, raw
    claim = Claim(routes, plain)
    claim_plainly(claim)
    return claim.passes_by_itself


@pytest.mark.parametrize("name", ROUTES)
def test_hostile_spellings_get_the_same_verdict(name: str) -> None:
    plain = Counter[bool]()
    for shape in Shape:
        for spelling in spellings("shop", "blog", shape):
            for key in ((b"X-API-Key", KEY), (b"Authorization", b"Bearer " + KEY)):
                plain[check(name, spelling.raw(key))] += 1
    assert plain[False] > plain[True]


WORDS = st.sampled_from(["site", "Site", "shop", "blog", "id", "urls", "_method", "api", "sites", "a", "%73ite", "key"])
TEXT = st.lists(
    st.one_of(WORDS, st.sampled_from([*list("=&=&;?+%/,.[]@"), "%2F", "%26", "//", "/../"])), max_size=6
).map("".join)
PATHS = st.sampled_from(
    ["/api/sites/shop/x", "/api/sites/blog/x", "/api/data", "/API/data", "/a/x", "/b", "/admin/x", "/"]
)
FIELDS = st.lists(
    st.sampled_from(
        [
            "Accept: */*",
            "X-Site: shop",
            "X-Site: blog",
            "X-Drop: 1",
            "X-HTTP-Method: PUT",
            "Cookie: site=blog; key=k",
            "Content-Type: application/json",
            "Content-Type: application/x-www-form-urlencoded",
            "Destination: /x",
            "Content-Type: text/plain; charset=utf-7",
            "Origin: https://app.example",
            "Authorization: Basic a2V5Og==",
            "Content-Length: 2",
            "X-API-Key: k",
        ]
    ),
    max_size=3,
)
KEYS = st.sampled_from(["X-API-Key: ", "Authorization: Bearer ", "X-Key: ", "authorization: Bearer "])


@settings(max_examples=200)
@given(
    st.sampled_from(sorted(ROUTES)),
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    st.tuples(PATHS, st.one_of(st.just(""), TEXT), st.one_of(st.just(""), TEXT.map("?".__add__))),
    FIELDS,
    KEYS,
)
def test_generated_requests_get_the_same_verdict(
    name: str, method: str, target: tuple[str, str, str], fields: list[str], key: str
) -> None:
    lines = [f"{method} {''.join(target)} HTTP/1.1", "Host: blog.api.example.com", *fields, key + KEY.decode()]
    raw = "\r\n".join(lines).encode() + b"\r\n\r\n{}"
    check(name, raw)
    check(name, raw)


PLAIN = [
    ("path, query and header", "GET /api/sites/shop/x", "X-API-Key: "),
    ("path, query and header", "GET /api/sites/shop/x?from=2026-01-01&limit=5", "Authorization: Bearer "),
    ("path, query and header", "DELETE /api/data?a=b&site=shop&c=d", "x-api-key: "),
    ("several routes", "POST /blog/x", "X-API-Key: "),
    ("endpoints", "GET /api/other?site=shop", "X-API-Key: "),
    ("scopes", "GET /api/data?site=blog", "X-API-Key: "),
]


@pytest.mark.parametrize(("name", "line", "key"), PLAIN)
def test_ordinary_requests_are_plain(name: str, line: str, key: str) -> None:
    raw = f"{line} HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n{key}".encode() + KEY + b"\r\n\r\n"
    check(name, raw)
    assert check(name, raw), "the second time, the facts about the path are cached"


def test_a_body_is_plain_only_with_a_content_type_that_is_not_a_form() -> None:
    raw = b"POST /api/data?site=shop HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n%bX-API-Key: " + KEY + b"\r\n\r\n{}"
    check("path, query and header", raw % b"")
    assert not check("path, query and header", raw % b"")
    assert not check("path, query and header", raw % b"Content-Type: multipart/form-data\r\n")
    assert check("path, query and header", raw % b"Content-Type: application/json\r\n")
