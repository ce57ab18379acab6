"""The admin page when responses arrive late, after the person has done something else."""

from playwright.sync_api import expect

from tests.acceptance.page.admin_page import AdminPage, OpenPage
from tests.acceptance.page.installation import Installation
from tests.acceptance.page.network import HeldRequest

REFRESH_MS = 5000
"""The interval at which the page refreshes the last activity of the rows in view."""
LIST_MS = 60_000
"""The interval at which it refreshes the list of users."""


def test_a_refresh_does_not_replace_a_page_that_is_loading(two_pages_of_users: AdminPage) -> None:
    admin = two_pages_of_users
    request = HeldRequest(admin.page, "**/admin/users?*after=*")
    admin.users.next_page()
    admin.page.clock.fast_forward(REFRESH_MS)
    request.release()
    admin.users.expect_count(10)
    with admin.page.expect_response("**/admin/users?*") as refresh:
        admin.page.clock.fast_forward(LIST_MS)
    assert "after=" in refresh.value.url
    admin.users.expect_range("51–60 of 60")
    admin.users.expect_count(10)


def test_a_search_replaces_a_page_that_is_still_loading(two_pages_of_users: AdminPage) -> None:
    admin = two_pages_of_users
    admin.users.next_page()
    admin.users.expect_count(10)
    request = HeldRequest(admin.page, "**/admin/users?*")
    admin.users.previous_page()
    admin.users.search("User 05")
    expect(admin.page.get_by_text("51–60 of 60")).to_be_hidden()
    with admin.page.expect_response("**/admin/users?*"):
        request.release()
    with admin.page.expect_response("**/admin/users?*") as refresh:
        admin.page.clock.fast_forward(LIST_MS)
    assert refresh.value.status == 200
    assert "after=" not in refresh.value.url
    admin.users.expect_count(10)
    expect(admin.users.rows.first).to_contain_text("User 059")


def test_a_view_that_loads_late_does_not_steal_the_focus(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        admin.users.expect_count(5)
        request = HeldRequest(admin.page, "**/admin/sites?*")
        admin.open("Sites")
        expect(admin.heading("Sites")).to_be_focused()
        admin.sites.search_field.focus()
        request.release()
        admin.sites.expect_count(4)
        expect(admin.sites.search_field).to_be_focused()
