"""Slashes in places where servers lose them: in parameters, at the end of a rule, doubled in a preflight."""

import itertools
from collections import Counter

import pytest
from hypothesis import strategies as st

from proxy.decision.claim import Claim
from proxy.decision.route_table import RouteTable
from proxy.http.headers import Head
from proxy.refusals import AMBIGUOUS_REQUEST, ENDPOINT_REFUSED, Refused
from proxy.settings import KeySettings, RouteSettings
from tests.unit.decision.any_key_routes import HOST, PATH, TWO, outcome, table
from tests.unit.decision.compared_readings import BETWEEN, FRONTS, NO_FIELDS, SEPARATORS, SITES, check, mostly, run
from tests.unit.judging import read

# 1. Parameters with an encoded slash, which Tomcat drops before it decodes and splits the rest.


@pytest.mark.parametrize(
    "target",
    [
        b"/api;%2fv/sites%2fblog/x",
        b"/api;v%2fw/sites%2fblog/x",
        b"/api%3b%252fv/sites%252fblog/x",
        b"/api;%2fv//sites%2fshop/",
    ],
)
def test_parameters_that_contain_a_slash_are_dropped_before_the_rest_is_decoded_and_split(target: bytes) -> None:
    assert outcome(PATH, target) == AMBIGUOUS_REQUEST
    assert outcome(TWO, target) == AMBIGUOUS_REQUEST


@pytest.mark.parametrize("name", ["path, any key", "two routes"])
def test_every_target_with_a_slash_in_a_parameter_has_one_reading_or_is_refused(name: str) -> None:
    front, outcomes = FRONTS[name], Counter[str]()
    after = (b"", b";", b";v%2fw", b"%3bv%252f", b"%2f")
    for first, one, second, two in itertools.product(after, BETWEEN, after, BETWEEN):
        outcomes[check(front, b"/api%b%bsites%b%bshop/x" % (first, one, second, two), [])] += 1
    assert outcomes["passed"]


@pytest.mark.parametrize("name", ["path, any key", "two routes", "everywhere"])
def test_no_reading_of_a_path_with_slashes_in_parameters_names_another_site(name: str) -> None:
    targets = st.builds(
        lambda *pieces: b"".join(pieces),
        *(st.just(b"/"), mostly(b"api", b"api;%2fv", b"api;v%252fw", b"api%3b%252f"), SEPARATORS),
        *(
            mostly(b"sites", b"sites;%2fv", b"sites%3b%252fw"),
            mostly(b"/", b"%2f", b"%252f", b"//"),
            SITES,
            st.just(b"/x"),
        ),
    )
    run(FRONTS[name], targets, NO_FIELDS)


def test_an_endpoint_is_refused_with_a_slash_inside_a_parameter() -> None:
    # The key covers `shop`, so only `refuse` protects the dump.
    shut = table("path:/api/sites/{site}/**", refuse=("GET /api/sites/shop/x/dump/all",))
    assert outcome(shut, b"/api/sites/shop/x;%2fv/dump%2fall") in (ENDPOINT_REFUSED, AMBIGUOUS_REQUEST)


# 2. A slash at the end of a rule (every Django API), compared with readings that ignore it.


@pytest.mark.parametrize(
    ("rule", "target"),
    [
        ("path:/api/sites/{site}/", b"/api/sites/shop/"),
        ("path:/api/sites/{site}/stats/", b"/api/sites/shop/stats/"),
        ("path:/{site}.json/", b"/shop.json/"),
    ],
)
def test_a_path_rule_with_a_trailing_slash_finds_its_site(rule: str, target: bytes) -> None:
    claim = outcome(table(rule), target)
    assert isinstance(claim, Claim)
    assert claim.sites == ("shop",)


def test_a_public_path_with_a_trailing_slash_is_public() -> None:
    claim = outcome(table(public=("GET /api/health/",), without_site="refuse"), b"/api/health/")
    assert isinstance(claim, Claim)
    assert claim.open


def test_an_endpoint_with_a_trailing_slash_is_refused_even_without_it() -> None:
    assert outcome(table(refuse=("GET /api/dump/",)), b"/api/dump/") is ENDPOINT_REFUSED
    assert outcome(table(refuse=("GET /api/dump/",)), b"/api/dump") is ENDPOINT_REFUSED


# 3. Preflights.


def test_an_ambiguous_preflight_is_refused() -> None:
    settings = RouteSettings(
        name="data", upstream="http://127.0.0.1:1", sites=("path:/api/sites/{site}/**",), preflight="pass"
    )
    routes = RouteTable([settings], KeySettings())
    asking = [HOST, (b"Origin", b"https://x.example"), (b"Access-Control-Request-Method", b"GET")]
    assert read(routes, Head(b"OPTIONS", b"/api/sites/blog/x", asking)).open
    with pytest.raises(Refused) as refused:
        read(routes, Head(b"OPTIONS", b"/api//sites/blog/x", asking))
    assert refused.value.refusal == AMBIGUOUS_REQUEST
