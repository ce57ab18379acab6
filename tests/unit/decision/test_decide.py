"""The decision whether a grant covers a claim."""

import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from proxy.decision.claim import Claim
from proxy.decision.decide import decide
from proxy.decision.grant import Grant, SiteOwner
from proxy.decision.networks import read_network
from proxy.decision.verdict import Answers, Lookup, Verdict
from proxy.refusals import Refused
from tests.scopes import owned
from tests.unit.judging import claim_on, covered, judge, table

TABLE = table({"workspace": "acme"})
SHOP = Grant("u", "acme", all_sites=False, sites=frozenset({"shop"}))
CAPITALS = Grant("u", "acme", all_sites=False, sites=frozenset({"Shop", "BLOG", "wiki", "Straße"}))
ACME = Grant("u", "acme", all_sites=True, sites=frozenset())
GLOBEX = Grant("u", "globex", all_sites=True, sites=frozenset())
OWNERS = owned({"shop": "acme", "blog": "acme", "wiki": "globex", "none": None, "/none": None}) | {
    "/docs": SiteOwner("Docs", "acme"),
    "/wiki": SiteOwner("wiki", "globex"),
}


def claim(*sites: str, every_site: bool = False) -> Claim:
    return claim_on(TABLE, *sites, every_site=every_site)


@pytest.mark.parametrize(
    ("grant", "claimed", "code"),
    [
        (SHOP, claim("shop"), None),
        (SHOP, claim(), None),  # no site is named, and the route admits any key
        (SHOP, claim("blog"), "site_not_allowed"),
        (SHOP, claim("shop", "blog"), "site_not_allowed"),  # all of them must be in the grant
        (SHOP, claim("wiki"), "site_not_allowed"),
        (SHOP, claim("none"), "site_not_allowed"),  # the same refusal whether the site exists or not
        (SHOP, claim("Shop"), "site_not_allowed"),
        (SHOP, claim(""), "site_not_allowed"),
        (SHOP, claim(every_site=True), "all_sites_needed"),
        (ACME, claim("shop"), None),
        (ACME, claim("shop", "blog"), None),
        (ACME, claim("wiki"), "site_not_allowed"),  # all sites of its own workspace only
        (ACME, claim("shop", "wiki"), "site_not_allowed"),
        (ACME, claim("none"), "site_not_allowed"),
        (ACME, claim("unheard-of"), "site_not_allowed"),
        (ACME, claim(every_site=True), None),
        (CAPITALS, claim("/shop", "/blog", "/wiki"), None),  # named by host, so by folded id
        (CAPITALS, claim("/docs"), "site_not_allowed"),
        (CAPITALS, claim("/shop", "shop"), "site_not_allowed"),
        (CAPITALS, claim("/"), "site_not_allowed"),
        (SHOP, claim("/shop"), None),
        (ACME, claim("/docs"), None),
        (ACME, claim("/docs", "/wiki"), "site_not_allowed"),
        (ACME, claim("/none"), "site_not_allowed"),
        (GLOBEX, claim(every_site=True), "all_sites_needed"),  # the route has another workspace
        (GLOBEX, claim("wiki"), None),
        (None, claim("shop"), "invalid_key"),
        (Grant("u", "acme", all_sites=True, sites=frozenset(), expires_at=999), claim("shop"), "expired_key"),
        (Grant("u", "acme", all_sites=True, sites=frozenset(), expires_at=1000), claim("shop"), "expired_key"),
        (Grant("u", "acme", all_sites=True, sites=frozenset(), expires_at=1001), claim("shop"), None),
        (replace(SHOP, disabled=True), claim("shop"), "disabled_key"),
        (replace(SHOP, disabled=True, expires_at=1), claim("shop"), "disabled_key"),
        (replace(SHOP, methods=frozenset({b"GET"})), claim("shop"), None),
        (replace(SHOP, methods=frozenset({b"GET"})), claim("blog"), "site_not_allowed"),
        (replace(SHOP, methods=frozenset({b"POST"})), claim("shop"), "method_not_granted"),
        (replace(SHOP, methods=frozenset({b"POST"})), claim("blog"), "method_not_granted"),
        (replace(SHOP, methods=frozenset({b"POST"}), expires_at=1), claim("shop"), "expired_key"),
    ],
)
def test_a_grant_covers_a_claim_or_the_refusal_says_why(grant: Grant | None, claimed: Claim, code: str | None) -> None:
    refused_with = None
    try:
        covered(claimed, grant, OWNERS, now=1000)
    except Refused as refused:
        refused_with = refused.refusal.code
    assert refused_with == code


READ_ONLY = replace(SHOP, methods=frozenset({b"GET", b"HEAD", b"OPTIONS"}))


