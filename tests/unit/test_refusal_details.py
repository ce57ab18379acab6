"""The `detail` of every ambiguous or malformed request: it says what to change, and repeats nothing from the request.

The table has at least one request for each such refusal in the source code.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

import proxy
from proxy.decision.claim import Claim
from proxy.decision.decide import decide
from proxy.decision.grant import Grant
from proxy.decision.route_table import RouteTable
from proxy.decision.verdict import Answers, Verdict
from proxy.http.bodies import ChunkedBody, FramingError
from proxy.http.hop_by_hop import clean_request
from proxy.http.malformed_requests import malformed_body
from proxy.http.request_header_names import RequestSpellings
from proxy.http.request_parser import RequestReader
from proxy.refusals import AMBIGUOUS_KEY, AMBIGUOUS_REQUEST, BAD_REQUEST, Refusal, Refused
from proxy.settings import KeySettings, LimitSettings, RouteSettings
from tests.unit.http.malformed_requests import REQUESTS

SOURCES: Final = Path(proxy.__file__).parent
KINDS: Final = {"AMBIGUOUS_REQUEST", "AMBIGUOUS_KEY", "BAD_REQUEST"}
UNREACHABLE = (
    "The request head breaks a rule of HTTP/1.1.",  # no example is known
    # Refused by the parser before the decision reads the target.
    "The request target does not begin with `/`. Send",
    "The path contains characters outside ASCII.",
    "The request target contains a space or a control character.",
)
"""The beginnings of details for which there is no request."""


def _calls() -> Iterator[ast.Call]:
    for file in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "because":
                kind = node.func.value
                if isinstance(kind, ast.Name) and kind.id in KINDS:
                    yield node


def _pattern(text: ast.expr) -> str:
    if isinstance(text, ast.Constant):
        return re.escape(str(text.value))
    assert isinstance(text, ast.JoinedStr)
    return "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*" for part in text.values)


DETAILS = [_pattern(call.args[0]) for call in _calls()]
"""A pattern for each detail in the source code."""

QUERY = [{"query": "site"}, {"query": "filter[site]"}]
PATHS = ["path:/api/sites/{site}/**", {"query": "site", "paths": ["/api/query"]}]
SPELLINGS = RequestSpellings("drop", ())
SITES = frozenset({"Main Site", "Main+Site", "shop"})
GRANT = Grant("1", "acme", all_sites=False, sites=SITES)
KEYS = ("header:X-API-Key", "bearer", "query:api_key", "cookie:key")


def refusal_of(data: bytes, sites: list[Any], *, trusted: bool = False, **route: Any) -> Refusal | None:
    """Return the refusal of a request to a route with these site rules."""
    settings = {"name": "data", "upstream": "http://127.0.0.1:1", "sites": sites, "keys_from": KEYS, **route}
    table = RouteTable([RouteSettings.model_validate(settings)], KeySettings())
    limits = LimitSettings(head_bytes=200_000, target_bytes=100_000)
    try:
        raw, _ = RequestReader(limits, table.methods).read(data)
        assert raw is not None
        hop = clean_request(
            raw,
            spellings=SPELLINGS,
            trusted=trusted,
            judged=table.judged_names,
            trailer_bytes=limits.head_bytes,
            needs_host=table.reads_hosts,
        )
    except Refused as refused:
        return refused.refusal
    verdict = decide(Claim(table, hop.head), Answers(GRANT, {}, accept_foreign=True), 0)
    assert isinstance(verdict, Verdict)
    return verdict.refusal


def get(target: str, *lines: str) -> bytes:
    return "\r\n".join((f"GET {target} HTTP/1.1", "Host: h", *lines, "", "")).encode("latin-1")


Row = tuple[list[Any], dict[str, Any], bytes, str]


def rows(sites: list[Any], *requests: tuple[bytes, str], **options: Any) -> list[Row]:
    return [(sites, options, request, detail) for request, detail in requests]


ROWS: list[Row] = [
    *rows(
        QUERY,
        (get("*"), "The request target does not begin with `/`, and is not a URL with `http://` or `https://`."),
        (get("ftp://h/"), "The request target does not begin with `/`, and is not a URL with `http://` or"),
        (get("http://u@h/"), "The request target is a URL with a user name."),
        (get("http://other/"), "The request target is a URL whose host or port differs from the Host header."),
        (b"GET http://h/ HTTP/1.0\r\n\r\n", "The request target is a URL, but the request has no Host header"),
        (get("/?a#b"), "The request target contains a `#`."),
        (get("/?a=\xff"), "The query contains bytes that are not UTF-8"),
        (get("/?a=\xc2\x80"), "The query contains bytes that are not UTF-8, or control characters"),
        (get("/?\xc3\xbc=a"), "The name of a query parameter contains characters outside ASCII."),
        (get("/?site=\xc3\xbc"), "A query parameter that Sitelatch checks contains bytes outside ASCII."),
        (
            get("/?site=Main+Site", "X-API-Key: a"),
            "The value of a query parameter that names the site (`site`, `filter[site]`) contains a",
        ),
        (get("/?SITE=shop"), "The query parameter `site` names the site, and this request contains another spelling"),
        (get("/?site[]=shop"), "The query parameter `site` names the site, and this request contains another spelling"),
        (get("/?s%69te=shop"), "The query parameter `site` names the site, and this request contains another spelling"),
        (
            get("/?site=sh%256Fp"),
            "The query parameter `site` names the site, and its value is percent-encoded more than",
        ),
        (
            get("/?site=sh%u006fp"),
            "The query parameter `site` names the site, and its value is percent-encoded more than once, or with `%u`",
        ),
        (get("/?site=shop;site=blog"), "The query parameter `site` names the site, and this request contains `;` or"),
        (get("/?a=b?site=shop"), "The query parameter `site` names the site, and this request contains `;` or"),
        (get("/?" + "a&" * 100 + "site=shop"), "The query parameter `site` names the site, and 100 or more"),
        (
            get("/?filter[site]=shop&filter=b"),
            "The query parameter `filter[site]` names the site, and this request also",
        ),
        (get("/?a%26site=blog"), "A parameter name contains an encoded `&`, `;`, `?`, `#` or `=`"),
        (get("/?" + "a&" * 1000), "The query has more than 1000 parameters"),
        (get("/?" + "site=a&" * 65), "Parameters or cookies that Sitelatch checks occur more than 64 times"),
        (get("/?a;" + "site=a&" * 17), "Parameters that Sitelatch checks occur more than 16 times in the query, which"),
        (get("/?" + "site=%20&" * 17), "Parameters that Sitelatch checks occur more than 16 times in the query, and"),
        (get("/?" + "site=%2541&" * 5), "Parameters that Sitelatch checks occur more than 4 times in the query, and"),
        (get("/?" + "%41" * 3000 + "=1"), "The names of parameters or cookies that are percent-encoded or outside"),
        (
            get("/?" + "%CC%B4%CC%81" * 150 + "=1"),
            "The percent-encoded names of parameters have more than 1024 bytes together and contain many accents",
        ),
        (
            get("/?" + "%41" * 400 + "%=1"),
            "The percent-encoded names of parameters have more than 1024 bytes together, or those of cookies more",
        ),
        (get("/?%0Asite&" + "&".join(f"%4{n}" for n in range(1, 9))), "The name of a parameter or cookie contains an"),
        (get("/?site[" + "a" * 1100 + "]=1"), "More than 24 names of parameters, more than 8 names of cookies or"),
        (get("/?" + "&".join(f"site[{n}]" for n in range(25))), "More than 24 names of parameters, more than 8"),
        (get("/", "Cookie: " + "a;" * 257), "The request has more than 256 cookies, or as many commas"),
        (get("/?" + "a" * 300 + ";site=b"), "The name of a parameter or cookie has more than 256 bytes"),
        (get("/?a" + "%26" * 300), "The names of parameters or cookies contain more than 256 encoded"),
        (
            get("/?site=" + "%25" * 4 + "2525252573"),
            "A part of the path, the query or a cookie is percent-encoded several",
        ),
        (get("/?site=a" + "%u0041" * 65), "The path, the query or a cookie contains more than 64 escapes of the form"),
        (get("/?site=%2541" + "%" * 300), "The path, the query or a cookie contains more than 256 `%`"),
        (get("/?site=shop&__pathname=/x"), "The query contains a parameter `__pathname`, from which some servers take"),
        (get("/?site=shop&nxtPa=b"), "The query contains a parameter whose name begins with `nxtp`, from which some"),
        (get("/?site=shop&a:method="), "The query contains a parameter whose name ends with `:method`, from which"),
        (get("/?site=shop", "Content-Type: a/b; charset=utf-7"), "Some servers decode the query in the `charset`"),
        (
            get("/?site=shop", "Cookie: site=blog"),
            "The query parameter `site` names the site, and a cookie with the same",
        ),
        (get("/?site=shop", "Cookie: site=shop", "Cookie: a"), "A cookie has the name of a query parameter"),
        (get("/?site=shop", "Cookie: " + "site=shop;" * 17), "More than 16 cookies have the name of a query parameter"),
        (get("/?" + "c=%20&" * 900, *["A: b"] * 90), "The request is too complex"),
        (get("/x%26site=blog"), "The path contains `&`, `;`, `?` or `#`, raw or encoded"),
        (get("/x;site=blog"), "The path contains `&`, `;`, `?` or `#`, raw or encoded"),
        (get("/?site=shop&api_key=a;b"), "The query parameter that carries the API key is next to `;` or `?`"),
        (get("/?site=shop&api_key=\xc3\xbc"), "The query parameter that carries the API key contains bytes outside"),
        (
            get("/?api_key=%41" + "a" * 1024),
            "The query parameter or cookie that carries the API key has a value of more",
        ),
        (get("/", *["Cookie: key=a"] * 5), "The cookie that carries the API key is among more than 4 Cookie headers."),
        (
            get("/?api_key=a", "X-API-Key: b"),
            "This request has different API keys in the header `X-API-Key` and the query parameter `api_key`. Send one",
        ),
        (
            get("/", "Authorization: Bearer a", "X-API-Key: b", "Cookie: key=c"),
            "This request has different API keys in the header `X-API-Key`, the header `Authorization` and the cookie",
        ),
        (
            get("/", "X-API-Key: a", "X-API-Key: b"),
            "This request has several different API keys in the header `X-API-Key`",
        ),
        (
            get("/", "X-API-Key: a", "X_API_Key: b"),
            "This request has several different API keys in the header `X-API-Key`",
        ),
        (get("/?api_key=a&api_key=b"), "This request has several different API keys in the query parameter `api_key`"),
        (get("/?api_key=a&API_key=b"), "This request has several different API keys in the query parameter `api_key`"),
    ),
    *rows(
        PATHS,
        (get("/api/sites/shop/../blog"), "The path contains a dot segment"),
        (get("/api/sites/shop/%2E%2e"), "The path contains a dot segment"),
        (get("/api/sites/shop/%252e%252e/blog"), "The path contains a dot segment"),
        (get("/api/sites/shop\\x"), "The path contains a backslash"),
        (get("/api/sites/shop%5Cx"), "The path contains a backslash"),
        (get("/api/sites/shop%00"), "The path contains a control character"),
        (get("/(S(x))/api/sites/shop/y"), "The path contains a segment such as `(S(x))`"),
        (get("/api/%28S(x)%29/sites/shop/y"), "The path contains a segment such as `(S(x))`"),
        (get("//api/sites/shop"), "The path begins with `//`"),
        (get("/api/sites/shop/%C0%AE"), "The path contains overlong UTF-8"),
        (get("/api/sites/shop/%EF%BC%8E%EF%BC%8E/x"), "The path contains a character that some servers convert to"),
        (get("/api/sites/shop;a%2Fb"), "The path contains an encoded slash after a `;`."),
        (get("/api/sites/shop" + ";a" * 33), "The path contains more than 32 of `;`"),
        (get("/api/sites/shop/100%"), "The path contains a `%` without two hexadecimal digits"),
        (get("/api/sites/shop//" + "a" * 2048), "The path has more than 1024 bytes and contains `;` or `//`"),
        (get("/api/sites/shop/;a//%2F%252F"), "The path combines percent-encoding with `;` or `//`"),
        (get("/api/SITES/shop/x"), "Servers may read another site from this path (`/api/sites/SITE/…`). The path d"),
        (
            get("/api/sites/sh%252Fop/x"),
            "Servers may read another site from this path (`/api/sites/SITE/…`). A part of",
        ),
        (
            get("/api/sites/sh%2Fop/x"),
            "Servers may read another site from this path (`/api/sites/SITE/…`). The path cont",
        ),
        (
            get("/api/sites/shop;a=1/x"),
            "Servers may read another site from this path (`/api/sites/SITE/…`). The path cont",
        ),
        (
            get("/api/si%FFtes/shop/x"),
            "Servers may read another site from this path (`/api/sites/SITE/…`). The path contains bytes that are not",
        ),
        (
            get("/api//sites/shop/x"),
            "Servers may read another site from this path (`/api/sites/SITE/…`). The path contains",
        ),
        (
            get("/api%2Fsites/shop/x"),
            "Servers may find another route for this path. The path contains an encoded slash",
        ),
        (
            get("/API/sites/shop/x"),
            "Servers may find another route for this path. The path differs from the documented path in letter case",
        ),
        (
            get("/api/query/?site=shop"),
            "Servers may not agree on whether a request names a site on this path: as the query parameter `site`, on",
        ),
        path="/api",
    ),
    *rows(
        ["path:/api/{site}/"],
        (
            get("/api/shop"),
            "Servers may read another site from this path (`/api/SITE/`). The path lacks the slash at its",
        ),
        (
            get("/api/shop?b;"),
            "Servers may read another site from this path (`/api/SITE/`). The path lacks the slash at its",
        ),
    ),
    *rows(
        ["header:X-Site", "host:{site}.example.com"],
        (
            get("/", "X-Site: shop", "X-Site: shop"),
            "The header `X-Site` names the site, and this request contains it more",
        ),
        (get("/", "X_Site: shop"), "The header `X-Site` names the site, and this request contains a look-alike"),
        (
            get("/", "X-Forwarded-Host: a.example.com"),
            "The Host header and the host that a trusted proxy forwarded name different",
        ),
        (
            get("/", *["X-Forwarded-Host: " + "h" * 60] * 40),
            "X-Forwarded-Host and Forwarded are longer than 2048 bytes",
        ),
        trusted=True,
    ),
    *rows(
        [{"query": "site", "separator": ","}], (get("/?site=" + "a,b" * 64), "The request names more than 64 sites.")
    ),
    *rows(
        ["path:/{site}/**"],
        (get("/shop/x", "Cookie: urls=/blog"), "A cookie has the name of a query parameter that this route refuses"),
        refuse=["query:urls"],
    ),
    *rows([], *REQUESTS, (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11", "The connection begins with the PROXY protocol")),
]
IDS = [f"{number} {row[3][:50]}" for number, row in enumerate(ROWS)]


@pytest.mark.parametrize(("sites", "options", "data", "detail"), ROWS, ids=IDS)
def test_the_detail_says_what_is_ambiguous(sites: list[Any], options: dict[str, Any], data: bytes, detail: str) -> None:
    refusal = refusal_of(data, sites, **options)
    assert refusal is not None
    assert refusal.code in ("ambiguous_request", "ambiguous_key", "bad_request")
    assert refusal.detail.startswith(detail)
    assert refusal.detail not in (AMBIGUOUS_REQUEST.detail, AMBIGUOUS_KEY.detail, BAD_REQUEST.detail)
    assert any(re.fullmatch(pattern, refusal.detail) for pattern in DETAILS)


BODIES = [
    (b"1\nx\r\n", "a line ends without CR"),
    (b"g\r\n", "a chunk's size is not a plain hexadecimal number"),
    (b"+1\r\n", "a chunk's size is not a plain hexadecimal number"),
    (b"1;a=b\r\nx\r\n", "a chunk has an extension"),
    (b"1\r\nxy\r\n", "a chunk is longer than its size"),
    (b"1" * 40, "a line is too long"),
    (b"0\r\na\r\n\r\n", "a trailer is malformed"),
]


@pytest.mark.parametrize(("data", "fault"), BODIES)
def test_the_detail_of_a_malformed_body_names_its_fault(data: bytes, fault: str) -> None:
    body = ChunkedBody(extensions=False, trailer_bytes=1000)
    with pytest.raises(FramingError) as error:
        body.feed(data)
    assert malformed_body(str(error.value)).detail.startswith(f"The chunked body is malformed: {fault}")


def test_every_detail_in_the_source_code_has_a_row() -> None:
    refusals = [refusal_of(data, sites, **options) for sites, options, data, _ in ROWS]
    found = {refusal.detail for refusal in refusals if refusal is not None}
    found |= {malformed_body("a line is too long").detail}
    missing = [pattern for pattern in DETAILS if not any(re.fullmatch(pattern, detail) for detail in found)]
    assert [pattern for pattern in missing if not pattern.startswith(tuple(map(re.escape, UNREACHABLE)))] == []


def test_no_refusal_of_these_kinds_is_raised_without_a_specific_detail() -> None:
    for file in SOURCES.rglob("*.py"):
        bare = re.findall(rf"Refused\((?:{'|'.join(KINDS)})\)|refuse\((?:{'|'.join(KINDS)})\)", file.read_text())
        assert bare == [], file


MARK = "q7Zx"
PIECES = st.sampled_from(
    [*"&;?=+%/\\.,:#[]", "%2F", "%25", "%00", "site", "SITE", "filter", "api_key", "shop", "/api/sites/", "é", MARK]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)
NAMES = st.sampled_from(["X-Site", "X_Site", "X-API-Key", "Authorization", "Cookie", "Content-Type", "Host", MARK])
LINES = st.lists(st.tuples(NAMES, TEXTS).map(": ".join), max_size=4)


@given(st.sampled_from([QUERY, PATHS, ["header:X-Site", "host:{site}.example.com"]]), TEXTS, LINES)
def test_no_part_of_a_request_is_repeated_in_the_refusal(sites: list[Any], rest: str, lines: list[str]) -> None:
    data = get(f"/{rest}{MARK}?{rest}{MARK}", *lines, f"{MARK}: {MARK}").decode("latin-1").encode()
    refusal = refusal_of(data, sites)
    if refusal is not None:
        assert MARK.lower() not in (refusal.detail + refusal.body(b"id").decode() + refusal.lines.decode()).lower()
