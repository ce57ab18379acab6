"""The dialog "Try a request" of the admin page."""

from playwright.sync_api import expect

from tests.acceptance.page.admin_page import OpenPage
from tests.acceptance.page.installation import Installation


def test_a_request_is_decided_as_an_api_user_and_with_a_pasted_key(
    open_page: OpenPage, installation: Installation
) -> None:
    keys = installation.latch.create_sites_and_users()
    with open_page(f"#users?user={keys.shop.id}") as admin:
        dialog = admin.dialog
        tried = admin.page.locator("#try-dialog")
        verdict = tried.locator("#try-verdict")
        admin.page.locator("#user-dialog").get_by_role("button", name="Try a request").click()
        url = tried.get_by_label("URL")
        url.fill("/api/sites/shop/uptime")
        url.press("Enter")
        expect(verdict).to_have_text("Passes")
        expect(dialog.text("The key's scope covers every named site.")).to_be_visible()
        url.fill("/api/sites/blog/uptime")
        dialog.submit("Try")
        expect(verdict).to_have_text("Refused: 403 site_not_allowed")
        expect(dialog.text("The key's scope does not contain the site 'blog'.")).to_be_visible()

        tried.get_by_label("Key", exact=True).select_option("A key that I paste")
        tried.get_by_label("API key", exact=True).fill(keys.blog.key)
        tried.get_by_label("Headers").fill("Accept: text/csv\n\nnonsense")
        dialog.submit("Try")
        expect(dialog.error("A header must be a line NAME: VALUE.")).to_be_visible()
        tried.get_by_label("Headers").fill("Accept: text/csv\n")
        with admin.page.expect_response("**/admin/explain") as sent:
            dialog.submit("Try")
        expect(verdict).to_have_text("Passes")
        assert keys.blog.key not in sent.value.url + admin.page.url + sent.value.text()

        # The key is forgotten with the dialog.
        tried.get_by_role("button", name="Close").click()
        admin.page.locator("#user-dialog").get_by_role("button", name="Close").click()
        admin.page.get_by_role("button", name="Try a request").click()
        assert tried.get_by_label("API key").input_value() == ""
        assert keys.blog.key not in installation.latch.output.read_text()


def test_the_clients_address_decides_for_an_api_user_that_is_limited_to_networks(
    open_page: OpenPage, installation: Installation
) -> None:
    keys = installation.latch.create_sites_and_users()
    with installation.latch.admin_client() as client:
        client.patch(f"/users/{keys.shop.id}", json={"networks": ["10.0.0.0/8"]}).raise_for_status()
    with open_page(f"#users?user={keys.shop.id}") as admin:
        tried = admin.page.locator("#try-dialog")
        verdict = tried.locator("#try-verdict")
        admin.page.locator("#user-dialog").get_by_role("button", name="Try a request").click()
        tried.get_by_label("URL").fill("/api/sites/shop/uptime")
        for address, shown in (
            ("", "Undecided"),
            ("192.0.2.7", "Refused: 403 network_not_allowed"),
            ("10.1.2.3", "Passes"),
        ):
            tried.get_by_label("Client’s address").fill(address)
            admin.dialog.submit("Try")
            expect(verdict).to_have_text(shown)
        tried.get_by_label("Client’s address").fill("nonsense")
        admin.dialog.submit("Try")
        expect(admin.dialog.error("The client's address must be an IP address, such as 192.0.2.7.")).to_be_visible()
