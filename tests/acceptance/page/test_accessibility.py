"""Accessibility of every view of the admin page."""

from playwright.sync_api import Browser, expect

from tests.acceptance.browser import Visit
from tests.acceptance.page.accessibility import check_accessibility, page_with_axe
from tests.acceptance.page.admin_page import AdminPage
from tests.acceptance.page.installation import Installation
from tests.acceptance.page.network import lose_response


def test_axe_finds_no_violation_in_any_view(browser: Browser, installation: Installation) -> None:
    with page_with_axe(browser) as page:
        admin = AdminPage(Visit(page), f"http://{installation.latch.admin}/admin")
        page.goto(admin.url)
        admin.sign_in()
        expect(admin.users.no_users).to_be_visible()
        check_accessibility(page, "first run")
    keys = installation.latch.create_sites_and_users()
    installation.disable_and_expire(keys)
    installation.add_usage(keys.shop.id)
    with page_with_axe(browser) as page:
        admin = AdminPage(Visit(page), f"http://{installation.latch.admin}/admin")
        create = admin.create_dialog
        page.goto(admin.url)
        expect(admin.token_field).to_be_visible()
        check_accessibility(page, "sign in")
        admin.sign_in()
        admin.users.expect_count(5)
        expect(admin.users.sparklines).to_have_count(1)
        check_accessibility(page, "users")
        page.goto(f"{admin.url}#users?user={keys.shop.id}")
        page.get_by_text("As a table").click()
        check_accessibility(page, "usage")
        page.locator("#user-dialog").get_by_role("button", name="Close").click()
        page.get_by_role("button", name="Try a request").click()
        page.locator("#try-url").fill("/api/sites/shop/x")
        page.locator("#try-submit").click()
        expect(page.locator("#try-verdict")).to_have_text("Refused: 401 missing_key")
        check_accessibility(page, "try a request")
        page.locator("#try-dialog").get_by_role("button", name="Close").click()
        create.open()
        create.sites.first.check()
        check_accessibility(page, "create")
        create.create_button.click()
        expect(create.created_title).to_be_visible()
        check_accessibility(page, "created")
        page.goto(f"{admin.url}/integrators")
        expect(page.get_by_role("heading", name="The key", exact=True)).to_be_visible()
        check_accessibility(page, "guide")
        page.goto(admin.url)
        create.open()
        create.sites.first.check()
        lose_response(page, "**/admin/users", "POST")
        create.create_button.click()
        expect(create.text("cannot be reached")).to_be_visible()
        check_accessibility(page, "no response")
        create.create_button.click()
        expect(create.text("cannot be shown again")).to_be_visible()
        check_accessibility(page, "lost response")
        create.done()
        admin.users.delete_button(admin.users.rows.first).click()
        check_accessibility(page, "delete")
        admin.dialog.cancel()
        admin.users.search("nothing like it")
        expect(page.get_by_text("No API user matches")).to_be_visible()
        check_accessibility(page, "nothing found")
        admin.open("Sites")
        admin.sites.expect_count(4)
        check_accessibility(page, "sites")
        for name in ("Add site", "Import CSV", "New workspace", "Rename shop", "Remove shop"):
            if name == "New workspace":
                admin.workspace_button.click()
            page.get_by_role("button", name=name).click()
            expect(admin.dialog.root).to_be_visible()
            check_accessibility(page, name)
            admin.dialog.cancel()
        admin.sites.preview_csv(b"site;note;workspace\nnew;x;acme\nshop;x;stalls\nkiosk;x;stalls\n")
        expect(admin.sites.import_summary).to_be_visible()
        check_accessibility(page, "import with errors")
        admin.dialog.submit("Back")
        admin.sites.choose_csv(b"site;note;workspace\nnew;x;acme\nkiosk;x;stalls\n")
        admin.dialog.submit("Preview")
        expect(admin.sites.new_workspaces).to_be_visible()
        check_accessibility(page, "import")
        admin.dialog.cancel()
        admin.open("Audit")
        expect(page.get_by_text("Created the workspace").first).to_be_visible()
        check_accessibility(page, "audit")
