"""Settings that are valid on their own but conflict."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.http.headers import REQUEST_KINDS
from proxy.http.steering_headers import STEERING_HEADERS
from sitelatch.config_file import load
from sitelatch.config_source import ConfigError

ROUTE = '[[proxy.routes]]\nname = "data"\nupstream = "http://127.0.0.1:9000"\n'


def complaints(folder: Path, text: str) -> tuple[str, ...]:
    file = folder / "sitelatch.toml"
    file.write_text(text)
    try:
        load(file, {})
    except ConfigError as error:
        return tuple(re.sub(f"^{re.escape(str(file))}:[0-9]+: ", "", complaint) for complaint in error.complaints)
    return ()


def route(line: str, proxy: str = "") -> str:
    return f"[proxy]\n{proxy}\n{ROUTE}{line}\n"


CORS = 'cors = { origins = ["https://app.example"] }'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            route("", 'drop_headers = ["X-API-Key"]'),
            "[proxy] drop_headers, item 1: 'X-API-Key' covers x-api-key, where",
        ),
        (route("", 'drop_headers = ["X_api-*"]'), "[proxy] drop_headers, item 1: 'X_api-*' covers"),
        (
            route("", 'drop_headers = ["Authorization"]'),
            "covers authorization, where route 'data' reads API keys",
        ),
        (
            route('keys_from = ["cookie:k"]', 'drop_headers = ["Cookie"]'),
            "'Cookie' covers cookie, where route 'data'",
        ),
        (route(CORS, 'drop_headers = ["Origin"]'), "'Origin' covers a CORS request header"),
        (route(CORS, 'drop_headers = ["Access-Control-*"]'), "'Access-Control-*' covers a CORS request header"),
        (route('preflight = "pass"', 'drop_headers = ["Origin"]'), "'Origin' covers a CORS request header"),
        (
            route(f'drop_headers = ["Origin"]\n{CORS}'),
            "[[proxy.routes]] \"data\" drop_headers, item 1: 'Origin' covers a CORS",
        ),
    ],
)
def test_a_route_that_reads_a_dropped_header_is_a_config_error(tmp_path: Path, text: str, complaint: str) -> None:
    found = complaints(tmp_path, text)
    assert any(complaint in message for message in found), found


@pytest.mark.parametrize(
    ("proxy", "header", "reason"),
    [
        ("", "X_Site", "the header x_site is not forwarded: a name with `_` needs [proxy] header_underscores"),
        ('drop_headers = ["X-Si*"]', "X-Site", "the header x-site is not forwarded: [proxy] drop_headers removes it."),
        ("", "X-Forwarded-Prefix", "the header x-forwarded-prefix is not forwarded: it makes some backends serve"),
        ('header_underscores = "pass"', "X_Original_URL", "the header x_original_url is not forwarded: it makes some"),
        ("", "X-Api-Sites", "the header x-api-sites is not forwarded: HTTP needs it, or Sitelatch sets or removes it."),
        ("", "Upgrade", "the header upgrade is not forwarded: HTTP needs it, or Sitelatch sets or removes it."),
        ("", "Host", 'use a rule like "host:{site}.api.example.com" to read a site from the host, not host.'),
        ("", "X-Forwarded-Host", 'use a rule like "host:{site}.api.example.com" to read a site'),
    ],
)
def test_a_site_rule_whose_header_is_not_forwarded_is_an_error(
    tmp_path: Path, proxy: str, header: str, reason: str
) -> None:
    [message] = complaints(tmp_path, route(f'sites = ["header:{header}"]', proxy))
    assert message.startswith(f'[[proxy.routes]] "data" sites, item 1: {reason}')


NEVER_FORWARDED = [name.decode() for name in REQUEST_KINDS] + [row.name.replace("*", "a") for row in STEERING_HEADERS]


@pytest.mark.parametrize("spelled", [str.title, str.upper, lambda name: name.replace("-", "_")])
def test_a_key_location_whose_header_is_never_forwarded_is_an_error(
    tmp_path: Path, spelled: Callable[[str], str]
) -> None:
    for name in map(spelled, NEVER_FORWARDED):
        advice = f"the header {name} cannot carry a key, because "
        shared = complaints(tmp_path, f'[keys]\nfrom = ["header:{name}"]\n{ROUTE}')
        own = complaints(tmp_path, route(f'keys_from = ["bearer", "header:{name}"]'))
        assert len(shared) == len(own) == 1, name
        assert shared[0].startswith(f"[keys] from, item 1: {advice}")
        assert own[0].startswith(f'[[proxy.routes]] "data" keys_from, item 2: {advice}')
        assert 'such as "header:X-API-Key"' in shared[0]


def test_a_cookie_is_a_key_location_but_the_cookie_header_is_not(tmp_path: Path) -> None:
    [message] = complaints(tmp_path, f'[keys]\nfrom = ["header:Cookie"]\n{ROUTE}')
    assert message == '[keys] from, item 1: the header Cookie cannot carry a key as a whole: write "cookie:NAME".'


@pytest.mark.parametrize("underscores", ["drop", "pass"])
def test_a_key_location_with_an_underscore_needs_no_other_setting(tmp_path: Path, underscores: str) -> None:
    assert not complaints(tmp_path, route('keys_from = ["header:X_Key"]', f'header_underscores = "{underscores}"'))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            'path = "/api"\nsites = [{ query = "site", paths = ["/query"] }]',
            "sites, item 1, `paths`, item 1: '/query' is not below the route's",
        ),
        (
            'path = "/a/b"\nsites = [{ header = "X-Site", paths = ["/a"] }]',
            "sites, item 1, `paths`, item 1: '/a' is not below the route's path",
        ),
        (
            'path = "/api"\nsites = ["path:/sites/{site}"]',
            "sites, item 1: '/sites/{site}' is not below the route's path '/api'",
        ),
        ('path = "/api"\nrefuse = ["POST /batch"]', "refuse, item 1: '/batch' is not below the route's path '/api'"),
        ('path = "/api"\npublic = ["GET /health"]', "public, item 1: '/health' is not below the route's path '/api'"),
        ('public = ["PROPFIND /health"]', "public, item 1: PROPFIND is not in `methods` of the route"),
        (
            'sites = [{ query = "id", templates = ["{site}", "eq.{site}"] }]',
            "sites, item 1, `templates`, item 2: the template 'eq.{site}' is never used, because the template",
        ),
        (
            'sites = [{ query = "id", templates = ["in.{site})", "in.({site})"] }]',
            "sites, item 1, `templates`, item 2: the template 'in.({site})' is never used",
        ),
        (
            'sites = [{ query = "id", template = "a,{site}", separator = "," }]',
            "sites, item 1, `separator`: the template 'a,{site}' contains the separator ','.",
        ),
        (
            'workspace = "acme"\nsites = [{ query = "id", all = "a,b", separator = "," }]',
            "sites, item 1, `separator`: the word 'a,b' for all sites contains the separator ','.",
        ),
        (
            'keys_from = ["query:key"]\nsites = ["query:key"]',
            "sites, item 1: the query parameter `key` carries API keys",
        ),
        (
            'keys_from = ["query:key"]\nsites = [{ query = "KEY" }]',
            "sites, item 1: the query parameter `KEY` carries API keys",
        ),
        ('sites = ["header:X-Api-Key"]', "sites, item 1: the header x-api-key carries API keys"),
        ('sites = ["header:Authorization"]', "sites, item 1: the header authorization carries API keys"),
    ],
)
def test_a_setting_without_effect_is_an_error(tmp_path: Path, line: str, complaint: str) -> None:
    [message] = complaints(tmp_path, route(line))
    assert message.startswith(f'[[proxy.routes]] "data" {complaint}')


@pytest.mark.parametrize(
    "text",
    [
        route('path = "/api"\nsites = [{ query = "site", paths = ["/**", "/api/query", "/api/v1/**"] }]'),
        route('path = "/api/"\nsites = ["path:/{site}/x/**"]\nrefuse = ["* /**", "query:q"]\npublic = ["GET /api"]'),
        route('path = "/shop"\nsites = ["path:/{site}/api/**"]'),
        route('sites = [{ query = "id", templates = ["eq.{site}", "in.({site})", "{site}"], separator = "," }]'),
        route('sites = ["header:X-Site", "query:key"]', 'drop_headers = ["X-Tenant", "Cookie", "Origin"]'),
        route('sites = ["header:X_Site"]', 'header_underscores = "pass"'),
        route(CORS, 'drop_headers = ["X-Tenant"]'),
        route('keys_from = ["query:key"]', 'drop_headers = ["Authorization", "X-API-Key"]'),
        route('public = ["PROPFIND /x"]\nmethods = ["GET", "PROPFIND"]\nrefuse = ["MKCOL /x"]'),
    ],
)
def test_compatible_settings_are_accepted(tmp_path: Path, text: str) -> None:
    assert complaints(tmp_path, text) == ()
