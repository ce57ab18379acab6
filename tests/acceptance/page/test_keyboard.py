"""The admin page without a mouse, and over a slow connection."""

from typing import Final

from playwright.sync_api import Locator, Page, expect

from tests.acceptance.harness import ADMIN_TOKEN
from tests.acceptance.page.admin_page import OpenPage
from tests.acceptance.page.dialogs import KEY
from tests.acceptance.page.installation import Installation
from tests.acceptance.page.network import held_requests, slow_down, stopped_clock

MAX_TABS: Final = 60
RECORD_LAYOUT_SHIFTS: Final = """
  window.shifts = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (entry.hadRecentInput) continue;
      const moved = entry.sources.map(({ node }) => node?.outerHTML?.slice(0, 80) ?? String(node));
      window.shifts.push([entry.value, ...moved]);
    }
  }).observe({ type: "layout-shift", buffered: true });
"""
"""Layout shifts without user input, as browsers measure them (web.dev/cls: up to 0.1 is good)."""


def tab_to(page: Page, target: Locator, *, back: bool = False) -> None:
    """Press Tab until `target` has the focus."""
    expect(target).to_be_visible()
    for _ in range(MAX_TABS):
        if target.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"{target} cannot be reached with Tab")


def test_the_main_user_journey_works_with_the_keyboard_alone(open_page: OpenPage, installation: Installation) -> None:
    with open_page(sign_in=False) as admin:
        page, keys = admin.page, admin.page.keyboard
        dialog, create = admin.dialog, admin.create_dialog
        expect(admin.token_field).to_be_focused()
        keys.type(ADMIN_TOKEN)
        keys.press("Enter")
        expect(admin.heading("API Users")).to_be_focused()

        tab_to(page, admin.users.empty.get_by_role("button", name="Create workspace"))
        keys.press("Enter")
        expect(dialog.field("Name")).to_be_focused()
        keys.type("acme")
        keys.press("Enter")
        expect(admin.users.no_users).to_be_visible()
        tab_to(page, admin.link("Sites"), back=True)
        keys.press("Enter")
        expect(admin.heading("Sites")).to_be_focused()
        for site in ("shop", "blog"):
            tab_to(page, admin.sites.add_button)
            keys.press("Enter")
            expect(dialog.field("Site", exact=True)).to_be_focused()
            keys.type(site)
            keys.press("Enter")
            dialog.expect_closed()
            expect(admin.sites.add_button).to_be_focused()
        tab_to(page, admin.link("API Users"), back=True)
        keys.press("Enter")

        # Sites are found by typing, selected with Enter or Space, and deselected with their chip.
        tab_to(page, admin.users.create_button)
        keys.press("Enter")
        tab_to(page, create.name)
        keys.type("Nightly export")
        tab_to(page, create.all_sites)
        keys.press("Space")
        expect(create.search_field).to_be_hidden()
        keys.press("Space")
        tab_to(page, create.search_field)
        keys.type("sh")
        keys.press("Enter")
        expect(create.selected_site("shop")).to_be_visible()
        for _ in "sh":
            keys.press("Backspace")
        tab_to(page, create.site("blog"))
        keys.press("Space")
        tab_to(page, create.selected_site("blog"))
        keys.press("Enter")
        expect(create.site("blog")).not_to_be_checked()
        tab_to(page, create.create_button)
        keys.press("Enter")
        expect(create.created_title).to_be_focused()
        tab_to(page, create.button("Copy key"))
        with stopped_clock(page):
            keys.press("Enter")
            expect(create.button("Copied")).to_be_focused()
        key = admin.clipboard()
        assert KEY.fullmatch(key)
        tab_to(page, create.done_button)
        keys.press("Enter")
        expect(admin.users.create_button).to_be_focused()
        assert (installation.status("shop", key), installation.status("blog", key)) == (200, 403)

        # Search, and sort by last activity.
        tab_to(page, admin.users.search_field)
        keys.type("nightly")
        tab_to(page, admin.users.column("Last Activity").get_by_role("button"))
        keys.press("Enter")
        keys.press("Enter")
        expect(admin.users.column("Last Activity")).to_have_attribute("aria-sort", "ascending")
        row = admin.users.row("Nightly export")
        expect(row).to_contain_text("just now")

        delete = admin.users.delete_button(row)
        tab_to(page, delete)
        keys.press("Enter")
        expect(dialog.button("Cancel")).to_be_focused()
        keys.press("Escape")
        expect(delete).to_be_focused()
        keys.press("Enter")
        tab_to(page, dialog.button("Delete"))
        keys.press("Enter")
        expect(row).to_have_count(0)
        installation.expect_status("shop", key, 401)
        expect(admin.heading("API Users")).to_be_focused()
        tab_to(page, admin.link("Audit"), back=True)
        keys.press("Enter")
        expect(admin.audit).to_contain_text("Deleted the API user Nightly export")
        tab_to(page, admin.account_button)
        keys.press("Enter")
        tab_to(page, admin.sign_out_button)
        keys.press("Enter")
        expect(admin.token_field).to_be_focused()


def test_on_a_slow_connection_progress_is_shown_nothing_is_sent_twice_and_the_layout_does_not_shift(
    open_page: OpenPage, installation: Installation
) -> None:
    installation.latch.create_sites_and_users()
    with open_page(sign_in=False) as admin:
        page, create = admin.page, admin.create_dialog
        changes: list[str] = []
        page.on(
            "request",
            lambda request: (
                changes.append(request.url.rpartition("/admin/")[2]) if request.method in ("POST", "DELETE") else None
            ),
        )
        page.add_init_script(RECORD_LAYOUT_SHIFTS)
        slow_down(page)
        page.reload(wait_until="commit")
        expect(page.get_by_text("Loading …")).to_be_visible()
        admin.token_field.fill(ADMIN_TOKEN)
        with held_requests(page):
            admin.token_field.press("Enter")
            admin.token_field.press("Enter")
            expect(admin.progress).to_be_visible()
        admin.users.expect_count(5)
        expect(admin.progress).to_be_hidden()
        assert changes == ["session"]

        with held_requests(page):
            create.open()
            expect(admin.progress).to_be_visible()
        create.site("shop").check()
        with held_requests(page):
            create.create_button.dblclick()
            expect(admin.progress).to_be_visible()
            is_on_top = "(bar) => document.elementsFromPoint(5, 1).length > 0 && bar.matches(':popover-open')"
            assert admin.progress.evaluate(is_on_top)
            # The dialog cannot be closed before the response arrives, so that the key is not lost.
            create.cancel()
            page.keyboard.press("Escape")
            create.create_button.press("Enter")
        expect(create.created_title).to_be_visible()
        assert changes == ["session", "users"]
        create.done()
        admin.users.expect_count(6)

        admin.users.delete_button(admin.users.rows.first).click()
        with held_requests(page):
            admin.dialog.button("Delete").dblclick()
            expect(admin.progress).to_be_visible()
        admin.users.expect_count(5)
        assert len(changes) == 3
        for view in ("Sites", "Audit", "API Users"):
            with held_requests(page):
                page.get_by_role("link", name=view, exact=True).click()
                expect(admin.progress).to_be_visible()
            expect(admin.progress).to_be_hidden()
        shifts = page.evaluate("window.shifts")
        assert sum(shift[0] for shift in shifts) < 0.02, shifts
