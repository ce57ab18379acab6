"""The page where something goes wrong, or somebody is quicker than it: nothing is lost, hidden or shown wrongly."""

import re
import shlex
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from admin.identity.admin_tokens import token_digest
from tests.acceptance.browser import visit
from tests.acceptance.harness import ADMIN_TOKEN, Sitelatch
from tests.acceptance.page.admin_page import browser, empty_database, latch, sign_in, status, stopped_clock, url
from tests.acceptance.page.test_keyboard import slow_down

__all__ = ["browser", "empty_database", "latch"]


def lose_once(page: Page, path: str, method: str) -> None:
    """The request arrives, its answer does not."""

    lost: list[str] = []

    def lose(route: Route) -> None:
        if lost or route.request.method != method:
            route.fallback()
            return
        lost.append(route.request.url)
        route.fetch()
        route.abort("connectionreset")

    page.route(path, lose)


def make_users(latch: Sitelatch, count: int) -> None:
    with latch.admin_client() as client:
        client.post("/sites", json={"csv": "site,workspace\nshop,acme\n"}).raise_for_status()
        for number in range(count):
            wish = {"workspace": "acme", "sites": ["shop"], "name": f"User {number:03}"}
            client.post("/users", json=wish).raise_for_status()


def test_the_ready_line_for_all_sites_names_a_site_of_that_workspace(browser: Browser, latch: Sitelatch) -> None:
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        page.get_by_role("button", name="Create API User").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Workspace").select_option("globex")
        dialog.get_by_role("switch").check()
        dialog.get_by_role("button", name="Create", exact=True).click()
        expect(dialog.get_by_role("heading", name="API user created")).to_be_visible()
        asked = shlex.split(dialog.get_by_label("Try it").input_value())[-1]
        assert urlsplit(asked).path == "/api/sites/wiki/"
        assert status(latch, "wiki", dialog.get_by_label("API key", exact=True).input_value()) == 200


def test_the_ready_line_takes_a_site_for_what_it_is(browser: Browser, latch: Sitelatch) -> None:
    site = "{basic}$$'$&"
    latch.stop()
    latch.tables["proxy"]["routes"][0]["sites"] = ["header:X-Site"]
    latch.start()
    with latch.admin_client() as client:
        client.post("/sites", json={"csv": f"site,workspace\n{site},acme\n"}).raise_for_status()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        page.get_by_role("button", name="Create API User").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("checkbox").check()
        dialog.get_by_role("button", name="Create", exact=True).click()
        expect(dialog.get_by_role("heading", name="API user created")).to_be_visible()
        assert f"X-Site: {site}" in shlex.split(dialog.get_by_label("Try it").input_value())


def test_the_last_user_of_a_page_leaves_no_empty_page(browser: Browser, latch: Sitelatch) -> None:
    make_users(latch, 51)
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        expect(page.locator("#users-rows tr")).to_have_count(50)
        page.get_by_role("button", name="Next").click()
        expect(page.locator("#users-rows tr")).to_have_count(1)
        page.get_by_role("button", name="Delete User").click()
        page.get_by_role("button", name="Delete", exact=True).click()
        expect(page.locator("#users-rows tr")).to_have_count(50)
        expect(page.get_by_text("No API users yet")).to_be_hidden()


def test_a_double_click_turns_one_page(browser: Browser, latch: Sitelatch) -> None:
    make_users(latch, 120)
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        expect(page.locator("#users-rows tr").first).to_contain_text("User 119")
        slow_down(page)
        page.get_by_role("button", name="Next").dblclick()
        expect(page.locator("#users-rows tr").first).to_contain_text("User 069")
        expect(page.get_by_text("Page 2", exact=True)).to_be_visible()
        page.get_by_role("button", name="Previous").click()
        expect(page.locator("#users-rows tr").first).to_contain_text("User 119")


def test_a_page_that_cannot_be_had_leaves_the_one_that_is_shown(browser: Browser, latch: Sitelatch) -> None:
    make_users(latch, 60)
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        expect(page.locator("#users-rows tr")).to_have_count(50)
        lose_once(page, "**/admin/users?*", "GET")
        page.get_by_role("button", name="Next").click()
        expect(page.get_by_text("The server cannot be reached. Try again.")).to_be_visible()
        page.get_by_role("button", name="Next").click()
        expect(page.get_by_text("Page 2", exact=True)).to_be_visible()
        expect(page.locator("#users-rows tr")).to_have_count(10)
        seen.complaints.clear()


