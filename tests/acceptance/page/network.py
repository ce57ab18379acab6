"""Network conditions for the page in the browser: held requests, lost responses, a slow connection, another host."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import CDPSession, Page, Route

from tests.acceptance.browser import SEEN_MS

LATENCY_MS: Final = 900
ELSEWHERE: Final = "http://admin.test/admin/"
"""The page at a host that is not loopback, after `serve_elsewhere`."""


@contextmanager
def held_requests(page: Page) -> Iterator[None]:
    """Hold all requests of the page until the end of the block."""
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


class HeldRequest:
    """The next request to a path, held until `release`."""

    def __init__(self, page: Page, path: str) -> None:
        self._page = page
        self._routes: list[Route] = []
        page.route(path, self._hold, times=1)

    def _hold(self, route: Route) -> None:
        self._routes.append(route)

    def release(self) -> None:
        deadline = time.monotonic() + SEEN_MS / 1000
        while not self._routes:
            assert time.monotonic() < deadline, "there was no request"
            self._page.wait_for_timeout(20)
        self._routes[0].continue_()


def lose_response(page: Page, path: str, method: str) -> None:
    """Let the next request with this method arrive, and drop its response."""
    lost: list[str] = []

    def lose(route: Route) -> None:
        if lost or route.request.method != method:
            route.fallback()
            return
        lost.append(route.request.url)
        route.fetch()
        route.abort("connectionreset")

    page.route(path, lose)


def slow_down(page: Page) -> CDPSession:
    """Give the page a connection with high latency and low bandwidth."""
    connection = page.context.new_cdp_session(page)
    connection.send("Network.enable")
    conditions = {"offline": False, "latency": LATENCY_MS, "downloadThroughput": 60_000, "uploadThroughput": 30_000}
    connection.send("Network.emulateNetworkConditions", conditions)
    return connection


def serve_elsewhere(page: Page, port: str) -> None:
    """Make the page available at ELSEWHERE, over plain HTTP."""

    def forward(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace("admin.test", f"127.0.0.1:{port}")))

    page.route("http://admin.test/**", forward)


@contextmanager
def stopped_clock(page: Page) -> Iterator[None]:
    """Stop the page's clock, so that messages that the page shows for a moment do not vanish on a slow machine."""
    page.clock.install()
    page.clock.pause_at(time.time() + 1)
    yield
    page.clock.resume()
