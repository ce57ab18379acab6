"""The dialogs that change an API user and rotate its key."""

import threading
import time

import pytest
from playwright.sync_api import expect

from tests.acceptance.harness import Keys
from tests.acceptance.page.admin_page import AdminPage, OpenPage
from tests.acceptance.page.installation import BEN_TOKEN, Installation


@pytest.fixture
def keys(installation: Installation) -> Keys:
    return installation.latch.create_sites_and_users()


def open_edit(admin: AdminPage) -> None:
    admin.page.locator("#user-edit").click()
    expect(admin.page.locator("#edit-title")).to_be_visible()


def audit_lines(admin: AdminPage, count: int) -> list[str]:
    """Return what the newest entries of the audit page say."""
    admin.page.goto(f"{admin.url}#audit")
    expect(admin.audit.locator("tr").first).to_be_visible()
    return admin.audit.locator("tr").all_inner_texts()[:count]


def test_an_api_user_is_changed_and_the_audit_page_shows_before_and_after(
    open_page: OpenPage, installation: Installation, keys: Keys
) -> None:
    with open_page(f"#users?user={keys.shop.id}") as admin:
        page = admin.page
        open_edit(admin)
        page.locator("#edit-name").fill("Export")
        page.locator("#edit-methods").select_option("read")
        page.locator("#edit-networks").fill("127.0.0.0/8\n::1")
        page.locator("#edit-rate").fill("2500.5")
        page.locator("#edit-burst").fill("9000")
        page.locator("#edit-day").fill("8000")
        page.locator("#picker").get_by_role("checkbox", name="blog").check()
        page.locator("#edit-save").click()
        expect(page.locator("#edit-dialog")).to_be_hidden()
        expect(page.locator("#user-title")).to_have_text("Export")
        limits = "2,500.5 requests per second, 9,000 at once, 8,000 requests per day"
        expect(page.locator("#user-details")).to_contain_text(limits)
        expect(page.locator("#user-details")).to_contain_text("GET, HEAD, OPTIONS")
        installation.expect_status("blog", keys.shop.key, 200)
        open_edit(admin)
        page.locator("#edit-disabled").check()
        page.locator("#edit-save").click()
        expect(page.locator("#user-title")).to_contain_text("Disabled")
        installation.expect_status("shop", keys.shop.key, 401)
        disabled, changed = audit_lines(admin, 2)
        assert "enabled, now disabled" in disabled
        assert "requests per second from none to 2500.5; requests at once from none to 9000" in changed
        assert "requests per day from none to 8000" in changed
        for words in ("name from none to Export", "methods from any to GET, HEAD, OPTIONS", "added the sites blog"):
            assert words in changed


def test_sites_are_pasted_into_the_picker_and_unknown_ones_keep_the_dialog_open(
    open_page: OpenPage, installation: Installation, keys: Keys
) -> None:
    with open_page(f"#users?user={keys.shop.id}") as admin:
        page = admin.page
        open_edit(admin)
        expect(page.locator("#chips li")).to_have_text(["shop×"])
        page.get_by_role("button", name="Paste a list").click()
        page.locator("#pasted-ids").fill("blog, blgo")
        page.locator("#edit-save").click()
        expect(page.locator("#pasted-error")).to_contain_text("blgo")
        page.locator("#pasted-ids").fill("")
        page.get_by_role("button", name="Remove shop").click()
        page.locator("#edit-save").click()
        expect(page.locator("#edit-dialog")).to_be_hidden()
        installation.expect_status("blog", keys.shop.key, 200)
        installation.expect_status("shop", keys.shop.key, 403)
        # The dialog that creates an API user gets the picker back, without a selection.
        page.locator("#user-dialog").get_by_role("button", name="Close").click()
        page.locator("#create").click()
        expect(page.locator("#create-dialog #site-picker")).to_be_visible()
        expect(page.locator("#chips li")).to_have_count(0)


def test_an_invalid_entry_is_shown_and_kept(open_page: OpenPage, keys: Keys) -> None:
    with open_page(f"#users?user={keys.shop.id}") as admin:
        open_edit(admin)
        admin.page.locator("#edit-rate").fill("many")
        admin.page.locator("#edit-save").click()
        expect(admin.page.locator("#edit-error")).to_contain_text("number")
        expect(admin.page.locator("#edit-rate")).to_have_value("many")
        admin.page.locator("#edit-rate").fill("")
        admin.page.locator("#edit-networks").fill("10.0.0.1/8")
        admin.page.locator("#edit-save").click()
        expect(admin.page.locator("#edit-error")).to_contain_text("10.0.0.0/8")
        expect(admin.page.locator("#edit-networks")).to_have_value("10.0.0.1/8")


