"""Who passes."""

import pytest

from proxy.decision import Claim, Grant, decide
from proxy.refusals import Refused
from proxy.routes import Candidate, Route
from proxy.settings import KeySettings, RouteSettings

ROUTE = Route(RouteSettings(name="data", upstream="http://x", workspace="acme"), KeySettings())
SHOP = Grant("u", "acme", all_sites=False, sites=frozenset({"shop"}))
ACME = Grant("u", "acme", all_sites=True, sites=frozenset())
GLOBEX = Grant("u", "globex", all_sites=True, sites=frozenset())
WORKSPACES = {"shop": "acme", "blog": "acme", "wiki": "globex", "none": None}


def claim(*sites: str, every_site: bool = False, open_: bool = False) -> Claim:
    return Claim(ROUTE, b"k", b"/", [], open_, Candidate(sites, every_site=every_site))


@pytest.mark.parametrize(
    ("grant", "asked", "code"),
    [
        (SHOP, claim("shop"), None),
        (SHOP, claim(), None),  # no site is named, and the route lets any key
        (SHOP, claim("blog"), "site_not_allowed"),
        (SHOP, claim("shop", "blog"), "site_not_allowed"),  # all of them must be in the grant
        (SHOP, claim("wiki"), "site_not_allowed"),
        (SHOP, claim("none"), "site_not_allowed"),  # the same whether the site exists or not
        (SHOP, claim("Shop"), "site_not_allowed"),
        (SHOP, claim(""), "site_not_allowed"),
        (SHOP, claim(every_site=True), "all_sites_needed"),
        (ACME, claim("shop"), None),
        (ACME, claim("shop", "blog"), None),
        (ACME, claim("wiki"), "site_not_allowed"),  # all sites of its workspace, never another's
        (ACME, claim("shop", "wiki"), "site_not_allowed"),
        (ACME, claim("none"), "site_not_allowed"),
        (ACME, claim("unheard-of"), "site_not_allowed"),
        (ACME, claim(every_site=True), None),
        (GLOBEX, claim(every_site=True), "all_sites_needed"),  # the route's workspace is another
        (GLOBEX, claim("wiki"), None),
        (None, claim("shop"), "invalid_key"),
        (None, claim("shop", open_=True), None),
        (Grant("u", "acme", all_sites=True, sites=frozenset(), expires_at=999), claim("shop"), "expired_key"),
        (Grant("u", "acme", all_sites=True, sites=frozenset(), expires_at=1000), claim("shop"), "expired_key"),
        (Grant("u", "acme", all_sites=True, sites=frozenset(), expires_at=1001), claim("shop"), None),
    ],
)
def test_decide(grant: Grant | None, asked: Claim, code: str | None) -> None:
    refused_with = None
    try:
        decide(asked, grant, WORKSPACES, now=1000)
    except Refused as refused:
        refused_with = refused.refusal.code
    assert refused_with == code
