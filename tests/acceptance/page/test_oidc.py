"""Signing in on the page at an OpenID Connect issuer: a real browser, a real provider, the real `serve`."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.acceptance.browser import DARK, DESKTOP, LIGHT, PHONE, SEEN_MS, axe_core, chromium, visit
from tests.acceptance.harness import ADMIN_TOKEN, Sitelatch
from tests.database import TEMPLATE, create_database, drop_database, run_aside
from tests.ports import free_port
from tests.provider import CLIENT, SECRET, running

expect.set_options(timeout=SEEN_MS)

ROUTE = {"name": "data", "upstream": "http://127.0.0.1:9", "sites": ["query:site"]}


class Installation(NamedTuple):
    """Sitelatch and its provider, running."""

    url: str
    port: str
    latch: Sitelatch


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, database_server: str) -> Iterator[Installation]:
    """Sitelatch with a provider to sign in at, and an empty database."""
    folder: Path = tmp_path_factory.mktemp("oidc")
    dsn = run_aside(create_database(database_server, TEMPLATE))
    latch = Sitelatch(folder, dsn, [ROUTE])
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
            yield Installation(url, latch.admin.rpartition(":")[2], latch)
        finally:
            latch.stop()
    run_aside(drop_database(database_server, dsn))


def at_the_provider(page: Page, email: str) -> None:
    page.get_by_role("button", name="Sign in with Example ID").click()
    page.get_by_label("Email").fill(email)
    page.get_by_role("button", name="Continue").click()


def test_an_admin_signs_in_at_the_issuer_works_and_signs_out(browser: Browser, here: Installation) -> None:
    with visit(browser, here.url) as seen:
        page = seen.page
        expect(page.get_by_role("button", name="Sign in with Example ID")).to_be_focused()
        seen.shot("20-two-ways-in")
        at_the_provider(page, "ada@example.com")
        expect(page.get_by_role("heading", name="API Users", level=1)).to_be_visible()
        expect(page).to_have_url(f"{here.url}/")  # neither a code nor a state stays behind
        expect(page.locator("#person")).to_have_text("ada ada@example.com")
        cookies = page.context.cookies(here.url)
        mine = [cookie for cookie in cookies if cookie.get("name", "").startswith("sitelatch")]
        assert [(cookie.get("name"), cookie.get("httpOnly"), cookie.get("sameSite")) for cookie in mine] == [
            (f"sitelatch-{here.port}", True, "Strict")
        ]
        page.locator("#users").get_by_role("button", name="New workspace").click()
        page.get_by_role("dialog").get_by_label("Name").fill("acme")
        page.get_by_role("button", name="Create workspace").click()
        expect(page.get_by_text("No API users yet")).to_be_visible()
        seen.shot("21-signed-in")
        page.get_by_role("link", name="Audit").click()
        expect(page.locator("#audit-rows").get_by_text("ada@example.com")).to_be_visible()
        page.reload()
        expect(page.get_by_role("heading", name="Audit")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("button", name="Sign in with Example ID")).to_be_focused()
        page.reload()
        expect(page.get_by_role("button", name="Sign in with Example ID")).to_be_visible()


def test_why_a_sign_in_failed_is_said_on_the_page(browser: Browser, here: Installation) -> None:
    with visit(browser, here.url) as seen:
        page = seen.page
        told = page.locator("#door-error")
        page.get_by_role("button", name="Sign in with Example ID").click()
        page.get_by_role("button", name="Cancel").click()
        expect(told).to_have_text("Example ID was left without signing in. Try again.")
        at_the_provider(page, "eve@evil.example")
        expect(told).to_contain_text("Example ID knows you, but you are not among the admins here.")
        expect(page).to_have_url(f"{here.url}/")
        seen.shot("22-no-admin")
        page.reload()
        expect(page.get_by_role("button", name="Sign in with Example ID")).to_be_focused()
        expect(told).to_be_empty()
        # What an address says is never shown.
        page.goto(f"{here.url}/#refused=Call_us_at_555_0100")
        page.reload()
        page.goto("about:blank")
        page.goto(f"{here.url}/#refused=Call_us_at_555_0100")
        expect(told).to_contain_text("What Example ID answered cannot be trusted")
        expect(page.get_by_text("555")).to_have_count(0)
        # The token is a way in still.
        page.get_by_label("Admin token").fill("wrong")
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_text("not a valid admin token")).to_be_visible()
        expect(told).to_be_empty()
        page.get_by_label("Admin token").fill(ADMIN_TOKEN)
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("heading", name="API Users", level=1)).to_be_visible()


def test_going_back_from_the_issuer_leaves_a_page_that_works(browser: Browser, here: Installation) -> None:
    with visit(browser, here.url) as seen:
        page = seen.page
        page.get_by_role("button", name="Sign in with Example ID").click()
        expect(page.get_by_label("Email")).to_be_visible()
        page.go_back()
        at_the_provider(page, "ben@acme.example")
        expect(page.locator("#person")).to_contain_text("ben@acme.example")


def test_axe_finds_nothing_where_there_are_two_ways_in(browser: Browser, here: Installation) -> None:
    context = browser.new_context(bypass_csp=True)  # axe is the one script from elsewhere
    page = context.new_page()
    page.add_init_script(axe_core())
    page.goto(f"{here.url}/#refused=not_an_admin")
    expect(page.locator("#door-error")).not_to_be_empty()
    for scheme in (DARK, LIGHT):
        page.emulate_media(color_scheme=scheme)
        for size in (PHONE, DESKTOP):
            page.set_viewport_size(size)
            page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
            found = page.evaluate("axe.run().then((told) => told.violations.map((v) => [v.id, v.nodes[0].html]))")
            assert found == [], (scheme, size)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), size
    context.close()


def test_over_plain_http_beyond_loopback_there_is_no_way_in_but_a_sentence(
    browser: Browser, here: Installation
) -> None:
    context = browser.new_context()
    page = context.new_page()

    def served_elsewhere(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace("admin.test", f"127.0.0.1:{here.port}")))

    page.route("http://admin.test/**", served_elsewhere)
    page.goto("http://admin.test/admin/")
    expect(page.get_by_text("This page came over plain http")).to_be_visible()
    expect(page.get_by_role("button", name="Sign in with Example ID")).to_be_hidden()
    expect(page.get_by_label("Admin token")).to_be_hidden()
    context.close()
