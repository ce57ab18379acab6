"""The example request that the page shows beside a new key."""

from typing import Any

import pytest

from admin.api.example_request import example_request
from proxy.settings import ProxySettings

HERE = "http://127.0.0.1:8080"
KEY = "X-API-Key: {key}"


@pytest.mark.parametrize(
    ("route", "proxy", "url", "headers"),
    [
        ({"sites": ["path:/api/sites/{site}/**", "query:site"]}, {}, f"{HERE}/api/sites/{{site}}/", [KEY]),
        ({"sites": ["path:/{site}.json"]}, {}, f"{HERE}/{{site}}.json", [KEY]),
        ({"sites": ["query:site"], "path": "/api"}, {}, f"{HERE}/api/?site={{site}}", [KEY]),
        ({"sites": [{"query": "id", "template": "eq.{site}"}]}, {}, f"{HERE}/?id=eq.{{site}}", [KEY]),
        ({"sites": ["query:filter[site]"]}, {}, f"{HERE}/?filter%5Bsite%5D={{site}}", [KEY]),
        (
            {"sites": [{"query": "$filter", "template": "id eq '{site}'"}]},
            {},
            f"{HERE}/?%24filter=id%20eq%20%27{{site}}%27",
            [KEY],
        ),
        ({"sites": ["header:X-Site"]}, {}, f"{HERE}/", [KEY, "X-Site: {site}"]),
        ({"sites": ["host:{site}.example"]}, {}, f"{HERE}/", [KEY, "Host: {site}.example"]),
        ({}, {}, f"{HERE}/", [KEY]),
        ({"keys_from": ["bearer"]}, {}, f"{HERE}/", ["Authorization: Bearer {key}"]),
        ({"keys_from": ["basic"]}, {}, f"{HERE}/", ["Authorization: Basic {basic}"]),
        ({"keys_from": ["cookie:k"]}, {}, f"{HERE}/", ["Cookie: k={key}"]),
        ({"sites": ["query:site"], "keys_from": ["query:k"]}, {}, f"{HERE}/?site={{site}}&k={{key}}", []),
        ({"keys_from": ["query:auth'key"]}, {}, f"{HERE}/?auth%27key={{key}}", []),
        ({}, {"public_url": "https://data.example/"}, "https://data.example/", [KEY]),
        ({}, {"listen": "unix:/run/a.sock"}, "https://DATA-API/", [KEY]),
    ],
)
def test_the_example_uses_the_first_site_rule_and_key_location(
    route: dict[str, Any], proxy: dict[str, Any], url: str, headers: list[str]
) -> None:
    settings = ProxySettings.model_validate(
        {"routes": [{"name": "data", "upstream": "http://127.0.0.1:9000", **route}], **proxy}
    )
    shown = example_request(settings, ("header:X-API-Key", "bearer"))
    assert (shown.url, shown.headers) == (url, headers)
