"""The upstream and the access log get the ids of the named sites, no matter how a request names them."""

import pytest

from bench.driver import Driver, Setup
from proxy.decision.api_keys import new_key

SELECTED, ALL_SITES = new_key(), new_key()
ROUTES = [
    {"name": "host", "path": "/host", "upstream": "http://127.0.0.1:1", "sites": ["host:{site}.api.example.com"]},
    {"name": "query", "path": "/query", "upstream": "http://127.0.0.1:1", "sites": ["query:site"]},
]


@pytest.mark.parametrize("key", [SELECTED, ALL_SITES], ids=["selected sites", "all sites"])
@pytest.mark.parametrize(
    ("target", "host", "sites"),
    [
        ("/host/x", "shop.api.example.com", ["Shop"]),
        ("/host/x", "SHOP.api.example.com.", ["Shop"]),
        ("/query?site=my+shop", "api.example.com", ["my shop"]),
        ("/query?site=my+shop&site=Shop", "api.example.com", ["my shop", "Shop"]),
        ("/host/x", "blog.api.example.com", None),
        ("/query?site=/shop", "api.example.com", None),
    ],
)
async def test_the_upstream_and_the_log_get_the_ids(key: str, target: str, host: str, sites: list[str] | None) -> None:
    setup = Setup(
        proxy={"routes": ROUTES},
        known={SELECTED: {"sites": ("Shop", "my shop")}, ALL_SITES: {"all_sites": True}},
        sites={"Shop": "acme", "my shop": "acme", "blog": "globex"},
    )
    driver = Driver(setup)
    await driver.start()
    outcome = await driver.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {key}\r\n\r\n".encode())
    [line] = driver.log
    await driver.close()
    if sites is None:
        assert outcome.code == line["outcome"] == "site_not_allowed"
        assert line["sites"] == (["blog"] if target == "/host/x" else ["/shop"])
    else:
        assert outcome.code == "passed"
        assert f"X-Api-Sites: {','.join(sites)}\r\n".encode() in outcome.forwarded
        assert line["sites"] == sites
