"""The warnings of `check-config`."""

import re
from pathlib import Path

import pytest

from sitelatch.config_database import database_warnings
from sitelatch.config_file import load
from sitelatch.config_warnings import warnings


def warnings_for(directory: Path, route: str) -> list[str]:
    file = directory / "sitelatch.toml"
    file.write_text(f'[[proxy.routes]]\nname = "data"\nupstream = "http://127.0.0.1:1"\n{route}\n')
    config = load(file, {})
    return [re.sub(r"^\S+:[0-9]+: ", "", warning) for warning in config.source.complaints(warnings(config))]


@pytest.mark.parametrize(
    ("route", "instead"),
    [
        ('sites = ["path:/s/{site}", "query:site"]', '{ query = "site", paths = ["/…"] }'),
        ('sites = ["header:X-Site"]', '{ header = "X-Site", paths = ["/…"] }'),
        (
            'path = "/api"\nsites = ["path:/api/{site}", { query = "ids", separator = "," }]',
            '{ separator = ",", query = "ids", paths = ["/…"] }',
        ),
        ('sites = [{ query = "site", paths = ["/q", "/**"] }]', '{ query = "site", paths = ["/…"] }'),
        (
            'path = "/api/v1"\nsites = ["path:/api/v1/{site}", { header = "X-Site", paths = ["/api/**"] }]',
            '{ header = "X-Site", paths = ["/…"] }',
        ),
        ('path = "/api"\nsites = ["host:{site}.example", "query:site"]', '{ query = "site", paths = ["/…"] }'),
        ('preflight = "pass"', 'cors = { origins = ["https://app.example"] }'),
        ('mode = "shadow"', "Remove the line to enforce the decision"),
    ],
)
def test_a_warning_says_what_to_write_instead(tmp_path: Path, route: str, instead: str) -> None:
    [warning] = warnings_for(tmp_path, route)
    assert warning.startswith('[[proxy.routes]] "data" ')
    assert instead in warning


@pytest.mark.parametrize(
    ("upstream", "mode", "warned"),
    [
        ("http://127.0.0.1:1", "shadow", True),
        ("http://127.0.0.1:1/", "shadow", True),
        ("http://127.0.0.1:2", "shadow", False),
        ("http://127.0.0.1:1", "enforce", False),
    ],
)
def test_a_route_in_shadow_mode_with_the_upstream_of_an_enforced_route_has_a_warning(
    tmp_path: Path, upstream: str, mode: str, warned: bool
) -> None:
    other = f'[[proxy.routes]]\nname = "new"\npath = "/new"\nupstream = "{upstream}"\nmode = "{mode}"'
    found = warnings_for(tmp_path, f'path = "/data"\n{other}')
    found = [warning for warning in found if warning.startswith('[[proxy.routes]] "new" upstream')]
    assert ['is also the upstream of "data", which is enforced' in warning for warning in found] == [True] * warned


def test_a_day_limit_that_the_rate_never_reaches_is_reported(tmp_path: Path) -> None:
    limits = "[proxy.routes.user_limits]\nrequests_per_second = 1\nrequests_per_day = "
    [warning] = warnings_for(tmp_path, f"{limits}86401")
    assert "1 requests per second are at most 86,401 in a day" in warning
    assert warnings_for(tmp_path, f"{limits}86400") == []


@pytest.mark.parametrize(
    "route",
    [
        'sites = ["path:/s/{site}", { query = "site", paths = ["/q"] }]',
        'path = "/query"\nsites = ["query:site"]',
        'path = "/api"\nsites = ["path:/api/s/{site}", { query = "site", paths = ["/api/q/**", "/api/v1"] }]',
        'sites = ["host:{site}.example", { query = "site", paths = ["/q"] }]',
        'sites = ["path:/s/{site}", "host:{site}.example"]',
    ],
)
def test_a_safe_config_has_no_warnings(tmp_path: Path, route: str) -> None:
    assert warnings_for(tmp_path, route) == []


@pytest.mark.parametrize(
    ("proxies", "seconds", "warned"),
    [('["10.0.0.0/8"]', 60, True), ('["10.0.0.0/8"]', 5, True), ('["10.0.0.0/8"]', 75, False), ("[]", 5, False)],
)
def test_a_keepalive_time_that_is_too_short_behind_a_load_balancer_has_a_warning(
    tmp_path: Path, proxies: str, seconds: int, warned: bool
) -> None:
    more = f"[limits]\nkeepalive_seconds = {seconds}\n[proxy]\ntrusted_proxies = {proxies}"
    found = warnings_for(tmp_path, f'sites = ["path:/s/{{site}}"]\n{more}')
    assert [warning.startswith("[limits] keepalive_seconds: ") for warning in found] == [True] * warned


@pytest.mark.parametrize(
    ("proxy", "wanted"),
    [
        ('listen = "unix:/run/sitelatch.sock"', 'add "unix"'),
        ('listen = "unix:/run/sitelatch.sock"\ntrusted_proxies = ["10.0.0.1"]', 'add "unix"'),
        ('listen = "unix:/run/sitelatch.sock"\ntrusted_proxies = ["unix"]', None),
        ('public_url = "https://data.example"', "https://data.example"),
        ('public_url = "https://data.example"\ntrusted_proxies = ["10.0.0.1"]', None),
        ('public_url = "http://data.example"', None),
        ('public_url = "https://data.example"\n[proxy.tls]\ncertificate = "c.pem"\nkey = "k.pem"', None),
        ("", None),
    ],
)
def test_a_proxy_in_front_that_is_not_trusted_is_a_warning(tmp_path: Path, proxy: str, wanted: str | None) -> None:
    found = warnings_for(tmp_path, f'sites = ["path:/s/{{site}}"]\n[proxy]\n{proxy}')
    found = [warning for warning in found if warning.startswith("[proxy] trusted_proxies: ")]
    assert len(found) == (wanted is not None)
    assert wanted is None or wanted in found[0]


@pytest.mark.parametrize(
    ("hosts", "options", "warned"),
    [
        ("one", "", False),
        ("one,two", "", True),
        ("one,two", "?target_session_attrs=read-write", False),
        ("one,two", "?target_session_attrs=primary", False),
        ("one,two", "?target_session_attrs=prefer-standby", True),
        ("one", "?target_session_attrs=standby", True),
        ("one", "?target_session_attrs=read-only", True),
        ("", "", False),
    ],
)
def test_a_database_url_that_may_lead_to_a_standby_has_a_warning(
    tmp_path: Path, hosts: str, options: str, warned: bool
) -> None:
    file = tmp_path / "sitelatch.toml"
    file.write_text(
        '[[proxy.routes]]\nname = "data"\nupstream = "http://127.0.0.1:1"\n'
        f'[database]\nurl = "postgresql://sitelatch@{hosts}/sitelatch{options}"\n'
    )
    found = [fault.message for fault in database_warnings(load(file, {}), {})]
    assert ["target_session_attrs" in warning for warning in found] == [True] * warned
