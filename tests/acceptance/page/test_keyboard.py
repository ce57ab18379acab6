"""The page without a mouse, over a slow line, and over one that loses answers."""

import re
from typing import Final

import pytest
from playwright.sync_api import Browser, CDPSession, Locator, Page, expect

from admin.key_encryption import new_secret
from tests.acceptance.browser import SEEN_MS, visit
from tests.acceptance.harness import ADMIN_TOKEN, Sitelatch
from tests.acceptance.page.admin_page import (
    browser,
    empty_database,
    held_requests,
    latch,
    lose_the_next_answer,
    reached_by,
    sign_in,
    status,
    stopped_clock,
    url,
)

__all__ = ["browser", "empty_database", "latch"]

MOST_TABS: Final = 60
LATENCY_MS: Final = 900
SHIFTS: Final = """
  window.shifted = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (entry.hadRecentInput) continue;
      const moved = entry.sources.map(({ node }) => node?.outerHTML?.slice(0, 80) ?? String(node));
      window.shifted.push([entry.value, ...moved]);
    }
  }).observe({ type: "layout-shift", buffered: true });
"""
"""What moves though nobody touched anything, as browsers themselves measure it (web.dev/cls: up to 0.1 is good)."""


def tab_to(page: Page, wanted: Locator, *, back: bool = False) -> None:
    """Press Tab until `wanted` has the focus."""
    expect(wanted).to_be_visible()
    for _ in range(MOST_TABS):
        if wanted.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"{wanted} cannot be reached by Tab")


def test_the_customers_story_by_keyboard_alone(browser: Browser, latch: Sitelatch) -> None:
    with visit(browser, url(latch)) as seen:
        page, keys = seen.page, seen.page.keyboard
        dialog = page.get_by_role("dialog")
        expect(page.get_by_label("Admin token")).to_be_focused()
        keys.type(ADMIN_TOKEN)
        keys.press("Enter")
        expect(page.get_by_role("heading", name="API Users", level=1)).to_be_focused()

        tab_to(page, page.locator("#users-empty").get_by_role("button", name="New workspace"))
        keys.press("Enter")
        expect(dialog.get_by_label("Name")).to_be_focused()
        keys.type("acme")
        keys.press("Enter")
        expect(page.get_by_text("No API users yet")).to_be_visible()
        tab_to(page, page.get_by_role("link", name="Sites", exact=True), back=True)
        keys.press("Enter")
        expect(page.get_by_role("heading", name="Sites")).to_be_focused()
        for site in ("shop", "blog"):
            tab_to(page, page.get_by_role("button", name="Add site"))
            keys.press("Enter")
            expect(dialog.get_by_label("Site", exact=True)).to_be_focused()
            keys.type(site)
            keys.press("Enter")
            expect(dialog).to_be_hidden()
            expect(page.get_by_role("button", name="Add site")).to_be_focused()
        tab_to(page, page.get_by_role("link", name="API Users"), back=True)
        keys.press("Enter")

        # Selected sites: found by typing, chosen by Enter or Space, taken back at their chip.
        create = page.get_by_role("button", name="Create API User")
        tab_to(page, create)
        keys.press("Enter")
        tab_to(page, dialog.get_by_label("Name"))
        keys.type("Nightly export")
        tab_to(page, dialog.get_by_role("switch", name="Authorize for all sites"))
        keys.press("Space")
        expect(dialog.get_by_label("Search sites")).to_be_hidden()
        keys.press("Space")
        tab_to(page, dialog.get_by_label("Search sites"))
        keys.type("sh")
        keys.press("Enter")
        expect(dialog.get_by_role("button", name="Remove shop")).to_be_visible()
        for _ in "sh":
            keys.press("Backspace")
        tab_to(page, dialog.get_by_role("checkbox", name="blog"))
        keys.press("Space")
        tab_to(page, dialog.get_by_role("button", name="Remove blog"))
        keys.press("Enter")
        expect(dialog.get_by_role("checkbox", name="blog")).not_to_be_checked()
        tab_to(page, dialog.get_by_role("button", name="Create", exact=True))
        keys.press("Enter")
        expect(dialog.get_by_role("heading", name="API user created")).to_be_focused()
        tab_to(page, dialog.get_by_role("button", name="Copy key"))
        with stopped_clock(page):
            keys.press("Enter")
            expect(dialog.get_by_role("button", name="Copied")).to_be_focused()
        key = page.evaluate("navigator.clipboard.readText()")
        assert re.fullmatch(r"slk_\w{38}", key)
        tab_to(page, dialog.get_by_role("button", name="Done"))
        keys.press("Enter")
        expect(create).to_be_focused()
        assert (status(latch, "shop", key), status(latch, "blog", key)) == (200, 403)

        # Sorted by last activity, found by search.
        tab_to(page, page.get_by_label("Search by name"))
        keys.type("nightly")
        tab_to(page, page.get_by_label("Sort by"))
        keys.type("Last activity, longest")
        row = page.get_by_role("row").filter(has_text="Nightly export")
        expect(row).to_contain_text("just now")

        delete = row.get_by_role("button", name="Delete User")
        tab_to(page, delete)
        keys.press("Enter")
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        keys.press("Escape")
        expect(delete).to_be_focused()
        keys.press("Enter")
        tab_to(page, dialog.get_by_role("button", name="Delete", exact=True))
        keys.press("Enter")
        expect(row).to_have_count(0)
        reached_by(latch, "shop", key, 401, seconds=1)
        expect(page.get_by_role("heading", name="API Users")).to_be_focused()
        tab_to(page, page.get_by_role("link", name="Audit"), back=True)
        keys.press("Enter")
        expect(page.locator("#audit-rows")).to_contain_text("Deleted the API user Nightly export")
        tab_to(page, page.get_by_role("button", name="Sign out"))
        keys.press("Enter")
        expect(page.get_by_label("Admin token")).to_be_focused()


