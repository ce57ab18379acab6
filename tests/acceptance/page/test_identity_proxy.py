"""The admin page behind an identity proxy that signs people in, as oauth2-proxy does."""

import http.client
import http.server
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.browser import visit
from tests.acceptance.harness import Sitelatch
from tests.acceptance.page.admin_page import AdminPage
from tests.database import temporary_database

PROXY = "127.0.0.2"
ROUTE = {"name": "data", "upstream": "http://127.0.0.1:9", "sites": ["query:site"]}
SIGNED_IN = "_oauth2_proxy"


class IdentityProxy(http.server.BaseHTTPRequestHandler):
    """A proxy that names the person in its own cookie, drops the clients' identity headers, and forwards the rest."""

    protocol_version = "HTTP/1.1"
    upstream = ""

    def do_GET(self) -> None:
        cookies = dict(pair.strip().partition("=")[::2] for pair in self.headers.get("Cookie", "").split(";"))
        headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("x-forwarded-")}
        if email := cookies.get(SIGNED_IN):
            headers["X-Forwarded-Email"] = email
            headers["X-Forwarded-User"] = email.partition("@")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        host, port = self.upstream.split(":")
        with closing(http.client.HTTPConnection(host, int(port), source_address=(PROXY, 0), timeout=15)) as connection:
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            content = response.read()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        if response.status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        with suppress(ConnectionError):  # a browser that reloads the page drops pending requests
            self.end_headers()
            self.wfile.write(content)

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Log nothing."""


@pytest.fixture(scope="module")
def proxied_url(tmp_path_factory: pytest.TempPathFactory, database_server: str) -> Iterator[str]:
    """The URL of the page behind the identity proxy."""
    with temporary_database(database_server) as dsn:
        latch = Sitelatch(tmp_path_factory.mktemp("identity-proxy"), dsn, [ROUTE])
        options = {"addresses": [PROXY], "allow": [{"domains": ["example.com"]}]}
        latch.tables["admin"] = {**latch.tables["admin"], "tokens": [], "identity_proxy": options}
        handler = type("Handler", (IdentityProxy,), {"upstream": latch.admin})
        proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            latch.start()
            yield f"http://127.0.0.1:{proxy.server_port}/admin/"
        finally:
            latch.stop()
            proxy.shutdown()
            proxy.server_close()


@contextmanager
def open_behind_proxy(browser: Browser, url: str) -> Iterator[AdminPage]:
    with visit(browser, url) as opened:
        yield AdminPage(opened, url)


def sign_in_at_proxy(admin: AdminPage, email: str) -> None:
    admin.page.context.add_cookies([{"name": SIGNED_IN, "value": email, "url": admin.url}])


def test_a_person_signed_in_at_the_proxy_needs_no_other_sign_in(browser: Browser, proxied_url: str) -> None:
    with open_behind_proxy(browser, proxied_url) as admin:
        sign_in_at_proxy(admin, "ada@example.com")
        admin.page.reload()
        expect(admin.person).to_have_text("ada ada@example.com")
        admin.account_button.click()
        expect(admin.person).to_be_visible()
        expect(admin.sign_out_button).to_be_hidden()  # the proxy signs people out
        admin.page.keyboard.press("Escape")
        admin.create_workspace("acme")
        expect(admin.users.no_users).to_be_visible()
        admin.open("Audit")
        expect(admin.audit.get_by_text("ada@example.com")).to_be_visible()
        # Another person who signs in with the same browser cannot act through the page that was left open.
        sign_in_at_proxy(admin, "ben@example.com")
        admin.open("Sites")
        admin.sites.start_adding("shop")
        expect(admin.dialog.text("Reload the page")).to_be_visible()


def test_a_signed_in_person_who_is_not_an_admin_is_told_so(browser: Browser, proxied_url: str) -> None:
    with open_behind_proxy(browser, proxied_url) as admin:
        expect(admin.page.get_by_text("has not configured a way to sign in on this page")).to_be_visible()
        admin.screenshot("23-no-sign-in")
        sign_in_at_proxy(admin, "eve@evil.example")
        admin.page.reload()
        expect(admin.sign_in_error).to_contain_text(
            "The identity proxy (which signed you in as eve@evil.example) knows you, but you are not an admin here."
        )
        expect(admin.token_field).to_be_hidden()
