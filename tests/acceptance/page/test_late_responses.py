"""The page where answers come late or not at all, after something else was asked for or done."""

import time

from playwright.sync_api import Browser, FilePayload, Page, Route, expect

from tests.acceptance.browser import SEEN_MS, visit
from tests.acceptance.harness import Sitelatch
from tests.acceptance.page.admin_page import browser, empty_database, latch, sign_in, url
from tests.acceptance.page.test_recovery import lose_once, make_users

__all__ = ["browser", "empty_database", "latch"]

FRESH_MS = 5000
"""How often the list is asked for again."""


class Held:
    """A request that does not arrive before it is let go."""

    def __init__(self, page: Page, path: str) -> None:
        self._page = page
        self._routes: list[Route] = []
        page.route(path, self._hold, times=1)

    def _hold(self, route: Route) -> None:
        self._routes.append(route)

    def let_go(self) -> None:
        deadline = time.monotonic() + SEEN_MS / 1000
        while not self._routes:
            assert time.monotonic() < deadline, "nothing was asked for"
            self._page.wait_for_timeout(20)
        self._routes[0].continue_()


def test_a_page_that_comes_late_stays(browser: Browser, latch: Sitelatch) -> None:
    make_users(latch, 60)
    with visit(browser, url(latch)) as seen:
        page, rows = seen.page, seen.page.locator("#users-rows tr")
        page.clock.install()
        page.reload()
        sign_in(page)
        expect(rows).to_have_count(50)
        held = Held(page, "**/admin/users?*after=*")
        page.get_by_role("button", name="Next").click()
        page.clock.fast_forward(FRESH_MS)  # the list is not asked for again while it is asked for
        held.let_go()
        expect(rows).to_have_count(10)
        with page.expect_response("**/admin/users?*") as fresh:
            page.clock.fast_forward(FRESH_MS)
        assert "after=" in fresh.value.url
        expect(page.get_by_text("Page 2", exact=True)).to_be_visible()
        expect(rows).to_have_count(10)


def test_a_search_that_overtakes_a_page_is_what_stays(browser: Browser, latch: Sitelatch) -> None:
    make_users(latch, 60)
    with visit(browser, url(latch)) as seen:
        page, rows = seen.page, seen.page.locator("#users-rows tr")
        page.clock.install()
        page.reload()
        sign_in(page)
        expect(rows).to_have_count(50)
        page.get_by_role("button", name="Next").click()
        expect(rows).to_have_count(10)
        held = Held(page, "**/admin/users?*")
        page.get_by_role("button", name="Previous").click()
        page.get_by_label("Search by name").fill("User 05")
        expect(page.get_by_text("Page 2", exact=True)).to_be_hidden()
        with page.expect_response("**/admin/users?*"):
            held.let_go()
        with page.expect_response("**/admin/users?*") as fresh:
            page.clock.fast_forward(FRESH_MS)
        assert fresh.value.status == 200
        assert "after=" not in fresh.value.url
        expect(rows).to_have_count(10)
        expect(rows.first).to_contain_text("User 059")


def test_a_view_that_comes_late_takes_no_focus(browser: Browser, latch: Sitelatch) -> None:
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        expect(page.locator("#users-rows tr")).to_have_count(5)
        held = Held(page, "**/admin/sites?*")
        page.get_by_role("link", name="Sites", exact=True).click()
        expect(page.get_by_role("heading", name="Sites", level=1)).to_be_focused()
        page.get_by_label("Search by id").focus()
        held.let_go()
        expect(page.locator("#sites-rows tr")).to_have_count(4)
        expect(page.get_by_label("Search by id")).to_be_focused()


def test_a_workspace_that_was_made_is_there_whatever_is_read_after_it(browser: Browser, latch: Sitelatch) -> None:
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page, dialog = seen.page, seen.page.get_by_role("dialog")
        sign_in(page)
        expect(page.locator("#users-rows tr")).to_have_count(5)
        page.get_by_role("button", name="New workspace").click()
        dialog.get_by_label("Name").fill("initech")
        for path in ("workspaces", "users", "sites"):
            lose_once(page, f"**/admin/{path}?*", "GET")
        lose_once(page, "**/admin/workspaces", "GET")
        dialog.get_by_role("button", name="Create workspace").click()
        expect(dialog).to_be_hidden()
        expect(page.locator("#told")).to_have_text("The workspace initech is there.")
        expect(page.locator("#workspace")).to_have_value("initech")
        seen.complaints.clear()


def test_a_workspace_whose_answer_was_lost_is_in_the_chooser(browser: Browser, latch: Sitelatch) -> None:
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page, dialog = seen.page, seen.page.get_by_role("dialog")
        sign_in(page)
        page.get_by_role("button", name="New workspace").click()
        dialog.get_by_label("Name").fill("initech")
        lose_once(page, "**/admin/workspaces", "POST")
        make = dialog.get_by_role("button", name="Create workspace")
        make.click()
        expect(dialog.get_by_text("The server cannot be reached. Try again.")).to_be_visible()
        make.click()
        expect(dialog.get_by_role("alert").filter(has_text="initech")).to_be_visible()
        dialog.get_by_role("button", name="Cancel").click()
        page.locator("#workspace").select_option("initech")
        seen.complaints.clear()


def test_an_import_that_was_done_is_no_error_whatever_is_read_after_it(browser: Browser, latch: Sitelatch) -> None:
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page, dialog = seen.page, seen.page.get_by_role("dialog")
        sign_in(page)
        page.get_by_role("link", name="Sites", exact=True).click()
        page.get_by_role("button", name="Import CSV").click()
        file: FilePayload = {"name": "s.csv", "mimeType": "text/csv", "buffer": b"site,workspace\nnew,acme\n"}
        dialog.get_by_label("CSV file").set_input_files(file)
        lose_once(page, "**/admin/workspaces?*", "GET")
        dialog.get_by_role("button", name="Import", exact=True).click()
        expect(dialog).to_be_hidden()
        expect(page.locator("#told")).to_have_text("1 added, 0 renamed, 0 were there already.")
        seen.complaints.clear()
