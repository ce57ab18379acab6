"""The challenges of a 401, with clients that send a key only after the server has asked for it."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPBasicAuthHandler, HTTPPasswordMgrWithDefaultRealm, ProxyHandler, build_opener

import httpx
import pytest
from playwright.sync_api import Error

from tests.acceptance.browser import chromium, visit
from tests.acceptance.harness import Bench, Lanes, serving

ROUTES = {
    "basic": ["basic"],
    "bearer": ["bearer"],
    "both": ["bearer", "basic"],
    "all": ["header:X-API-Key", "query:api_key", "bearer", "cookie:key", "basic"],
    "header": ["header:X-API-Key"],
    "elsewhere": ["query:api_key", "cookie:key"],
}
BASIC, BEARER = 'Basic realm="api"', 'Bearer realm="api"'
CHALLENGES = {
    "basic": [BASIC],
    "bearer": [BEARER],
    "both": [BASIC, BEARER],
    "all": [BASIC, BEARER],
    "header": ['ApiKey realm="api", in="header", name="X-API-Key"'],
    "elsewhere": [
        'ApiKey realm="api", in="query", name="api_key"',
        'ApiKey realm="api", in="cookie", name="key"',
    ],
}
WITH_BASIC = ["basic", "both", "all"]
SECONDS = 60


class _Handler(BaseHTTPRequestHandler):
    """A data API that responds with whether it received credentials."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"leaked" if "Authorization" in self.headers else b"data"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Bench]:
    api = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    routes = [
        {
            "name": name,
            "path": f"/{name}",
            "upstream": f"http://127.0.0.1:{api.server_address[1]}",
            "sites": [f"path:/{name}/{{site}}/**"],
            "keys_from": keys_from,
        }
        for name, keys_from in ROUTES.items()
    ]
    folder = tmp_path_factory.mktemp("challenges")
    with serving(folder, database_url, Lanes(0), routes=routes, limits={"upstream_idle_seconds": 0.1}) as bench:
        yield bench
    api.shutdown()
    api.server_close()


def run(*words: str) -> str:
    """Run a client, and return what it printed."""
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=SECONDS, check=False, env={"PATH": "/usr/bin:/bin"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("route", ROUTES)
def test_a_401_has_a_challenge_for_each_scheme_of_the_route(bench: Bench, route: str) -> None:
    malformed = {"Authorization": "Bearer slk_malformed", "X-API-Key": "slk_malformed"}
    for headers in ({}, malformed):
        answer = httpx.get(f"{bench.latch.url}/{route}/shop/x", headers=headers, trust_env=False)
        assert answer.status_code == 401
        assert answer.headers.get_list("WWW-Authenticate") == CHALLENGES[route]


def test_the_401_for_a_missing_key_says_where_to_send_it(bench: Bench) -> None:
    answer = httpx.get(f"{bench.latch.url}/both/shop/x", trust_env=False)
    assert answer.json()["detail"] == (
        "This request has no API key. Send one as `Authorization: Bearer KEY`, or as the user name of HTTP Basic, with "
        "an empty password."
    )


@pytest.mark.parametrize("route", WITH_BASIC)
def test_wget_sends_the_key_after_the_challenge(bench: Bench, route: str) -> None:
    url = f"{bench.latch.url}/{route}/shop/x"
    key = bench.keys.shop.key
    assert run("wget", "-qO-", "--no-proxy", "--user", key, "--password", "", url) == "data"


@pytest.mark.parametrize("route", WITH_BASIC)
def test_curl_with_anyauth_sends_the_key_after_the_challenge(bench: Bench, route: str) -> None:
    url = f"{bench.latch.url}/{route}/shop/x"
    assert run("curl", "-sS", "--noproxy", "*", "--anyauth", "-u", f"{bench.keys.shop.key}:", url) == "data"


@pytest.mark.parametrize("route", WITH_BASIC)
def test_urllib_sends_the_key_after_the_challenge(bench: Bench, route: str) -> None:
    passwords = HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, bench.latch.url, bench.keys.shop.key, "")
    opener = build_opener(ProxyHandler({}), HTTPBasicAuthHandler(passwords))
    with opener.open(f"{bench.latch.url}/{route}/shop/x", timeout=SECONDS) as answer:
        assert answer.read() == b"data"
    with pytest.raises(HTTPError, match="403"):
        opener.open(f"{bench.latch.url}/{route}/blog/x", timeout=SECONDS)


JAVA = """
import java.net.*;
public class Client {
    public static void main(String[] words) throws Exception {
        Authenticator.setDefault(new Authenticator() {
            protected PasswordAuthentication getPasswordAuthentication() {
                return new PasswordAuthentication(words[0], new char[0]);
            }
        });
        for (int at = 1; at < words.length; at++) {
            var connection = (HttpURLConnection) new URL(words[at]).openConnection(Proxy.NO_PROXY);
            System.out.println(new String(connection.getInputStream().readAllBytes()));
        }
    }
}
"""


@pytest.mark.skipif(shutil.which("javac") is None, reason="needs a JDK: apt-get install default-jdk-headless")
def test_javas_authenticator_sends_the_key_after_the_challenge(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "Client.java").write_text(JAVA)
    urls = [f"{bench.latch.url}/{route}/shop/x" for route in WITH_BASIC]
    assert run("java", str(tmp_path / "Client.java"), bench.keys.shop.key, *urls) == "data\n" * len(urls)


def test_a_browser_asks_for_a_password_only_if_the_route_takes_basic(bench: Bench) -> None:
    with chromium() as browser, visit(browser, "about:blank") as visited:
        session = visited.page.context.new_cdp_session(visited.page)
        asked: list[str] = []

        def answer(event: dict[str, object]) -> None:
            asked.append(str(event["request"]["url"]))  # type: ignore[index]
            challenge = {"response": "CancelAuth"}
            session.send(
                "Fetch.continueWithAuth", {"requestId": event["requestId"], "authChallengeResponse": challenge}
            )

        def proceed(event: dict[str, object]) -> None:
            with suppress(Error):  # the browser has given up the request, for example one for an icon
                session.send("Fetch.continueRequest", {"requestId": event["requestId"]})

        session.on("Fetch.authRequired", answer)
        session.on("Fetch.requestPaused", proceed)
        session.send("Fetch.enable", {"handleAuthRequests": True})
        for route in ROUTES:
            visited.page.goto(f"{bench.latch.url}/{route}/shop/x")
        visited.console_errors.clear()
    assert asked == [f"{bench.latch.url}/{route}/shop/x" for route in WITH_BASIC]
