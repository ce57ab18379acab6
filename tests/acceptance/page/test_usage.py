"""The usage of API users on the page: a line of bars in the list, and a chart that can be read as a table."""

from playwright.sync_api import Page, expect

from tests.acceptance.page.admin_page import OpenPage
from tests.acceptance.page.installation import Installation

TOTAL = sum(range(1, 31))


def tops(page: Page, selector: str) -> list[float]:
    """Return the heights of the bars that a path draws."""
    path = page.locator(selector).get_attribute("d") or ""
    return [float(part.split("h")[0]) for part in path.split("v-")[1:]]


def test_usage_is_shown_in_the_list_and_for_each_user(open_page: OpenPage, installation: Installation) -> None:
    keys = installation.latch.create_sites_and_users()
    installation.add_usage(keys.shop.id)
    with open_page() as admin:
        page = admin.page
        admin.users.expect_count(5)
        expect(admin.users.sparklines).to_have_count(1)
        expect(admin.users.sparklines).to_have_attribute("aria-label", f"{TOTAL} requests passed in 30 days")
        heights = tops(page, ".spark path:nth-child(2)")
        assert len(heights) == 30
        assert heights == sorted(heights)
        page.goto(f"{admin.url}#users?user={keys.shop.id}")
        dialog = page.locator("#user-dialog")
        summary = f"{TOTAL} requests passed, 5 refused (site_not_allowed 4, expired_key 1), {TOTAL} KB sent in 30 days."
        expect(page.locator("#usage-summary")).to_have_text(summary)
        expect(dialog.get_by_role("img")).to_have_attribute("aria-label", f"Chart: {summary}")
        assert len(tops(page, "#usage-drawing path:nth-child(2)")) == 30
        assert len(tops(page, "#usage-drawing .on-top")) == 1
        dialog.get_by_text("As a table").click()
        rows = dialog.locator("#usage-rows tr")
        expect(rows).to_have_count(30)
        assert rows.first.locator("td").all_text_contents() == ["30", "5", "30 KB"]
        assert rows.last.locator("td").all_text_contents() == ["1", "0", "1 KB"]
        dialog.get_by_label("Period").select_option("7 days by hour")
        expect(page.locator("#usage-summary")).to_contain_text("30 requests passed, 5 refused")
        expect(rows).to_have_count(1)
        expect(rows.locator("th")).to_contain_text("12:00 AM")
        # In forced colors, the bars have the color of the text.
        page.emulate_media(forced_colors="active")
        colors = page.evaluate(
            "['#usage-drawing svg', '#usage-drawing .base', '#usage-summary'].map((selector) =>"
            " getComputedStyle(document.querySelector(selector)).color)"
        )
        assert len(set(colors)) == 1
        dialog.get_by_role("button", name="Close").click()

        # A user without usage has no chart.
        page.goto(f"{admin.url}#users?user={keys.blog.id}")
        expect(page.locator("#usage-summary")).to_have_text("No requests in 30 days.")
        expect(dialog.get_by_role("img")).to_have_count(0)


def test_the_list_and_the_details_work_without_usage(open_page: OpenPage, installation: Installation) -> None:
    keys = installation.latch.create_sites_and_users()
    with open_page(sign_in=False) as admin:
        admin.page.route("**/usage?**", lambda route: route.abort())
        admin.sign_in()
        admin.users.expect_count(5)
        expect(admin.users.error).to_be_empty()
        admin.page.goto(f"{admin.url}#users?user={keys.shop.id}")
        expect(admin.page.locator("#usage-error")).not_to_be_empty()
        expect(admin.page.get_by_text("Entries in the audit log")).to_be_visible()
        admin.console_errors.clear()  # the browser logs failed requests


def test_users_are_filtered_by_expiry(open_page: OpenPage, installation: Installation) -> None:
    keys = installation.latch.create_sites_and_users()
    for user, expiry in ((keys.shop, "3 days"), (keys.blog, "-3 days"), (keys.acme, "300 days")):
        installation.execute(
            "UPDATE sitelatch.api_users SET name = $2::text, expires_at = now() + $2::text::interval WHERE id = $1",
            user.id,
            expiry,
        )
    with open_page() as admin:
        admin.users.use_filter.select_option("Expires within 30 days")
        admin.users.expect_count(1)
        assert admin.users.names() == ["3 days"]
        admin.users.use_filter.select_option("Expired")
        expect(admin.users.row("-3 days")).to_be_visible()
        admin.users.expect_count(1)
        assert "use=expired" in admin.page.url
        admin.page.reload()
        expect(admin.users.row("-3 days")).to_be_visible()
        admin.users.expect_count(1)
