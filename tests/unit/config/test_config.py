"""Loading the config: values, overrides from the environment, and error messages."""

import codecs
import json
import re
import tomllib
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from admin.key_encryption import new_secret
from proxy.relay.listeners import TcpListen, UnixListen, parse_listen
from sitelatch.config import Config
from sitelatch.config_checks import check_files
from sitelatch.config_file import load
from sitelatch.config_source import ConfigError

ROUTE = """
[[proxy.routes]]
name = "data"
upstream = "http://127.0.0.1:9000"
sites = ["path:/api/sites/{site}/**"]
"""
EXAMPLE = Path(__file__).parents[3] / "config.example.toml"


class File:
    """A config file in its own directory."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sitelatch.toml"

    def load(self, text: str, **environ: str) -> Config:
        self.path.write_text(text)
        return load(self.path, environ)

    def complaints(self, text: str, **environ: str) -> list[str]:
        """Return the messages of the mistakes in the config, without the file and the line."""
        with pytest.raises(ConfigError) as caught:
            self.load(text, **environ)
        return [re.sub(f"^{re.escape(str(self.path))}(?::[0-9]+)?: ", "", each) for each in caught.value.complaints]


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path)


def test_a_config_needs_nothing_but_one_route(file: File) -> None:
    config = file.load(ROUTE)
    assert config.proxy.listen == "127.0.0.1:8080"
    assert config.limits.head_bytes == 32768
    assert config.keys.from_ == ("header:X-API-Key", "bearer")


PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def test_relative_paths_are_relative_to_the_config_file(file: File, tmp_path: Path) -> None:
    config = file.load(
        '[proxy.tls]\ncertificate = "tls/cert.pem"\nkey = "/etc/key.pem"\n'
        + ROUTE.replace("http:", "https:")
        + '[proxy.routes.upstream_tls]\nca = "ca.pem"\n'
    )
    assert config.database.url == f"embedded:{tmp_path}/var/postgres"
    assert config.directory == tmp_path
    assert config.proxy.tls is not None
    assert config.proxy.tls.certificate == f"{tmp_path}/tls/cert.pem"
    assert config.proxy.tls.key == "/etc/key.pem"
    tls = config.proxy.routes[0].upstream_tls
    assert tls is not None
    assert tls.ca == f"{tmp_path}/ca.pem"


def test_check_files_reports_files_that_cannot_be_loaded(file: File, tmp_path: Path) -> None:
    tls = "[proxy.tls]\ncertificate = 'gone.pem'\nkey = 'gone.pem'\n"
    upstream_tls = "[proxy.routes.upstream_tls]\nca = 'gone.pem'\n"
    config = file.load(tls + ROUTE.replace("http:", "https:") + upstream_tls)
    with pytest.raises(ConfigError) as caught:
        check_files(config)
    fault = f"cannot read {tmp_path}/gone.pem: No such file or directory. Correct the path, or its permissions."
    assert caught.value.complaints == (
        f"{file.path}:2: [proxy.tls] certificate: {fault}",
        f"{file.path}:3: [proxy.tls] key: {fault}",
        f'{file.path}:10: [proxy.routes.upstream_tls] "data" ca: {fault}',
    )


def test_a_private_key_in_place_of_its_path_is_not_in_the_message(file: File) -> None:
    pem = PEM.replace("CERTIFICATE", "PRIVATE KEY")
    config = file.load(f"[proxy.tls]\ncertificate = 'gone.pem'\n{ROUTE}", SITELATCH_PROXY__TLS__KEY=pem)
    with pytest.raises(ConfigError) as caught:
        check_files(config)
    assert caught.value.complaints[1] == (
        "SITELATCH_PROXY__TLS__KEY: [proxy.tls] key: must be the path of a PEM file, not its content."
    )
    assert "MIIB" not in str(caught.value)


@pytest.mark.parametrize(
    ("certificate", "key", "fault"),
    [
        (PEM.encode("utf-16"), PEM.encode(), "one.pem: This is UTF-16 text"),
        (b"\x30\x82\x05\0\xff", PEM.encode(), "one.pem: Line 1 contains a NUL character, so this is not a text file"),
        (b"", PEM.encode(), "one.pem: it contains no `-----BEGIN CERTIFICATE-----`"),
        (
            PEM.replace("CERTIFICATE", "PRIVATE KEY").encode(),
            b"",
            "one.pem: it contains no `-----BEGIN CERTIFICATE-----`",
        ),
    ],
    ids=["UTF-16", "DER", "empty", "a key"],
)
def test_check_files_names_a_file_that_is_not_in_pem_format(
    file: File, tmp_path: Path, certificate: bytes, key: bytes, fault: str
) -> None:
    (tmp_path / "one.pem").write_bytes(certificate)
    (tmp_path / "two.pem").write_bytes(key)
    tls = "[proxy.tls]\ncertificate = 'one.pem'\nkey = 'two.pem'\n"
    config = file.load(tls + ROUTE.replace("http:", "https:") + "[proxy.routes.upstream_tls]\nca = 'one.pem'\n")
    with pytest.raises(ConfigError) as caught:
        check_files(config)
    server, upstream = caught.value.complaints
    assert server.startswith(f"{file.path}:1: [proxy] tls: cannot load the files: {tmp_path}/{fault}")
    label = '[[proxy.routes]] "data" upstream_tls'
    assert upstream.startswith(f"{file.path}:9: {label}: cannot load the files: {tmp_path}/{fault}")


def test_the_admin_uses_its_own_database_url_if_one_is_set(file: File) -> None:
    assert file.load(ROUTE).admin_database == file.load(ROUTE).database
    config = file.load(ROUTE + '[admin]\ndatabase_url = "postgresql://admin@db/x"\n')
    assert config.admin_database.url == "postgresql://admin@db/x"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "[proxy]: is missing. Add it."),
        ("[proxy]\n", "[proxy] routes: is missing. Add it."),
        ("[proxy]\nroutes = []\n", "[proxy] routes: must contain at least one [[proxy.routes]] table"),
        ("[proxy]\nroutes = 3\n", "[proxy] routes: must contain at least one [[proxy.routes]] table"),
        ("proxy = 3\n", "[proxy]: must be a table."),
        (ROUTE + "nmae = 1\n", '[[proxy.routes]] "data" nmae: is not a known key. Did you mean `name`?'),
        (ROUTE + "[limit]\n", "[limit]: is not a known table. Did you mean `limits`?"),
        (ROUTE + "[limits]\nhead_byte = 1\n", "[limits] head_byte: is not a known key. Did you mean `head_bytes`?"),
        (ROUTE + "[log]\nverbose = true\n", "[log] verbose: is not a known key. Known keys: access."),
        (ROUTE + "[limits]\nhead_bytes = 0\n", "[limits] head_bytes: must be greater than 0."),
        (ROUTE + "[limits]\nhead_bytes = 1.5\n", "[limits] head_bytes: must be a whole number."),
        (ROUTE + "[limits]\nhead_seconds = 'soon'\n", "[limits] head_seconds: must be a number."),
        (ROUTE + "[limits]\nhead_seconds = inf\n", "[limits] head_seconds: must be a finite number."),
        (ROUTE + "[drain]\ndelay_seconds = -1\n", "[drain] delay_seconds: must be 0 or more."),
        (ROUTE + "[log]\naccess = 'most'\n", '[log] access: must be "all", "refused" or "off".'),
        (ROUTE + "forward_key = 'perhaps'\n", '[[proxy.routes]] "data" forward_key: must be true or false.'),
        (ROUTE + "reuse_after_body = 'no'\n", '[[proxy.routes]] "data" reuse_after_body: must be true or false.'),
        (ROUTE + "reuse_after_body = 0\n", '[[proxy.routes]] "data" reuse_after_body: must be true or false.'),
        (ROUTE + "[keys]\naccept_foreign = 'on'\n", "[keys] accept_foreign: must be true or false."),
        (
            ROUTE + "[cors]\norigins = ['https://a']\n",
            "[cors]: is not a known table. It belongs in a route: write [proxy.routes.cors] below its other keys.",
        ),
        (
            "[proxy.cors]\norigins = ['https://a']\n" + ROUTE,
            "[proxy] cors: is not a known key. It belongs in a route: write [proxy.routes.cors] below its",
        ),
        (
            "[proxy]\nsites = ['query:site']\n" + ROUTE,
            "[proxy] sites: is not a known key. It belongs in a route: write sites below [[proxy.routes]].",
        ),
        (ROUTE + "host = 'mine'\n", '[[proxy.routes]] "data" host: must be "keep" or "upstream".'),
        (ROUTE + "methods = []\n", '[[proxy.routes]] "data" methods: must'),
        (
            ROUTE + "methods = ['GET', 'list']\n",
            "[[proxy.routes]] \"data\" methods, item 2: 'list' is not a valid",
        ),
        (ROUTE + "methods = ['*']\n", "[[proxy.routes]] \"data\" methods, item 1: '*' is not a valid"),
        (ROUTE + "methods = ['A B']\n", "[[proxy.routes]] \"data\" methods, item 1: 'A B' is not a valid"),
        (ROUTE + "methods = ['CONNECT']\n", '[[proxy.routes]] "data" methods, item 1: CONNECT is never forwarded:'),
        (ROUTE + "methods = ['TRACE']\n", '[[proxy.routes]] "data" methods, item 1: TRACE is never forwarded:'),
        (ROUTE + "methods = ['PRI']\n", '[[proxy.routes]] "data" methods, item 1: PRI is never forwarded:'),
        (ROUTE + "public = 'GET /'\n", '[[proxy.routes]] "data" public: must be a list: […].'),
        (ROUTE + "[keys]\nfrom = []\n", "[keys] from: must list at least one location"),
        (ROUTE + "[keys]\nfrom = ['bearer', 3]\n", "[keys] from, item 2: must "),
        (ROUTE.replace('"data"', '"Data"'), '[[proxy.routes]] "Data" name: must be 1 to 63 characters from a-z'),
        ("[[proxy.routes]]\nname = 'a'\n", '[[proxy.routes]] "a" upstream: is missing. Add it.'),
        ("[[proxy.routes]]\nupstream = 'http://a'\n", "[[proxy.routes]] number 1 name: is missing. Add it."),
        (ROUTE.replace("sites", "sitse"), '[[proxy.routes]] "data" sitse: is not a known key. Did you mean `sites`?'),
        (
            ROUTE.replace('"path:/api/sites/{site}/**"', '{ query = "a", sep = "," }'),
            '[[proxy.routes]] "data" sites, item 1, `sep`: is not a known key. Did you mean `separator`?',
        ),
        (
            ROUTE.replace('"path:/api/sites/{site}/**"', "'query:a', { name = 'a' }"),
            '[[proxy.routes]] "data" sites, item 2: must be text like "query:site", or a table with',
        ),
        (
            ROUTE.replace('"path:/api/sites/{site}/**"', "{ header = 3 }"),
            '[[proxy.routes]] "data" sites, item 1, `header`: must be text in quotes',
        ),
        (
            ROUTE + "[proxy.routes.upstream_tls]\ncert = 'a'\n",
            '[proxy.routes.upstream_tls] "data" cert: is not a known',
        ),
        (
            ROUTE + "[[admin.tokens]]\nname = 'A'\nemail = 'a@b.c'\nsha256 = 'abc'\n",
            "[[admin.tokens]] number 1 sha256: must be 64 lowercase hexadecimal digits. `sitelatch tokens new`",
        ),
        (
            ROUTE + f"[[admin.tokens]]\nname = 'A'\nemail = 'a@b.c'\nsha256 = '{sha256(b'').hexdigest()}'\n",
            "[[admin.tokens]] number 1 sha256: is the SHA-256 of an empty token; use the lines that `sitelatch tokens",
        ),
        (
            ROUTE + f"[[admin.tokens]]\nname = 'A'\nemail = 'a@b.c'\nsha256 = '{'0' * 64}'\n" * 2,
            "[[admin.tokens]] number 2 sha256: another token before it has the same. Keep one of the two.",
        ),
        (ROUTE + "[authorize]\nlisten = '127.0.0.1:8081'\n", "[authorize]: is not a known table. Known tables: proxy,"),
        ("[proxy]\nworkers = 4\n" + ROUTE, "[proxy] workers: is not a known key. Known keys: listen,"),
        ("[proxy]\nlisten = '8080'\n" + ROUTE, '[proxy] listen: must be "HOST:PORT"'),
        (ROUTE + "[ops]\nlisten = 'unix:x.sock'\n", "[ops] listen: a unix socket needs an absolute path"),
        (
            ROUTE + "[ops]\nlisten = '127.0.0.1:8080'\n",
            "[proxy] listen: must not be the same address as",
        ),
        (ROUTE + "[database]\nurl = 'mysql://x'\n", '[database] url: must begin with "postgresql://"'),
        (ROUTE + "[database]\nlisten_url = 'postgresql://x'\n", "[database] listen_url: is not used with an embedded"),
        (ROUTE + "[database]\nurl = 'postgresql://u:p/w@h/d'\n", "[database] url: has an @ after the first /"),
        (
            ROUTE + "[admin]\ndatabase_url = 'postgresql://h:99999/d'\n",
            "[admin] database_url: port must be a number from 1 to 65535.",
        ),
        (
            ROUTE + "[database]\nurl = 'postgresql://h/d'\nlisten_url = 'embedded:var'\n",
            '[database] listen_url: must begin with "postgresql://"',
        ),
        (
            ROUTE + "[keys]\nfrom = ['bearer', 'badge:x']\n",
            "[keys] from, item 2: 'badge:x' is not a valid key location",
        ),
        (
            "[keys]\nfrom = ['bearer']\n" + ROUTE + "keys_from = ['badge:x']\n",
            "[[proxy.routes]] \"data\" keys_from, item 1: 'badge:x' is not a valid key location",
        ),
        (
            ROUTE
            + "[[admin.tokens]]\nname = 'A\\u0000'\n".replace("'", '"')
            + f"email = 'a@b.c'\nsha256 = '{'0' * 64}'\n",
            "[[admin.tokens]] number 1 name: must be UTF-8 text without null characters.",
        ),
        (ROUTE + "[admin]\ndatabase_url = 'x'\n", '[admin] database_url: must begin with "postgresql://"'),
        (ROUTE + "[database]\nurl = 'embedded:'\n", "[database] url: `embedded:` needs a directory"),
        *(
            (
                ROUTE.replace("http://127.0.0.1:9000", upstream),
                '[[proxy.routes]] "data" upstream: must be http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH.',
            )
            for upstream in (
                *("ftp://a", "a:80", "http://a/b", "http://a?b", "http://a#b", "http://u:p@a", "unix:a"),
                *("http://a:b", "http://a:99999", "http://a:0", "http://a:", "http://:80", "http://"),
                *("http://[::1", "http://::1", "http://[::1:80]:x", "http://[:::]", "http://1.2.3.999"),
            )
        ),
        (
            ROUTE + "[proxy.routes.upstream_tls]\n",
            '[[proxy.routes]] "data" upstream_tls: is for https:// upstreams only. Remove the table',
        ),
        (
            ROUTE + "without_site = 'all-sites'\n",
            ('[[proxy.routes]] "data" without_site: "all-sites" needs workspace = "…", the workspace of these sites.'),
        ),
        (
            ROUTE.replace("\nsites", "\npath = '/api'\nsites") + ROUTE,
            '[[proxy.routes]] "data" name: route number 1 has the same name. Names are labels',
        ),
        (
            ROUTE + ROUTE.replace("data", "other"),
            '[[proxy.routes]] "other" path: no request reaches this route, because route number 1, "data", receives ',
        ),
        (
            ROUTE.replace("\nsites", "\npath = '/api/'\nsites")
            + ROUTE.replace("data", "other").replace("\nsites", "\npath = '/api/sites'\nsites"),
            '[[proxy.routes]] "other" path: no request reaches this route, because',
        ),
        (
            "[proxy]\ndrop_headers = ['X-Tenant', 'Content-Length']\n" + ROUTE,
            "[proxy] drop_headers, item 2: 'Content-Length' covers content-length, which cannot be dropped: HTTP",
        ),
        (
            "[proxy]\nheader_underscores = 'keep'\n" + ROUTE,
            '[proxy] header_underscores: must be "drop" or "pass".',
        ),
        (
            "[proxy]\ntrusted_proxies = ['10.0.0.0/33']\n" + ROUTE,
            "[proxy] trusted_proxies, item 1: must be an address, a network",
        ),
        ("[proxy\n", "is not valid TOML"),
        (ROUTE + f"x = {'[' * 100_000}", "is not valid TOML"),
        (ROUTE + f"x = {'9' * 5_000}", "is not valid TOML"),
        (
            '[proxy.tls]\ncertificate = "a\\u0000b"\nkey = "x"\n' + ROUTE,
            "[proxy.tls] certificate: must be UTF-8 text without null characters.",
        ),
        (
            ROUTE + '[keys]\nfrom = ["bearer", "\\u0000"]\n',
            "[keys] from, item 2: must be UTF-8 text without null characters.",
        ),
    ],
)
def test_an_error_names_the_table_the_key_and_the_rule(file: File, text: str, complaint: str) -> None:
    complaints = file.complaints(text)
    assert any(complaint in found for found in complaints), complaints
    assert len(complaints) == 1, complaints
    assert not complaints[0].endswith(("..", "?."))


def test_all_errors_are_reported_at_once(file: File) -> None:
    assert len(file.complaints(ROUTE + "[limits]\nhead_bytes = 0\nbody_bytes = 1\n[log]\naccess = 'x'\n")) == 3


def test_a_missing_config_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read: No such file"):
        load(tmp_path / "gone.toml", {})


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_config_may_begin_with_a_byte_order_mark(file: File, tmp_path: Path, end: str) -> None:
    path = tmp_path / "marked.toml"
    path.write_bytes(codecs.BOM_UTF8 + ROUTE.replace("\n", end).encode())
    assert load(path, {}).proxy == file.load(ROUTE).proxy


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (ROUTE.encode("utf-16"), "This is UTF-16 text, which some Windows programs call Unicode. Save it as UTF-8"),
        (b"# caf\xe9\n", "Line 1 is not UTF-8 text, but probably Latin-1 or Windows-1252. Save the file as UTF-8"),
        (b"a = 1\n\0", "Line 2 contains a NUL character, so this is not a text file"),
    ],
)
def test_an_encoding_that_is_not_utf_8_is_named(tmp_path: Path, raw: bytes, complaint: str) -> None:
    path = tmp_path / "sitelatch.toml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError) as error:
        load(path, {})
    assert error.value.complaints == (f"{path}: cannot be read: {complaint}",)


def test_a_directory_in_place_of_the_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}: cannot be read: Is a directory"):
        load(tmp_path, {})


def test_a_secret_may_begin_with_a_byte_order_mark_and_end_with_a_newline(file: File, tmp_path: Path) -> None:
    path = tmp_path / "dsn"
    path.write_bytes(codecs.BOM_UTF8 + b"postgresql://db/latch\r\n")
    assert file.load(ROUTE, SITELATCH_DATABASE__URL_FILE=str(path)).database.url == "postgresql://db/latch"
    path.write_bytes("postgresql://db/latch".encode("utf-16"))
    complaints = file.complaints(ROUTE, SITELATCH_DATABASE__URL_FILE=str(path))
    assert [found.partition(":")[0] for found in complaints] == ["SITELATCH_DATABASE__URL_FILE"]
    assert "UTF-16" in complaints[0]
    assert str(path) not in complaints[0]


def test_a_relative_path_in_a_removed_working_directory_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(ConfigError, match=r"^sitelatch\.toml: cannot be read: No such file"):
        load(Path("sitelatch.toml"), {})


SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        (f"[database]\nurl = 'mysql://u:{SECRET}@h'\n", {}),
        (f"[database]\nurl = ['{SECRET}']\n", {}),
        (f"[admin]\ntokens = '{SECRET}'\n", {}),
        (f"[[admin.tokens]]\nname = 'A'\nemail = 'a@b.c'\nsha256 = '{SECRET}'\n", {}),
        (f"[keys]\naccept_foreign = '{SECRET}'\n", {}),
        (f"[admin.oidc]\nclient_secret = ['{SECRET}']\n", {}),
        (f"[admin.oidc]\nclient_secret = '{SECRET}'\nissuer = 'http://{SECRET}.example'\n", {}),
        ("", {"SITELATCH_ADMIN__OIDC__CLIENT_SECRET": SECRET}),
        (f"[limits]\nhead_bytes = '{SECRET}'\n", {}),
        ("", {"SITELATCH_DATABASE__URL": f"mysql://u:{SECRET}@h"}),
        ("", {"SITELATCH_ADMIN__TOKENS": SECRET}),
        ("", {"SITELATCH_ADMIN__TOKEN": SECRET}),
        ("", {"SITELATCH_DATABASE__URL_FILE": f"/nowhere/{SECRET}"}),
    ],
)
def test_no_error_message_echoes_a_value(file: File, text: str, environ: Mapping[str, str]) -> None:
    assert SECRET not in str(file.complaints(ROUTE + text, **environ))


def test_the_repr_of_a_config_contains_no_password(file: File) -> None:
    url = f"'postgresql://u:{SECRET}@h/d'"
    config = file.load(ROUTE + f"[database]\nurl = {url}\n[admin]\ndatabase_url = {url}\n")
    assert SECRET not in repr(config.admin)
    assert SECRET not in repr(config)
    assert SECRET not in str(config)


def test_the_environment_overrides_the_file(file: File) -> None:
    config = file.load(
        ROUTE + "[limits]\nhead_bytes = 1000\n",
        SITELATCH_LIMITS__HEAD_BYTES="2000",
        SITELATCH_DRAIN__DELAY_SECONDS="1.5",
        SITELATCH_KEYS__ACCEPT_FOREIGN="True",
        SITELATCH_KEYS__FROM='["bearer"]',
        SITELATCH_LOG__ACCESS="off",
        SITELATCH_DATABASE__URL="postgresql://u@h/d",
        SITELATCH_PROXY__TRUSTED_PROXIES='["10.0.0.0/8"]',
        SITELATCH_PROXY__TLS__CERTIFICATE="/c.pem",
        SITELATCH_PROXY__TLS__KEY="/k.pem",
        SITELATCH_ADMIN__TOKENS=json.dumps([{"name": "A", "email": "a@b.c", "sha256": "0" * 64}]),
        SITELATCH_PORT="tcp://10.0.0.1:80",
        OTHER__THING="x",
    )
    assert config.limits.head_bytes == 2000
    assert config.drain.delay_seconds == 1.5
    assert config.keys.accept_foreign
    assert config.keys.from_ == ("bearer",)
    assert config.log.access == "off"
    assert config.database.url == "postgresql://u@h/d"
    assert config.proxy.trusted_proxies == ("10.0.0.0/8",)
    assert config.proxy.tls is not None
    assert config.proxy.tls.key == "/k.pem"
    assert config.admin.tokens[0].email == "a@b.c"


def test_routes_can_come_from_the_environment_alone(file: File) -> None:
    routes = [{"name": "data", "upstream": "http://127.0.0.1:9000", "sites": [{"query": "id", "separator": ","}]}]
    config = file.load("", SITELATCH_PROXY__ROUTES=json.dumps(routes))
    assert config.proxy.routes[0].name == "data"


def test_the_secret_for_recoverable_keys_can_come_from_a_file(file: File, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{new_secret()}\n")
    config = file.load(ROUTE, SITELATCH_ADMIN__RECOVERABLE_KEYS_FILE=str(tmp_path / "secret"))
    assert config.admin.recoverable_keys is not None


ISSUER = """
[admin]
public_url = "https://keys.example/admin"
[admin.oidc]
issuer = "https://id.example/"
client_id = "x"
"""
ALLOW = '[[admin.oidc.allow]]\nemails = ["ada@example.com"]\n'


def test_the_client_secret_can_come_from_a_file_and_is_not_in_the_repr(file: File, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    config = file.load(ROUTE + ISSUER + ALLOW, SITELATCH_ADMIN__OIDC__CLIENT_SECRET_FILE=str(tmp_path / "secret"))
    assert config.admin.oidc is not None
    assert config.admin.oidc.client_secret == SECRET
    assert config.admin.oidc.issuer == "https://id.example/"
    assert SECRET not in repr(config.admin)


@pytest.mark.parametrize("entry", ["X-API-Key", "X-Site", "x-*", "Content-Type"])
def test_a_route_cannot_drop_the_headers_that_it_reads(file: File, entry: str) -> None:
    route = "[[proxy.routes]]\nname = 'a'\nupstream = 'http://b:1'\nsites = ['header:X-Site']\n"
    [complaint] = file.complaints(f"{route}drop_headers = ['{entry}']\n")
    assert "drop" in complaint


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (ISSUER, "[admin.oidc] allow: is missing. Add it."),
        (ISSUER + "allow = []\n", "[admin.oidc] allow: must contain at least one table. Signing in"),
        (ISSUER + "[[admin.oidc.allow]]\n", "[[admin.oidc.allow]] number 1: must have exactly one of"),
        (
            ISSUER + ALLOW + 'domains = ["x.example"]\n',
            "[[admin.oidc.allow]] number 1: must have exactly one",
        ),
        (ISSUER + ALLOW + 'claim = "x"\n', "[[admin.oidc.allow]] number 1: `claim` and `values` go together"),
        (ISSUER + ALLOW + 'email = "x"\n', "[[admin.oidc.allow]] number 1 email: is not a known key. Did you mean"),
        (
            ISSUER.replace("public_url", "# ") + ALLOW,
            "[admin] public_url: is missing. Add it, because the issuer redirects admins",
        ),
        (ISSUER.replace("https://id", "http://id") + ALLOW, "[admin.oidc] issuer: must be an https URL"),
        (ISSUER.replace("https://keys", "http://keys") + ALLOW, "[admin] public_url: must be an https URL"),
        (ISSUER.replace("/admin", "/admin?x") + ALLOW, "[admin] public_url: must be an https URL"),
        (ISSUER + 'scopes = ["email"]\n' + ALLOW, '[admin.oidc] scopes: must include "openid".'),
        ("[admin]\ntrusted_proxies = ['x']\n", "[admin] trusted_proxies, item 1: must be an address, a network"),
        ("[admin.identity_proxy]\naddresses = []\n", "[admin.identity_proxy] addresses: must list at least one"),
        (
            "[admin.identity_proxy]\naddresses = ['x']\n",
            "[admin.identity_proxy] addresses, item 1: must be an address, a network",
        ),
        *(
            (
                f"[admin.identity_proxy]\naddresses = ['10.0.0.7', '{everybody}']\n",
                "[admin.identity_proxy] addresses, item 2: must not cover all addresses: any client in this range can",
            )
            for everybody in ("0.0.0.0/0", "::/0", "0.0.0.0/0.0.0.0", "10.0.0.0/0")
        ),
    ],
)
def test_errors_in_sign_in_settings_are_reported(file: File, text: str, complaint: str) -> None:
    assert any(found.startswith(complaint) for found in file.complaints(ROUTE + text)), file.complaints(ROUTE + text)


def test_the_database_url_can_come_from_a_file(file: File, tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("postgresql://u:p@h/d\n")
    config = file.load(ROUTE, SITELATCH_DATABASE__URL_FILE=str(tmp_path / "dsn"))
    assert config.database.url == "postgresql://u:p@h/d"


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"SITELATCH_LIMITS__NO": "1"}, "SITELATCH_LIMITS__NO: the config has no such key"),
        ({"SITELATCH_NO__NO_FILE": "1"}, "SITELATCH_NO__NO_FILE: the config has no such key"),
        ({"SITELATCH_KEYS__FROM": "bearer"}, "SITELATCH_KEYS__FROM: must be JSON"),
        ({"SITELATCH_KEYS__FROM": "[" * 100_000}, "SITELATCH_KEYS__FROM: is nested too deeply."),
        ({"SITELATCH_PROXY__LISTEN": "\udcff"}, "SITELATCH_PROXY__LISTEN: [proxy] listen: must be UTF-8 text"),
        ({"SITELATCH_KEYS__ACCEPT_FOREIGN": "yes"}, "SITELATCH_KEYS__ACCEPT_FOREIGN: [keys] accept_foreign: must"),
        ({"SITELATCH_LIMITS__HEAD_BYTES": "many"}, "SITELATCH_LIMITS__HEAD_BYTES: [limits] head_bytes: must"),
        (
            {"SITELATCH_DATABASE__URL": "postgresql://a", "SITELATCH_DATABASE__URL_FILE": "/dev/null"},
            "SITELATCH_DATABASE__URL_FILE: is set by SITELATCH_DATABASE__URL as well. Set only one of them.",
        ),
    ],
)
def test_an_invalid_environment_override_is_named_in_the_error(
    file: File, environ: Mapping[str, str], complaint: str
) -> None:
    complaints = file.complaints(ROUTE, **environ)
    assert len(complaints) == 1
    assert complaints[0].startswith(complaint)


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:8080", TcpListen("127.0.0.1", 8080)),
        ("localhost:0", TcpListen("localhost", 0)),
        ("[::1]:80", TcpListen("::1", 80)),
        ("[fe80::1%eth0]:80", TcpListen("fe80::1%eth0", 80)),
        ("*:80", TcpListen("*", 80)),
        ("unix:/run/a b.sock", UnixListen("/run/a b.sock")),
    ],
)
def test_a_listen_address_is_a_host_and_a_port_or_a_socket(text: str, listen: TcpListen | UnixListen) -> None:
    assert parse_listen(text) == listen


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        ":8080",
        "a:",
        "a:x",
        "a:65536",
        "::1:80",
        "[::1]",
        "http://a:80",
        "a b:1",
        "unix:",
        "unix:a",
        "*",
        "**:80",
        "[*]:80",
        "[1.2.3.4]:80",
        "[::1::2]:80",
        "[::ffff:127.0.0.1]:80",  # the system refuses it in a socket for IPv6 clients only
        "unix:/" + "a" * 107,
        "unix:/a\0b",
    ],
)
def test_an_invalid_listen_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|must have|needs"):
        parse_listen(text)


def test_a_socket_path_of_an_upstream_may_not_be_longer_than_the_system_allows(file: File) -> None:
    """The event loop would cut off the rest, and could connect to another socket."""
    file.load(ROUTE.replace("http://127.0.0.1:9000", "unix:/" + "a" * 106))
    with pytest.raises(ConfigError) as caught:
        file.load(ROUTE.replace("http://127.0.0.1:9000", "unix:/" + "a" * 107))
    assert "upstream: must be a shorter path" in caught.value.complaints[0]


def _tables(model: type[BaseModel]) -> dict[str, Any]:
    """Return every key of a settings model with its default. Inner tables and arrays of tables become dicts."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        inner = _inner(field.annotation)
        found[field.alias or name] = (
            _tables(inner) if inner is not None else field.get_default(call_default_factory=True)
        )
    return found


