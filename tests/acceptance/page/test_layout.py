"""The layout of the admin page: everything stays visible, and nothing moves unexpectedly."""

from playwright.sync_api import FloatRect, Locator, Page, expect

from admin.key_encryption import new_secret
from tests.acceptance.browser import DESKTOP, PHONE
from tests.acceptance.page.admin_page import OpenPage, View
from tests.acceptance.page.installation import Installation
from tests.acceptance.page.network import stopped_clock

LONG = "The-workspace-of-the-northern-subsidiary-and-its-customers-" + 3 * "abroad"
VIEWS: tuple[View, ...] = ("API Users", "Sites", "Audit")


def box(element: Locator) -> FloatRect:
    found = element.bounding_box()
    assert found is not None
    return found


def fits_into_width(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_columns_keep_their_positions_regardless_of_content(open_page: OpenPage, installation: Installation) -> None:
    row = f"{20 * 'long.'}example.com,{LONG},{'a long name ' * 12}"
    installation.import_sites(f"site,workspace,display_name\nshop,acme,\n{row}\n")
    with installation.latch.admin_client() as client:
        for workspace, name in (("acme", "Short"), (LONG, 20 * "unbroken")):
            user = {"workspace": workspace, "all_sites": True, "name": name}
            client.post("/users", json=user).raise_for_status()
    with open_page() as admin:
        for view in VIEWS:
            admin.open(view)
            columns = []
            for workspace, other in (("", "nobody"), ("acme", LONG), (LONG, "acme")):
                admin.select_workspace(workspace)
                expect(admin.rows(view).filter(has_text=other)).to_have_count(0)
                expect(admin.rows(view).first).to_be_visible()
                columns.append([box(heading)["x"] for heading in admin.section(view).locator("th").all()])
            assert columns[0] == columns[1] == columns[2], view


def test_a_long_workspace_name_fits_on_a_phone(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.create_sites_and_users()
    installation.create_workspaces(LONG)
    with open_page(sign_in=False) as admin:
        admin.page.set_viewport_size(PHONE)
        admin.sign_in()
        admin.users.expect_count(5)
        views: tuple[tuple[View, Locator, str], ...] = (
            ("API Users", admin.users.create_button, "Create"),
            ("Sites", admin.sites.add_button, "Add site"),
        )
        for view, opens, submits in views:
            admin.open(view)
            assert fits_into_width(admin.page)
            opens.click()
            admin.dialog.field("Workspace").select_option(LONG)
            assert admin.dialog.root.evaluate("(dialog) => dialog.scrollWidth <= dialog.clientWidth")
            expect(admin.dialog.button(submits)).to_be_in_viewport(ratio=1)
            admin.dialog.cancel()


def test_selected_sites_are_counted_and_stay_visible(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.create_sites_and_users()
    lines = "".join(f"many-{number:02},large\n" for number in range(40))
    installation.import_sites(f"site,workspace\n{lines}")
    with open_page() as admin:
        page, create = admin.page, admin.create_dialog
        create.open()
        expect(create.sites).to_have_count(3)
        before = box(create.create_button)
        create.create_button.click()
        expect(create.text("Select at least one site")).to_be_visible()
        assert box(create.create_button) == before
        create.workspace.select_option("large")
        expect(create.sites).to_have_count(40)
        for number in range(30):
            create.site(f"many-{number:02}").check()
        last = create.site("many-29")
        expect(create.text("30 selected")).to_be_visible()
        chip = create.selected_site("many-29")
        is_on_top = """(chip) => {
          const { x, y, width, height } = chip.getBoundingClientRect();
          return chip.contains(document.elementFromPoint(x + width / 2, y + height - 2));
        }"""
        for size in (DESKTOP, PHONE):
            page.set_viewport_size(size)
            last.uncheck()
            last.check()
            assert chip.evaluate(is_on_top), size
        chip.click()
        expect(create.text("29 selected")).to_be_visible()
        create.workspace.select_option("globex")
        expect(page.locator("#selected-count")).to_be_empty()

        # The key is completely visible, even on a phone.
        create.all_sites.check()
        create.create_button.click()
        expect(create.key).to_be_visible()
        is_whole = "(key) => key.scrollWidth <= key.clientWidth && key.scrollHeight <= key.clientHeight"
        for size in (DESKTOP, PHONE):
            page.set_viewport_size(size)
            assert create.key.evaluate(is_whole), size


def test_copying_and_reloading_a_view_do_not_shift_the_layout(open_page: OpenPage, installation: Installation) -> None:
    installation.configure_admin(recoverable_keys=new_secret())
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        page = admin.page
        admin.users.expect_count(5)
        rows = page.locator("#users-rows")
        show = admin.users.show_key_buttons().first
        for size in (DESKTOP, PHONE):
            page.set_viewport_size(size)
            before = (box(rows), box(show))
            with stopped_clock(page):
                admin.users.copy_key_buttons().first.click()
                expect(page.get_by_text("Copied", exact=True).first).to_be_visible()
                assert (box(rows), box(show)) == before, size
        admin.link("API Users").click()
        expect(page).to_have_url(f"{admin.url}/#users")
        admin.link("API Users").click()
        assert page.evaluate("scrollY") == 0