def test_a_key_that_is_searched_for_is_in_no_url(browser: Browser, latch: Sitelatch) -> None:
    key = latch.enrol().shop.key
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        expect(page.locator("#users-rows tr")).to_have_count(5)
        page.on("request", note)
        page.get_by_label("Search by name").fill(f" {key} ")
        expect(page.locator("#users-rows tr")).to_have_count(1)
        assert parse_qs(urlsplit(asked[-1]).query)["search"] == [key[:8]]
        assert not [where for where in asked if key in where]


def test_copying_says_what_became_of_it_where_one_looks(browser: Browser, latch: Sitelatch) -> None:
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        page.get_by_role("button", name="Create API User").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("switch").check()
        dialog.get_by_role("button", name="Create", exact=True).click()
        button = dialog.locator("button[data-copy=created-key]")
        expect(button).to_be_visible()
        with stopped_clock(page):
            button.dblclick()
            expect(button).to_have_text("Copied")
            page.clock.run_for(1600)
            expect(button).to_have_text("Copy key")
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
        button.click()
        expect(page.locator("#told")).to_have_text("Copying is not allowed here. Select the text and copy it.")
        expect(page.locator("#told")).to_be_in_viewport(ratio=1)


def test_what_was_done_is_said_to_who_looks_too(browser: Browser, latch: Sitelatch) -> None:
    with visit(browser, f"{url(latch)}/#sites") as seen:
        page = seen.page
        page.get_by_label("Admin token").fill(ADMIN_TOKEN)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Import CSV").click()
        csv = b"site,workspace\nshop,acme\ndocs,acme\n"
        page.get_by_label("CSV file").set_input_files({"name": "s.csv", "mimeType": "text/csv", "buffer": csv})
        page.get_by_role("button", name="Import", exact=True).click()
        expect(page.locator("#told")).to_have_text("2 added, 0 renamed, 0 were there already.")
        expect(page.locator("#told")).to_be_in_viewport(ratio=1)
        expect(page.get_by_role("status").filter(has_text="2 added")).to_be_attached()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("site,workspace\ncaf\u00e9,acme\n".encode("latin-1"), "The file is not UTF-8 text. Save it as UTF-8."),
        ("site,workspace\nshop,acme\n".encode("utf-16"), "The file is not UTF-8 text. Save it as UTF-8."),
        (b"site;workspace\nshop;acme\n", "separated by commas"),
        (b"site,workspace\n" + b"shop,acme\n" * 500_000, "at most 3 MB"),
    ],
    ids=["latin-1", "utf-16", "semicolons", "huge"],
)
def test_a_file_that_cannot_be_imported_is_said_so_and_adds_nothing(
    browser: Browser, latch: Sitelatch, file: bytes, said: str
) -> None:
    with visit(browser, f"{url(latch)}/#sites") as seen:
        page = seen.page
        page.get_by_label("Admin token").fill(ADMIN_TOKEN)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Import CSV").click()
        page.get_by_label("CSV file").set_input_files({"name": "s.csv", "mimeType": "text/csv", "buffer": file})
        page.get_by_role("button", name="Import", exact=True).click()
        expect(page.get_by_role("dialog").get_by_role("alert").filter(has_text=said)).to_be_visible()
        with latch.admin_client() as client:
            assert client.get("/sites").json()["items"] == []


def test_folded_sites_that_cannot_be_had_are_said_so(browser: Browser, latch: Sitelatch) -> None:
    lines = "".join(f"many-{number:02},large\n" for number in range(30))
    with latch.admin_client() as client:
        client.post("/sites", json={"csv": f"site,workspace\n{lines}"}).raise_for_status()
    latch.create_user("large", *(f"many-{number:02}" for number in range(30)))
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        lose_once(page, "**/admin/users/*", "GET")
        page.get_by_text("and 28 more").click()
        expect(page.locator("details").get_by_role("alert")).to_have_text("The server cannot be reached. Try again.")
        page.get_by_text("and 28 more").click()
        page.get_by_text("and 28 more").click()
        expect(page.locator("details li")).to_have_count(30)
        expect(page.locator("details").get_by_role("alert")).to_have_count(0)
        seen.complaints.clear()


