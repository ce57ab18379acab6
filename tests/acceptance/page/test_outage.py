"""The admin page while the server, its database or the network is unavailable."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from playwright.sync_api import Browser, Page, Route, expect

from tests.acceptance.browser import Visit
from tests.acceptance.page.accessibility import check_accessibility, page_with_axe
from tests.acceptance.page.admin_page import SESSION_ENDED, AdminPage, OpenPage
from tests.acceptance.page.installation import Installation

Outage = Callable[[Page, Installation], AbstractContextManager[None]]
API = re.compile(r"/admin/(?!static/|$)")
"""All URLs of the API, but not the page and its files."""


@contextmanager
def stopped_database(page: Page, installation: Installation) -> Iterator[None]:
    with installation.stopped_database():
        yield


def foreign_response(status: int, body: str, content_type: str) -> Outage:
    """Answer in place of Sitelatch, as a proxy in front does while Sitelatch restarts or its own session has ended."""

    @contextmanager
    def outage(page: Page, installation: Installation) -> Iterator[None]:
        page.route(API, lambda route: route.fulfill(status=status, body=body, content_type=content_type))
        yield
        page.unroute(API)

    return outage


@contextmanager
def broken_network(page: Page, installation: Installation) -> Iterator[None]:
    page.route(API, lambda route: route.abort("connectionrefused"))
    yield
    page.unroute(API)


OUTAGES = (
    ("The database is unavailable.", stopped_database),
    ("The server cannot be reached.", broken_network),
    ("The server responded with status 503.", foreign_response(503, "<h1>Service Unavailable</h1>", "text/html")),
    ("The server responded with status 502.", foreign_response(502, '{"message": "no upstream"}', "application/json")),
    ("The response is not from Sitelatch.", foreign_response(200, "<h1>Sign in</h1>", "text/html")),
    ("The response is not from Sitelatch.", foreign_response(401, "Unauthorized", "text/plain")),
    ("The response is not from Sitelatch.", foreign_response(404, "404 page not found", "text/plain")),
)


def test_a_signed_in_person_stays_signed_in_during_an_outage(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.create_sites_and_users()
    with open_page() as admin:
        admin.users.expect_count(5)
        for sentence, outage in OUTAGES:
            # First while the page is open, and then while it loads.
            with outage(admin.page, installation):
                admin.open("Sites")
                expect_outage(admin, sentence)
                admin.open("API Users")
                expect_outage(admin, sentence)
            admin.retry_button.click()
            admin.users.expect_count(5)
            expect(admin.outage).to_be_hidden()
            with outage(admin.page, installation):
                # Otherwise the data comes with the page if only the network of the browser is at fault.
                admin.page.route("**/admin/", without_data)
                admin.page.reload()
                expect_outage(admin, sentence)
            admin.retry_button.click()
            admin.users.expect_count(5)
            expect(admin.outage).to_be_hidden()
            expect(admin.heading("API Users")).to_be_focused()
        admin.create_dialog.create(all_sites=True)
        admin.console_errors.clear()


def test_the_page_tries_again_by_itself(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.create_sites_and_users()
    with open_page(sign_in=False) as admin:
        admin.page.clock.install()
        admin.page.reload()
        admin.sign_in()
        with broken_network(admin.page, installation):
            admin.open("Sites")
            expect_outage(admin, "The server cannot be reached.")
            with admin.page.expect_request(API):
                admin.page.clock.fast_forward(3000)
            expect_outage(admin, "The server cannot be reached.")
        admin.page.clock.fast_forward(6000)
        admin.sites.expect_count(4)
        expect(admin.outage).to_be_hidden()
        admin.console_errors.clear()


def without_data(route: Route) -> None:
    response = route.fetch()
    route.fulfill(response=response, body=re.sub("<script type=.application/json.*?</script>", "", response.text()))


def expect_outage(admin: AdminPage, sentence: str) -> None:
    expect(admin.outage).to_contain_text(sentence)
    expect(admin.outage).to_be_in_viewport(ratio=1)
    expect(admin.token_field).to_be_hidden()


def test_a_session_that_ends_during_an_outage_leads_to_the_sign_in_form(open_page: OpenPage) -> None:
    with open_page() as admin:
        admin.page.route(API, lambda route: route.abort("connectionrefused"))
        admin.link("Audit").click()
        expect_outage(admin, "The server cannot be reached.")
        admin.lose_session()
        admin.page.unroute(API)
        admin.retry_button.click()
        expect(admin.page.get_by_text(SESSION_ENDED)).to_be_visible()
        expect(admin.outage).to_be_hidden()
        admin.console_errors.clear()


def test_a_404_of_a_proxy_is_not_taken_for_a_deleted_user(open_page: OpenPage, installation: Installation) -> None:
    installation.create_users(1)
    with open_page() as admin:
        admin.users.delete_button(admin.users.rows.first).click()
        with foreign_response(404, "404 page not found", "text/plain")(admin.page, installation):
            admin.dialog.submit("Delete")
            expect(admin.dialog.error("The response is not from Sitelatch.")).to_be_visible()
        admin.dialog.submit("Delete")
        admin.users.expect_count(0)


def test_rows_stay_during_an_outage(open_page: OpenPage, installation: Installation) -> None:
    installation.create_users(60)
    with open_page() as admin:
        admin.users.next_page()
        admin.users.expect_count(10)
        with broken_network(admin.page, installation):
            admin.users.search("User 05")
            expect_outage(admin, "The server cannot be reached.")
            admin.users.expect_count(10)
        admin.retry_button.click()
        expect(admin.outage).to_be_hidden()
        expect(admin.users.rows.first).to_contain_text("User 059")
        admin.console_errors.clear()


def test_empty_rows_and_the_banner_are_accessible_and_visible_at_every_width(
    browser: Browser, installation: Installation
) -> None:
    with page_with_axe(browser) as page:
        admin = AdminPage(Visit(page), f"http://{installation.latch.admin}/admin")
        page.goto(admin.url)
        admin.sign_in()
        page.emulate_media(reduced_motion="reduce")
        page.route("**/admin/sites?*", lambda route: None)  # never answered
        admin.open("Sites")
        rows = admin.section("Sites").locator(".list")
        assert rows.evaluate("(list) => parseFloat(getComputedStyle(list, '::after').height)") > 400
        check_accessibility(page, "empty rows")
        with broken_network(page, installation):
            admin.open("Audit")
            expect_outage(admin, "The server cannot be reached.")
            check_accessibility(page, "outage")
            for width in (360, 768, 1280, 1920):
                page.set_viewport_size({"width": width, "height": 800})
                expect(admin.outage).to_be_in_viewport(ratio=1)
                expect(admin.retry_button).to_be_in_viewport(ratio=1)