def slow_down(page: Page) -> CDPSession:
    """Give the page the line of a train in the country."""
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    conditions = {"offline": False, "latency": LATENCY_MS, "downloadThroughput": 60_000, "uploadThroughput": 30_000}
    line.send("Network.emulateNetworkConditions", conditions)
    return line


def test_a_slow_line_shows_that_it_works_does_all_once_and_moves_nothing(browser: Browser, latch: Sitelatch) -> None:
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        posted: list[str] = []
        page.on(
            "request",
            lambda request: (
                posted.append(request.url.rpartition("/admin/")[2]) if request.method in ("POST", "DELETE") else None
            ),
        )
        progress = page.locator("#progress")
        dialog = page.get_by_role("dialog")
        page.add_init_script(SHIFTS)
        slow_down(page)
        page.reload(wait_until="commit")
        expect(page.get_by_text("Loading …")).to_be_visible()
        page.get_by_label("Admin token").fill(ADMIN_TOKEN)
        with held_requests(page):
            page.get_by_label("Admin token").press("Enter")
            page.get_by_label("Admin token").press("Enter")
            expect(progress).to_be_visible()
        expect(page.locator("#users-rows tr")).to_have_count(5)
        expect(progress).to_be_hidden()
        assert posted == ["session"]

        with held_requests(page):
            page.get_by_role("button", name="Create API User").click()
            expect(progress).to_be_visible()
        dialog.get_by_role("checkbox", name="shop").check()
        making = dialog.get_by_role("button", name="Create", exact=True)
        with held_requests(page):
            making.dblclick()
            expect(progress).to_be_visible()
            over = "(bar) => document.elementsFromPoint(5, 1).length > 0 && bar.matches(':popover-open')"
            assert progress.evaluate(over)
            # Nothing is lost by impatience: who wants to leave waits for the answer.
            dialog.get_by_role("button", name="Cancel").click()
            page.keyboard.press("Escape")
            making.press("Enter")
        expect(dialog.get_by_role("heading", name="API user created")).to_be_visible()
        assert posted == ["session", "users"]
        dialog.get_by_role("button", name="Done").click()
        expect(page.locator("#users-rows tr")).to_have_count(6)

        page.get_by_role("button", name="Delete User").first.click()
        with held_requests(page):
            dialog.get_by_role("button", name="Delete", exact=True).dblclick()
            expect(progress).to_be_visible()
        expect(page.locator("#users-rows tr")).to_have_count(5)
        assert len(posted) == 3
        for name in ("Sites", "Audit", "API Users"):
            with held_requests(page):
                page.get_by_role("link", name=name, exact=True).click()
                expect(progress).to_be_visible()
            expect(progress).to_be_hidden()
        shifted = page.evaluate("window.shifted")
        assert sum(shift[0] for shift in shifted) < 0.02, shifted


