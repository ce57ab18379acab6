"""The rows of the list of API users, on laptops, tablets and phones."""

import re

import pytest
from playwright.sync_api import Browser, FloatRect, Locator, Page, expect

from admin.key_encryption import new_secret
from tests.acceptance.browser import DESKTOP, Visit, resize
from tests.acceptance.page.accessibility import check_accessibility, page_with_axe
from tests.acceptance.page.admin_page import AdminPage
from tests.acceptance.page.installation import Installation
from tests.acceptance.page.network import stopped_clock

LONG_NAME = "Quarterly executive reporting for the northern subsidiary and all of its customers (read only)"
ARABIC_NAME = "التصدير الليلي لجميع بيانات المراقبة إلى مستودع البيانات المركزي (للقراءة فقط)"
LONG_SITE = "press-and-investor-relations.corporate." + 3 * "subsidiary." + "acme.example"
LONG_PERSON = (
    "Maximiliane Freifrau von und zu Hohenstein",
    "maximiliane.von-und-zu-hohenstein@subsidiary.acme.example",
)
MANY = [f"store-{number:03}" for number in range(60)]
SECOND_WORKSPACE = "the-workspace-of-the-northern-subsidiary-and-its-customers"
LAPTOPS = ((1280, 720), (1366, 768))


def add_rows(installation: Installation) -> None:
    """Add users with long names, many sites and no name, some of them disabled or expired."""
    installation.configure_admin(recoverable_keys=new_secret())
    sites = "".join(f"{site},acme\n" for site in (*MANY, "shop", LONG_SITE))
    installation.import_sites(f"site,workspace\n{sites}wiki,{SECOND_WORKSPACE}\n")
    users: list[dict[str, object]] = [
        {"name": "Nightly export", "sites": ["shop"]},
        {"name": LONG_NAME, "sites": [LONG_SITE, "shop"]},
        {"sites": MANY},
        {"name": ARABIC_NAME, "all_sites": True},
        {"name": "Lapsed", "sites": MANY[:3]},
        {"name": "W" * 200, "sites": ["wiki"], "workspace": SECOND_WORKSPACE},
    ]
    with installation.latch.admin_client() as client:
        for user in (*users, *users, *users):
            client.post("/users", json={"workspace": "acme", **user}).raise_for_status()
    installation.execute(
        "UPDATE sitelatch.api_users SET authorized_by_name = $1, authorized_by_email = $2 WHERE name = $3",
        *LONG_PERSON,
        LONG_NAME,
    )
    installation.execute("UPDATE sitelatch.api_users SET disabled_at = now() WHERE name = $1", LONG_NAME)
    installation.execute(
        "UPDATE sitelatch.api_keys k SET expires_at = now() - interval '2 days'"
        " FROM sitelatch.api_users u WHERE u.id = k.user_id AND u.name = 'Lapsed'"
    )


@pytest.fixture(scope="module")
def filled(shared_installation: Installation) -> Installation:
    """The shared installation with these users, which no test of this file changes."""
    shared_installation.reset()
    add_rows(shared_installation)
    return shared_installation


@pytest.fixture
def rows_page(signed_in: AdminPage) -> AdminPage:
    """The page with the users, reloaded."""
    signed_in.page.set_viewport_size(DESKTOP)
    signed_in.page.mouse.move(0, 0)
    signed_in.page.reload()
    signed_in.users.expect_count(18)
    return signed_in


def boxes(rows: Locator) -> list[FloatRect]:
    found: list[FloatRect] = rows.evaluate_all("(rows) => rows.map((row) => row.getBoundingClientRect().toJSON())")
    return found


def whole_rows(page: Page, rows: Locator) -> int:
    """Return how many rows are completely visible."""
    assert page.viewport_size is not None
    height = page.viewport_size["height"]
    return sum(box["y"] >= 0 and box["y"] + box["height"] <= height for box in boxes(rows))