def _inner(annotation: Any) -> type[BaseModel] | None:
    kinds = get_args(annotation) if get_origin(annotation) in (UnionType, tuple) else (annotation,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def test_the_example_config_lists_every_option_with_its_default(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    load(EXAMPLE, {})
    # An option without a default is listed as a comment: `# key = "example"`.
    whole = tomllib.loads(re.sub(r"^# (?=\[|[a-z0-9_]+ = )", "", text, flags=re.MULTILINE))
    active = tomllib.loads(text)

    def compare(defaults: Mapping[str, Any], whole: Any, active: Any, place: str) -> None:
        assert set(whole) == set(defaults), place
        for key, default in defaults.items():
            example = whole[key]
            value = active.get(key) if isinstance(active, dict) else example  # the table is commented out by default
            if isinstance(default, dict):
                entry = example[0] if isinstance(example, list) else example
                compare(default, entry, value[0] if isinstance(value, list) else value, f"{place}.{key}")
            elif (
                default is None
                or default is PydanticUndefined
                or place in ("config.proxy.routes", "config.admin.tokens")
                or place.endswith(".allow")
            ):
                continue
            else:
                assert value == (list(default) if isinstance(default, tuple) else default), f"{place}.{key}"

    compare(_tables(Config), whole, active, "config")