def test_nothing_typed_is_lost_with_the_session(browser: Browser, latch: Sitelatch) -> None:
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        dialog = page.get_by_role("dialog")
        page.get_by_role("button", name="Create API User").click()
        dialog.get_by_label("Workspace").select_option("acme")
        dialog.get_by_label("Name").fill("Nightly export")
        dialog.get_by_role("checkbox", name="shop").check()
        page.context.clear_cookies()
        dialog.get_by_role("button", name="Create", exact=True).click()
        expect(page.get_by_text("Your session has ended. Sign in again.")).to_be_visible()
        expect(dialog).to_be_hidden()
        page.get_by_label("Admin token").fill(ADMIN_TOKEN)
        page.get_by_role("button", name="Sign in").click()
        expect(dialog.get_by_label("Name")).to_have_value("Nightly export")
        expect(dialog.get_by_role("button", name="Remove shop")).to_be_visible()
        dialog.get_by_role("button", name="Create", exact=True).click()
        expect(dialog.get_by_label("API key", exact=True)).to_have_value(re.compile("slk_"))
        dialog.get_by_role("button", name="Done").click()
        expect(page.get_by_role("row").filter(has_text="Nightly export")).to_have_count(1)


def test_a_limited_admin_is_offered_the_workspaces_that_are_still_to_be_made(
    browser: Browser, latch: Sitelatch
) -> None:
    latch.stop()
    token = "sla_limited"
    limited = {"name": "Ben", "email": "ben@example.com", "sha256": token_digest(token), "workspaces": ["one", "two"]}
    latch.tables["admin"]["tokens"].append(limited)
    latch.start()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        page.get_by_label("Admin token").fill(token)
        page.get_by_role("button", name="Sign in").click()
        page.locator("#users-empty").get_by_role("button", name="New workspace").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_label("Name")).to_have_value("one")
        dialog.get_by_role("button", name="Create workspace").click()
        expect(page.locator("#told")).to_have_text("The workspace one is there.")
        page.get_by_role("button", name="New workspace").click()
        expect(dialog.get_by_label("Name")).to_have_value("two")
        dialog.get_by_role("button", name="Create workspace").click()
        expect(page.get_by_role("button", name="New workspace")).to_be_hidden()
        expect(page.locator("#workspace")).to_have_value("two")


@pytest.mark.parametrize("what", ["API user", "site"])
def test_a_deletion_whose_answer_was_lost_is_no_dead_end(browser: Browser, latch: Sitelatch, what: str) -> None:
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        dialog = page.get_by_role("dialog")
        if what == "site":
            page.get_by_role("link", name="Sites", exact=True).click()
            rows, before, button, yes = page.locator("#sites-rows tr"), 4, "Remove docs", "Remove"
        else:
            rows, before, button, yes = page.locator("#users-rows tr"), 5, "Delete User", "Delete"
        expect(rows).to_have_count(before)
        page.get_by_role("button", name=button).first.click()
        lose_once(page, "**/admin/*/*", "DELETE")
        dialog.get_by_role("button", name=yes, exact=True).click()
        expect(dialog.get_by_text("The server cannot be reached. Try again.")).to_be_visible()
        dialog.get_by_role("button", name=yes, exact=True).click()
        expect(dialog).to_be_hidden()
        expect(rows).to_have_count(before - 1)
        seen.complaints.clear()


@pytest.mark.parametrize("view", ["constructor", "__proto__", "toString", "nothing"])
def test_an_address_of_no_view_shows_the_list(browser: Browser, latch: Sitelatch, view: str) -> None:
    with visit(browser, f"{url(latch)}/#{view}") as seen:
        sign_in(seen.page)
        expect(seen.page).to_have_title("API Users · Sitelatch")


def test_what_is_wrong_with_a_search_is_said(browser: Browser, latch: Sitelatch) -> None:
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        page.get_by_label("Search by name").fill("x" * 201)
        expect(page.get_by_text("must have at most 200 characters")).to_be_visible()


def test_renaming_a_site_that_somebody_removed_does_not_bring_it_back(browser: Browser, latch: Sitelatch) -> None:
    latch.enrol()
    with visit(browser, f"{url(latch)}/#sites") as seen:
        page = seen.page
        page.get_by_label("Admin token").fill(ADMIN_TOKEN)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Rename shop").click()
        with latch.admin_client() as client:
            client.delete("/sites/shop").raise_for_status()
            dialog = page.get_by_role("dialog")
            dialog.get_by_label("Name").fill("Our shop")
            dialog.get_by_role("button", name="Rename").click()
            expect(dialog.get_by_role("alert").filter(has_text='The site "shop" does not exist')).to_be_visible()
            assert client.get("/sites/shop").status_code == 404


