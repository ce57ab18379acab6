"""The shortcut for plain paths returns exactly the facts that the full way returns, or nothing."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.decision.path_facts import PathFacts
from proxy.decision.plain_paths import PlainPaths
from proxy.refusals import Refused
from tests.unit.judging import table

ROUTES: list[list[dict[str, Any]]] = [
    [{"sites": ["path:/api/sites/{site}/**", "query:site", "header:X-Site"]}],
    [{"path": "/api", "sites": ["path:/api/{site}", "path:/api/a/{site}", "path:/{site}/b/**"]}],
    [
        {"path": "/api/b", "sites": ["path:/api/b/{site}.json"], "without_site": "any-key"},
        {"path": "/API", "sites": ["path:/API/{site}/**"]},
        {"sites": ["path:/api/x-{site}-y/**", "path:/{site}/**"]},
    ],
    [
        {
            "sites": ["path:/{site}/**", {"query": "site", "paths": ["/a/b", "/b/**"]}],
            "public": ["GET /a/x"],
            "refuse": ["* /b/x", "POST /api"],
        }
    ],
    [{"sites": ["path:/{site}/**", {"header": "X-Site", "paths": ["/api/**"]}, "query:id"]}],
    [{"sites": ["path:/{site}/**", "host:{site}.example.com"]}, {"path": "/a", "sites": ["path:/a/{site}"]}],
]
TABLES = [table(*routes) for routes in ROUTES]
SEGMENTS = st.one_of(
    st.sampled_from(
        ["api", "API", "a", "b", "B", "sites", "x-1-y", "X-1-y", "1.json", "1.JSON", "x", "", ".", "..", ".a"]
    ),
    st.text("aA.-_~%2f;\\:@(s\u017f\u0130", max_size=4),
)
PATHS = st.lists(SEGMENTS, max_size=5).map(lambda segments: ("/" + "/".join(segments)).encode())


def check(number: int, path: bytes) -> PathFacts | None:
    """Compare both ways, and return what the shortcut returns."""
    routes = TABLES[number]
    plain = PlainPaths(routes.routes).facts(path)
    if plain is not None:
        assert plain == routes.locate_in_full(path)
    return plain


@settings(max_examples=300)
@given(st.integers(0, len(TABLES) - 1), PATHS)
def test_the_facts_about_plain_paths_are_those_of_the_full_way(number: int, path: bytes) -> None:
    try:
        check(number, path)
    except Refused as refused:
        raise AssertionError(f"{path!r} is not plain: {refused.refusal.detail}") from refused


PLAIN = [(0, b"/api/sites/shop/x/y.json"), (1, b"/api/shop"), (2, b"/shop/z"), (3, b"/shop/x"), (4, b"/shop")]


@pytest.mark.parametrize(("number", "path"), PLAIN)
def test_ordinary_paths_with_a_site_are_plain(number: int, path: bytes) -> None:
    facts = check(number, path)
    assert facts is not None
    assert facts.named.sites == ("shop",)


NOT_PLAIN = [(0, b"/api/sites/shop/"), (0, b"/api/Sites/shop/x"), (1, b"/API/shop"), (2, b"/api/B/shop.json")]


@pytest.mark.parametrize(("number", "path"), [*NOT_PLAIN, (3, b"/a/X"), (3, b"/A/b"), (4, b"/Api/x"), (5, b"/a/x")])
def test_paths_that_something_else_concerns_are_not_plain(number: int, path: bytes) -> None:
    assert PlainPaths(TABLES[number].routes).facts(path) is None


def test_no_path_is_plain_with_many_routes_or_endpoints() -> None:
    sites = ["path:/{site}/**"]
    many_routes = table(*({"path": f"/{number}", "sites": sites} for number in range(500)), {"sites": sites})
    many_endpoints = table({"sites": sites, "public": [f"GET /x/{number}" for number in range(500)]})
    for routes in (many_routes, many_endpoints):
        assert PlainPaths(routes.routes).facts(b"/shop/x") is None
