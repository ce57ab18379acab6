"""The findings of shadow mode on the page: the banner, each row, and what leads to its fix."""

import time

import httpx
from playwright.sync_api import Browser, expect

from tests.acceptance.browser import Visit
from tests.acceptance.harness import Keys, Sitelatch
from tests.acceptance.page.accessibility import check_accessibility, page_with_axe
from tests.acceptance.page.admin_page import AdminPage
from tests.acceptance.page.installation import Installation

SECONDS = 30


def send(latch: Sitelatch, keys: Keys) -> None:
    """Send requests that would be refused, and wait until the findings are written."""
    requests = [
        *[("GET", "/api/sites/blog/x", keys.shop.key)] * 3,
        *[("GET", "/api/sites/wiki/x", keys.acme.key)] * 2,
        ("GET", "/api/sites/shop/x", None),
        ("GET", "/api/sites/%3Cb%3E/x", keys.shop.key),
        ("GET", "/api/sites/shop/x", "not-a-key"),
    ]
    with httpx.Client(base_url=f"http://{latch.address}", trust_env=False) as client:
        for method, path, key in requests:
            answer = client.request(method, path, headers={"X-API-Key": key} if key else {})
            assert answer.status_code == 200, answer.text
    deadline = time.monotonic() + SECONDS
    with latch.admin_client() as admin:
        while sum(finding["requests"] for finding in admin.get("/shadow-findings").json()["items"]) < len(requests):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_the_page_shows_what_would_be_refused_and_leads_to_its_fix(
    browser: Browser, installation: Installation
) -> None:
    latch = installation.latch
    latch.tables["proxy"]["routes"][0]["mode"] = "shadow"
    installation.restart()
    keys = latch.create_sites_and_users()
    send(latch, keys)
    with page_with_axe(browser) as page:
        admin = AdminPage(Visit(page), f"http://{latch.admin}/admin")
        page.goto(admin.url)
        admin.sign_in()
        expect(page.locator("#shadow-banner")).to_contain_text("In shadow mode, nothing is refused: data.")
        admin.users.expect_count(5)
        check_accessibility(page, "users with the banner of shadow mode")
        page.get_by_role("link", name="Show what would be refused").click()
        rows = page.locator("#shadow-rows tr")
        expect(rows).to_have_count(5)
        expect(page).to_have_title("Shadow mode · Sitelatch")
        expect(rows.filter(has_text="missing_key")).to_contain_text('[[proxy.routes]] "data" public')
        expect(rows.filter(has_text="<b>")).to_contain_text("site_not_allowed")
        expect(rows.filter(has_text="wiki").get_by_role("link", name="Sites")).to_be_visible()
        check_accessibility(page, "findings")
        rows.filter(has_text="invalid_key").get_by_role("button", name="Import keys").click()
        page.get_by_role("dialog", name="Import keys").get_by_role("button", name="Cancel").click()
        row = rows.filter(has_text="3 requests")
        expect(row).to_contain_text("blog")
        row.get_by_role("button", name="Add site").click()
        expect(page.locator("#picker").get_by_role("checkbox", name="blog")).to_be_checked()
        page.locator("#edit-save").click()
        expect(page.locator("#edit-dialog")).to_be_hidden()
        with latch.admin_client() as client:
            assert client.get(f"/users/{keys.shop.id}").json()["sites"] == ["blog", "shop"]