def test_a_window_that_is_opened_again_at_once_still_hands_the_focus_on(browser: Browser, latch: Sitelatch) -> None:
    make_users(latch, 1)
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        page.get_by_role("button", name="Delete User").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Cancel")).to_be_focused()
        # The window hears of its closing only after this.
        page.evaluate(
            "document.querySelector('#confirm').close(); document.querySelector('#users-rows .remove').click()"
        )
        page.get_by_role("button", name="Delete", exact=True).click()
        expect(page.locator("#users-rows tr")).to_have_count(0)
        expect(page.get_by_role("heading", name="API Users", level=1)).to_be_focused()


def test_what_could_not_be_loaded_is_loaded_by_trying_again(browser: Browser, latch: Sitelatch) -> None:
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        dialog = page.get_by_role("dialog")
        lose_once(page, "**/admin/sites?*", "GET")
        page.get_by_role("button", name="Create API User").click()
        expect(dialog.get_by_text("The server cannot be reached. Try again.")).to_be_visible()
        dialog.get_by_role("button", name="Try again").click()
        expect(dialog.get_by_role("checkbox")).to_have_count(3)
        expect(dialog.get_by_label("Search sites")).to_be_focused()
        expect(dialog.get_by_text("cannot be reached")).to_be_hidden()
        dialog.get_by_role("button", name="Cancel").click()
        for view, path in (("Sites", "**/admin/sites?*"), ("Audit", "**/admin/audit?*")):
            lose_once(page, path, "GET")
            link = page.get_by_role("link", name=view, exact=True)
            section = page.locator(f"#{view.lower()}")
            link.click()
            expect(section.get_by_text("The server cannot be reached. Try again.")).to_be_visible()
            link.click()
            expect(section.locator("tbody tr").first).to_be_visible()
            expect(section.get_by_text("cannot be reached")).to_be_hidden()
        seen.complaints.clear()


def test_who_was_just_made_is_listed_whatever_was_searched_for_before(browser: Browser, latch: Sitelatch) -> None:
    make_users(latch, 2)
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        rows = page.locator("#users-rows tr")
        page.get_by_role("searchbox", name="Search by name").fill("User 001")
        expect(rows).to_have_count(1)
        page.get_by_role("button", name="Create API User").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Cancel").click()
        expect(rows).to_have_count(1)
        page.get_by_role("button", name="Create API User").click()
        dialog.get_by_label("Name").fill("Another")
        dialog.get_by_role("switch").check()
        dialog.get_by_role("button", name="Create", exact=True).click()
        dialog.get_by_role("button", name="Done").click()
        expect(rows.first).to_contain_text("Another")
        expect(rows).to_have_count(3)


def test_who_was_just_made_comes_first_whatever_was_looked_at_before(browser: Browser, latch: Sitelatch) -> None:
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        rows = page.locator("#users-rows tr")
        looked_at = page.locator("#workspace")
        looked_at.select_option("acme")
        expect(rows).to_have_count(4)
        page.get_by_label("Sort by").select_option("Oldest first")
        for workspace, count in (("acme", 5), ("globex", 2)):
            page.get_by_role("button", name="Create API User").click()
            dialog = page.get_by_role("dialog")
            dialog.get_by_label("Workspace").select_option(workspace)
            dialog.get_by_label("Name").fill(f"Another of {workspace}")
            dialog.get_by_role("switch").check()
            dialog.get_by_role("button", name="Create", exact=True).click()
            dialog.get_by_role("button", name="Done").click()
            expect(rows).to_have_count(count)
            expect(rows.first).to_contain_text(f"Another of {workspace}")
            expect(looked_at).to_have_value(workspace)


def test_whether_there_are_sites_is_said_of_the_workspace_that_is_shown(browser: Browser, latch: Sitelatch) -> None:
    with latch.admin_client() as client:
        client.post("/sites", json={"csv": "site,workspace\nshop,acme\n"}).raise_for_status()
        client.post("/workspaces", json={"name": "bare"}).raise_for_status()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        none, hint = page.get_by_text("No API users yet"), page.get_by_text("There are no sites yet either")
        for workspace, said in (("bare", 1), ("acme", 0), ("bare", 1)):
            with page.expect_response(lambda answer: "/admin/users" in answer.url):
                page.locator("#workspace").select_option(workspace)
            expect(hint).to_have_count(said)
            expect(none).to_be_visible()