def test_a_lost_answer_makes_no_second_user_and_no_dead_end(browser: Browser, latch: Sitelatch) -> None:
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        dialog = page.get_by_role("dialog")
        expect(page.locator("#users-rows tr")).to_have_count(5)
        page.get_by_role("button", name="Create API User").click()
        dialog.get_by_label("Name").fill("Once")
        dialog.get_by_role("checkbox", name="shop").check()
        lose_the_next_answer(page)
        create = dialog.get_by_role("button", name="Create", exact=True)
        create.click()
        expect(dialog.get_by_text("The server cannot be reached. Try again.")).to_be_visible()
        create.click()
        expect(dialog.get_by_text("cannot be shown again")).to_be_visible()
        expect(dialog.get_by_label("API key", exact=True)).to_be_hidden()
        seen.shot("14-lost")
        dialog.get_by_role("button", name="Delete it and create it again").click()
        key = dialog.get_by_label("API key", exact=True)
        expect(key).to_have_value(re.compile(r"slk_\w{38}"))
        assert status(latch, "shop", key.input_value()) == 200
        dialog.get_by_role("button", name="Done").click()
        expect(page.get_by_role("row").filter(has_text="Once")).to_have_count(1)
        expect(page.locator("#users-rows tr")).to_have_count(6)
        seen.complaints[:] = [said for said in seen.complaints if "ERR_CONNECTION_RESET" not in said]


@pytest.mark.parametrize("refusal", ["the session ends", "the first is under way"])
def test_a_refusal_after_a_lost_answer_makes_no_second_user(browser: Browser, latch: Sitelatch, refusal: str) -> None:
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        dialog = page.get_by_role("dialog")
        page.get_by_role("button", name="Create API User").click()
        dialog.get_by_label("Name").fill("Once")
        dialog.get_by_role("switch").check()
        create = dialog.get_by_role("button", name="Create", exact=True)
        lose_the_next_answer(page)
        create.click()
        expect(dialog.get_by_text("The server cannot be reached. Try again.")).to_be_visible()
        if refusal == "the session ends":
            page.context.clear_cookies()
            create.click()
            expect(page.get_by_text("Your session has ended. Sign in again.")).to_be_visible()
            page.get_by_label("Admin token").fill(ADMIN_TOKEN)
            page.get_by_role("button", name="Sign in").click()
        else:
            problem = {"detail": "Under way.", "code": "idempotency_key_in_use"}
            page.route("**/admin/users", lambda route: route.fulfill(status=409, json=problem), times=1)
            create.click()
            expect(dialog.get_by_text("Under way.")).to_be_visible()
        create.click()
        expect(dialog.get_by_text("cannot be shown again")).to_be_visible()
        dialog.get_by_role("button", name="Done").click()
        expect(page.get_by_role("row").filter(has_text="Once")).to_have_count(1)
        seen.complaints.clear()


def test_a_lost_answer_is_made_up_for_where_keys_are_kept(browser: Browser, latch: Sitelatch) -> None:
    latch.stop()
    latch.tables["admin"] = {**latch.tables["admin"], "recoverable_keys": new_secret()}
    latch.start()
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        dialog = page.get_by_role("dialog")
        page.get_by_role("button", name="Create API User").click()
        dialog.get_by_role("switch").check()
        lose_the_next_answer(page)
        create = dialog.get_by_role("button", name="Create", exact=True)
        create.click()
        expect(dialog.get_by_text("The server cannot be reached. Try again.")).to_be_visible()
        create.click()
        key = dialog.get_by_label("API key", exact=True)
        expect(key).to_have_value(re.compile(r"slk_\w{38}"), timeout=SEEN_MS)
        assert status(latch, "shop", key.input_value()) in (200, 403)
        # Another wish is another user, also in the same window later.
        dialog.get_by_role("button", name="Done").click()
        for _ in range(2):
            page.get_by_role("button", name="Create API User").click()
            dialog.get_by_role("switch").check()
            create.click()
            dialog.get_by_role("button", name="Done").click()
        expect(page.locator("#users-rows tr")).to_have_count(8)
        seen.complaints[:] = [said for said in seen.complaints if "ERR_CONNECTION_RESET" not in said]
