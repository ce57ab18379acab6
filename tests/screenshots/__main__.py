"""Takes screenshots of every view of the admin page: `python -m tests.screenshots [FOLDER [VIEW …]]`.

Each view is shown at four widths, in light and dark. The images are `FOLDER/VIEW-WIDTH-SCHEME.png`.
"""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, ViewportSize, expect

from admin.key_encryption import new_secret
from sql.embedded.server import EmbeddedServer
from tests.acceptance.browser import DARK, LIGHT, Visit, chromium
from tests.acceptance.harness import Sitelatch
from tests.acceptance.page.admin_page import AdminPage
from tests.database import TEMPLATE, UNSAFE, create_database, make_template
from tests.screenshots.demo_data import add_data, spread_over_time
from tests.screenshots.views import VIEWS

_SIZES: Final[tuple[ViewportSize, ...]] = (
    {"width": 360, "height": 740},
    {"width": 768, "height": 1024},
    {"width": 1280, "height": 720},
    {"width": 1920, "height": 1080},
)
_ROUTE: Final = {
    "name": "data",
    "upstream": "http://127.0.0.1:9000",
    "sites": ["path:/api/sites/{site}/**"],
}


@contextlib.contextmanager
def installation() -> Iterator[Sitelatch]:
    """Run Sitelatch with the data of the screenshots."""
    with tempfile.TemporaryDirectory(prefix="sitelatch-screenshots-") as directory:
        folder = Path(directory)
        server = EmbeddedServer.open(folder / "postgres", UNSAFE)
        try:
            asyncio.run(make_template(server.dsn))
            dsn = asyncio.run(create_database(server.dsn, TEMPLATE))
            latch = Sitelatch(folder, dsn, [_ROUTE])
            latch.tables["admin"] = {**latch.tables["admin"], "recoverable_keys": new_secret()}
            try:
                latch.launch_alone()
                latch.wait_for_readiness(200)
                add_data(latch)
                asyncio.run(spread_over_time(dsn))
                yield latch
            finally:
                latch.stop()
        finally:
            server.close()


def take(browser: Browser, latch: Sitelatch, folder: Path, names: Sequence[str]) -> None:
    """Take the screenshots of the named views."""
    url = f"http://{latch.admin}/admin"
    windows = []
    for size in _SIZES:
        page = browser.new_context(viewport=size).new_page()
        admin = AdminPage(Visit(page), url)
        page.goto(url)
        expect(admin.token_field).to_be_visible()
        _shoot(page, folder, "sign-in", size)
        admin.sign_in()
        windows.append((size, admin))
    for name in names:
        for size, admin in windows:
            admin.page.goto("about:blank")  # so that the next address is not only another fragment of the same page
            admin.page.goto(url)
            VIEWS[name](admin)
            _shoot(admin.page, folder, name, size)


def _shoot(page: Page, folder: Path, name: str, size: ViewportSize) -> None:
    for scheme in (LIGHT, DARK):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
        page.screenshot(path=folder / f"{name}-{size['width']}-{scheme}.png")
    print(f"{name} at {size['width']} px", flush=True)  # noqa: T201 - the program's output


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "var/screenshots")
    names = sys.argv[2:] or list(VIEWS)
    folder.mkdir(parents=True, exist_ok=True)
    with installation() as latch, chromium() as browser:
        take(browser, latch, folder, names)


if __name__ == "__main__":
    main()
