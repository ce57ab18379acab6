"""The lists and dialogs of the admin page: pages, search, messages, validation and the example command."""

import shlex
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from admin.api.site_id_rules import FORBIDDEN
from tests.acceptance.page.admin_page import OpenPage
from tests.acceptance.page.installation import BEN_TOKEN, Installation
from tests.acceptance.page.network import slow_down, stopped_clock


def test_the_all_sites_example_uses_a_site_in_the_workspace(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        create = admin.create_dialog
        key = create.create(all_sites=True, workspace="globex")
        url = shlex.split(create.example.input_value())[-1]
        assert urlsplit(url).path == "/api/sites/wiki/"
        assert installation.status("wiki", key) == 200


def test_the_example_does_not_expand_placeholders_in_site_ids(open_page: OpenPage, installation: Installation) -> None:
    site = "{basic}$$'$&"
    installation.latch.tables["proxy"]["routes"][0]["sites"] = ["header:X-Site"]
    installation.restart()
    installation.import_sites(f"site,workspace\n{site},acme\n")
    with open_page() as admin:
        create = admin.create_dialog
        create.open()
        create.sites.check()
        create.create_button.click()
        expect(create.created_title).to_be_visible()
        assert f"X-Site: {site}" in shlex.split(create.example.input_value())


def test_deleting_the_last_user_of_a_page_shows_the_previous_page(
    open_page: OpenPage, installation: Installation
) -> None:
    installation.create_users(51)
    with open_page() as admin:
        admin.users.expect_count(50)
        admin.users.next_page()
        admin.users.expect_count(1)
        admin.users.delete_button(admin.users.rows.first).click()
        admin.dialog.submit("Delete")
        admin.users.expect_count(50)
        expect(admin.users.no_users).to_be_hidden()


def test_a_double_click_on_next_turns_only_one_page(open_page: OpenPage, installation: Installation) -> None:
    installation.create_users(120)
    with open_page() as admin:
        first = admin.users.rows.first
        expect(first).to_contain_text("User 119")
        slow_down(admin.page)
        admin.users.next_button.dblclick()
        expect(first).to_contain_text("User 069")
        admin.users.expect_range("51–100 of 120")
        admin.users.previous_page()
        expect(first).to_contain_text("User 119")


def test_a_search_for_a_key_does_not_put_the_key_into_a_url(open_page: OpenPage, installation: Installation) -> None:
    key = installation.latch.create_sites_and_users().shop.key
    urls: list[str] = []
    with open_page() as admin:
        admin.users.expect_count(5)
        admin.page.on("request", lambda request: urls.append(request.url))
        admin.users.search(f" {key} ")
        admin.users.expect_count(1)
        [searched] = [url for url in urls if "/users?" in url]
        assert parse_qs(urlsplit(searched).query)["search"] == [key[:8]]
        assert not [url for url in urls if key in url]


def test_errors_of_a_search_are_shown(open_page: OpenPage) -> None:
    with open_page() as admin:
        admin.users.search("x" * 201)
        expect(admin.page.get_by_text("must have at most 200 characters")).to_be_visible()


def test_a_new_user_is_listed_despite_an_earlier_search(open_page: OpenPage, installation: Installation) -> None:
    installation.create_users(2)
    with open_page() as admin:
        admin.users.search("User 001")
        admin.users.expect_count(1)
        admin.create_dialog.open()
        admin.create_dialog.cancel()
        admin.users.expect_count(1)
        admin.create_dialog.create(all_sites=True, name="Another")
        admin.create_dialog.done()
        expect(admin.users.rows.first).to_contain_text("Another")
        admin.users.expect_count(3)


def test_a_new_user_comes_first_despite_workspace_and_order(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        admin.select_workspace("acme")
        admin.users.expect_count(4)
        admin.users.sort_by("Created")
        for workspace, count in (("acme", 5), ("globex", 2)):
            admin.create_dialog.create(all_sites=True, name=f"Another of {workspace}", workspace=workspace)
            admin.create_dialog.done()
            admin.users.expect_count(count)
            expect(admin.users.rows.first).to_contain_text(f"Another of {workspace}")
            expect(admin.workspace).to_have_text(workspace)


def test_the_next_step_depends_on_the_selected_workspace(open_page: OpenPage, installation: Installation) -> None:
    installation.import_sites("site,workspace\nshop,acme\n")
    installation.create_workspaces("bare")
    with open_page() as admin:
        for workspace, step in (("bare", "Add site"), ("acme", "Create first API User"), ("bare", "Add site")):
            with admin.page.expect_response(lambda response: "/admin/users" in response.url):
                admin.select_workspace(workspace)
            expect(admin.users.next_step.get_by_role("button", name=step)).to_be_visible()
            expect(admin.users.no_users).to_be_visible()


@pytest.mark.parametrize("fragment", ["constructor", "__proto__", "toString", "nothing"])
def test_an_unknown_url_fragment_shows_the_users(open_page: OpenPage, fragment: str) -> None:
    with open_page(f"#{fragment}") as admin:
        expect(admin.page).to_have_title("API Users · Sitelatch")


def test_the_result_of_copying_is_shown(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        admin.create_dialog.create(all_sites=True)
        button = admin.create_dialog.copy_button
        with stopped_clock(admin.page):
            button.dblclick()
            expect(button).to_have_text("Copied")
            admin.page.clock.run_for(1600)
            expect(button).to_have_text("Copy key")
        admin.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
        button.click()
        expect(admin.toast).to_have_text("The browser does not allow copying here. Select the text and copy it.")
        expect(admin.toast).to_be_in_viewport(ratio=1)


def test_the_result_of_an_import_is_shown_and_announced(open_page: OpenPage) -> None:
    with open_page("#sites") as admin:
        admin.sites.import_csv(b"site,workspace\nshop,acme\ndocs,acme\n", sites=2, create_workspaces=True)
        expect(admin.toast).to_have_text("2 added, 0 renamed, 0 unchanged.")
        expect(admin.toast).to_be_in_viewport(ratio=1)
        expect(admin.page.get_by_role("status").filter(has_text="2 added")).to_be_attached()


@pytest.mark.parametrize("site", [".", "..", "example.com/blog", "100%", "a\\b"])
def test_the_page_refuses_an_invalid_id_with_the_message_of_the_api(
    open_page: OpenPage, installation: Installation, site: str
) -> None:
    installation.create_workspaces("acme")
    with installation.latch.admin_client() as client:
        refused = client.post("/sites", json={"csv": f"site,workspace\n{site},acme\n"}).json()["errors"][0]["detail"]
    with open_page("#sites") as admin:
        admin.sites.start_adding(site)
        for character in FORBIDDEN:
            expect(admin.dialog.root.get_by_text("It must not contain any of")).to_contain_text(character)
        error = admin.dialog.root.get_by_role("alert")
        expect(error).not_to_be_empty()
        assert refused == f"Line 2: {error.text_content()}"


def test_the_new_workspace_dialog_suggests_the_missing_workspaces_of_a_limited_admin(
    open_page: OpenPage, installation: Installation
) -> None:
    installation.add_ben(workspaces=["one", "two"])
    with open_page(sign_in=False) as admin:
        admin.sign_in(BEN_TOKEN)
        name = admin.dialog.field("Name")
        admin.users.empty.get_by_role("button", name="Create workspace").click()
        expect(name).to_have_value("one")
        admin.dialog.submit("Create workspace")
        expect(admin.toast).to_have_text("Created the workspace one.")
        admin.start_creating_workspace()
        expect(name).to_have_value("two")
        admin.dialog.submit("Create workspace")
        admin.workspace_button.click()
        expect(admin.workspace_choices).to_have_text(["All workspaces", "one", "two"])
        expect(admin.new_workspace_button).to_be_hidden()
        expect(admin.workspace).to_have_text("two")


def test_a_dialog_reopened_before_its_close_event_still_moves_the_focus(
    open_page: OpenPage, installation: Installation
) -> None:
    installation.create_users(1)
    with open_page() as admin:
        admin.users.delete_button(admin.users.rows.first).focus()
        admin.page.keyboard.press("Enter")
        expect(admin.dialog.button("Cancel")).to_be_focused()
        # Reopen the dialog before its `close` event is dispatched.
        admin.page.evaluate(
            "document.querySelector('#confirm').close(); document.querySelector('#users-rows .remove').click()"
        )
        admin.dialog.submit("Delete")
        admin.users.expect_count(0)
        expect(admin.heading("API Users")).to_be_focused()
