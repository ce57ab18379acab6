"""The address of the page: it holds the view, search, filters, order, page and open user."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.acceptance.browser import Visit
from tests.acceptance.page.accessibility import check_accessibility, page_with_axe
from tests.acceptance.page.admin_page import AdminPage
from tests.acceptance.page.installation import Installation

USERS = 120
SIZES = ((360, 740), (768, 1024), (1280, 800), (1920, 1080))


@pytest.fixture(scope="module")
def filled(shared_installation: Installation) -> Installation:
    """The shared installation with 120 users in acme and one in globex. Tests of this file delete only what they add.

    Ten users were used today, ten long ago, and the others never. Ben authorized five.
    """
    shared_installation.reset()
    shared_installation.create_users(USERS)
    shared_installation.import_sites("site,workspace\nwiki,globex\n")
    with shared_installation.latch.admin_client() as client:
        wiki = {"workspace": "globex", "sites": ["wiki"], "name": "Wiki reader"}
        client.post("/users", json=wiki).raise_for_status()
    named = "FROM sitelatch.api_users u WHERE u.id = a.user_id AND u.name"
    for ago, names in (("0", "User 00_"), ("100 days", "User 01_")):
        shared_installation.execute(
            f"UPDATE sitelatch.api_user_activity a SET last_used_at = now() - interval '{ago}' {named} LIKE '{names}'"  # noqa: S608
        )
    shared_installation.execute(
        "UPDATE sitelatch.api_users SET authorized_by_name = 'Ben', authorized_by_email = 'ben@example.com'"
        " WHERE name BETWEEN 'User 030' AND 'User 034'"
    )
    return shared_installation


@pytest.fixture
def admin(signed_in: AdminPage) -> AdminPage:
    """The signed-in page with the first page of users, as if it were opened from a bookmark."""
    return open_address(signed_in)


def open_address(admin: AdminPage, fragment: str = "") -> AdminPage:
    admin.page.goto("about:blank")
    admin.page.goto(f"{admin.url}/{fragment}")
    expect(admin.page.locator("#signed-in")).to_be_visible()
    return admin


def parameters(page: Page) -> dict[str, str]:
    """Return the parameters in the fragment of the address."""
    text = urlsplit(page.url).fragment.partition("?")[2]
    return {name: value for name, [value] in parse_qs(text).items()}


def expect_parameters(shown: Page, /, **expected: str) -> None:
    shown.wait_for_function(
        "expected => JSON.stringify(Object.fromEntries([...new URLSearchParams(location.hash.split('?')[1])].sort()))"
        " === JSON.stringify(Object.fromEntries(Object.entries(expected).sort()))",
        arg=expected,
    )


def test_reload_and_a_second_tab_show_the_same_search_filters_order_and_page(admin: AdminPage) -> None:
    page, users = admin.page, admin.users
    users.search("user")
    users.expect_range("1–50 of 120")
    users.use_filter.select_option("Never used")
    users.expect_range("1–50 of 100")
    users.sort_by("API Key")
    expect(users.rows.first).to_contain_text("User 020")
    users.next_page()
    users.expect_range("51–100 of 100")
    expect(users.rows.first).to_contain_text("User 070")
    expect_parameters(page, search="user", use="never", sort="name", page="2", after=parameters(page)["after"])
    page.reload()
    users.expect_range("51–100 of 100")
    tab = page.context.new_page()
    tab.goto(page.url)
    other = AdminPage(Visit(tab), admin.url)
    for shown in (admin, other):
        shown.users.expect_range("51–100 of 100")
        expect(shown.users.rows.first).to_contain_text("User 070")
        expect(shown.users.search_field).to_have_value("user")
        expect(shown.users.use_filter).to_have_value("never")
        expect(shown.users.column("API Key")).to_have_attribute("aria-sort", "ascending")
    # Each tab has its own state.
    other.users.previous_page()
    other.users.expect_range("1–50 of 100")
    users.expect_range("51–100 of 100")
    tab.close()
    users.previous_page()
    users.expect_range("1–50 of 100")


def test_back_and_forward_undo_and_repeat_each_step_but_not_each_letter(admin: AdminPage) -> None:
    page, users = admin.page, admin.users
    users.expect_range("1–50 of 121")
    users.search_field.press_sequentially("user 0", delay=250)
    users.expect_range("1–50 of 100")
    users.filter_by_person("ben@example.com")
    users.expect_count(5)
    users.sort_by("Created")
    expect(users.rows.first).to_contain_text("User 030")
    admin.open("Sites")
    page.go_back()
    expect(admin.heading("API Users")).to_be_visible()
    expect(users.rows.first).to_contain_text("User 030")
    expect_parameters(page, search="user 0", by="ben@example.com", sort="created")
    page.go_back()
    expect(users.rows.first).to_contain_text("User 034")
    page.go_back()
    users.expect_range("1–50 of 100")
    expect(users.person_filter).to_have_value("")
    expect(users.search_field).to_have_value("user 0")
    page.go_forward()
    users.expect_count(5)
    expect(users.person_filter).to_have_value("ben@example.com")
    page.go_forward()
    expect(users.rows.first).to_contain_text("User 030")
    page.go_forward()
    expect(admin.heading("Sites")).to_be_visible()


def test_each_column_header_sorts_and_announces_the_order(admin: AdminPage) -> None:
    users = admin.users
    for column, first, then in (
        ("API Key", "User 000", "Wiki reader"),
        ("Authorized By", "ada@example.com", "Ben"),
        ("Last Activity", "User 00", "never"),
        ("Created", "Wiki reader", "User 000"),
    ):
        header = users.column(column)
        directions = (
            ("ascending", "descending") if column in ("API Key", "Authorized By") else ("descending", "ascending")
        )
        if column == "Created":
            admin.page.evaluate("location.hash = '#users?sort=name'")  # not the default order
            expect(users.column("API Key")).to_have_attribute("aria-sort", "ascending")
        for direction, text in zip(directions, (first, then), strict=True):
            users.sort_by(column)
            expect(header).to_have_attribute("aria-sort", direction)
            expect(users.rows.first).to_contain_text(text)
            expect(admin.page.locator("th[aria-sort]")).to_have_count(1)
    users.column("Created").get_by_role("button").focus()
    admin.page.keyboard.press("Enter")
    expect(users.rows.first).to_contain_text("Wiki reader")


def test_filters_combine_and_can_be_cleared(admin: AdminPage) -> None:
    users = admin.users
    users.use_filter.select_option("Unused for 90 days")
    users.expect_count(0)  # those ten were created today
    expect(users.empty).to_contain_text("No API user matches the filters.")
    users.empty.get_by_role("button", name="Show all API users").click()
    users.expect_range("1–50 of 121")
    users.search("reader")
    users.filter_by_person("ben@example.com")
    expect(users.empty).to_contain_text("No API user matches “reader” and the filters.")
    admin.page.go_back()
    users.expect_count(1)
    # The field suggests the people in the list.
    suggested = admin.page.locator("#people option").evaluate_all("options => options.map((option) => option.value)")
    assert suggested == ["ada@example.com"]


def test_back_closes_an_open_dialog_first(admin: AdminPage) -> None:
    page, users, dialog = admin.page, admin.users, admin.dialog
    users.search("user 03")
    users.expect_count(10)
    admin.open("Sites")
    page.go_back()
    for opener in (
        users.create_button,
        users.delete_button(users.rows.first),
        users.rows.first.locator(".name"),
    ):
        users.expect_count(10)
        opener.click()
        expect(dialog.root).to_be_visible()
        page.go_back()
        dialog.expect_closed()
        expect_parameters(page, search="user 03")
        # A dialog that was closed by its button leaves no entry behind either.
        opener.click()
        dialog.root.locator("[data-close]:visible").click()
        dialog.expect_closed()
        expect_parameters(page, search="user 03")
    # The entry of the last dialog, which shows a user, can still be reached.
    page.go_forward()
    expect(dialog.root).to_be_visible()
    page.go_back()
    dialog.expect_closed()


def test_back_closes_menus_and_popovers(admin: AdminPage) -> None:
    admin.open("Sites")
    admin.workspace_button.click()
    expect(admin.new_workspace_button).to_be_visible()
    admin.page.go_back()
    expect(admin.heading("API Users")).to_be_visible()
    expect(admin.new_workspace_button).to_be_hidden()


def test_a_workspace_that_does_not_exist_is_named(admin: AdminPage) -> None:
    open_address(admin, "#users?workspace=renamed&search=reader")
    expect(admin.toast).to_have_text("There is no workspace “renamed”. All workspaces are shown.")
    admin.users.expect_count(1)
    expect_parameters(admin.page, search="reader")


def test_an_open_user_has_an_address(admin: AdminPage, filled: Installation) -> None:
    page, users, dialog = admin.page, admin.users, admin.dialog
    users.search("user 031")
    users.expect_count(1)
    link = users.rows.first.locator(".name")
    link.click()
    expect(dialog.title).to_have_text("User 031")
    for text in ("acme", "ben@example.com", "shop", "never"):
        dialog.expect_text(text)
    user_id = users.rows.first.get_attribute("data-id")
    assert user_id is not None
    expect_parameters(page, search="user 031", user=user_id)
    page.reload()
    expect(dialog.title).to_have_text("User 031")
    page.go_back()
    dialog.expect_closed()
    expect(link).to_be_visible()
    page.go_forward()
    expect(dialog.title).to_have_text("User 031")
    page.keyboard.press("Escape")
    dialog.expect_closed()
    expect_parameters(page, search="user 031")
    # A bookmark opens the list below the user.
    open_address(admin, f"#users?user={user_id}")
    expect(dialog.title).to_have_text("User 031")
    page.go_back()
    dialog.expect_closed()
    users.expect_range("1–50 of 121")
    # The user can be deleted in its window.
    with filled.latch.admin_client() as client:
        client.post("/users", json={"workspace": "acme", "all_sites": True, "name": "Short-lived"}).raise_for_status()
    users.search("short")
    users.expect_count(1)
    link.click()
    expect(dialog.title).to_have_text("Short-lived")
    dialog.button("Delete User").click()
    page.locator("#confirm-submit").click()
    expect(dialog.root).to_have_count(0)
    users.expect_count(0)
    expect_parameters(page, search="short")


@pytest.mark.parametrize(
    "fragment",
    [
        "#nowhere",
        "#users?page=2&after=forged",
        "#users?page=2",
        "#users?page=-1&after=x",
        "#users?page=1e9&after=x&sort=nothing&use=often",
        "#users?sort=__proto__&use=constructor&workspace=nowhere",
        "#users?search=%00%1F%zz%ED%A0%80",
        "#users?user=nobody",
        "#users?user=..%2Fsession",
        "#users?%%%&&&===",
        "#users?workspace=%00",
    ],
)
def test_an_address_that_makes_no_sense_shows_the_list(signed_in: AdminPage, fragment: str) -> None:
    admin = open_address(signed_in, fragment)
    if "search" in fragment:
        expect(admin.users.search_field).to_have_value(re.compile("zz"))
        admin.users.expect_count(0)
    else:
        admin.users.expect_range("1–50 of 121")
    expect(admin.users.error).to_be_empty()
    admin.dialog.expect_closed()
    if "user=" in fragment:
        expect(admin.toast).to_have_text("This API user does not exist.")
        expect_parameters(admin.page)


def test_no_key_or_token_gets_into_the_address(admin: AdminPage, filled: Installation) -> None:
    urls: list[str] = []
    admin.page.on("request", lambda request: urls.append(request.url))
    secrets = ("slk_" + "k3y" * 12 + "aa", "sla_" + "t0ken" * 8, "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl")
    for secret in secrets:
        with admin.page.expect_response(lambda response: "/users?" in response.url):
            admin.users.search(f"key: {secret}")
        with admin.page.expect_response(lambda response: "/users?" in response.url):
            admin.users.filter_by_person(secret)
        assert secret[:3] in admin.page.url
        admin.users.person_filter.fill("")
    assert not [url for url in [admin.page.url, *urls] for secret in secrets if secret[12:] in url]


def test_the_workspace_is_kept_when_the_view_changes(admin: AdminPage) -> None:
    admin.select_workspace("globex")
    admin.users.expect_count(1)
    admin.open("Sites")
    admin.sites.expect_count(1)
    expect(admin.workspace).to_have_text("globex")
    admin.page.reload()
    admin.sites.expect_count(1)
    admin.page.go_back()
    admin.page.go_back()
    admin.users.expect_range("1–50 of 121")
    expect(admin.workspace).to_have_text("All workspaces")


def test_deleting_keeps_the_scroll_position_and_focuses_the_next_row(admin: AdminPage, filled: Installation) -> None:
    with filled.latch.admin_client() as client:
        for number in range(30):
            user = {"workspace": "globex", "all_sites": True, "name": f"Temporary {number:02}"}
            client.post("/users", json=user).raise_for_status()
    users = admin.users
    users.search("temporary")
    users.expect_count(30)
    names = users.names()
    users.delete_button(users.rows.nth(20)).scroll_into_view_if_needed()
    before = admin.page.evaluate("scrollY")
    assert before > 0
    for deleted, following in ((20, 21), (21, 22), (29, 28)):
        users.delete_button(users.row_with(names[deleted])).click()
        admin.dialog.submit("Delete")
        admin.dialog.expect_closed()
        expect(users.row_with(names[deleted])).to_have_count(0)
        expect(users.delete_button(users.row_with(names[following]))).to_be_focused()
        if deleted < 25:
            assert admin.page.evaluate("scrollY") == before
    filled.execute("DELETE FROM sitelatch.api_users WHERE name LIKE 'Temporary%'")


def test_back_and_reload_restore_the_scroll_position(admin: AdminPage) -> None:
    page = admin.page
    admin.users.expect_count(50)
    admin.users.rows.nth(40).scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    page.wait_for_function("before => history.state?.scroll === before", arg=before)
    page.reload()
    admin.users.expect_count(50)
    page.wait_for_function("before => scrollY === before", arg=before)
    admin.users.expect_range("1–50 of 121")  # the buttons appear again with the count
    admin.users.next_button.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    admin.users.next_page()
    admin.users.expect_range("51–100 of 121")
    assert page.evaluate("scrollY") == 0
    page.go_back()
    admin.users.expect_range("1–50 of 121")
    page.wait_for_function("before => scrollY === before", arg=before)


def test_a_bookmarked_page_leads_back_to_the_first_one(admin: AdminPage) -> None:
    admin.users.next_page()
    admin.users.expect_range("51–100 of 121")
    admin.users.next_page()
    admin.users.expect_range("101–121 of 121")
    address = urlsplit(admin.page.url).fragment
    open_address(admin, f"#{address}")
    admin.users.expect_range("101–121 of 121")
    admin.page.get_by_role("button", name="First page").click()
    admin.users.expect_range("1–50 of 121")


def is_on_one_line(element: Locator) -> bool:
    return bool(element.evaluate("(element) => element.getBoundingClientRect().height < 32"))


def test_the_tools_fit_at_every_width_and_axe_finds_no_violation(browser: Browser, filled: Installation) -> None:
    with page_with_axe(browser) as page:
        admin = AdminPage(Visit(page), f"http://{filled.latch.admin}/admin")
        page.goto(f"{admin.url}/#users?search=user&use=never&by=ben@example.com&sort=name")
        admin.sign_in()
        admin.users.expect_count(5)
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            if width == 360:
                expect(admin.users.filters_button).to_have_text("Filters (2)")
                expect(admin.users.filters_button).to_have_attribute("aria-expanded", "false")
                admin.users.filters_button.click()
                expect(admin.users.filters_button).to_have_attribute("aria-expanded", "true")
            expect(admin.users.filters_button).to_be_visible(visible=width < 736)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
            boxes = [
                box
                for field in (admin.users.search_field, admin.users.use_filter, admin.users.person_filter)
                if (box := field.bounding_box()) is not None
            ]
            assert len(boxes) == 3
            assert all(box["width"] >= 150 for box in boxes), width
            assert len({box["y"] for box in boxes}) == 1 or width < 1280, width
            assert admin.users.sort_field.is_visible() == (width < 992)
        check_accessibility(page, "filters")
        page.set_viewport_size({"width": 1280, "height": 800})
        admin.users.rows.first.locator(".name").click()
        expect(admin.dialog.title).to_have_text(re.compile("User 03"))
        page.set_viewport_size({"width": 360, "height": 740})
        assert is_on_one_line(admin.dialog.root.get_by_role("link", name="ben@example.com"))
        check_accessibility(page, "user")
