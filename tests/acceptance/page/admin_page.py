"""The page for admins in a real browser, with a real database and the real proxy behind it, and steps on it."""

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.acceptance.browser import SEEN_MS, chromium
from tests.acceptance.harness import ADMIN_TOKEN, Sitelatch
from tests.database import TEMPLATE, create_database, drop_database, run_aside

expect.set_options(timeout=SEEN_MS)


class DataApi(http.server.BaseHTTPRequestHandler):
    """Answers everything."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        """Say nothing."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def empty_database(database_server: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    dsn = run_aside(create_database(database_server, TEMPLATE))
    yield dsn
    run_aside(drop_database(database_server, dsn))


@pytest.fixture
def latch(tmp_path: Path, empty_database: str) -> Iterator[Sitelatch]:
    """Sitelatch before a data API, with an empty database."""
    data = http.server.ThreadingHTTPServer(("127.0.0.1", 0), DataApi)
    threading.Thread(target=data.serve_forever, daemon=True).start()
    route = {
        "name": "data",
        "upstream": f"http://127.0.0.1:{data.server_port}",
        "sites": ["path:/api/sites/{site}/**", "query:site"],
    }
    latch = Sitelatch(tmp_path, empty_database, [route], activity={"flush_seconds": 0.2, "resolution_seconds": 1})
    try:
        latch.start()
        yield latch
    finally:
        latch.stop()
        data.shutdown()
        data.server_close()


def url(latch: Sitelatch) -> str:
    return f"http://{latch.admin}/admin"


def sign_in(page: Page) -> None:
    page.get_by_label("Admin token").fill(ADMIN_TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="API Users", level=1)).to_be_visible()


def status(latch: Sitelatch, site: str, key: str) -> int:
    with httpx.Client(trust_env=False) as client:
        return client.get(f"{latch.url}/api/sites/{site}/uptime", headers={"X-API-Key": key}).status_code


def reached_by(latch: Sitelatch, site: str, key: str, expected: int, *, seconds: float = 5) -> None:
    """Wait until the key is answered so: what changed reaches the doors through the feed."""
    deadline = time.monotonic() + seconds
    while (found := status(latch, site, key)) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


@contextmanager
def stopped_clock(page: Page) -> Iterator[None]:
    """Nothing that the page shows for a moment vanishes before it was looked at, however slow the machine is."""
    page.clock.install()
    page.clock.pause_at(time.time() + 1)
    yield
    page.clock.resume()


@contextmanager
def held_requests(page: Page) -> Iterator[None]:
    """What the page asks for does not go out before it was looked at what shows meanwhile."""
    held: list[Route] = []
    holding = True

    def hold(route: Route) -> None:
        if holding:
            held.append(route)
        else:
            route.continue_()

    page.route("**/admin/**", hold)
    yield
    holding = False
    for route in held:
        route.continue_()
    page.unroute("**/admin/**", hold)


def lose_the_next_answer(page: Page) -> None:
    """The request arrives, its answer does not."""

    def lose(route: Route) -> None:
        route.fetch()
        route.abort("connectionreset")

    page.route("**/admin/users", lose, times=1)
