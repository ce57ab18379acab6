"""Signing in on the admin page at an OpenID Connect issuer, with a real provider."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.acceptance.browser import Visit, visit
from tests.acceptance.harness import Sitelatch
from tests.acceptance.page.accessibility import check_accessibility, page_with_axe
from tests.acceptance.page.admin_page import AdminPage
from tests.acceptance.page.network import ELSEWHERE, serve_elsewhere
from tests.database import temporary_database
from tests.ports import free_port
from tests.provider import CLIENT, SECRET, running

ROUTE = {"name": "data", "upstream": "http://127.0.0.1:9", "sites": ["query:site"]}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, database_server: str) -> Iterator[str]:
    """The URL of the page of an installation with an issuer."""
    with temporary_database(database_server) as dsn:
        latch = Sitelatch(tmp_path_factory.mktemp("oidc"), dsn, [ROUTE])
        url = f"http://{latch.admin}/admin"
        with running(free_port(), url, host="localhost") as provider:
            oidc = {
                "issuer": provider.issuer,
                "client_id": CLIENT,
                "client_secret": SECRET,
                "name": "Example ID",
                "allow": [{"domains": ["example.com"]}, {"domains": ["acme.example"], "workspaces": ["acme"]}],
            }
            latch.tables["admin"] = {**latch.tables["admin"], "public_url": url, "oidc": oidc}
            try:
                latch.start()
                yield url
            finally:
                latch.stop()


def port_of(url: str) -> str:
    return url.removesuffix("/admin").rpartition(":")[2]


@contextmanager
def open_signed_out(browser: Browser, url: str) -> Iterator[AdminPage]:
    with visit(browser, url) as opened:
        yield AdminPage(opened, url)


def issuer_button(admin: AdminPage) -> Locator:
    return admin.page.get_by_role("button", name="Sign in with Example ID")


def sign_in_at_issuer(admin: AdminPage, email: str) -> None:
    issuer_button(admin).click()
    admin.page.get_by_label("Email").fill(email)
    admin.page.get_by_role("button", name="Continue").click()


def test_an_admin_signs_in_at_the_issuer_works_and_signs_out(browser: Browser, url: str) -> None:
    with open_signed_out(browser, url) as admin:
        expect(issuer_button(admin)).to_be_focused()
        admin.screenshot("20-two-methods")
        sign_in_at_issuer(admin, "ada@example.com")
        expect(admin.heading("API Users")).to_be_visible()
        expect(admin.page).to_have_url(f"{url}/")  # neither the code nor the state remains
        expect(admin.person).to_have_text("ada ada@example.com")
        cookies = admin.page.context.cookies(url)
        mine = [cookie for cookie in cookies if cookie.get("name", "").startswith("sitelatch")]
        assert [(cookie.get("name"), cookie.get("httpOnly"), cookie.get("sameSite")) for cookie in mine] == [
            (f"sitelatch-{port_of(url)}", True, "Strict")
        ]
        admin.create_workspace("acme")
        expect(admin.users.no_users).to_be_visible()
        admin.screenshot("21-signed-in")
        admin.open("Audit")
        expect(admin.audit.get_by_text("ada@example.com")).to_be_visible()
        admin.page.reload()
        expect(admin.heading("Audit")).to_be_visible()
        admin.sign_out()
        expect(issuer_button(admin)).to_be_focused()
        admin.page.reload()
        expect(issuer_button(admin)).to_be_visible()


def test_going_back_to_a_finished_sign_in_leaves_no_refusal(browser: Browser, url: str) -> None:
    with open_signed_out(browser, url) as admin:
        sign_in_at_issuer(admin, "ada@example.com")
        expect(admin.heading("API Users")).to_be_visible()
        admin.page.goto("about:blank")
        admin.page.goto(f"{url}/#refused=expired")  # a finished callback redirects here
        expect(admin.heading("API Users")).to_be_visible()
        admin.sign_out()
        expect(issuer_button(admin)).to_be_focused()
        expect(admin.sign_in_error).to_be_empty()


def test_signing_in_keeps_the_address(browser: Browser, url: str) -> None:
    bookmark = f"{url}/#audit?action=workspace.created&actor=ada%40example.com"
    with open_signed_out(browser, url) as admin:
        page = admin.page
        page.goto(bookmark)
        page.reload()
        issuer_button(admin).click()
        page.get_by_role("button", name="Cancel").click()
        expect(admin.sign_in_error).to_contain_text("was canceled")
        sign_in_at_issuer(admin, "ada@example.com")
        expect(admin.heading("Audit")).to_be_visible()
        expect(page).to_have_url(bookmark)
        expect(admin.audit_log.action).to_have_value("workspace.created")
        # Another sign-in begins at its own address.
        assert page.evaluate("sessionStorage.length") == 0


def test_the_page_says_why_a_sign_in_failed(browser: Browser, url: str) -> None:
    with open_signed_out(browser, url) as admin:
        page, error = admin.page, admin.sign_in_error
        issuer_button(admin).click()
        page.get_by_role("button", name="Cancel").click()
        expect(error).to_have_text("Signing in at Example ID was canceled. Try again.")
        sign_in_at_issuer(admin, "eve@evil.example")
        expect(error).to_contain_text("Example ID knows you, but you are not an admin here.")
        expect(page).to_have_url(f"{url}/")
        admin.screenshot("22-no-admin")
        page.reload()
        expect(issuer_button(admin)).to_be_focused()
        expect(error).to_be_empty()
        # Text from the URL is never shown.
        page.goto(f"{url}/#refused=Call_us_at_555_0100")
        page.reload()
        page.goto("about:blank")
        page.goto(f"{url}/#refused=Call_us_at_555_0100")
        expect(error).to_contain_text("Example ID did not complete the sign-in.")
        expect(page.get_by_text("555")).to_have_count(0)
        # Signing in with a token still works.
        admin.submit_token("wrong")
        expect(page.get_by_text("not a valid admin token")).to_be_visible()
        expect(error).to_be_empty()
        admin.sign_in()
        expect(admin.heading("API Users")).to_be_visible()


def test_two_tabs_can_sign_in_at_the_same_time(browser: Browser, url: str) -> None:
    with open_signed_out(browser, url) as first:
        second = AdminPage(Visit(first.page.context.new_page()), url)
        second.page.goto(url)
        for tab in (first, second):
            issuer_button(tab).click()
            expect(tab.page.get_by_label("Email")).to_be_visible()
        for tab in (first, second):
            tab.page.get_by_label("Email").fill("ada@example.com")
            tab.page.get_by_role("button", name="Continue").click()
            expect(tab.heading("API Users")).to_be_visible()
        # The second sign-in replaced the session of the first tab, which continues with the new one.
        first.create_workspace("two-tabs")
        expect(first.users.no_users).to_be_visible()


def test_a_person_with_an_unverified_email_is_told_to_verify_it(browser: Browser, url: str) -> None:
    with open_signed_out(browser, url) as admin:
        sign_in_at_issuer(admin, "unverified@example.com")
        expect(admin.sign_in_error).to_have_text(
            "Example ID reports that your email address is not verified. Verify it there, then sign in again."
        )
        expect(admin.page).to_have_url(f"{url}/")


def test_going_back_from_the_issuer_leaves_a_working_page(browser: Browser, url: str) -> None:
    with open_signed_out(browser, url) as admin:
        issuer_button(admin).click()
        expect(admin.page.get_by_label("Email")).to_be_visible()
        admin.page.go_back()
        sign_in_at_issuer(admin, "ben@acme.example")
        expect(admin.person).to_contain_text("ben@acme.example")


def test_axe_finds_no_violation_with_two_sign_in_methods(browser: Browser, url: str) -> None:
    with page_with_axe(browser) as page:
        page.goto(f"{url}/#refused=not_an_admin")
        expect(AdminPage(Visit(page), url).sign_in_error).not_to_be_empty()
        check_accessibility(page, "two sign-in methods")


def test_nobody_can_sign_in_over_plain_http_beyond_loopback(browser: Browser, url: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    serve_elsewhere(page, port_of(url))
    page.goto(ELSEWHERE)
    admin = AdminPage(Visit(page), ELSEWHERE)
    expect(page.get_by_text("This page was loaded over plain HTTP")).to_be_visible()
    expect(issuer_button(admin)).to_be_hidden()
    expect(admin.token_field).to_be_hidden()
    context.close()
