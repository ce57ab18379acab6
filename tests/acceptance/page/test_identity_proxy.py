"""The page behind a proxy that signs people in, as oauth2-proxy does: a real browser, the real `serve`."""

import http.client
import http.server
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.browser import SEEN_MS, chromium, visit
from tests.acceptance.harness import Sitelatch
from tests.database import TEMPLATE, create_database, drop_database, run_aside

expect.set_options(timeout=SEEN_MS)

PROXY = "127.0.0.2"
ROUTE = {"name": "data", "upstream": "http://127.0.0.1:9", "sites": ["query:site"]}
SIGNED_IN = "_oauth2_proxy"


class Relay(http.server.BaseHTTPRequestHandler):
    """Says who is asking, by its own cookie, and drops what clients say of that; everything else goes on as it came."""

    protocol_version = "HTTP/1.1"
    behind = ""

    def do_GET(self) -> None:
        cookies = dict(pair.strip().partition("=")[::2] for pair in self.headers.get("Cookie", "").split(";"))
        headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("x-forwarded-")}
        if email := cookies.get(SIGNED_IN):
            headers["X-Forwarded-Email"] = email
            headers["X-Forwarded-User"] = email.partition("@")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        host, port = self.behind.split(":")
        with closing(http.client.HTTPConnection(host, int(port), source_address=(PROXY, 0), timeout=15)) as upstream:
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            told = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        if answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(told)))
        with suppress(ConnectionError):  # a browser that loads the page anew waits for no answer
            self.end_headers()
            self.wfile.write(told)

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        """Say nothing."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, database_server: str) -> Iterator[str]:
    """Where the page is behind the relay."""
    folder: Path = tmp_path_factory.mktemp("identity-proxy")
    dsn = run_aside(create_database(database_server, TEMPLATE))
    latch = Sitelatch(folder, dsn, [ROUTE])
    proxy = {"addresses": [PROXY], "allow": [{"domains": ["example.com"]}]}
    latch.tables["admin"] = {**latch.tables["admin"], "tokens": [], "identity_proxy": proxy}
    relay = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Behind", (Relay,), {"behind": latch.admin}))
    threading.Thread(target=relay.serve_forever, daemon=True).start()
    try:
        latch.start()
        yield f"http://127.0.0.1:{relay.server_port}/admin/"
    finally:
        latch.stop()
        relay.shutdown()
        relay.server_close()
    run_aside(drop_database(database_server, dsn))


def test_whom_the_proxy_names_works_on_the_page_without_another_sign_in(browser: Browser, address: str) -> None:
    with visit(browser, address) as seen:
        page = seen.page
        page.context.add_cookies([{"name": SIGNED_IN, "value": "ada@example.com", "url": address}])
        page.reload()
        expect(page.locator("#person")).to_have_text("ada ada@example.com")
        expect(page.get_by_role("button", name="Sign out")).to_be_hidden()  # that is the proxy's business
        page.locator("#users").get_by_role("button", name="New workspace").click()
        page.get_by_role("dialog").get_by_label("Name").fill("acme")
        page.get_by_role("button", name="Create workspace").click()
        expect(page.get_by_text("No API users yet")).to_be_visible()
        page.get_by_role("link", name="Audit").click()
        expect(page.locator("#audit-rows").get_by_text("ada@example.com")).to_be_visible()
        # The next person in the same browser does nothing by the page that the first one left open.
        page.context.add_cookies([{"name": SIGNED_IN, "value": "ben@example.com", "url": address}])
        page.get_by_role("link", name="Sites").click()
        page.get_by_role("button", name="Add site").click()
        page.get_by_role("dialog").get_by_label("Site", exact=True).fill("shop")
        page.get_by_role("dialog").get_by_role("button", name="Add site").click()
        expect(page.get_by_role("dialog").get_by_text("Reload the page")).to_be_visible()


def test_who_is_no_admin_or_nobody_is_told_so(browser: Browser, address: str) -> None:
    with visit(browser, address) as seen:
        page = seen.page
        expect(page.get_by_text("Whoever runs Sitelatch has set up no way to sign in on this page.")).to_be_visible()
        seen.shot("23-no-way-in")
        page.context.add_cookies([{"name": SIGNED_IN, "value": "eve@evil.example", "url": address}])
        page.reload()
        expect(page.get_by_text("You are signed in as eve@evil.example, but you are not an admin")).to_be_visible()
        expect(page.get_by_label("Admin token")).to_be_hidden()
