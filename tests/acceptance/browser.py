"""Chromium, driven by Playwright, for tests in a real browser."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, sync_playwright

from tests.npm import package

SHOTS = os.environ.get("SITELATCH_TEST_SHOTS")
"""A folder for screenshots that a person wants to look at. None are taken by default."""
SEEN_MS = 15_000
"""Timeout for something to appear on a slow machine."""

DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 800}
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
TABLET: Final[ViewportSize] = {"width": 768, "height": 1024}
WIDE: Final[ViewportSize] = {"width": 1920, "height": 1080}
LIGHT: Final = "light"
DARK: Final = "dark"


_OPTIONS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
)


def _program() -> str:
    # The headless shell is Chromium without a user interface. It needs half of the CPU time.
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    assert program is not None, "The browser tests need Chromium on PATH: apt-get install chromium-headless-shell."
    return program


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser that makes no requests of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_program(), args=_OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def with_scrollbars(browser: Browser) -> Iterator[Browser]:
    """Yield another browser like `browser`, whose scrollbars are visible and take space."""
    another = browser.browser_type.launch(
        executable_path=_program(), args=_OPTIONS, ignore_default_args=["--hide-scrollbars"]
    )
    try:
        yield another
    finally:
        another.close()


def axe_core() -> str:
    """Return axe-core's script."""
    return (package("axe-core") / "axe.min.js").read_text()


def resize(page: Page, width: int, height: int) -> None:
    """Set the size of the window, and scroll to the top."""
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate("scrollTo(0, 0)")


@dataclass
class Visit:
    """A page in a browser context of its own, and the errors in its console."""

    page: Page
    console_errors: list[str] = field(default_factory=list)

    def screenshot(self, name: str, page: Page | None = None) -> None:
        """Take screenshots for desktop and phone, light and dark, if SHOTS is set."""
        if not SHOTS:
            return
        page = page or self.page
        for size, viewport in (("desktop", DESKTOP), ("phone", PHONE)):
            for scheme in (LIGHT, DARK):
                page.set_viewport_size(viewport)
                page.emulate_media(color_scheme=scheme)
                page.screenshot(path=Path(SHOTS) / f"{name}-{size}-{scheme}.png")
        page.set_viewport_size(DESKTOP)
        page.emulate_media(color_scheme="light")

    def record(self, message: ConsoleMessage) -> None:
        """Record an error in the browser's console."""
        # The browser logs 4xx responses as errors, although the page handles them.
        if message.type == "error" and "responded with a status of 4" not in message.text:
            self.console_errors.append(message.text)


@contextmanager
def visit(browser: Browser, url: str) -> Iterator[Visit]:
    """Open `url` in a new browser context. The block fails if the page breaks its CSP or throws an error."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, permissions=["clipboard-read", "clipboard-write"]
    )
    context.set_default_timeout(SEEN_MS)
    page = context.new_page()
    visit = Visit(page)
    page.on("console", visit.record)
    page.on("pageerror", lambda error: visit.console_errors.append(str(error)))
    page.goto(url)
    try:
        yield visit
        assert visit.console_errors == []
    finally:
        if not page.is_closed():
            page.unroute_all(behavior="ignoreErrors")  # The page may still send requests by itself.
        context.close()