@pytest.mark.parametrize(
    "overriding",
    [
        {"fields": [(b"X-HTTP-Method-Override", b"DELETE")]},
        {"fields": [(b"x-http-method", b"GET, delete")]},
        {"fields": [(b"X-Method-Override", b"GET"), (b"x_method_override", b"PUT")]},
        {"fields": [(b"X-HTTP-Method-Override", b"x" * 300)]},
        {"query": b"&_method=DELETE"},
        {"query": b"&_method=get&_method=put"},
        {"query": b"&%5Fmethod=PATCH"},
        {"query": b"&x-http-method-override=%50OST"},
        {"fields": [(b"X-HTTP-Method-Override", b"DELETE")], "method": b"HEAD"},
    ],
    ids=str,
)
def test_a_read_only_key_cannot_override_the_method(overriding: dict[str, Any]) -> None:
    fields, target = overriding.get("fields", []), b"/x?site=shop" + overriding.get("query", b"")
    route = {"sites": ["query:site"]}
    options = {"method": overriding.get("method", b"GET")}
    every_method = {"methods": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]}
    assert judge(route | every_method, target, *fields, grant=READ_ONLY, **options) in (
        "method_not_granted",
        "method_not_allowed",
    )
    assert judge(route | every_method, target, grant=READ_ONLY, **options) in (("shop",), "method_not_granted")


def test_a_read_only_key_may_name_a_method_that_it_allows() -> None:
    route = {"sites": ["query:site"]}
    head_override = (b"X-HTTP-Method-Override", b"head")
    assert judge(route, b"/x?site=shop&_method=GET", head_override, grant=READ_ONLY) == ("shop",)


@pytest.mark.parametrize(
    ("content_type", "form_body", "outcome"),
    [
        (b"application/json", "auto", ("shop",)),
        (b"application/x-www-form-urlencoded", "auto", "form_body_not_read"),
        (b"multipart/form-data; boundary=x", "auto", "form_body_not_read"),
        (b"", "auto", "form_body_not_read"),
        (b"multipart/form-data; boundary=x", "pass", ("shop",)),
    ],
)
def test_a_key_that_is_limited_to_methods_sends_no_form_that_may_name_another(
    content_type: bytes, form_body: str, outcome: object
) -> None:
    route = {"sites": ["path:/{site}/**"], "form_body": form_body}
    fields = [(b"Content-Type", content_type)] if content_type else []
    poster = replace(SHOP, methods=frozenset({b"POST"}))
    assert judge(route, b"/shop/x", *fields, method=b"POST", body=True, grant=SHOP) == ("shop",)
    assert judge(route, b"/shop/x", *fields, method=b"POST", body=True, grant=poster) == outcome


@pytest.mark.parametrize(
    ("networks", "address", "passes"),
    [
        (["192.0.2.0/24"], "192.0.2.9", True),
        (["192.0.2.0/24"], "192.0.3.9", False),
        (["10.0.0.0/8", "192.0.2.9/32"], "192.0.2.9", True),
        (["192.0.2.0/24"], "::ffff:192.0.2.9", True),
        (["::ffff:192.0.2.0/120"], "192.0.2.9", True),
        (["::ffff:192.0.2.0/120"], "::ffff:192.0.3.9", False),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "2001:db9::1", False),
        (["::/0"], "192.0.2.9", False),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["0.0.0.0/0", "::/0"], "unix", False),
        (["0.0.0.0/0", "::/0"], "gone", False),
        (["0.0.0.0/0", "::/0"], "", False),
    ],
)
def test_a_key_that_is_limited_to_networks_is_refused_elsewhere(
    networks: list[str], address: str, passes: bool
) -> None:
    grant = replace(SHOP, networks=tuple(map(read_network, networks)))
    asked = claim("shop")
    assert decide(asked, Answers(grant), 0) is Lookup.CLIENT_ADDRESS
    asked.address = address
    verdict = decide(asked, Answers(grant), 0)
    assert isinstance(verdict, Verdict)
    assert (verdict.refusal and verdict.refusal.code) == (None if passes else "network_not_allowed")


def test_only_a_grant_without_conditions_is_unconditional() -> None:
    assert SHOP.unconditional
    assert ACME.unconditional
    assert not replace(SHOP, disabled=True).unconditional
    assert not replace(SHOP, expires_at=0.0).unconditional
    assert not replace(SHOP, expires_at=1e12).unconditional
    assert not replace(SHOP, methods=frozenset()).unconditional
    assert not replace(SHOP, networks=()).unconditional


def test_a_public_endpoint_passes_without_a_known_key() -> None:
    assert judge({"public": ["GET /health"], "sites": ["query:site"]}, b"/health?site=shop", key=False) == ()
    assert judge({"public": ["GET /health"], "sites": ["query:site"]}, b"/other?site=shop", key=False) == "missing_key"


def test_a_granted_site_is_found_by_its_folded_id() -> None:
    for folded, site in (("shop", "Shop"), ("blog", "BLOG"), ("wiki", "wiki"), ("strasse", "Straße")):
        assert CAPITALS.site_by_fold(folded) == site
    for folded in ("", "a", "shops", "zzz", "Shop"[1:]):
        assert CAPITALS.site_by_fold(folded) is None
    assert ACME.site_by_fold("shop") is None


def test_looking_up_a_site_by_folded_id_does_not_affect_the_equality_of_grants() -> None:
    one, other = (Grant("u", "acme", all_sites=False, sites=frozenset({"Shop"})) for _ in range(2))
    assert one.site_by_fold("shop") == "Shop"
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == repr(other)


def test_the_index_by_folded_id_needs_little_memory() -> None:
    sites = frozenset(f"Site-{number}" for number in range(5000))
    grant = Grant("u", "acme", all_sites=False, sites=sites)
    tracemalloc.start()
    try:
        assert grant.site_by_fold("site-77") == "Site-77"
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 16 * len(sites), "GrantEntries counts 51 bytes per site"
