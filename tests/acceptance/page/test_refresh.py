"""The requests that an open admin page makes by itself, and how often."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Request, expect

from tests.acceptance.page.admin_page import AdminPage
from tests.acceptance.page.installation import Installation
from tests.acceptance.page.network import HeldRequest

REFRESH_MS = 5000
ACTIVITY = "**/admin/activity?*"


@pytest.fixture
def admin(two_pages_of_users: AdminPage) -> AdminPage:
    """The page with 60 users, whose clock the test controls."""
    return two_pages_of_users


@pytest.fixture
def requests(admin: AdminPage) -> list[str]:
    """The URLs of all requests from now on."""
    urls: list[str] = []
    admin.page.on("request", lambda request: urls.append(request.url))
    return urls


def ids(request: Request) -> list[str]:
    [value] = parse_qs(urlsplit(request.url).query)["ids"]
    return value.split(",")


def refresh(admin: AdminPage) -> list[str]:
    """Let the page refresh, and return the ids of the users whose activity it asks for."""
    with admin.page.expect_response(ACTIVITY) as response:
        admin.page.clock.fast_forward(REFRESH_MS)
    return ids(response.value.request)


def test_a_refresh_asks_only_for_the_activity_of_the_rows_in_view(admin: AdminPage, requests: list[str]) -> None:
    shown = [row.get_attribute("data-id") for row in admin.users.rows.all()]
    first = refresh(admin)
    assert 0 < len(first) < 30
    assert first == shown[: len(first)]
    admin.users.rows.last.scroll_into_view_if_needed()
    last = refresh(admin)
    assert shown[-1] in last
    assert shown[0] not in last
    assert [url for url in requests if "/users?" in url] == []


def test_new_activity_is_shown(admin: AdminPage, installation: Installation) -> None:
    activity = admin.users.rows.first.locator(".activity")
    expect(activity).to_have_text("never")
    installation.execute("UPDATE sitelatch.api_user_activity SET last_used_at = now()")
    refresh(admin)
    expect(activity).to_have_text("just now")


def test_a_user_that_someone_else_deleted_disappears(admin: AdminPage, installation: Installation) -> None:
    expect(admin.users.rows.first).to_contain_text("User 059")
    installation.execute("DELETE FROM sitelatch.api_users WHERE name = 'User 059'")
    refresh(admin)
    expect(admin.users.rows.first).to_contain_text("User 058")
    admin.users.expect_count(50)


def test_after_a_slow_answer_the_page_asks_less_often(admin: AdminPage, requests: list[str]) -> None:
    slow = HeldRequest(admin.page, ACTIVITY)
    admin.page.clock.fast_forward(REFRESH_MS)
    admin.page.wait_for_timeout(200)
    admin.page.clock.fast_forward(3000)
    with admin.page.expect_response(ACTIVITY):
        slow.release()
    requests.clear()
    for _ in range(4):
        admin.page.clock.fast_forward(REFRESH_MS)
    admin.page.wait_for_timeout(100)
    assert requests == []
    refresh(admin)  # 30 seconds after the answer at the latest


def test_a_hidden_page_asks_for_nothing_until_it_is_shown(admin: AdminPage, requests: list[str]) -> None:
    def show(visible: bool) -> None:
        admin.page.evaluate(
            "visible => { Object.defineProperty(document, 'hidden', { value: !visible, configurable: true });"
            " document.dispatchEvent(new Event('visibilitychange')); }",
            visible,
        )

    show(False)
    for _ in range(5):
        admin.page.clock.fast_forward(REFRESH_MS)
    admin.page.wait_for_timeout(100)
    assert requests == []
    with admin.page.expect_response(ACTIVITY):
        show(True)
