"""The configs in docs/backends*.md load, pass the requests of their APIs, and refuse requests for other sites."""

import re
from pathlib import Path

import pytest

from proxy.decision.grant import Grant
from proxy.decision.route_table import RouteTable
from proxy.http.headers import Head
from proxy.refusals import Refused
from sitelatch.config import Config
from sitelatch.config_file import load
from tests.unit.judging import covered, read

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = [
    pytest.param(text, id=f"{page.name}-{number}")
    for page in sorted(DOCS.glob("backends*.md"))
    for number, text in enumerate(re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL), 1)
]
KEY = (b"X-API-Key", b"slk_" + b"A" * 38)
SITES = frozenset({"shop", "42"})

PASSED = {
    "matomo": ["GET /index.php?module=API&method=VisitsSummary.get&idSite=42&period=day&date=today"],
    "plausible": ["GET /api/v1/stats/aggregate?site_id=shop&period=6mo&filters=visit:source%3D%3DGoogle"],
    "influx-write": ["POST /write?db=shop&precision=s"],
    "influx-query": [],
    "elasticsearch": ["GET /shop/_search?q=title:a", "GET /shop/_doc/a%2Fb", "HEAD /shop/_source/1"],
    "postgrest": ["GET /stats?site_id=eq.shop&select=*,pages(*)", "GET /pages?site_id=in.(shop,42)&order=day"],
    "datasette": ["GET /shop.json?sql=select+*+from+t", "GET /shop/t.csv?_size=max"],
    "prometheus-shop": ["GET /shop/api/v1/query?query=up%7Bjob%3D%22a%22%7D"],
    "grafana": ["GET /api/search?type=dash-db | X-Grafana-Org-Id: 42"],
    "s3": ["GET /shop/a+b.txt", "PUT /shop/a.txt", "GET /shop?list-type=2&prefix=a%2F", "POST /shop?delete"],
    "couchdb": ['GET /shop/_design/d/_view/v?startkey=["a"]', "GET /shop/a%2Fb"],
    "front-controller": ["GET /api/sites/shop/report", "POST /api/sites/shop/report"],
}
REFUSED = {
    "matomo": [
        "GET /index.php?module=API&method=MultiSites.getAll",
        "GET /index.php?idSite=7",
        "GET /index.php?idSite=42&method=API.getBulkRequest&urls[0]=idSite%3D7",
        "GET /index.php?idSite=42&idSites=7",
        "POST /index.php?idSite=42",
        "GET /index.php?idSite=all",
    ],
    "plausible": ["POST /api/v2/query?site_id=shop", "GET /api/v1/sites?site_id=shop", "GET /api/v1/stats/aggregate"],
    "influx-write": ["POST /write", "POST /write?db=blog", "GET /debug/vars?db=shop"],
    "influx-query": ["GET /query?db=shop&q=SELECT+*+FROM+blog..cpu", "POST /query?db=shop", "GET /query?db=blog"],
    "elasticsearch": [
        "GET /shop/_msearch",
        "GET /shop/_mget",
        "POST /shop/_bulk",
        "GET /_sql",
        "GET /shop,blog/_search",
        "GET /_all/_search",
        "GET /shop/_search?source=%7B%7D&source_content_type=application/json",
    ],
    "postgrest": [
        "GET /stats",
        "GET /stats?site_id=not.eq.shop",
        "GET /stats?site_id=gt.0",
        "GET /stats?site_id=eq.shop&site_id=eq.blog",
        "GET /rpc/everything?site_id=eq.shop",
        "PATCH /stats?site_id=eq.shop",
        "GET /stats?site_id=in.(shop,blog)",
    ],
    "datasette": ["GET /_memory.json?sql=select+1", "GET /blog.json", "GET /-/databases.json", "GET /.json"],
    "prometheus-shop": ["GET /federate?match[]=up", "GET /shop/federate?match[]=up", "POST /shop/api/v1/query"],
    "grafana": [
        "GET /api/search",
        "GET /api/search | X-Grafana-Org-Id: 7",
        "GET /api/search?targetOrgId=7 | X-Grafana-Org-Id: 42",
        "GET /api/datasources/proxy/1/render | X-Grafana-Org-Id: 42",
        "POST /api/ds/query | X-Grafana-Org-Id: 42",
    ],
    "s3": [
        "GET /",
        "GET //blog/secret.txt",
        "GET /blog/secret.txt",
        "PUT /shop?replication",
        "PUT /shop/a.txt | x-amz-copy-source: /blog/secret.txt",
    ],
    "couchdb": ["GET /_all_dbs", "POST /_replicate", "GET /blog/a", "POST /shop/_bulk_docs", "PUT /shop/_design/x"],
    "front-controller": [
        "GET /api/sites/shop/report?site=blog",
        "GET /api/sites/shop/report%26site=blog",
        "POST /api/sites/shop/report | Content-Type: application/x-www-form-urlencoded",
    ],
}


@pytest.mark.parametrize("text", BLOCKS)
def test_a_config_in_the_docs_loads(text: str, tmp_path: Path) -> None:
    file = tmp_path / "sitelatch.toml"
    file.write_text(text)
    load(file, {})


def table_with(name: str, folder: Path) -> RouteTable:
    """Return the routes of the documented config that contains the route `name`."""
    [text] = [block for [block] in (param.values for param in BLOCKS) if f'name = "{name}"' in str(block)]
    file = folder / "sitelatch.toml"
    file.write_text(str(text))
    config: Config = load(file, {})
    return RouteTable(config.proxy.routes, config.keys)


def decide_request(table: RouteTable, request: str) -> None:
    """Decide on "METHOD TARGET" or "METHOD TARGET | NAME: VALUE" with a key for SITES. Raises Refused."""
    line, _, field = request.partition(" | ")
    method, target = line.encode().split(b" ")
    fields = [(b"Host", b"api.example.com"), KEY]
    if method in (b"POST", b"PUT", b"PATCH") and not field.startswith("Content-Type"):
        fields.append((b"Content-Type", b"application/json"))
    if field:
        name, _, value = field.partition(": ")
        fields.append((name.encode(), value.encode()))
    claim = read(table, Head(method, target, fields, has_body=method in (b"POST", b"PUT", b"PATCH")))
    assert claim.key == KEY[1]
    covered(claim, Grant("1", "acme", all_sites=False, sites=SITES))


@pytest.mark.parametrize(("name", "request_line"), [(name, line) for name, lines in PASSED.items() for line in lines])
def test_a_documented_config_lets_the_requests_of_its_api_pass(name: str, request_line: str, tmp_path: Path) -> None:
    decide_request(table_with(name, tmp_path), request_line)


@pytest.mark.parametrize(("name", "request_line"), [(name, line) for name, lines in REFUSED.items() for line in lines])
def test_a_documented_config_refuses_requests_for_other_sites(name: str, request_line: str, tmp_path: Path) -> None:
    table = table_with(name, tmp_path)
    with pytest.raises(Refused):
        decide_request(table, request_line)


def test_every_documented_route_is_tested() -> None:
    named = re.findall(r'^name = "([^"]+)"', (DOCS / "backends-apis.md").read_text(), re.MULTILINE)
    assert set(named) == PASSED.keys() == REFUSED.keys()
