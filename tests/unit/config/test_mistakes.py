"""All mistakes in a config are reported at once, each with its line or its variable."""

import codecs
import re
from pathlib import Path

import pytest

from sitelatch.config import Config
from sitelatch.config_file import load
from sitelatch.config_source import ConfigError
from sitelatch.config_warnings import warnings
from sitelatch.environment import ignored_variables

ROUTE = '[[proxy.routes]]\nname = "data"\nupstream = "http://127.0.0.1:9000"\nsites = ["query:site"]\n'
OIDC = '[admin]\npublic_url = "https://a.example"\n[admin.oidc]\nissuer = "https://id.example"\nclient_id = "x"\n'
TOKEN = f'[[admin.tokens]]\nname = "Ada"\nemail = "a@b.example"\nsha256 = "{"0" * 64}"\n'


def complaints(file: Path, text: str | bytes, environ: dict[str, str] | None = None) -> tuple[str, ...]:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError) as caught:
        load(file, environ or {})
    return caught.value.complaints


def lines(found: tuple[str, ...], file: Path) -> list[int]:
    """Return the line of each complaint."""
    return [int(re.match(rf"{re.escape(str(file))}:([0-9]+): ", complaint)[1]) for complaint in found]  # type: ignore[index]


def marked(text: str) -> list[int]:
    """Return the lines with a mistake: their number occurs as often as they contain `#!`."""
    return [number for number, line in enumerate(text.split("\n"), 1) for _ in range(line.count("#!"))]


SITES = 'sites = ["query:site"]'
UPSTREAM = '"http://127.0.0.1:9000"'


@pytest.mark.parametrize(
    "text",
    [
        f"{ROUTE}[limits]\n# note\nhead_bytes = 0 #!\n\nhead_byte = 1 #!\n[log] \naccess = 'x' #!\n",
        f"{ROUTE}[limit] #!\nx = 1\n[drain]\ndelay_seconds = 'soon' #!\n",
        f"{ROUTE}publik = [] #!\nmethods = [\n  'GET',\n  'list', #!\n  # note\n  'CONNECT', #!\n]\n",
        f"{ROUTE}[[proxy.routes]] #!\nname = 'b'\nsites = [3, 'pth:a'] #!#!\npath = '/b' #!\n",
        "[[proxy.routes]] #!#!\n\n[grants]\nttl_seconds = -1 #!\n",
        "[proxy] #!\nlisten = 8080 #!\n",
        "# empty #!\n[limits]\nhead_bytes = 'x' #!\n",
        "[proxy]\nroutes = [ #!\n]\n[ops]\nlisten = 'x' #!\n",
        "[proxy]\nroutes = [\n  { name = 'a', upstream = 'ftp://a' }, #!\n  { name = 'b' }, #!#!\n  3, #!\n]\n",
        'proxy.routes = [{ name = "a", upstream = "http://a" }]\nproxy.listen = "x" #!\nlimits."head_bytes" = 0 #!\n',
        f"\"proxy\" . 'lisden' = 1 #!\n{ROUTE}",
        f"{ROUTE}keys_from = [\n  'bearer',\n  'badge:x', #!\n  'header:Host', #!\n]\n[keys]\nfrom = ['nothing'] #!\n",
        f"{ROUTE}public = ['GET /a', 'GET', #!\n'PROPFIND /x' ] #!\nrefuse = ['query:',#!\n'POST x'] #!\n",
        f"[proxy]\ndrop_headers = [\n'X-A',\n'Host', #!\n'a b', #!\n]\n{ROUTE}drop_headers = ['X-A',\n'Host'] #!\n",
        f"[proxy]\ntrusted_proxies = ['x', #!\n'unix', 'y'] #!\n{ROUTE}",
        ROUTE.replace(SITES, "sites = ['query:a',\n'pth:x', #!\n{ query = 'b', sep = 1 }, #!\n{ header = 3 } ] #!"),
        f"{ROUTE}path = '/api'\npublic = [\n'GET /api/x',\n'GET /health', #!\n]\nrefuse = ['* /x'] #!\n",
        f"{ROUTE}path = '/x'\n\n[[proxy.routes]]\nname = 'data' #!\nupstream = {UPSTREAM}\n",
        f'{ROUTE}[[proxy.routes]]\nname = "x"\nupstream = "http://a"\npath = "/x" #!\n',
        f"{ROUTE}without_site = 'all-sites' #!\n",
        f"{ROUTE}preflight = 'pass' #!\ncors = {{ origins = ['https://a.example'] }}\n",
        f"{ROUTE}[proxy.routes.cors]\ncredentials = true #!\norigins = ['*']\n",
        f"{ROUTE}[proxy.routes.cors]\norigins = ['https://a.example',\n'https://B.example', #!\n'x', #!\n]\n",
        f"{ROUTE}user_limits = {{ burst = 5 }} #!\n",
        f"{ROUTE}[proxy.routes.user_limits] #!\n",
        f"{ROUTE}user_limits = {{ requests_per_day = 5, burst = 5 }} #!\n",
        f"{ROUTE}[proxy.routes.user_limits]\nrequests_per_day = 0 #!\n",
        f"{ROUTE}[proxy.routes.user_limits]\nrequests_per_second = 0 #!\nburst = 0 #!\nrequest_per_day = 1 #!\n",
        f"{ROUTE}[proxy.routes.user_limits]\nrequests_per_second = 1000001 #!\nburst = 1.5 #!\n",
        f"{ROUTE}[proxy.routes.user_limits]\nrequests_per_second = 1e-320 #!\n",
        f"{ROUTE}[proxy.routes.user_limits]\nrequests_per_second = 0.00000099 #!\n",
        f"{ROUTE}[proxy.routes.upstream_tls] #!\n[ops]\nsocket_mode = '0660' #!\n",
        f"{ROUTE.replace('http:', 'https:')}upstream_tls = {{ ca = 'gone' }} #!\n[proxy.tls] #!\nkey = 'gone'\n",
        f"{ROUTE}[proxy.tls]\ncertificate = 'gone' #!\nkey = 'gone' #!\n[limits]\nx = 1 #!\n",
        f"[admin] #!\n{OIDC.partition('[admin.oidc]')[2]}[[admin.oidc.allow]] #!\n{ROUTE}".replace(
            "\nissuer", "[admin.oidc]\nissuer"
        ),
        f"{OIDC}allow = [ #!\n]\n{ROUTE}[database]\nurl = 'mysql://x' #!\n",
        f"{ROUTE}[admin]\ntrusted_proxies = [\n'10.0.0.0/8',\n'10.0.0.0/99', #!\n]\n{TOKEN}{TOKEN[:-1]} #!\n",
        f"{ROUTE}{TOKEN}\n[[admin.tokens]] #!\nname = 'B'\nemail = 'b' #!\nnmae = 3 #!\n",
        f"{ROUTE}{TOKEN}nmae = 1 #!\n{TOKEN.replace('00', '11')}nmae = 1 #!\n",
        f"{ROUTE}[admin]\nrecoverable_keys = 'short' #!\n[database]\nlisten_url = 'postgresql://x' #!\n",
    ],
)
@pytest.mark.parametrize("encoding", ["plain", "marked, with \\r\\n"])
def test_every_mistake_has_its_line(tmp_path: Path, text: str, encoding: str) -> None:
    file = tmp_path / "sitelatch.toml"
    raw = text.encode() if encoding == "plain" else codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode()
    found = complaints(file, raw)
    assert lines(found, file) == marked(text), "\n".join(found)
    assert all(complaint.endswith((".", "?")) for complaint in found)