def test_a_laptop_shows_ten_rows_and_a_phone_five(rows_page: AdminPage) -> None:
    page, rows = rows_page.page, rows_page.users.rows
    for width, height in (*LAPTOPS, (1920, 1080), (768, 1024)):
        resize(page, width, height)
        heights = {round(box["height"], 1) for box in boxes(rows)}
        assert all(52 <= found <= 56 for found in heights), (width, heights)
        assert whole_rows(page, rows) >= 10, width
        # Tablets show the table as well.
        expect(page.get_by_role("columnheader", name="Authorized Sites")).to_be_in_viewport(ratio=1)
        assert {round(box["y"]) for box in boxes(rows.first.get_by_role("cell"))} == {round(boxes(rows)[0]["y"])}
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
    resize(page, 360, 740)
    assert whole_rows(page, rows) >= 5
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Nothing in a row is cut off without an ellipsis, or covered by its neighbor.
    for width in (360, 768, 1280):
        resize(page, width, 800)
        assert page.evaluate(OVERFLOWING) == [], width


OVERFLOWING = """() => [...document.querySelectorAll("#users-rows td")].flatMap((cell) => {
  const outer = cell.getBoundingClientRect();
  return [...cell.querySelectorAll("*")].filter((element) => {
    if (getComputedStyle(element).clipPath !== "none" || element.closest("[popover], .visually-hidden")) return false;
    const { left, right, width } = element.getBoundingClientRect();
    const isCut = element.closest(".cut, .chips-line");
    return width && !isCut && (left < outer.left - 1 || right > outer.right + 1);
  }).map((element) => element.outerHTML.slice(0, 100));
})"""
"""The elements that extend beyond their cell."""


def test_a_user_without_a_name_is_shown_as_unnamed(rows_page: AdminPage) -> None:
    unnamed = rows_page.users.rows.filter(has_text="Unnamed")
    expect(unnamed).to_have_count(3)
    hint = rows_page.users.hint(unnamed.first).text_content()
    rows_page.users.delete_button(unnamed.first).click()
    # "Unnamed" is not a name.
    expect(rows_page.dialog.title).to_have_text(f"Delete the API user {hint}?")


def test_truncated_text_is_shown_in_full_on_hover_and_focus(rows_page: AdminPage) -> None:
    page, tooltip = rows_page.page, rows_page.tooltip
    row = rows_page.users.row("Quarterly").first
    truncated = (
        ("Quarterly", LONG_NAME),
        ("Maximiliane", LONG_PERSON[0]),
        ("maximiliane", LONG_PERSON[1]),
        ("press", LONG_SITE),
    )
    for width in (1280, 768, 360):
        resize(page, width, 800)
        for part, whole in truncated:
            element = row.locator(".cut").filter(has_text=re.compile(part)).first
            element.hover()
            expect(tooltip).to_have_text(whole)
            expect(tooltip).to_be_in_viewport(ratio=1)
            # The tooltip can be dismissed, and stays while the pointer is on it (WCAG 1.4.13).
            tooltip.hover()
            expect(tooltip).to_be_visible()
            page.keyboard.press("Escape")
            expect(tooltip).to_be_hidden()
            page.mouse.move(1, 1)
            element.focus()
            expect(element).to_be_focused()
            expect(tooltip).to_have_text(whole)
            element.blur()
            expect(tooltip).to_be_hidden()
    # Text that fits has no tooltip, and Tab does not stop there.
    short = rows_page.users.row("Nightly export").first.get_by_text("Ada Admin", exact=True)
    short.hover()
    expect(tooltip).to_be_hidden()
    assert short.evaluate("(element) => element.tabIndex") == -1


def test_a_truncated_text_from_right_to_left_keeps_its_beginning(rows_page: AdminPage) -> None:
    page, name = rows_page.page, rows_page.users.row(ARABIC_NAME).first.locator(".name")
    name.hover()
    expect(rows_page.tooltip).to_have_text(ARABIC_NAME)
    shows_first_letter = """(name) => {
      const range = document.createRange();
      const text = document.createTreeWalker(name, NodeFilter.SHOW_TEXT).nextNode();
      range.setStart(text, 0);
      range.setEnd(text, 1);
      const [letter, box] = [range.getBoundingClientRect(), name.getBoundingClientRect()];
      return letter.left >= box.left && letter.right <= box.right + 1;
    }"""
    for width in (1280, 768, 360):
        resize(page, width, 800)
        assert name.evaluate(shows_first_letter), width


