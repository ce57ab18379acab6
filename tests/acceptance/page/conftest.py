"""Fixtures for the tests of the admin page: one browser and one Sitelatch for all of them."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.browser import SEEN_MS, chromium, visit
from tests.acceptance.harness import Sitelatch
from tests.acceptance.page.admin_page import AdminPage, OpenPage
from tests.acceptance.page.installation import DataApi, Installation
from tests.database import temporary_database

expect.set_options(timeout=SEEN_MS)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for all page tests of a worker.

    Its scope is the package, because Playwright's event loop must be gone before asynchronous tests run.
    """
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def shared_installation(tmp_path_factory: pytest.TempPathFactory, database_server: str) -> Iterator[Installation]:
    with temporary_database(database_server) as database_url:
        data = http.server.ThreadingHTTPServer(("127.0.0.1", 0), DataApi)
        threading.Thread(target=data.serve_forever, daemon=True).start()
        route = {
            "name": "data",
            "upstream": f"http://127.0.0.1:{data.server_port}",
            "sites": ["path:/api/sites/{site}/**", "query:site"],
        }
        activity = {"flush_seconds": 0.2, "resolution_seconds": 1}
        latch = Sitelatch(tmp_path_factory.mktemp("page"), database_url, [route], activity=activity)
        try:
            latch.start()
            yield Installation(latch, database_url)
        finally:
            latch.stop()
            data.shutdown()
            data.server_close()


@pytest.fixture
def installation(shared_installation: Installation) -> Installation:
    """The shared installation, with an empty database."""
    shared_installation.reset()
    return shared_installation


@pytest.fixture
def latch(installation: Installation) -> Sitelatch:
    return installation.latch


@pytest.fixture
def open_page(browser: Browser, latch: Sitelatch) -> OpenPage:
    """Open the page in a browser window of its own, and sign in unless told otherwise."""

    @contextmanager
    def open_page(fragment: str = "", *, sign_in: bool = True) -> Iterator[AdminPage]:
        url = f"http://{latch.admin}/admin"
        with visit(browser, f"{url}/{fragment}") as opened:
            admin = AdminPage(opened, url)
            if sign_in:
                admin.sign_in()
            yield admin

    return open_page


@pytest.fixture(scope="module")
def signed_in(browser: Browser, filled: Installation) -> Iterator[AdminPage]:
    """The page, signed in, for a whole file that fills the shared installation with a fixture named `filled`."""
    url = f"http://{filled.latch.admin}/admin"
    with visit(browser, url) as opened:
        admin = AdminPage(opened, url)
        admin.sign_in()
        yield admin


@pytest.fixture
def two_pages_of_users(open_page: OpenPage, installation: Installation) -> Iterator[AdminPage]:
    """The page with 60 users, whose clock the test controls."""
    installation.create_users(60)
    with open_page(sign_in=False) as admin:
        admin.page.clock.install()
        admin.page.reload()
        admin.sign_in()
        admin.users.expect_count(50)
        yield admin
