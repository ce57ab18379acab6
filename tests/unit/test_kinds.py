"""Key locations and site rules: every list of their kinds is complete."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from admin.api.example_request import example_request
from admin.api.explain_sites import describe_sites
from admin.integrators_guide import passages
from proxy.decision.api_keys import new_key
from proxy.decision.key_examples import with_key
from proxy.decision.key_locations import KEY_LOCATIONS, KeyLocation, key_location
from proxy.decision.path_rules import PathSiteRule
from proxy.decision.route_table import RouteTable
from proxy.decision.site_ids import names_of
from proxy.decision.site_rules import SITE_RULES, SiteRule, site_rule
from proxy.http.headers import Head
from proxy.refusals import Refused
from proxy.settings import KeySettings, ProxySettings, QueryRule
from tests.unit.judging import read

KEY = new_key().encode()
OTHER = new_key().encode()
LOCATIONS = [re.sub("NAME", "k", location.form) for location in KEY_LOCATIONS]
RULES: list[Any] = ["path:/api/{site}/**", "query:site", "header:X-Site", "host:{site}.example"]
VALUE_RULES: list[Any] = [
    {"query": "id", "template": "eq.{site}", "paths": ["/api/query"]},
    {"header": "X-Sites", "separator": ",", "paths": ["/api/**"]},
]


def proxy(**route: Any) -> ProxySettings:
    data = {"name": "data", "path": "/api", "upstream": "http://127.0.0.1:1", **route}
    return ProxySettings.model_validate({"public_url": "https://data.example", "routes": [data]})


def sent(settings: ProxySettings, *, key: bytes = KEY) -> Head:
    """Return the head of the example request, for the site `shop`."""
    example = example_request(settings, ("header:X-API-Key",))
    url = urlsplit(example.url.replace("{site}", "shop").replace("{key}", key.decode()))
    fields = [header.replace("{site}", "shop").split(": ", 1) for header in example.headers]
    target = url.path + (f"?{url.query}" if url.query else "")
    host = [] if any(name == "Host" for name, _ in fields) else [(b"Host", b"data.example")]
    fields_with_key = [(name.encode(), with_key(value, key)) for name, value in fields]
    return Head(b"GET", target.encode(), host + fields_with_key, has_body=False)


def table(settings: ProxySettings) -> RouteTable:
    return RouteTable(settings.routes, KeySettings())


def test_the_examples_in_this_file_cover_every_kind() -> None:
    assert {type(site_rule(rule)) for rule in RULES} == set(SITE_RULES)
    assert {type(key_location(location)) for location in LOCATIONS} == set(KEY_LOCATIONS)


@pytest.mark.parametrize("location", LOCATIONS)
def test_the_example_request_carries_the_key_where_the_route_reads_it(location: str) -> None:
    settings = proxy(keys_from=[location], sites=["path:/api/{site}/**"])
    claim = read(table(settings), sent(settings))
    assert claim.key == KEY
    assert KEY not in claim.target + b"".join(value for _, value in claim.fields)


@pytest.mark.parametrize("location", LOCATIONS)
def test_the_guide_and_the_refusal_say_where_the_key_goes(location: str) -> None:
    settings = proxy(keys_from=[location], sites=["path:/api/{site}/**"])
    described = key_location(location).describe()
    assert described in passages(settings, ("header:X-API-Key",))
    head = sent(settings)
    twice = sent(settings, key=OTHER)
    head.fields += twice.fields[1:]
    if "?" in twice.target.decode():
        head.target += b"&" + twice.target.partition(b"?")[2]
    with pytest.raises(Refused) as refused:
        read(table(settings), head)
    assert refused.value.refusal.code == "ambiguous_key"
    assert described in refused.value.refusal.detail


@pytest.mark.parametrize("location", KEY_LOCATIONS)
def test_the_config_error_lists_every_key_location(location: type[KeyLocation]) -> None:
    with pytest.raises(ValueError, match=f'"{location.form}"'):
        key_location("body:key")


@pytest.mark.parametrize("rule", [*RULES, *VALUE_RULES], ids=str)
def test_the_example_request_names_the_site_where_the_rule_reads_it(rule: Any) -> None:
    settings = proxy(sites=[rule])
    [site] = read(table(settings), sent(settings)).sites
    assert site in names_of("shop")


@pytest.mark.parametrize("rule", [*RULES, *VALUE_RULES], ids=str)
def test_the_guide_the_refusal_and_explain_say_where_a_site_is_named(rule: Any) -> None:
    settings = proxy(sites=[rule])
    route = table(settings).routes[0]
    [compiled] = route.site_rules.rules
    assert f"- {compiled.describe()}" in passages(settings, ("header:X-API-Key",))
    assert compiled.describe() in route.site_missing.detail
    assert describe_sites(route, KeySettings(), sent(settings)) == [f"{compiled.written()} names shop"]


@pytest.mark.parametrize("rule", SITE_RULES)
def test_the_config_error_lists_every_site_rule(rule: type[SiteRule]) -> None:
    with pytest.raises(ValueError, match=re.escape(rule.form)):
        site_rule("body:site")


def test_the_options_of_a_value_rule_are_part_of_its_description() -> None:
    rule = QueryRule(query="id", templates=("eq.{site}", "{site}"), separator=",", all="all", paths=("/a/**",))
    assert site_rule(rule).describe() == (
        "as the query parameter `id`, written `eq.SITE` or `SITE`, several separated by `,`, or `all` for all "
        "sites, on `/a/…`"
    )
    assert PathSiteRule("/{site}.json").describe() == "in the path `/SITE.json`"
