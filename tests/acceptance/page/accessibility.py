"""Accessibility checks with axe-core."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Literal

from playwright.sync_api import Browser, Page, ViewportSize

from tests.acceptance.browser import DARK, DESKTOP, LIGHT, PHONE, SEEN_MS, TABLET, WIDE, axe_core

# A tablet and a wide screen have the colors of the others, so one scheme is enough for each.
_SIZES: Final[Mapping[Literal["dark", "light"], Sequence[ViewportSize]]] = {
    DARK: (PHONE, TABLET, DESKTOP),
    LIGHT: (PHONE, WIDE, DESKTOP),
}


@contextmanager
def page_with_axe(browser: Browser) -> Iterator[Page]:
    """Yield a page that can run axe-core, which the Content-Security-Policy would otherwise forbid."""
    context = browser.new_context(bypass_csp=True)
    context.set_default_timeout(SEEN_MS)
    page = context.new_page()
    page.add_init_script(axe_core())
    yield page
    context.close()


def check_accessibility(page: Page, label: str) -> None:
    """Fail if axe-core finds a violation, or the page scrolls sideways, in any size and color scheme."""
    for scheme, sizes in _SIZES.items():
        page.emulate_media(color_scheme=scheme)
        for size in sizes:
            page.set_viewport_size(size)
            # Contrast is measured after transitions have ended.
            page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
            found = page.evaluate("axe.run().then(({ violations }) => violations.map((v) => [v.id, v.nodes[0].html]))")
            assert found == [], (label, scheme, size, found)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (label, size)
