"""The main user journey on the admin page, from the first sign-in to the last deletion."""

import re
import shlex
import subprocess

from playwright.sync_api import expect

from tests.acceptance.page.admin_page import OpenPage
from tests.acceptance.page.dialogs import KEY
from tests.acceptance.page.installation import Installation


def test_the_main_user_journey_works_from_first_sign_in_to_last_deletion(
    open_page: OpenPage, installation: Installation
) -> None:
    with open_page(sign_in=False) as admin:
        admin.submit_token("wrong")
        expect(admin.page.get_by_role("alert").filter(has_text="not a valid admin token")).to_be_visible()
        admin.screenshot("01-sign-in")
        admin.sign_in()
        expect(admin.page).to_have_title("API Users · Sitelatch")

        # The empty page says how to start.
        expect(admin.users.next_step).to_contain_text("Workspace")
        admin.screenshot("02-empty")
        admin.create_workspace("acme")
        expect(admin.users.no_users).to_be_visible()
        admin.open("Sites")
        for site, name in (("shop", "The shop"), ("blog", ""), ("docs", "")):
            admin.sites.add(site, name)
        admin.screenshot("03-sites")
        admin.open("API Users")
        admin.screenshot("04-no-users")

        # Create a user for selected sites.
        dialog = admin.create_dialog
        dialog.open()
        expect(dialog.all_sites).not_to_be_checked()
        dialog.create_button.click()
        expect(dialog.text("Select at least one site")).to_be_visible()
        dialog.name.fill("Nightly export")
        dialog.search_field.fill("sh")
        dialog.site("shop").check()
        dialog.search_field.fill("")
        dialog.site("docs").check()
        dialog.selected_site("docs").click()
        expect(dialog.site("docs")).not_to_be_checked()
        admin.screenshot("05-create")
        dialog.create_button.click()
        expect(dialog.text("It will not be shown again")).to_be_visible()
        admin.screenshot("06-key")
        dialog.button("Copy key").click()
        key = admin.clipboard()
        assert KEY.fullmatch(key)
        curl = dialog.example.input_value()
        for _ in range(3):
            admin.page.keyboard.press("Escape")
            expect(dialog.root).to_be_visible()  # a key that is shown once must not vanish by accident
        dialog.done()

        row = admin.users.row("Nightly export")
        for text in ("Ada Admin", "ada@example.com", "shop", "never"):
            expect(row).to_contain_text(text)
        assert key not in admin.page.content()

        # The key works for its site only, and the page shows its use.
        done = subprocess.run(
            [*shlex.split(curl), "-s", "-o", "/dev/null", "-w", "%{http_code}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "200"
        assert installation.status("shop", key) == 200
        assert installation.status("blog", key) == 403
        expect(row).to_contain_text("just now")
        expect(admin.users.last_activity(row).locator("time")).to_have_attribute("title", re.compile(r"\d{4}"))
        admin.users.delete_button(row).click()
        dialog.expect_text("It was last used just now.")
        dialog.cancel()

        # Create a user for all sites, including sites added later.
        dialog.fill(all_sites=True)
        expect(dialog.search_field).to_be_hidden()
        dialog.create_button.click()
        expect(dialog.text("all sites of acme")).to_be_visible()
        everything = dialog.created_key()
        dialog.done()
        expect(admin.page.get_by_text("All sites", exact=True)).to_be_visible()
        assert installation.status("later", everything) == 403
        admin.open("Sites")
        admin.sites.add("later")
        installation.expect_status("later", everything, 200)
        admin.open("API Users")
        expect(row).to_be_visible()
        admin.screenshot("07-users")

        # Delete: first cancel, then confirm.
        delete = admin.users.delete_button(row)
        delete.click()
        dialog.expect_text("This action cannot be undone.")
        dialog.expect_text("shop")
        admin.screenshot("08-delete")
        dialog.cancel()
        expect(delete).to_be_focused()
        assert installation.status("shop", key) == 200
        delete.click()
        dialog.submit("Delete")
        expect(row).to_have_count(0)
        installation.expect_status("shop", key, 401)
        # The next row has the focus.
        expect(admin.users.delete_button(admin.users.rows.first)).to_be_focused()

        admin.open("Audit")
        for entry in (
            "Deleted the API user Nightly export",
            "Added the site later",
            "Created the API user Nightly export",
            "Created the workspace acme",
            "127.0.0.1",
        ):
            expect(admin.audit).to_contain_text(entry)
        admin.screenshot("09-audit")

        admin.sign_out()
        expect(admin.token_field).to_be_visible()
        admin.page.reload()
        expect(admin.token_field).to_be_visible()
