"""The site picker in the dialog Create API User."""

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.browser import DESKTOP, Visit, resize, visit
from tests.acceptance.page.accessibility import check_accessibility, page_with_axe
from tests.acceptance.page.admin_page import AdminPage
from tests.acceptance.page.dialogs import CreateDialog
from tests.acceptance.page.installation import Installation

LONG = "press-and-investor-relations.corporate." + 3 * "subsidiary." + "acme.example"
STORES = [f"store-{number:03}" for number in range(70)]
PASTE = """([text, field]) => {
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", text);
  const event = new ClipboardEvent("paste", { clipboardData, cancelable: true, bubbles: true });
  document.querySelector(field).dispatchEvent(event);
  return event.defaultPrevented;
}"""


def pasted(create: CreateDialog, text: str, field: str = "#picker-search") -> bool:
    """Paste a text into a field, and return whether the page read it as a list."""
    return bool(create.page.evaluate(PASTE, [text, field]))


@pytest.fixture(scope="module")
def filled(shared_installation: Installation) -> Installation:
    """The shared installation with 86 sites in acme and an API user, which no test of this file changes."""
    shared_installation.reset()
    shops = "".join(f"shop-{number:02},acme,\n" for number in range(12))
    stores = "".join(f"{site},acme,{'Main Street ' * 9}\n" for site in STORES)
    others = f"{LONG},acme,{LONG}\nMain Site,acme,\nblog,acme,\n'quoted',acme,\nwiki,globex,\n"
    shared_installation.import_sites(f"site,workspace,display_name\n{shops}{stores}{others}")
    shared_installation.latch.create_user("acme", all_sites=True)
    return shared_installation


@pytest.fixture
def create(signed_in: AdminPage) -> CreateDialog:
    """The dialog, newly opened for the workspace acme."""
    signed_in.page.set_viewport_size(DESKTOP)
    signed_in.page.reload()
    signed_in.create_dialog.open()
    expect(signed_in.create_dialog.sites).to_have_count(50)
    return signed_in.create_dialog


def test_eight_sites_are_shown_on_one_line_each(create: CreateDialog) -> None:
    lines = """(list) => {
      const { top, bottom } = list.getBoundingClientRect();
      const boxes = [...list.children].map((item) => item.getBoundingClientRect());
      const texts = [...list.querySelectorAll("bdi")].map((text) => text.getBoundingClientRect().height);
      return [boxes.filter((box) => box.top >= top && box.bottom <= bottom).length, Math.max(...texts)];
    }"""
    for width, height in ((1920, 1080), (1280, 720), (768, 1024), (360, 740)):
        resize(create.page, width, height)
        shown, highest = create.page.locator("#picker").evaluate(lines)
        assert shown == 8, width
        assert highest < 30, width
        assert create.root.evaluate("(dialog) => dialog.scrollWidth <= dialog.clientWidth"), width
        expect(create.create_button).to_be_in_viewport(ratio=1)


def test_all_matching_sites_are_selected_at_once(create: CreateDialog) -> None:
    expect(create.select_all_button).to_have_text("Select all 86 sites")
    create.search_field.fill("shop")
    expect(create.select_all_button).to_have_text("Select all 12 matching")
    create.site("shop-03").check()
    create.select_all_button.click()
    expect(create.count).to_have_text("12 selected")
    for box in create.sites.all():
        expect(box).to_be_checked()
    # There are more matches than the list shows.
    create.search_field.fill("store")
    expect(create.select_all_button).to_have_text("Select all 70 matching")
    create.select_all_button.click()
    expect(create.count).to_have_text("82 selected")
    expect(create.selected_site("store-069")).to_be_in_viewport(ratio=1)
    # One match needs no such button.
    create.search_field.fill("blog")
    expect(create.sites).to_have_count(1)
    expect(create.select_all_button).to_be_hidden()
    create.button("Clear all selected sites").click()
    expect(create.count).to_be_empty()
    expect(create.chips.get_by_role("button")).to_have_count(0)


LISTS = (
    "shop-01\nshop-02\nMain Site",
    "shop-01\r\nshop-02\r\n\r\nMain Site\r\n",
    "shop-01,shop-02, Main Site",
    "shop-01; shop-02;Main Site;",
    "shop-01\tshop-02\tMain Site",
    "\ufeffshop-01 shop-02\nMain Site\u200b",
    "'shop-01', \"shop-02\", “Main Site”",
    "shop-01，shop-02、shop-01\u2028Main Site",
)
"""The sites shop-01, shop-02 and Main Site, as people copy them from files, spreadsheets, code and messages."""