@pytest.mark.parametrize(
    "text",
    [
        f"{ROUTE}[limits]\nhead_bytes = 10kb #!\nhead_seconds = soon #!\n[log]\naccess = 'x' #!\n",
        ROUTE.replace(UPSTREAM, "http://127.0.0.1:9000 #!"),
        f"{ROUTE}[limits]\nhead_bytes = 1\nhead_bytes = 2 #!\nhead_count = 0 #!\n",
        f"{ROUTE}[limits]\nhead_bytes #!\nhead_count = 0 #!\n",
        f"{ROUTE}[limits]\nhead_bytes = #!\nhead_count = 0 #!\n",
        f'{ROUTE}[ops]\nlisten = "C:\\x" #!\n[limits]\nhead_count = \'x #!\n',
        f"{ROUTE}public = [ #!\n 'GET /a'\n 'GET /b'\n]\n",
        f"{ROUTE}public = [\n 'GET /a',\n\n[limits] #!\nhead_bytes = 1\n",
        f'{ROUTE}[ops]\nlisten = """ #!\nx\n[log]\n',
        f"[proxy #!\n{ROUTE}",
        f"{ROUTE}[limits]\n[log]\n[limits] #!\n",
        f"{ROUTE}public = [\n 'GET /a',\n]\npublic = [ #!\n 'GET /b',\n]\n",
        f"{ROUTE}= 3 #!\n[limits]\n",
    ],
)
def test_a_mistake_in_the_notation_has_its_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "sitelatch.toml"
    found = complaints(file, text)
    # The comment would be part of some values.
    if lines(found, file) != marked(text):
        found = complaints(file, re.sub(" #!", "", text))
    assert lines(found, file) == marked(text), "\n".join(found)
    assert all("is not valid TOML: " in complaint for complaint in found[:1])