def test_the_second_of_two_admins_sees_what_the_first_changed_and_loses_nothing(
    open_page: OpenPage, installation: Installation, keys: Keys
) -> None:
    installation.add_ben()
    with open_page(f"#users?user={keys.shop.id}") as ada, open_page(sign_in=False) as ben:
        ben.sign_in(BEN_TOKEN)
        ben.page.goto(f"{ben.url}#users?user={keys.shop.id}")
        for admin in (ada, ben):
            open_edit(admin)
        ada.page.locator("#edit-name").fill("Ada's name")
        ada.page.locator("#edit-networks").fill("127.0.0.0/8")
        ada.page.locator("#edit-save").click()
        expect(ada.page.locator("#edit-dialog")).to_be_hidden()

        ben.page.locator("#edit-name").fill("Ben's name")
        ben.page.locator("#picker").get_by_role("checkbox", name="blog").check()
        ben.page.locator("#edit-save").click()
        conflict = ben.page.locator("#edit-conflict")
        expect(conflict).to_contain_text("the name: none → Ada's name (your entry is kept)")
        expect(conflict).to_contain_text("the networks: none → 127.0.0.0/8")
        expect(ben.page.locator("#edit-name")).to_have_value("Ben's name")
        expect(ben.page.locator("#chips li")).to_have_text(["shop×", "blog×"])
        expect(ben.page.locator("#edit-networks")).to_have_value("127.0.0.0/8")
        ben.page.locator("#edit-save").click()
        expect(ben.page.locator("#edit-dialog")).to_be_hidden()
        expect(ben.page.locator("#user-title")).to_have_text("Ben's name")
        expect(ben.page.locator("#user-details")).to_contain_text("127.0.0.0/8")


def test_no_request_is_refused_while_a_key_is_rotated_with_an_overlap(
    open_page: OpenPage, installation: Installation, keys: Keys
) -> None:
    """A client calls ten times a second, first with the old key, and then with the new one."""
    overlap = 10.0
    current = [keys.shop.key]
    answers: list[tuple[float, int]] = []
    stop = threading.Event()

    def call() -> None:
        while not stop.wait(0.1):
            sent_at = time.monotonic()
            answers.append((sent_at, installation.status("shop", current[0])))

    client = threading.Thread(target=call)
    client.start()
    try:
        with open_page(f"#users?user={keys.shop.id}") as admin:
            page = admin.page
            page.locator("#user-rotate").click()
            page.locator("#rotate-overlap").fill(str(int(overlap)))
            page.locator("#rotate-unit").select_option("seconds")
            page.locator("#rotate-submit").click()
            rotated_before = time.monotonic()
            expect(page.locator("#rotated-title")).to_be_visible()
            current[0] = page.locator("#rotated-key").input_value()
            assert current[0] != keys.shop.key
            page.locator("#rotated").get_by_role("button", name="Done").click()
            expect(page.locator("#user-details")).to_contain_text("left")
            if time.monotonic() < rotated_before + overlap - 2:
                assert installation.status("shop", keys.shop.key) == 200
            while installation.status("shop", keys.shop.key) == 200:
                assert time.monotonic() < rotated_before + overlap + 30
            assert time.monotonic() > rotated_before + overlap - 1, "the overlap was too short"
            expect(page.locator("#user-details").get_by_text("expired")).to_be_visible()
            calls = len(answers)
            while len(answers) < calls + 10:
                time.sleep(0.05)
            assert installation.status("shop", keys.shop.key) == 401
            [line] = audit_lines(admin, 1)
            assert "Rotated the key" in line
    finally:
        stop.set()
        client.join()
    assert {status for _, status in answers} == {200}


def test_the_old_key_is_ended_early_with_its_last_use_in_view(
    open_page: OpenPage, installation: Installation, keys: Keys
) -> None:
    with open_page(f"#users?user={keys.shop.id}") as admin:
        page = admin.page
        page.locator("#user-rotate").click()
        page.locator("#rotate-submit").click()
        expect(page.locator("#rotated-title")).to_be_visible()
        new = page.locator("#rotated-key").input_value()
        page.locator("#rotated").get_by_role("button", name="Done").click()
        expect(page.locator("#user-details")).to_contain_text("never used")
        page.get_by_role("button", name="End now").click()
        admin.dialog.submit("End old key")
        installation.expect_status("shop", keys.shop.key, 401)
        assert installation.status("shop", new) == 200
        expect(page.get_by_role("button", name="End now")).to_be_hidden()