def test_a_pasted_list_selects_its_sites_whatever_separates_them(create: CreateDialog) -> None:
    for text in LISTS:
        assert pasted(create, text)
        expect(create.chips.get_by_role("button")).to_have_text(["shop-01×", "shop-02×", "Main Site×"])
        expect(create.count).to_have_text("3 selected")
        expect(create.list_field).to_be_hidden()
        create.button("Clear all selected sites").click()
    expect(create.search_field).to_have_value("")


def test_unknown_ids_of_a_pasted_list_are_named_and_stay_in_the_list(create: CreateDialog) -> None:
    create.paste_list_button.click()
    expect(create.list_field).to_be_focused()
    create.list_field.fill("shop-01 shop-02\nBLOG; wiki,gone\n'quoted' gone")
    create.add_list_button.click()
    expect(create.list_error).to_have_text(
        "These 3 ids are not sites of acme: BLOG (did you mean blog?), wiki, gone. Correct or remove them."
    )
    expect(create.list_field).to_have_value("BLOG\nwiki\ngone")
    expect(create.list_field).to_be_focused()
    expect(create.chips.get_by_role("button")).to_have_text(["shop-01×", "shop-02×", "'quoted'×"])
    # The user is not created without the sites that are still in the list.
    create.create_button.click()
    expect(create.list_error).to_be_visible()
    expect(create.created_title).to_be_hidden()
    create.list_field.fill("blog")
    create.add_list_button.click()
    expect(create.list_field).to_be_hidden()
    expect(create.count).to_have_text("4 selected")
    # Words that are pasted into the search, without a separator, are a search.
    assert not pasted(create, "Main Street")
    assert not pasted(create, "shop-05", "#pasted-ids")


def test_selected_sites_are_chips_on_one_line_that_scrolls(create: CreateDialog) -> None:
    create.paste_list_button.click()
    create.list_field.fill("\n".join([LONG, *STORES]))
    create.add_list_button.click()
    chips = create.chips.get_by_role("button")
    expect(chips).to_have_count(71)
    tops = "(chips) => new Set(chips.map((chip) => chip.getBoundingClientRect().top)).size"
    for width in (1280, 768, 360):
        resize(create.page, width, 740)
        assert chips.evaluate_all(tops) == 1
        assert create.chips.evaluate("(list) => list.scrollWidth > list.clientWidth && list.clientHeight < 60")
    # Removing a chip moves the focus to the next one, which scrolls into view.
    create.selected_site("store-003").focus()
    expect(create.selected_site("store-003")).to_be_in_viewport(ratio=1)
    create.page.keyboard.press("Enter")
    expect(create.selected_site("store-004")).to_be_focused()
    expect(create.count).to_have_text("70 selected")


def test_axe_finds_no_violation_in_the_picker(browser: Browser, filled: Installation) -> None:
    with page_with_axe(browser) as page:
        admin = AdminPage(Visit(page), f"http://{filled.latch.admin}/admin")
        page.goto(admin.url)
        admin.sign_in()
        create = admin.create_dialog
        create.open()
        create.paste_list_button.click()
        create.list_field.fill("shop-01, shop-02, gone")
        create.add_list_button.click()
        expect(create.list_error).to_contain_text("This id is not a site of acme: gone.")
        check_accessibility(page, "pasted list")


@pytest.mark.slow
def test_100000_sites_can_be_searched_and_selected(browser: Browser, installation: Installation) -> None:
    installation.create_workspaces("large")
    installation.execute(
        "INSERT INTO sitelatch.sites (id, folded, workspace_id, display_name)"
        " SELECT 'customer-' || n, 'customer-' || n, w.id, 'Customer number ' || n"
        " FROM generate_series(1, 100000) n CROSS JOIN sitelatch.workspaces w"
    )
    installation.latch.create_user("large", all_sites=True)
    url = f"http://{installation.latch.admin}/admin"
    with visit(browser, url) as opened:
        admin = AdminPage(opened, url)
        admin.sign_in()
        create = admin.create_dialog
        create.open()
        expect(create.text("Showing the first 50 of more than 10,000.")).to_be_visible()
        expect(create.select_all_button).to_be_hidden()
        create.search_field.fill("customer-99")
        expect(create.select_all_button).to_have_text("Select all 1,111 matching")
        create.select_all_button.click()
        expect(create.count).to_have_text("1,111 selected")
        create.paste_list_button.click()
        assert pasted(create, "\n".join(f"customer-{number}" for number in range(1, 10_001)), "#pasted-ids")
        expect(create.text("At most 10,000 sites can be selected.")).to_be_visible()
        create.button("Clear all selected sites").click()
        create.add_list_button.click()
        expect(create.count).to_have_text("10,000 selected")
        create.create_button.click()
        expect(create.text("It can access 10,000 selected sites.")).to_be_visible()
