"""Debian's Chromium, driven by Playwright, for the tests of the page for admins."""

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
"""A folder for screenshots, for people to look at."""
SEEN_MS = 15_000
"""How long the slowest machine may take to show something."""

DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 800}
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
LIGHT: Final = "light"
DARK: Final = "dark"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Lend a browser that asks nobody but the pages it is sent to."""
    program = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    assert program is not None, "The browser tests need Chromium: apt-get install chromium, or have it on PATH."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--no-proxy-server",
            ],
        )
        try:
            yield browser
        finally:
            browser.close()


def axe_core() -> str:
    """Return axe-core's script."""
    return (package("axe-core") / "axe.min.js").read_text()


@dataclass
class Visit:
    """One page in a browser of its own, and what it complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def shot(self, name: str, page: Page | None = None) -> None:
        """Take a picture at desktop and phone width, light and dark, where somebody asked for them."""
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

    def note(self, message: ConsoleMessage) -> None:
        """Keep what the browser complains of."""
        # A refusal that the page shows in words is an error to the browser's console too.
        if message.type == "error" and "responded with a status of 4" not in message.text:
            self.complaints.append(message.text)


@contextmanager
def visit(browser: Browser, url: str) -> Iterator[Visit]:
    """Lend a page at `url`; whatever it breaks of its Content-Security-Policy, or throws, is a failure."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, permissions=["clipboard-read", "clipboard-write"]
    )
    context.set_default_timeout(SEEN_MS)
    page = context.new_page()
    visit = Visit(page)
    page.on("console", visit.note)
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    page.goto(url)
    try:
        yield visit
        assert visit.complaints == []
    finally:
        context.close()
