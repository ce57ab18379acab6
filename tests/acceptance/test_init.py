"""`sitelatch init`: from nothing to a working installation, for data APIs with different URLs."""

import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.acceptance.harness import Sitelatch, toml
from tests.acceptance.shell import ROOT, Done, sitelatch
from tests.acceptance.terminal import Terminal
from tests.database import temporary_database
from tests.ports import free_port

ADMIN = ("--admin-name", "Ada Admin", "--admin-email", "ada@example.com")
PATH_RULE = ("--site-in", "path:/v1/{site}/**")


class DataApi(BaseHTTPRequestHandler):
    """A data API that answers every GET with 200."""

    def do_GET(self) -> None:
        """Answer with an empty body."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The URL of a data API."""
    with ThreadingHTTPServer(("127.0.0.1", 0), DataApi) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def empty_database(database_server: str) -> Iterator[str]:
    """A database without the tables of Sitelatch."""
    with temporary_database(database_server, "template0") as dsn:
        yield dsn


def init(folder: Path, upstream: str, database: str, *options: str) -> Done:
    words = ("--upstream", upstream, "--database", database, "--output", str(folder / "sitelatch.toml"))
    return sitelatch("init", *words, *ADMIN, *options)


class Installation(Sitelatch):
    """A `serve` process with a config that `init` wrote, on free ports."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "", [])
        written = tomllib.loads(self.config.read_text())
        for table, listen in (("proxy", self.address), ("ops", self.ops), ("admin", self.admin)):
            written[table]["listen"] = listen
        [token] = written["admin"].pop("tokens")
        self.tables = {**written, "admin": {**written["admin"], "tokens": [token]}}
        self.config.write_text(toml(self.tables))


def check_that_a_key_works(folder: Path, token: str, target: str, headers: dict[str, str]) -> None:
    """Follow the steps that `init` prints, and send a request for the site shop, and one for another site."""
    latch = Installation(folder)
    option = ("--config", str(latch.config))
    assert sitelatch("migrate", *option).code == 0
    assert sitelatch("sites", "add", *option, "--workspace", "acme", "shop", "blog").code == 0
    try:
        latch.start()
        with latch.admin_client(token) as admin:
            key = admin.post("/users", json={"workspace": "acme", "sites": ["shop"]}).json()["api_key"]

        def status(site: str) -> int:
            sent = {name: value.replace("SITE", site) for name, value in headers.items()}
            url = f"{latch.url}{target.replace('SITE', site)}"
            return httpx.get(url, headers={**sent, "X-API-Key": key}, trust_env=False).status_code

        assert (status("shop"), status("blog")) == (200, 403)
    finally:
        latch.stop()


@pytest.mark.parametrize(
    ("options", "target", "headers"),
    [
        (PATH_RULE, "/v1/SITE/report", {}),
        (("--site-in", "query:site", "--site-path", "/api/**"), "/api/query?site=SITE", {}),
        (("--site-in", "host:{site}.data.example"), "/report", {"Host": "SITE.data.example"}),
    ],
)
def test_a_new_installation_serves_a_data_api(
    tmp_path: Path, upstream: str, empty_database: str, options: tuple[str, ...], target: str, headers: dict[str, str]
) -> None:
    done = init(tmp_path, upstream, empty_database, *options)
    assert done.code == 0, done
    assert "The data API answers.\nThe database answers.\n" in done.out
    [token] = re.findall(r"sla_\S+", done.err)
    config = tmp_path / "sitelatch.toml"
    assert token not in config.read_text() + done.out
    assert config.stat().st_mode & 0o777 == 0o600
    check_that_a_key_works(tmp_path, token, target, headers)


def test_a_trial_needs_no_database(tmp_path: Path, upstream: str) -> None:
    done = init(tmp_path, upstream, "embedded:postgres", *PATH_RULE)
    assert done.code == 0, done
    check_that_a_key_works(tmp_path, re.findall(r"sla_\S+", done.err)[0], "/v1/SITE/report", {})


def test_parts_that_do_not_answer_are_reported_and_the_config_is_kept(tmp_path: Path) -> None:
    done = init(tmp_path, f"http://127.0.0.1:{free_port()}", "postgresql://a:secret@127.0.0.1:1/none", *PATH_RULE)
    assert done.code == 1
    assert "The data API cannot be used: Connection refused." in done.out
    assert "The database cannot be used: 127.0.0.1 port 1: Connection refused." in done.out
    assert "secret" not in done.out + done.err
    config = tmp_path / "sitelatch.toml"
    checked = sitelatch("check-config", "--connect", "--config", str(config))
    assert (checked.code, checked.out) == (1, "")
    assert '"data" upstream: Connection refused.' in checked.err
    assert "[database] url: 127.0.0.1 port 1: Connection refused." in checked.err


def test_each_dsn_that_does_not_answer_is_reported(tmp_path: Path, upstream: str, empty_database: str) -> None:
    init(tmp_path, upstream, empty_database, *PATH_RULE)
    latch = Installation(tmp_path)
    silent = {"url": "postgresql://a:secret@127.0.0.1:1/a", "listen_url": "postgresql://a:secret@127.0.0.1:2/a"}
    latch.tables = {
        **latch.tables,
        "database": silent,
        "admin": {**latch.tables["admin"], "database_url": empty_database},
    }
    latch.config.write_text(toml(latch.tables))
    checked = sitelatch("check-config", "--connect", "--config", str(latch.config))
    assert checked.code == 1
    assert re.findall(r"^error: .*?/sitelatch.toml:[0-9]+: (.*)$", checked.err, re.MULTILINE) == [
        "[database] url: 127.0.0.1 port 1: Connection refused.",
        "[database] listen_url: 127.0.0.1 port 2: Connection refused.",
    ]


def test_an_address_that_is_in_use_is_reported(tmp_path: Path, upstream: str, empty_database: str) -> None:
    init(tmp_path, upstream, empty_database, *PATH_RULE)
    latch = Installation(tmp_path)
    latch.tables = {**latch.tables, "ops": {"listen": upstream.removeprefix("http://")}}
    latch.config.write_text(toml(latch.tables))
    checked = sitelatch("check-config", "--connect", "--config", str(latch.config))
    assert checked.code == 1
    assert "[ops] listen: cannot listen on " in checked.err
    assert "Address already in use" in checked.err
    assert checked.err.count("error:") == 1


def test_invalid_choices_leave_no_file_and_an_existing_file_is_not_overwritten(tmp_path: Path, upstream: str) -> None:
    file = tmp_path / "sitelatch.toml"
    for wrong in ("path:/v1", "nowhere"):
        done = init(tmp_path, upstream, "embedded:postgres", "--site-in", wrong)
        assert done.code == 2
        assert "--site-in: " in done.err
        assert not file.exists()
    done = init(tmp_path, "ftp://x", "mysql://u:secret@x", *PATH_RULE)
    assert done.code == 2
    assert "--upstream: must be http://HOST[:PORT]" in done.err
    assert '--database: must begin with "postgresql://"' in done.err
    assert "secret" not in done.err
    assert not file.exists()
    file.write_text("mine")
    done = init(tmp_path, upstream, "embedded:postgres", *PATH_RULE)
    assert done.code == 2
    assert f"{file} exists." in done.err
    assert file.read_text() == "mine"


def test_without_a_terminal_all_missing_options_are_named(tmp_path: Path) -> None:
    done = sitelatch("init", "--output", str(tmp_path / "sitelatch.toml"), "--upstream", "http://127.0.0.1:9", *ADMIN)
    assert done.code == 2
    assert "Give --site-in, --database.\n" in done.err


def test_a_file_that_cannot_be_written_is_reported_before_any_question(tmp_path: Path) -> None:
    done = sitelatch("init", "--output", str(tmp_path / "missing" / "sitelatch.toml"))
    assert done.code == 2
    assert "missing/sitelatch.toml does not exist." in done.err


def test_on_a_terminal_missing_options_are_asked_for(tmp_path: Path, upstream: str, empty_database: str) -> None:
    ours, theirs = os.openpty()
    answers = (upstream, "query:site header:X-Site", "/api/**", empty_database, "Ada Admin", "ada@example.com")
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    command = [sys.executable, "-m", "sitelatch", "init"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, stdin=theirs, capture_output=True, text=True)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0, done.stderr
    written = tomllib.loads((tmp_path / "sitelatch.toml").read_text())
    assert written["proxy"]["routes"][0]["sites"] == [
        {"query": "site", "paths": ["/api/**"]},
        {"header": "X-Site", "paths": ["/api/**"]},
    ]
    assert written["database"]["url"] == empty_database
    assert "  sitelatch migrate\n" in done.stdout


def test_an_invalid_answer_is_explained_and_asked_for_again(tmp_path: Path, upstream: str) -> None:
    terminal = Terminal("init", "--output", str(tmp_path / "sitelatch.toml"))
    for question, wrong, reason, right in (
        ("URL of your data API", "localhost:9000", "must be http://HOST[:PORT]", upstream),
        ("Rules, separated by spaces", "/v1/{site} query:site", "is not a site rule", "query:site"),
        ("Paths, separated by spaces", "api", "is not a path", ""),
        ("DSN", "postgresql://ada:p@ss/word@127.0.0.1/a", "Percent-encode", "embedded:postgres"),
        ("Your name", 201 * "a", "1 to 200 characters", "Ada"),
        ("Your email address", "ada@acme", "must be an email address", "ada@acme.example"),
    ):
        terminal.read_until(question)
        terminal.type(f"{wrong}\n")
        assert "Usage:" not in terminal.read_until(reason)
        terminal.type(f"{right}\n")
    code, shown = terminal.end()
    assert code == 0, shown
    assert tomllib.loads((tmp_path / "sitelatch.toml").read_text())["proxy"]["routes"][0]["sites"] == ["query:site"]
