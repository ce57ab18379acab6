"""Recovery of the admin page from lost responses, ended sessions and concurrent changes."""

import pytest
from playwright.sync_api import expect

from admin.key_encryption import new_secret
from tests.acceptance.browser import Visit
from tests.acceptance.harness import ADMIN_TOKEN
from tests.acceptance.page.admin_page import SESSION_ENDED, UNREACHABLE, AdminPage, OpenPage
from tests.acceptance.page.dialogs import KEY
from tests.acceptance.page.installation import BEN_TOKEN, Installation
from tests.acceptance.page.lists import ListView
from tests.acceptance.page.network import lose_response


def test_a_retry_after_a_lost_response_creates_no_second_user(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        create = admin.create_dialog
        admin.users.expect_count(5)
        create.fill(sites=["shop"], name="Once")
        lose_response(admin.page, "**/admin/users", "POST")
        create.create_button.click()
        expect(create.text(UNREACHABLE)).to_be_visible()
        create.create_button.click()
        expect(create.text("cannot be shown again")).to_be_visible()
        expect(create.key).to_be_hidden()
        admin.screenshot("14-lost")
        create.button("Delete it and create it again").click()
        key = create.created_key()
        assert installation.status("shop", key) == 200
        create.done()
        expect(admin.users.row("Once")).to_have_count(1)
        admin.users.expect_count(6)
        admin.console_errors[:] = [error for error in admin.console_errors if "ERR_CONNECTION_RESET" not in error]


@pytest.mark.parametrize("refusal", ["the session ends", "the first request is in progress"])
def test_a_refused_retry_after_a_lost_response_creates_no_second_user(
    open_page: OpenPage, installation: Installation, refusal: str
) -> None:
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        create = admin.create_dialog
        create.fill(all_sites=True, name="Once")
        lose_response(admin.page, "**/admin/users", "POST")
        create.create_button.click()
        expect(create.text(UNREACHABLE)).to_be_visible()
        if refusal == "the session ends":
            admin.lose_session()
            create.create_button.click()
            expect(admin.page.get_by_text(SESSION_ENDED)).to_be_visible()
            admin.sign_in()
        else:
            problem = {"detail": "In progress.", "code": "idempotency_key_in_use"}
            admin.page.route("**/admin/users", lambda route: route.fulfill(status=409, json=problem), times=1)
            create.create_button.click()
            expect(create.text("In progress.")).to_be_visible()
        create.create_button.click()
        expect(create.text("cannot be shown again")).to_be_visible()
        create.done()
        expect(admin.users.row("Once")).to_have_count(1)
        admin.console_errors.clear()


def test_a_recoverable_key_is_shown_after_a_lost_response(open_page: OpenPage, installation: Installation) -> None:
    installation.configure_admin(recoverable_keys=new_secret())
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        create = admin.create_dialog
        create.fill(all_sites=True)
        lose_response(admin.page, "**/admin/users", "POST")
        create.create_button.click()
        expect(create.text(UNREACHABLE)).to_be_visible()
        create.create_button.click()
        key = create.created_key()
        assert installation.status("shop", key) in (200, 403)
        create.done()
        # Later requests with an equal body create further users.
        for _ in range(2):
            create.create(all_sites=True)
            create.done()
        admin.users.expect_count(8)
        admin.console_errors[:] = [error for error in admin.console_errors if "ERR_CONNECTION_RESET" not in error]


@pytest.mark.parametrize("kind", ["API user", "site"])
def test_a_deletion_whose_response_was_lost_can_be_retried(
    open_page: OpenPage, installation: Installation, kind: str
) -> None:
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        if kind == "site":
            admin.open("Sites")
            items: ListView = admin.sites
            count = 4
            button, verb = admin.sites.remove_button("docs"), "Remove"
        else:
            items, count = admin.users, 5
            button, verb = admin.users.delete_button(admin.users.rows.first), "Delete"
        items.expect_count(count)
        button.click()
        lose_response(admin.page, "**/admin/*/*", "DELETE")
        admin.dialog.submit(verb)
        expect(admin.dialog.text(UNREACHABLE)).to_be_visible()
        admin.dialog.submit(verb)
        admin.dialog.expect_closed()
        items.expect_count(count - 1)
        admin.console_errors.clear()


def test_a_created_workspace_is_selected_even_if_the_lists_cannot_be_loaded(
    open_page: OpenPage, installation: Installation
) -> None:
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        admin.users.expect_count(5)
        for path in ("workspaces", "users", "sites"):
            lose_response(admin.page, f"**/admin/{path}?*", "GET")
        lose_response(admin.page, "**/admin/workspaces", "GET")
        admin.create_workspace("initech")
        expect(admin.toast).to_have_text("Created the workspace initech.")
        expect(admin.workspace).to_have_text("initech")
        admin.console_errors.clear()


def test_a_workspace_whose_response_was_lost_can_be_selected(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        admin.start_creating_workspace()
        admin.dialog.field("Name").fill("initech")
        lose_response(admin.page, "**/admin/workspaces", "POST")
        admin.dialog.submit("Create workspace")
        expect(admin.dialog.text(UNREACHABLE)).to_be_visible()
        admin.dialog.submit("Create workspace")
        expect(admin.dialog.error("initech")).to_be_visible()
        admin.dialog.cancel()
        admin.select_workspace("initech")
        admin.console_errors.clear()


def test_an_import_succeeds_even_if_the_workspaces_cannot_be_reloaded(
    open_page: OpenPage, installation: Installation
) -> None:
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        admin.open("Sites")
        lose_response(admin.page, "**/admin/workspaces?*", "GET")
        admin.sites.import_csv(b"site,workspace\nnew,acme\n", sites=1)
        admin.dialog.expect_closed()
        expect(admin.toast).to_have_text("1 added, 0 renamed, 0 unchanged.")
        admin.console_errors.clear()


def test_a_page_that_cannot_be_loaded_leaves_the_current_one(open_page: OpenPage, installation: Installation) -> None:
    installation.create_users(60)
    with open_page() as admin:
        admin.users.expect_count(50)
        lose_response(admin.page, "**/admin/users?*", "GET")
        admin.users.next_page()
        expect(admin.outage).to_be_visible()
        admin.users.next_page()
        admin.users.expect_range("51–60 of 60")
        admin.users.expect_count(10)
        admin.console_errors.clear()


def test_the_remaining_sites_of_a_user_can_be_loaded_again(open_page: OpenPage, installation: Installation) -> None:
    sites = [f"many-{number:02}" for number in range(30)]
    installation.import_sites("site,workspace\n" + "".join(f"{site},large\n" for site in sites))
    installation.latch.create_user("large", *sites)
    with open_page() as admin:
        lose_response(admin.page, "**/admin/users/*", "GET")
        more, popover = admin.users.more_sites(admin.users.rows.first), admin.users.site_popover
        more.click()
        expect(popover.get_by_role("alert")).to_have_text(UNREACHABLE)
        more.click()
        expect(popover).to_be_hidden()
        more.click()
        expect(popover.get_by_role("listitem")).to_have_count(30)
        expect(popover.get_by_role("alert")).to_have_count(0)
        admin.console_errors.clear()


def test_views_and_the_site_picker_can_be_loaded_again(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        create = admin.create_dialog
        lose_response(admin.page, "**/admin/sites?*", "GET")
        create.open()
        expect(create.text(UNREACHABLE)).to_be_visible()
        create.button("Try again").click()
        expect(create.sites).to_have_count(3)
        expect(create.search_field).to_be_focused()
        expect(create.text("cannot be reached")).to_be_hidden()
        create.cancel()
        for view, path in (("Sites", "**/admin/sites?*"), ("Audit", "**/admin/audit?*")):
            lose_response(admin.page, path, "GET")
            link = admin.page.get_by_role("link", name=view, exact=True)
            section = admin.page.locator(f"#{view.lower()}")
            link.click()
            expect(admin.outage).to_be_visible()
            link.click()
            expect(section.locator("tbody tr").first).to_be_visible()
            expect(admin.outage).to_be_hidden()
        admin.console_errors.clear()


def test_input_survives_the_end_of_the_session(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        create = admin.create_dialog
        create.fill(sites=["shop"], name="Nightly export", workspace="acme")
        admin.lose_session()
        create.create_button.click()
        expect(admin.page.get_by_text(SESSION_ENDED)).to_be_visible()
        create.expect_closed()
        admin.sign_in()
        expect(create.name).to_have_value("Nightly export")
        expect(create.selected_site("shop")).to_be_visible()
        create.create_button.click()
        create.created_key()
        create.done()
        expect(admin.users.row("Nightly export")).to_have_count(1)


@pytest.mark.parametrize("is_same_person", [True, False], ids=["the same person", "another person"])
def test_a_tab_continues_with_a_new_session_only_if_it_is_for_the_same_person(
    open_page: OpenPage, installation: Installation, is_same_person: bool
) -> None:
    installation.add_ben()
    installation.create_users(1)
    with open_page() as admin:
        create = admin.create_dialog
        create.fill(all_sites=True, name="Typed before")
        tab = AdminPage(Visit(admin.page.context.new_page()), admin.url)
        tab.page.goto(admin.url)
        tab.sign_out()
        tab.sign_in(ADMIN_TOKEN if is_same_person else BEN_TOKEN)
        create.create_button.click()
        if is_same_person:
            expect(create.created_title).to_be_visible()
        else:
            expect(create.text("Reload the page")).to_be_visible()
        with installation.latch.admin_client() as client:
            assert len(client.get("/users").json()["items"]) == 1 + is_same_person


def test_renaming_a_removed_site_does_not_recreate_it(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.create_sites_and_users()
    with open_page("#sites") as admin, installation.latch.admin_client() as client:
        admin.sites.rename_button("shop").click()
        client.delete("/sites/shop").raise_for_status()
        admin.dialog.field("Name").fill("Our shop")
        admin.dialog.submit("Rename")
        expect(admin.dialog.error('The site "shop" does not exist')).to_be_visible()
        assert client.get("/sites/shop").status_code == 404


@pytest.mark.parametrize("view", ["users", "sites"])
def test_a_workspace_created_by_another_admin_can_be_selected(
    open_page: OpenPage, installation: Installation, view: str
) -> None:
    installation.create_users(1)
    with open_page() as admin:
        admin.users.expect_count(1)
        installation.import_sites("site,workspace\nwiki,globex\n")
        installation.latch.create_user("globex", all_sites=True)
        admin.open("Sites" if view == "sites" else "API Users")
        (admin.sites if view == "sites" else admin.users).expect_count(2)
        admin.workspace_button.click()
        expect(admin.workspace_choices).to_have_text(["All workspaces", "acme", "globex"])
        admin.page.keyboard.press("Escape")
        if view == "users":
            expect(admin.users.row("in globex")).to_be_visible()
            expect(admin.users.row("in acme")).to_be_visible()


def test_a_key_that_is_shown_once_survives_an_accidental_reload(
    open_page: OpenPage, installation: Installation
) -> None:
    installation.create_users(1)
    with open_page() as admin:
        create = admin.create_dialog
        key = create.create(all_sites=True)
        assert KEY.fullmatch(key)
        with admin.page.expect_event("dialog") as question:
            admin.page.close(run_before_unload=True)
        assert question.value.type == "beforeunload"
        question.value.dismiss()
        assert create.key.input_value() == key
        create.done()
        expect(admin.page.get_by_role("dialog")).to_have_count(0)
        with admin.page.expect_event("close"):
            admin.page.close(run_before_unload=True)