def test_a_wrong_variable_is_reported_as_that_variable(tmp_path: Path) -> None:
    file = tmp_path / "sitelatch.toml"
    secret = tmp_path / "secret"
    secret.write_text("mysql://user:hunter2@host/\n")
    found = complaints(
        file,
        f"{ROUTE}[limits]\nhead_bytes = 0\nhead_count = 0\n[admin]\nlisten = 'x'\n",
        {
            "SITELATCH_LIMITS__HEAD_BYTES": "many",
            "SITELATCH_LIMITS__HEAD_BYTE": "1",
            "SITELATCH_ADMIN__LISTEN": "8080",
            "SITELATCH_DATABASE__URL_FILE": str(secret),
            "SITELATCH_KEYS__FROM": '["bearer", "badge:x"]',
            "SITELATCH_PROXY__TRUSTED_PROXIES": "10.0.0.1",
            "SITELATCH_PROXY__TLS__KEY": "gone.pem",
        },
    )
    expected = (
        f"{file}:7: [limits] head_count: must",
        "SITELATCH_ADMIN__LISTEN: [admin] listen: must be",
        'SITELATCH_DATABASE__URL_FILE: [database] url: must begin with "postgresql://"',
        "SITELATCH_KEYS__FROM: [keys] from, item 2: 'badge:x' is not",
        "SITELATCH_LIMITS__HEAD_BYTES: [limits] head_bytes: must be a whole number.",
        "SITELATCH_PROXY__TLS__KEY: [proxy.tls] certificate: is missing. Add it.",
        "SITELATCH_LIMITS__HEAD_BYTE: the config has no such key. Did you mean SITELATCH_LIMITS__HEAD_BYTES?",
        "SITELATCH_PROXY__TRUSTED_PROXIES: must be JSON, because the value is a list or a table.",
    )
    assert sorted(
        complaint[: len(start)] for complaint, start in zip(sorted(found), sorted(expected), strict=True)
    ) == (sorted(expected))
    assert "hunter2" not in "".join(found)


def test_a_route_of_a_variable_is_reported_as_that_variable(tmp_path: Path) -> None:
    routes = '[{"name": "data", "upstream": "http://a", "sites": ["pth:x"]}, {"name": "b", "path": "/b"}]'
    found = complaints(tmp_path / "sitelatch.toml", f"{ROUTE}[limits]\n", {"SITELATCH_PROXY__ROUTES": routes})
    places = [' "data" sites, item 1', ' "b" path', ' "b" upstream']
    for complaint, place in zip(found, places, strict=True):
        assert complaint.startswith(f"SITELATCH_PROXY__ROUTES: [[proxy.routes]]{place}: ")


@pytest.mark.parametrize(
    "text",
    [
        f"{ROUTE}workspace = 3 #!\nwithout_site = 'all-sites'\n",
        f"{ROUTE}[database]\nurl = 3 #!\nlisten_url = 'postgresql://x'\n",
        f"{ROUTE}path = 'api' #!\npublic = ['GET /x']\n",
        f"{ROUTE}methods = ['list'] #!\npublic = ['PROPFIND /x']\n",
        ROUTE.replace(UPSTREAM, '"ftp://a" #!') + "upstream_tls = { server_name = 'x' }\n",
        f"[proxy]\nlisten = 3 #!\n{ROUTE}[ops]\nlisten = '127.0.0.1:8080'\n",
        ROUTE.replace('["query:site"]', "[{ query = 3 }] #!"),
        f'{ROUTE}{TOKEN[:-5]}" #!\n',
    ],
)
def test_one_mistake_causes_one_message(tmp_path: Path, text: str) -> None:
    file = tmp_path / "sitelatch.toml"
    found = complaints(file, text)
    assert lines(found, file) == marked(text), "\n".join(found)


def test_a_warning_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "sitelatch.toml"
    file.write_text(f"[proxy]\nlisten = '[::]:80'\n{ROUTE}")
    config = load(file, {})
    assert [warning.partition(": ")[0] for warning in config.source.complaints(warnings(config))] == [
        f"{file}:2",
        f"{file}:6",
    ]


def test_a_variable_with_one_underscore_in_place_of_two_is_named() -> None:
    environ = {
        "SITELATCH_DATABASE_URL": "x",
        "SITELATCH_ADMIN_RECOVERABLE_KEYS_FILE": "x",
        "SITELATCH_DATABASE__URL": "x",
        "SITELATCH_PORT": "tcp://10.0.0.1:80",
        "SITELATCH_SERVICE_HOST": "10.0.0.1",
        "SITELATCH_CONFIG": "x",
    }
    assert list(ignored_variables(Config, environ)) == [
        "SITELATCH_ADMIN_RECOVERABLE_KEYS_FILE: sets nothing. Did you mean SITELATCH_ADMIN__RECOVERABLE_KEYS_FILE?",
        "SITELATCH_DATABASE_URL: sets nothing. Did you mean SITELATCH_DATABASE__URL?",
    ]
