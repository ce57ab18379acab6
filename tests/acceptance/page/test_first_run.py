"""The first run: three steps lead to the first API user. Every empty list says what to do next."""

from playwright.sync_api import expect

from tests.acceptance.browser import DESKTOP
from tests.acceptance.page.admin_page import AdminPage, OpenPage
from tests.acceptance.page.installation import Installation

WIDTHS = (360, 768, 1280, 1920)


def expect_one_primary_button(admin: AdminPage, name: str) -> None:
    """Expect that the next step has the only primary button, at all widths."""
    primary = admin.page.locator("#signed-in button.primary:visible")
    for width in WIDTHS:
        admin.page.set_viewport_size({"width": width, "height": 800})
        expect(primary).to_have_text([name])
        expect(primary).to_be_in_viewport(ratio=1)
        assert admin.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
    admin.page.set_viewport_size(DESKTOP)


def test_three_steps_lead_to_the_first_api_user(open_page: OpenPage, installation: Installation) -> None:
    with open_page() as admin:
        users, dialog, page = admin.users, admin.dialog, admin.page
        expect(users.no_users).to_be_visible()
        expect(users.steps_done).to_have_count(0)
        expect_one_primary_button(admin, "Create workspace")
        admin.screenshot("17-first-run")
        users.next_step.get_by_role("button", name="Create workspace").click()
        dialog.field("Name").fill("acme")
        dialog.submit("Create workspace")

        expect(users.steps_done).to_have_count(1)
        expect(users.steps_done).to_contain_text("acme")
        expect_one_primary_button(admin, "Add site")
        # A list of sites is a way, too.
        users.next_step.get_by_role("button", name="Import CSV").click()
        expect(dialog.field("Workspace of lines")).to_have_value("acme")
        dialog.cancel()
        users.next_step.get_by_role("button", name="Add site").click()
        dialog.field("Site", exact=True).fill("shop")
        dialog.submit("Add site")

        expect(users.steps_done).to_have_count(2)
        expect_one_primary_button(admin, "Create first API User")
        admin.screenshot("18-third-step")
        users.next_step.get_by_role("button").click()
        create = admin.create_dialog
        create.site("shop").check()
        create.create_button.click()
        create.created_key()
        create.done()
        users.expect_count(1)
        expect(users.no_users).to_be_hidden()
        expect(users.create_button).to_be_focused()
        expect_one_primary_button(admin, "Create API User")

        # The steps return with the last API user gone.
        users.delete_button(users.rows.first).click()
        dialog.submit("Delete")
        expect(users.no_users).to_be_visible()
        expect(users.next_step).to_contain_text("API user")

        # An import completes the second step, too.
        installation.create_workspaces("globex")
        page.reload()
        admin.select_workspace("globex")
        expect(users.steps_done).to_have_count(1)
        users.next_step.get_by_role("button", name="Import CSV").click()
        admin.sites.choose_csv(b"wiki\nforum\n")
        dialog.submit("Preview")
        admin.sites.import_file_button(2).click()
        expect(users.steps_done).to_have_count(2)


def test_every_empty_list_says_what_to_do_next(open_page: OpenPage, installation: Installation) -> None:
    with open_page("#sites") as admin:
        sites, page = admin.sites, admin.page
        sites.empty.get_by_role("button", name="Create workspace").click()
        admin.dialog.field("Name").fill("acme")
        admin.dialog.submit("Create workspace")
        expect(sites.empty).to_contain_text(
            "Add the first one with Add site, or import a list of sites with Import CSV."
        )
        sites.search_field.fill("nothing like it")
        expect(sites.empty).to_contain_text("No site matches “nothing like it”.")
        installation.import_sites("site,workspace\nshop,acme\n")
        sites.empty.get_by_role("button", name="Show all sites").click()
        expect(sites.search_field).to_be_focused()
        sites.expect_count(1)
        admin.open("API Users")
        admin.users.search("nothing like it")
        page.get_by_role("button", name="Show all API users").click()
        expect(admin.users.no_users).to_be_visible()
