"""The decision whether a grant covers a claim."""

import tracemalloc

import pytest

from proxy.decision.claim import Claim
from proxy.decision.grant import Grant, SiteOwner
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
    ],
)
def test_a_grant_covers_a_claim_or_the_refusal_says_why(grant: Grant | None, claimed: Claim, code: str | None) -> None:
    refused_with = None
    try:
        covered(claimed, grant, OWNERS, now=1000)
    except Refused as refused:
        refused_with = refused.refusal.code
    assert refused_with == code


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
