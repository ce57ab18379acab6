"""The configs in docs/backends-apis.md with real APIs: a key for `shop` can read shop, and nothing of blog."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.harness import Sitelatch
from tests.backends.apis import APIS, SIGNED
from tests.database import temporary_database

PAGE = (Path(__file__).parents[2] / "docs" / "backends-apis.md").read_text()
BLOCKS = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
Call = tuple[str, str, Mapping[str, str], str]

# Requests to which the API itself responds with data of another site or of all sites, so the config must refuse them.
LEAKS: dict[str, list[Call]] = {
    "influx-write": [
        ("GET", "/query?db=shop&q=SELECT+*+FROM+blog..cpu", {}, ""),
        ("POST", "/query?db=shop&q=SELECT+*+FROM+cpu", FORM, "db=blog"),
        ("POST", "/query?db=shop", FORM, "q=SELECT+*+FROM+blog..cpu"),
        ("GET", "/query?db=shop&q=SHOW+DATABASES", {}, ""),
    ],
    "prometheus-shop": [],
    "datasette": [
        ("GET", "/_memory.json?sql=select+*+from+blog.t&_shape=array", {}, ""),
        ("GET", "/-/databases.json", {}, ""),
        ("GET", "/.json", {}, ""),
    ],
    "s3": [
        ("GET", "/secret.txt", {"Host": "blog.s3.amazonaws.com"}, ""),
        ("GET", "//blog/secret.txt", {}, ""),
        ("GET", "/", {}, ""),
    ],
}
# Requests that must pass, with a text that must be in the response of the API.
ANSWERS: dict[str, list[tuple[Call, str]]] = {
    "influx-write": [
        (("POST", "/write?db=shop&precision=s", FORM, "cpu value=1"), ""),
        (("POST", "/write?db=shop", FORM, "db=blog"), "unable to parse 'db=blog'"),
    ],
    "prometheus-shop": [
        (("GET", "/shop/api/v1/query?query=up%7Bsite%3D%22shop%22%7D", {}, ""), '"success"'),
        (("GET", "/shop/api/v1/series?match[]=up", {}, ""), '"success"'),
    ],
    "datasette": [
        (("GET", "/shop.json?sql=select+*+from+t&_shape=array", {}, ""), '"shop"'),
        (("GET", "/shop.json?sql=select+*+from+blog.t", {}, ""), "no such table"),
    ],
    "s3": [
        (("GET", "/shop/secret.txt", {}, ""), "shop"),
        (("GET", "/shop/secret.txt", {"Host": "blog.s3.amazonaws.com"}, ""), "shop"),
        (("GET", "/shop?list-type=2&prefix=s", {}, ""), "secret.txt"),
        (("PUT", "/shop/a+b%20c.txt", {}, "new"), ""),
    ],
}
REFUSED: dict[str, list[Call]] = {
    "influx-write": [("POST", "/write?db=blog", FORM, "cpu value=1"), ("GET", "/debug/vars?db=shop", {}, "")],
    "prometheus-shop": [
        ("GET", "/shop/federate?match[]=up", {}, ""),
        ("GET", "/blog/api/v1/query?query=up", {}, ""),
        ("POST", "/shop/api/v1/query", FORM, "query=up"),
    ],
    "datasette": [("GET", "/blog.json", {}, ""), ("GET", "/blog/t.csv", {}, "")],
    "s3": [
        ("GET", "/blog/secret.txt", {}, ""),
        ("PUT", "/shop/stolen.txt", {"x-amz-copy-source": "/blog/secret.txt"}, ""),
        ("PUT", "/shop?replication", {}, "<x/>"),
    ],
}

pytestmark = pytest.mark.backends


@pytest.fixture
def database_url(database_server: str) -> Iterator[str]:
    """A migrated, empty database."""
    with temporary_database(database_server) as url:
        yield url


def routes_of(name: str, upstream: str) -> list[dict[str, Any]]:
    """Return the routes of the documented config that contains the route `name`, with another upstream."""
    for block in BLOCKS:
        routes = tomllib.loads(block)["proxy"]["routes"]
        if name in {route["name"] for route in routes}:
            return [{**route, "upstream": upstream} for route in routes]
    raise AssertionError(f"no block of the page has the route {name}")


def send(client: httpx.Client, call: Call) -> httpx.Response:
    method, target, headers, body = call
    # Use the raw target, because httpx would otherwise merge `//` and encode brackets.
    url = httpx.URL(str(client.base_url), raw_path=target.encode())
    return client.send(client.build_request(method, url, headers=headers, content=body or None))


@pytest.mark.parametrize("name", APIS)
def test_a_documented_config_limits_a_real_api_to_one_site(name: str, tmp_path: Path, database_url: str) -> None:
    folder = tmp_path / "api"
    folder.mkdir()
    with APIS[name](folder) as api:
        for call in LEAKS[name]:
            assert "blog" in send(api, call).text, call
        latch = Sitelatch(tmp_path, database_url, routes_of(name, str(api.base_url).rstrip("/")))
        latch.start()
        try:
            key = latch.create_sites_and_users().shop.key
            headers = {"X-API-Key": key, "Authorization": SIGNED} if name == "s3" else {"X-API-Key": key}
            with httpx.Client(base_url=latch.url, headers=headers, trust_env=False) as client:
                for call, text in ANSWERS[name]:
                    response = send(client, call)
                    assert "urn:sitelatch" not in response.text, call
                    assert text in response.text, call
                for call in [*REFUSED[name], *LEAKS[name]]:
                    response = send(client, call)
                    assert "urn:sitelatch:refusal" in response.text, (call, response.text)
        finally:
            latch.stop()
