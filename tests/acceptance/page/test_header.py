"""The header of the admin page: one grid with the content, the workspace switcher and the person menu."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.acceptance.browser import DARK, LIGHT, Visit, visit, with_scrollbars
from tests.acceptance.page.accessibility import check_accessibility, page_with_axe
from tests.acceptance.page.admin_page import AdminPage, OpenPage, View
from tests.acceptance.page.installation import Installation

WIDTHS = (360, 768, 1280, 1920)
VIEWS: tuple[View, ...] = ("API Users", "Sites", "Audit")
LONG = "The-workspace-of-the-northern-subsidiary-and-its-customers-abroad"


@pytest.fixture
def scrolling(browser: Browser, installation: Installation) -> Iterator[AdminPage]:
    """The page with 20 API users, in a browser whose scrollbars take space."""
    installation.create_users(20)
    installation.create_workspaces(LONG)
    with with_scrollbars(browser) as window, visit(window, f"http://{installation.latch.admin}/admin/") as opened:
        admin = AdminPage(opened, f"http://{installation.latch.admin}/admin")
        admin.sign_in()
        yield admin


def edges(element: Locator) -> tuple[float, float]:
    box = element.bounding_box()
    assert box is not None
    return box["x"], box["x"] + box["width"]


def test_header_content_and_footer_share_one_grid_at_every_width(scrolling: AdminPage) -> None:
    admin, page = scrolling, scrolling.page
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        grids = []
        for view in VIEWS:
            admin.open(view)
            expect(admin.section(view).locator("tbody tr, .empty > *").filter(visible=True).first).to_be_visible()
            left, right = edges(admin.section(view).locator(".list"))
            assert edges(admin.heading(view))[0] == left
            assert edges(page.locator(".brand"))[0] == edges(page.locator(".foot > :first-child"))[0] == left
            assert edges(page.locator("#account"))[1] == edges(page.locator(".foot > :last-child"))[1] == right
            grids.append((left, right))
            assert edges(page.locator(".bar")) == (0, page.evaluate("document.documentElement.clientWidth"))
            assert is_one_line(page), (width, view)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        # The list of users has a scrollbar, and the list of sites has none: nothing moves.
        assert len(set(grids)) == 1 or width < 1000, (width, grids)
    page.set_viewport_size({"width": 360, "height": 800})
    admin.open("API Users")  # the longest name of a view
    admin.select_workspace("acme")
    assert admin.workspace_button.evaluate("(button) => button.scrollWidth <= button.clientWidth")
    admin.select_workspace(LONG)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert is_one_line(page), width


def is_one_line(page: Page) -> bool:
    """Return whether all items of the header are beside each other, and none is cut off or covered."""
    return bool(
        page.evaluate("""() => {
          const bar = document.querySelector(".bar").getBoundingClientRect();
          const boxes = [...document.querySelectorAll(".brand img, .bar nav a, #workspace-button, #account")]
            .map((element) => element.getBoundingClientRect());
          return bar.height < 64 && boxes.every((box, index) => box.width >= 24 && box.top >= bar.top
            && box.bottom <= bar.bottom && (!index || box.left >= boxes[index - 1].right));
        }""")
    )


def test_the_switcher_selects_a_workspace_with_the_keyboard(open_page: OpenPage, installation: Installation) -> None:
    names = [f"team-{letter}" for letter in "abcdefghij"]
    installation.create_workspaces(*names)
    with open_page() as admin:
        keys = admin.page.keyboard
        expect(admin.workspace).to_have_text("All workspaces")
        admin.workspace_button.focus()
        keys.press("Enter")
        expect(admin.page.get_by_label("Search workspaces")).to_be_focused()
        expect(admin.workspace_choices).to_have_text(["All workspaces", *names])
        keys.type("-H")
        expect(admin.workspace_choices).to_have_text(["team-h"])
        keys.press("ArrowDown")
        keys.press("Enter")
        expect(admin.workspace).to_have_text("team-h")
        expect(admin.workspace_button).to_be_focused()
        keys.press("Enter")
        expect(admin.page.get_by_role("button", name="team-h", exact=True)).to_have_attribute("aria-current", "true")
        expect(admin.page.get_by_label("Search workspaces")).to_be_focused()
        keys.press("ArrowUp")
        expect(admin.new_workspace_button).to_be_focused()
        keys.press("Escape")
        expect(admin.new_workspace_button).to_be_hidden()
        expect(admin.workspace_button).to_be_focused()
        admin.select_workspace("All workspaces")
        expect(admin.workspace).to_have_text("All workspaces")


def test_the_person_menu_shows_the_name_and_email_and_signs_out(open_page: OpenPage) -> None:
    with open_page() as admin:
        expect(admin.account_button).to_have_text("AA")
        expect(admin.person).to_be_hidden()
        admin.account_button.click()
        expect(admin.person).to_have_text("Ada Admin ada@example.com")
        admin.page.keyboard.press("Escape")
        expect(admin.person).to_be_hidden()
        expect(admin.account_button).to_be_focused()
        admin.sign_out()
        expect(admin.token_field).to_be_visible()


def test_the_menus_are_accessible_and_usable_without_colors(browser: Browser, installation: Installation) -> None:
    installation.create_workspaces(*(f"team-{number}" for number in range(9)))
    with page_with_axe(browser) as page:
        admin = AdminPage(Visit(page), f"http://{installation.latch.admin}/admin")
        page.goto(admin.url)
        admin.sign_in()
        for button, menu in ((admin.workspace_button, "#workspace-menu"), (admin.account_button, "#account-menu")):
            button.click()
            expect(page.locator(menu)).to_be_visible()
            check_accessibility(page, menu)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 800})
                expect(page.locator(menu)).to_be_in_viewport(ratio=1)
            page.keyboard.press("Escape")
        for scheme in (LIGHT, DARK):
            page.emulate_media(color_scheme=scheme, forced_colors="active")
            for current, other in ((admin.link("API Users"), admin.link("Sites")),):
                assert outline(current) != outline(other)
            assert page.evaluate("axe.run().then(({ violations }) => violations.map((found) => found.id))") == []


def outline(element: Locator) -> str:
    return str(element.evaluate("(element) => getComputedStyle(element).outlineStyle"))
