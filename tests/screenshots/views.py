"""The views of the admin page that `make screenshots` shows, each with the steps that lead there."""

from collections.abc import Callable, Mapping
from typing import Final

from playwright.sync_api import expect

from tests.acceptance.page.admin_page import AdminPage
from tests.screenshots.demo_data import EMPTY

Steps = Callable[[AdminPage], None]


def _users(admin: AdminPage) -> None:
    expect(admin.rows("API Users").first).to_be_visible()


def _users_of_one_workspace(admin: AdminPage) -> None:
    _users(admin)
    admin.select_workspace("acme")
    expect(admin.page.get_by_text("in acme", exact=True)).to_have_count(0)


def _last_row(admin: AdminPage) -> None:
    _users(admin)
    admin.page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")


def _revealed_key(admin: AdminPage) -> None:
    _users(admin)
    admin.users.show_key_buttons().first.click()
    expect(admin.page.get_by_role("button", name="Hide key")).to_be_visible()


def _sites_of_a_user(admin: AdminPage) -> None:
    _users(admin)
    admin.users.more_sites(admin.page.locator("#users-rows")).first.click()
    expect(admin.users.site_popover).to_be_visible()


def _nothing_found(admin: AdminPage) -> None:
    admin.users.search("nothing like it")
    expect(admin.page.get_by_text("No API user matches")).to_be_visible()


def _empty_workspace(admin: AdminPage) -> None:
    _users(admin)
    admin.select_workspace(EMPTY)
    expect(admin.users.empty).to_be_visible()


def _try_request(admin: AdminPage) -> None:
    _users(admin)
    admin.page.get_by_role("button", name="Try a request").click()
    admin.page.locator("#try-url").fill("/api/sites/shop/uptime")
    admin.page.locator("#try-submit").click()
    expect(admin.page.locator("#try-verdict")).to_be_visible()


def _create(admin: AdminPage) -> None:
    _users(admin)
    admin.create_dialog.open()
    expect(admin.create_dialog.sites.first).to_be_visible()


def _create_for_selected_sites(admin: AdminPage) -> None:
    _create(admin)
    create = admin.create_dialog
    create.name.fill("Nightly export")
    create.search_field.fill("shop")
    expect(create.sites).to_have_count(13)
    for number in range(5):
        create.sites.nth(number).check()


def _create_with_pasted_sites(admin: AdminPage) -> None:
    _create(admin)
    create = admin.create_dialog
    create.paste_list_button.click()
    create.list_field.fill("shop; blog; docs; shpo; store-001 store-002\nmarketing.acme.example")
    create.add_list_button.click()
    expect(create.list_error).to_be_visible()


def _create_for_all_sites(admin: AdminPage) -> None:
    _create(admin)
    admin.create_dialog.all_sites.check()


def _create_without_sites(admin: AdminPage) -> None:
    _create(admin)
    admin.create_dialog.create_button.click()


def _created(admin: AdminPage) -> None:
    _create(admin)
    admin.create_dialog.name.fill("Nightly export")
    admin.create_dialog.sites.first.check()
    admin.create_dialog.create_button.click()
    expect(admin.create_dialog.created_title).to_be_visible()


def _user(admin: AdminPage) -> None:
    _users(admin)
    admin.users.rows.nth(1).get_by_role("link").first.click()
    expect(admin.dialog.root).to_be_visible()


def _edit(admin: AdminPage) -> None:
    _user(admin)
    admin.page.locator("#user-edit").click()
    expect(admin.page.locator("#picker li").first).to_be_visible()


def _rotate(admin: AdminPage) -> None:
    _user(admin)
    admin.page.locator("#user-rotate").click()
    expect(admin.page.locator("#rotate-form")).to_be_visible()


def _import_keys(admin: AdminPage) -> None:
    _users(admin)
    admin.page.locator("#import-keys").click()
    expect(admin.page.locator("#keys-form")).to_be_visible()


def _delete(admin: AdminPage) -> None:
    _users(admin)
    admin.users.delete_button(admin.users.rows.nth(1)).click()
    expect(admin.dialog.root).to_be_visible()


def _sites(admin: AdminPage) -> None:
    admin.open("Sites")
    expect(admin.rows("Sites").first).to_be_visible()


def _no_sites(admin: AdminPage) -> None:
    _sites(admin)
    admin.select_workspace(EMPTY)
    expect(admin.sites.empty).to_be_visible()


def _site_dialog(button: str) -> Steps:
    def open_dialog(admin: AdminPage) -> None:
        _sites(admin)
        admin.page.get_by_role("button", name=button).first.click()
        expect(admin.dialog.root).to_be_visible()

    return open_dialog


def _preview(content: bytes) -> Steps:
    def show_preview(admin: AdminPage) -> None:
        _sites(admin)
        admin.sites.preview_csv(content)
        expect(admin.sites.import_summary).to_be_visible()

    return show_preview


def _audit(admin: AdminPage) -> None:
    admin.open("Audit")
    expect(admin.rows("Audit").first).to_be_visible()


def _new_workspace(admin: AdminPage) -> None:
    _users(admin)
    admin.start_creating_workspace()
    expect(admin.dialog.root).to_be_visible()


def _workspace_menu(admin: AdminPage) -> None:
    _users(admin)
    admin.workspace_button.click()
    expect(admin.workspace_choices.first).to_be_visible()


def _person_menu(admin: AdminPage) -> None:
    _users(admin)
    admin.account_button.click()
    expect(admin.person).to_be_visible()


def _loading(admin: AdminPage) -> None:
    _users(admin)
    admin.page.route("**/admin/sites?*", lambda route: None)
    admin.open("Sites")


def _outage(admin: AdminPage) -> None:
    _users(admin)
    admin.page.route("**/admin/users?*", lambda route: route.fulfill(status=503, json={}))
    admin.open("API Users")
    expect(admin.outage).to_be_visible()


VIEWS: Final[Mapping[str, Steps]] = {
    "users": _users,
    "users-of-one-workspace": _users_of_one_workspace,
    "users-last-row": _last_row,
    "users-revealed-key": _revealed_key,
    "users-sites": _sites_of_a_user,
    "users-nothing-found": _nothing_found,
    "users-empty-workspace": _empty_workspace,
    "try-request": _try_request,
    "create": _create,
    "create-selected-sites": _create_for_selected_sites,
    "create-pasted-sites": _create_with_pasted_sites,
    "create-all-sites": _create_for_all_sites,
    "create-without-sites": _create_without_sites,
    "user": _user,
    "user-edit": _edit,
    "user-rotate": _rotate,
    "import-keys": _import_keys,
    "delete": _delete,
    "sites": _sites,
    "sites-empty-workspace": _no_sites,
    "site-add": _site_dialog("Add site"),
    "site-import": _site_dialog("Import CSV"),
    "site-import-preview": _preview(
        b"Site;Owner;Workspace;Name\nmarket;x;acme;Market\nkiosk;x;stalls;B\xfcdchen am Park\nbooth;x;stalls;\n"
    ),
    "site-import-errors": _preview(
        b"site,workspace\nmarket,acme\nexample.com/blog,acme\nkiosk,\nBooth,acme\nbooth,acme\n"
    ),
    "site-rename": _site_dialog("Rename"),
    "site-remove": _site_dialog("Remove"),
    "audit": _audit,
    "new-workspace": _new_workspace,
    "created": _created,
    "workspace-menu": _workspace_menu,
    "person-menu": _person_menu,
    "loading": _loading,
    "outage": _outage,
}
"""By the name of the image. Each begins on the signed-in page. The last one adds an API user to the list."""
