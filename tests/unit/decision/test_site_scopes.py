"""A site rule counts on its `paths`, and what it finds elsewhere must be granted too."""

import pytest

from tests.unit.judging import EVERY_SITE, judge, judge_whole

SCOPED = {
    "sites": [
        "path:/api/sites/{site}/**",
        {"query": "site", "paths": ["/api/query", "/api/export/**"]},
        {"header": "X-Site", "paths": ["/api/query"]},
    ]
}


@pytest.mark.parametrize(
    ("target", "outcome"),
    [
        (b"/api/query?site=shop", ("shop",)),
        (b"/api/query?site=blog", "site_not_allowed"),
        (b"/api/export/a/b.csv?site=shop", ("shop",)),
        (b"/api/export?site=shop", ("shop",)),
        # A parameter proves nothing on a path where the API does not read it.
        (b"/api/sites?site=shop", "site_missing"),
        (b"/api/reports/everything?site=shop", "site_missing"),
        (b"/index.php/api/sites/blog/x?site=shop", "site_missing"),
        (b"/api/queryx?site=shop", "site_missing"),
        # But the sites that it names must be granted, in every reading.
        (b"/api/sites/shop/x?site=shop", ("shop",)),
        (b"/api/sites/shop/x?site=blog", "site_not_allowed"),
        (b"/api/sites/shop/x?SITE=blog", "site_not_allowed"),
        (b"/api/sites/shop/x?s%69te=blog", "site_not_allowed"),
        (b"/api/sites/shop/x?site[]=blog", "site_not_allowed"),
        (b"/api/sites/shop/x?q=a;site=blog", "site_not_allowed"),
        (b"/api/sites/shop/x?q=?site=blog", "site_not_allowed"),
        (b"/api/sites/shop/x?site=%62log%2500", "site_not_allowed"),
        # What remains of a value after splitting at every separator counts.
        (b"/api/sites/shop/x?site=", "site_not_allowed"),  # a rewriting server may read it as no site
        (b"/api/sites/shop/x?site", "site_not_allowed"),
        (b"/api/sites/shop/x?site=shop;a=1", ("shop",)),
        (b"/api/sites/shop/x?q=a;site", ("shop",)),
        (b"/api/sites/shop/x?site=shop;blog", "site_not_allowed"),
        (b"/api/sites/shop/x?site=;blog", "site_not_allowed"),
        (b"/api/sites/shop/x?site=?", "site_not_allowed"),
        (b"/api/sites/shop/x?site=shop;=blog", "site_not_allowed"),
        (b"/api/sites/shop/x?site=shop?site=blog", "site_not_allowed"),
        (b"/api/sites/shop/x?site=a/b", "site_not_allowed"),
        (b"/api/sites/shop/x?site=blog,", "site_not_allowed"),
    ],
)
def test_a_query_rule_applies_only_within_its_paths(target: bytes, outcome: tuple[str, ...] | str) -> None:
    assert judge(SCOPED, target) == outcome


@pytest.mark.parametrize(
    ("target", "site", "outcome"),
    [
        (b"/api/query", b"shop", ("shop",)),
        (b"/api/reports/everything", b"shop", "site_missing"),
        (b"/api/sites/shop/x", b"shop", ("shop",)),
        (b"/api/sites/shop/x", b"blog", "site_not_allowed"),
        (b"/api/sites/shop/x", b"", ("shop",)),
    ],
)
def test_a_header_rule_applies_only_within_its_paths(target: bytes, site: bytes, outcome: object) -> None:
    assert judge(SCOPED, target, (b"X-Site", site)) == outcome


@pytest.mark.parametrize("path", [b"/api/query/", b"/API/query", b"/api//query", b"/api/%2571uery", b"/api/export;x/y"])
def test_a_parameter_is_ambiguous_if_readings_of_the_path_disagree_on_whether_the_rule_applies(path: bytes) -> None:
    assert judge(SCOPED, path + b"?site=shop") == "ambiguous_request"
    assert judge({**SCOPED, "without_site": "any-key"}, path + b"?other=1") == ()


def test_a_word_for_all_sites_outside_its_scope_needs_an_all_sites_key() -> None:
    route = {
        "workspace": "acme",
        "sites": ["path:/sites/{site}/**", {"query": "idSite", "all": "all", "paths": ["/index.php"]}],
    }
    assert judge(route, b"/sites/shop/x?idSite=all") == "all_sites_needed"
    assert judge(route, b"/sites/shop/x?idSite=all", grant=EVERY_SITE, owners={"shop": "acme"}) == ("shop",)
    assert judge(route, b"/index.php?idSite=all", grant=EVERY_SITE) == ()


def test_the_site_missing_refusal_lists_the_ways_to_name_a_site() -> None:
    refusal = judge_whole(SCOPED, b"/api/reports")
    assert not isinstance(refusal, tuple)
    assert "as the query parameter `site`, on `/api/query` and `/api/export/…`" in refusal.detail


FORM = (b"Content-Type", b"application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    ("form_body", "target", "outcome"),
    [
        ("auto", b"/api/query?site=shop", "form_body_not_read"),
        ("auto", b"/api/export/x/?site=shop", "form_body_not_read"),
        # Spring, ASP.NET Core and ServiceStack let a form field replace the `site` of the path.
        ("auto", b"/api/sites/shop/x", "form_body_not_read"),
        ("refuse", b"/api/sites/shop/x", "form_body_not_read"),
        ("pass", b"/api/query?site=shop", ("shop",)),
    ],
)
def test_form_bodies_are_refused_on_every_path_of_a_route_with_a_query_rule(
    form_body: str, target: bytes, outcome: object
) -> None:
    route = {**SCOPED, "form_body": form_body}
    assert judge(route, target, FORM, method=b"POST", body=True) == outcome


@pytest.mark.parametrize("look_alike", [b"Content_Type", b"Content.Type"])
def test_a_look_alike_of_content_type_does_not_replace_it(look_alike: bytes) -> None:
    outcome = judge(
        {"sites": ["query:site"]},
        b"/x?site=shop",
        method=b"POST",
        body=True,
        dropped=[(look_alike, b"text/plain")],
    )
    assert outcome == "form_body_not_read"


def test_a_form_is_refused_where_it_could_name_a_refused_method() -> None:
    route = {"sites": ["path:/api/sites/{site}/**"], "refuse": ["DELETE /api/sites/shop/x"]}
    assert judge(route, b"/api/sites/shop/x", FORM, method=b"POST", body=True) == "form_body_not_read"
    assert judge(route, b"/api/sites/shop/y", FORM, method=b"POST", body=True) == ("shop",)


@pytest.mark.parametrize("name", [b"Content_Type", b"CONTENT_TYPE"])
def test_a_form_type_in_a_forwarded_look_alike_of_content_type_makes_the_body_a_form(name: bytes) -> None:
    fields = [(b"Content-Type", b"application/json"), (name, b"application/x-www-form-urlencoded")]
    route = {"sites": ["query:site"]}
    assert judge(route, b"/x?site=shop", *fields, method=b"POST", body=True) == "form_body_not_read"