def test_all_sites_of_a_user_open_in_a_popover_by_mouse_keyboard_and_touch(
    rows_page: AdminPage, browser: Browser, filled: Installation
) -> None:
    page, popover = rows_page.page, rows_page.users.site_popover
    more = rows_page.users.more_sites(rows_page.users.rows.filter(has_text="Unnamed").first)
    expect(more).to_have_accessible_name("+58 more sites")
    more.click()
    expect(popover.get_by_role("listitem")).to_have_text(MANY)
    expect(popover).to_be_in_viewport(ratio=1)
    expect(more).to_have_attribute("aria-expanded", "true")
    # A late event of a scroll before the click does not close it. Scrolling does.
    page.evaluate("document.dispatchEvent(new Event('scroll'))")
    expect(popover).to_be_visible()
    page.evaluate("scrollTo(0, scrollY ? 0 : 100)")
    expect(popover).to_be_hidden()
    more.click()
    page.mouse.click(2, 2)
    expect(popover).to_be_hidden()
    for width in (1280, 768, 360):
        resize(page, width, 740)
        more.focus()
        page.keyboard.press("Enter")
        expect(popover).to_be_in_viewport(ratio=1)
        # The list of sites is the next stop, so that the arrow keys scroll it.
        page.keyboard.press("Tab")
        expect(popover.get_by_role("list")).to_be_focused()
        page.keyboard.press("Escape")
        expect(popover).to_be_hidden()
        expect(more).to_be_focused()
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    touch = AdminPage(Visit(context.new_page()), f"http://{filled.latch.admin}/admin")
    touch.page.goto(touch.url)
    touch.sign_in()
    touch.users.more_sites(touch.users.rows.filter(has_text="Unnamed").first).tap()
    expect(touch.users.site_popover.get_by_role("listitem")).to_have_count(60)
    touch.page.touchscreen.tap(5, 5)
    expect(touch.users.site_popover).to_be_hidden()
    context.close()


def test_rows_name_the_workspace_only_where_several_are_listed(rows_page: AdminPage) -> None:
    workspaces = rows_page.page.locator("#users-rows").get_by_text("in acme", exact=True)
    expect(workspaces).to_have_count(15)
    rows_page.select_workspace("acme")
    rows_page.users.expect_count(15)
    expect(workspaces).to_have_count(0)
    rows_page.select_workspace("")
    expect(workspaces).to_have_count(15)


def test_showing_and_copying_have_icons_with_labels(rows_page: AdminPage) -> None:
    row = rows_page.users.row("Nightly export").first
    for width, is_labeled in ((1280, True), (768, False), (360, False)):
        resize(rows_page.page, width, 740)
        for name in ("Show", "Copy"):
            button = row.get_by_role("button", name=f"{name} key")
            expect(button.locator("svg:visible")).to_have_count(1)
            box = button.bounding_box()
            assert box is not None
            assert min(box["width"], box["height"]) >= 24, (width, name)
            label = button.get_by_text(name, exact=True).bounding_box()
            assert label is not None
            assert (label["width"] > 20) is is_labeled, (width, name)
    copy = row.get_by_role("button", name="Copy key")
    with stopped_clock(rows_page.page):
        copy.click()
        expect(copy).to_contain_text("Copied")
        expect(copy.locator("svg:visible")).to_have_count(1)
    # Icons have the color of the text, so that they are visible in forced colors.
    rows_page.page.emulate_media(forced_colors="active")
    assert row.locator("svg").first.evaluate("(svg) => getComputedStyle(svg).stroke === getComputedStyle(svg).color")


def test_axe_finds_no_violation_in_rows_tooltips_and_popovers(browser: Browser, filled: Installation) -> None:
    with page_with_axe(browser) as page:
        admin = AdminPage(Visit(page), f"http://{filled.latch.admin}/admin")
        page.goto(admin.url)
        admin.sign_in()
        admin.users.expect_count(18)
        admin.users.show_key_buttons().first.click()
        expect(page.get_by_role("button", name="Hide key")).to_be_visible()
        admin.users.more_sites(admin.users.rows.filter(has_text="Unnamed").first).click()
        expect(admin.users.site_popover).to_be_visible()
        admin.users.row("Quarterly").first.locator(".name").focus()
        expect(admin.tooltip).to_be_visible()
        check_accessibility(page, "rows")