@pytest.mark.parametrize("site", [".", ".."])
def test_an_id_that_no_address_can_hold_is_refused_with_the_rule(browser: Browser, latch: Sitelatch, site: str) -> None:
    with latch.admin_client() as client:
        client.post("/workspaces", json={"name": "acme"}).raise_for_status()
        refused = client.post("/sites", json={"csv": f"site,workspace\n{site},acme\n"}).json()["errors"][0]["detail"]
    with visit(browser, f"{url(latch)}/#sites") as seen:
        page = seen.page
        page.get_by_label("Admin token").fill(ADMIN_TOKEN)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Add site").click()
        window = page.get_by_role("dialog")
        window.get_by_label("Site", exact=True).fill(site)
        window.get_by_role("button", name="Add site").click()
        said = window.get_by_role("alert")
        expect(said).not_to_be_empty()
        assert refused == f"Line 2: {said.text_content()}"


def test_a_key_that_is_shown_once_goes_with_no_stray_reload(browser: Browser, latch: Sitelatch) -> None:
    make_users(latch, 1)
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        page.get_by_role("button", name="Create API User").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("switch").check()
        dialog.get_by_role("button", name="Create", exact=True).click()
        expect(dialog.get_by_role("heading", name="API user created")).to_be_visible()
        key = dialog.get_by_label("API key", exact=True).input_value()
        with page.expect_event("dialog") as asked:
            page.close(run_before_unload=True)
        assert asked.value.type == "beforeunload"
        asked.value.dismiss()
        assert dialog.get_by_label("API key", exact=True).input_value() == key
        dialog.get_by_role("button", name="Done").click()
        with page.expect_event("close"):
            page.close(run_before_unload=True)


@pytest.mark.parametrize("view", ["users", "sites"])
def test_a_workspace_that_somebody_made_elsewhere_can_be_chosen(browser: Browser, latch: Sitelatch, view: str) -> None:
    make_users(latch, 1)
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        expect(page.locator("#users-rows tr")).to_have_count(1)
        with latch.admin_client() as client:
            client.post("/sites", json={"csv": "site,workspace\nwiki,globex\n"}).raise_for_status()
            client.post("/users", json={"workspace": "globex", "all_sites": True}).raise_for_status()
        page.get_by_role("link", name="Sites" if view == "sites" else "API Users", exact=True).click()
        expect(page.locator(f"#{view}-rows tr")).to_have_count(2)
        expect(page.locator("#workspace option")).to_have_text(["All workspaces", "acme", "globex"])
        if view == "users":
            expect(page.locator("#users-rows").get_by_text("in globex")).to_be_visible()
            expect(page.locator("#users-rows").get_by_text("in acme")).to_be_visible()


@pytest.mark.parametrize("same", [True, False], ids=["the same person", "another"])
def test_a_tab_goes_on_with_the_session_of_another_only_for_the_same_person(
    browser: Browser, latch: Sitelatch, same: bool
) -> None:
    latch.stop()
    other = {"name": "Ben", "email": "ben@example.com", "sha256": token_digest("sla_ben")}
    latch.tables["admin"]["tokens"].append(other)
    latch.start()
    make_users(latch, 1)
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        page.get_by_role("button", name="Create API User").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name").fill("Typed before")
        dialog.get_by_role("switch").check()
        tab = page.context.new_page()
        tab.goto(url(latch))
        tab.get_by_role("button", name="Sign out").click()
        tab.get_by_label("Admin token").fill(ADMIN_TOKEN if same else "sla_ben")
        tab.get_by_role("button", name="Sign in").click()
        expect(tab.get_by_role("heading", name="API Users", level=1)).to_be_visible()
        dialog.get_by_role("button", name="Create", exact=True).click()
        if same:
            expect(dialog.get_by_role("heading", name="API user created")).to_be_visible()
        else:
            expect(dialog.get_by_text("Reload the page")).to_be_visible()
        with latch.admin_client() as client:
            assert len(client.get("/users").json()["items"]) == 1 + same
