"""The views of the admin page: users, keys, sites, and the guide."""

import re

from playwright.sync_api import expect

from admin.key_encryption import new_secret
from proxy.decision.api_keys import hint as hint_of
from tests.acceptance.browser import Visit
from tests.acceptance.page.admin_page import SESSION_ENDED, OpenPage
from tests.acceptance.page.installation import Installation
from tests.acceptance.page.network import stopped_clock


def test_selecting_among_5000_sites_is_quick(open_page: OpenPage, installation: Installation) -> None:
    lines = "".join(f"many-{number:04},large,\n" for number in range(5000))
    installation.import_sites(f"site,workspace,display_name\n{lines}")
    with open_page() as admin:
        dialog = admin.create_dialog
        dialog.open()
        expect(dialog.text("Showing the first 50")).to_be_visible()
        for number in (4999, 17, 2500):
            dialog.search_field.fill(f"many-{number:04}")
            dialog.search_field.press("Enter")
            expect(dialog.selected_site(f"many-{number:04}")).to_be_visible()
        dialog.search_field.fill("many-1")
        expect(dialog.sites.first).to_have_value("many-1000")
        admin.screenshot("11-many")
        dialog.create_button.click()
        expect(dialog.text("It can access 3 selected sites.")).to_be_visible()


def test_a_recoverable_key_is_shown_copied_and_audited(open_page: OpenPage, installation: Installation) -> None:
    installation.create_workspaces("acme")
    earlier = installation.latch.create_user("acme", all_sites=True)
    installation.configure_admin(recoverable_keys=new_secret())
    user = installation.latch.create_user("acme", all_sites=True)
    with open_page() as admin:
        hint = admin.users.hint(admin.users.rows.first)
        expect(hint).to_have_text(re.compile("slk_.{4}….{4}"))
        show = admin.users.show_key_buttons()
        show.click()
        expect(hint).to_have_text(user.key)
        admin.screenshot("12-shown")
        admin.page.get_by_role("button", name="Hide key").click()
        expect(hint).not_to_have_text(user.key)
        with stopped_clock(admin.page):
            admin.users.copy_key_buttons().click()
            expect(admin.page.get_by_text("Copied", exact=True)).to_be_visible()
        assert admin.clipboard() == user.key
        # The right key is shown even if an older key was added with SQL after the list was loaded.
        installation.execute(
            "INSERT INTO sitelatch.api_keys (user_id, digest, hint, created_at)"
            " VALUES ($1, sha256('other'), 'slk_aaaa…zzzz', now() - interval '1 day')",
            user.id,
        )
        show.click()
        expect(hint).to_have_text(user.key)
        # Keys created before the option was set cannot be shown.
        admin.page.reload()
        expect(admin.page.get_by_text(hint_of(earlier.key))).to_be_visible()
        expect(show).to_have_count(1)
        admin.open("Audit")
        expect(admin.page.get_by_text("Revealed the key of the API user")).to_have_count(3)


def test_sites_are_renamed_removed_and_imported(open_page: OpenPage, installation: Installation) -> None:
    installation.import_sites("site,workspace,display_name\nshop,acme,The shop\n")
    user = installation.latch.create_user("acme", "shop")
    with open_page("#sites") as admin:
        dialog = admin.dialog
        admin.sites.rename("shop", "Our shop")
        expect(admin.sites.text("Our shop")).to_be_visible()
        admin.sites.remove_button("shop").click()
        dialog.expect_text("1 API user loses access to it.")
        dialog.submit("Remove")
        expect(admin.page.get_by_text("No sites yet")).to_be_visible()
        installation.expect_status("shop", user.key, 403)
        admin.open("API Users")
        expect(admin.page.get_by_text("None (its sites were removed)")).to_be_visible()
        admin.open("Sites")
        admin.sites.import_button.click()
        dialog.cancel()
        admin.sites.import_csv(b"site,workspace\nshop,acme\ndocs,acme\n", sites=2)
        admin.sites.expect_count(2)


def test_a_new_key_comes_with_a_guide_for_integrators(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        admin.create_dialog.create(sites=["shop"])
        with admin.page.context.expect_page() as opened:
            admin.page.get_by_role("link", name="a guide to the key").click()
        guide = opened.value
        expect(guide.get_by_role("heading", name="Calling the data API with an API key")).to_be_visible()
        expect(guide.get_by_text(f"The address of the API is {installation.latch.url}.")).to_be_visible()
        guide.on("console", Visit(guide, admin.console_errors).record)
        with stopped_clock(guide):
            guide.get_by_role("button", name="Copy as text").click()
            expect(guide.get_by_role("button", name="Copied")).to_be_visible()
        copied = guide.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("# Calling the data API with an API key")
        with guide.expect_download() as download:
            guide.get_by_role("link", name="Download").click()
        assert download.value.path().read_text() == copied
        admin.screenshot("13-guide", guide)
        with admin.page.expect_download() as file:
            admin.page.get_by_role("link", name="as a file").click()
        assert file.value.path().read_text() == copied


def test_disabled_users_and_expired_keys_are_marked(open_page: OpenPage, installation: Installation) -> None:
    installation.disable_and_expire(installation.latch.create_sites_and_users())
    with open_page(sign_in=False) as admin:
        admin.page.clock.install()
        admin.page.reload()
        admin.sign_in()
        wiki, acme, blog, shop_and_blog, shop = (admin.users.rows.nth(number) for number in range(5))
        expect(shop.get_by_text("Disabled", exact=True)).to_be_visible()
        expect(blog.get_by_text("Expired", exact=True)).to_be_visible()
        expect(blog.locator("time").first).to_have_text("2 days ago")
        expect(acme.get_by_text("expires ")).to_be_visible()
        for valid in (wiki, acme, shop_and_blog):
            expect(valid.locator(".badge.off")).to_have_count(0)
        admin.screenshot("14-lapsed")
        for refused in (shop, blog):
            admin.users.delete_button(refused).click()
            admin.dialog.expect_text("is already refused. It had access to")
            admin.dialog.cancel()
        # The key of acme expires while the page is open, and the person comes back to it.
        admin.page.clock.fast_forward("03:00:00")
        admin.page.keyboard.press("Shift")
        admin.page.clock.fast_forward("00:05")
        expect(acme.get_by_text("Expired", exact=True)).to_be_visible()


def test_an_ended_session_leads_back_to_the_sign_in_form(open_page: OpenPage) -> None:
    with open_page() as admin:
        admin.lose_session()
        admin.sign_out()
        expect(admin.token_field).to_be_focused()
        admin.sign_in()
        admin.lose_session()
        admin.link("Audit").click()
        expect(admin.page.get_by_text(SESSION_ENDED)).to_be_visible()
        admin.sign_in()
        expect(admin.heading("Audit")).to_be_focused()
