"""Where things stand on the page: nothing is pushed out of sight, and nothing moves while somebody looks at it."""

from playwright.sync_api import Browser, FloatRect, Locator, Page, expect

from admin.key_encryption import new_secret
from tests.acceptance.browser import DESKTOP, PHONE, visit
from tests.acceptance.harness import Sitelatch
from tests.acceptance.page.admin_page import browser, empty_database, latch, sign_in, stopped_clock, url

__all__ = ["browser", "empty_database", "latch"]

LONG = "The-workspace-of-the-northern-subsidiary-and-its-customers-" + 3 * "abroad"


def box(place: Locator) -> FloatRect:
    found = place.bounding_box()
    assert found is not None
    return found


def columns(page: Page, view: str) -> list[float]:
    return [box(heading)["x"] for heading in page.locator(f"#{view} th").all()]


def test_columns_stay_where_they_are_whatever_is_listed(browser: Browser, latch: Sitelatch) -> None:
    with latch.admin_client() as client:
        csv = f"site,workspace,display_name\nshop,acme,\n{20 * 'long.'}example.com,{LONG},{'a long name ' * 12}\n"
        client.post("/sites", json={"csv": csv}).raise_for_status()
        for workspace, name in (("acme", "Short"), (LONG, 20 * "unbroken")):
            wish = {"workspace": workspace, "all_sites": True, "name": name}
            client.post("/users", json=wish).raise_for_status()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        for view, link in (("users", "API Users"), ("sites", "Sites"), ("audit", "Audit")):
            page.get_by_role("link", name=link, exact=True).click()
            places = []
            for workspace in ("", "acme", LONG):
                page.locator("#workspace").select_option(workspace)
                others = {"acme": LONG, LONG: "acme"}.get(workspace, "nobody")
                expect(page.locator(f"#{view}-rows tr").filter(has_text=others)).to_have_count(0)
                expect(page.locator(f"#{view}-rows tr").first).to_be_visible()
                places.append(columns(page, view))
            assert places[0] == places[1] == places[2], view


def test_a_long_workspace_name_pushes_nothing_off_a_phone(browser: Browser, latch: Sitelatch) -> None:
    latch.enrol()
    with latch.admin_client() as client:
        client.post("/workspaces", json={"name": LONG}).raise_for_status()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        page.set_viewport_size(PHONE)
        sign_in(page)
        expect(page.locator("#users-rows tr")).to_have_count(5)
        for view, opens, does in (("API Users", "Create API User", "Create"), ("Sites", "Add site", "Add site")):
            page.get_by_role("link", name=view, exact=True).click()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.get_by_role("button", name=opens).click()
            dialog = page.get_by_role("dialog")
            dialog.get_by_label("Workspace").select_option(LONG)
            assert dialog.evaluate("(window) => window.scrollWidth <= window.clientWidth")
            expect(dialog.get_by_role("button", name=does, exact=True)).to_be_in_viewport(ratio=1)
            dialog.get_by_role("button", name="Cancel").click()
        # The header takes two rows of buttons.
        for left, right in (
            (page.get_by_role("link", name="Audit"), page.get_by_role("button", name="Sign out")),
            (page.locator("#workspace"), page.get_by_role("button", name="New workspace")),
        ):
            assert abs(box(left)["y"] - box(right)["y"]) < 5


def test_what_is_chosen_is_counted_and_stays_in_sight(browser: Browser, latch: Sitelatch) -> None:
    latch.enrol()
    with latch.admin_client() as client:
        lines = "".join(f"many-{number:02},large\n" for number in range(40))
        client.post("/sites", json={"csv": f"site,workspace\n{lines}"}).raise_for_status()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        page.get_by_role("button", name="Create API User").click()
        dialog = page.get_by_role("dialog")
        create = dialog.get_by_role("button", name="Create", exact=True)
        expect(dialog.get_by_role("checkbox")).to_have_count(3)
        before = box(create)
        create.click()
        expect(dialog.get_by_text("Select at least one site")).to_be_visible()
        assert box(create) == before
        dialog.get_by_label("Workspace").select_option("large")
        expect(dialog.get_by_role("checkbox")).to_have_count(40)
        for number in range(30):
            dialog.get_by_role("checkbox", name=f"many-{number:02}").check()
        last = dialog.get_by_role("checkbox", name="many-29")
        expect(dialog.get_by_text("30 selected")).to_be_visible()
        chip = dialog.get_by_role("button", name="Remove many-29")
        on_top = """(chip) => {
          const { x, y, width, height } = chip.getBoundingClientRect();
          return chip.contains(document.elementFromPoint(x + width / 2, y + height - 2));
        }"""
        for size in (DESKTOP, PHONE):
            page.set_viewport_size(size)
            last.uncheck()
            last.check()
            assert chip.evaluate(on_top), size
        chip.click()
        expect(dialog.get_by_text("29 selected")).to_be_visible()
        dialog.get_by_label("Workspace").select_option("globex")
        expect(dialog.locator("#chosen-count")).to_be_empty()

        # On a phone, too, a key that is shown once is shown whole.
        dialog.get_by_role("switch").check()
        create.click()
        key = dialog.get_by_label("API key", exact=True)
        expect(key).to_be_visible()
        whole = "(key) => key.scrollWidth <= key.clientWidth && key.scrollHeight <= key.clientHeight"
        for size in (DESKTOP, PHONE):
            page.set_viewport_size(size)
            assert key.evaluate(whole), size


def test_copying_and_following_a_link_to_where_one_is_move_nothing(browser: Browser, latch: Sitelatch) -> None:
    latch.stop()
    latch.tables["admin"] = {**latch.tables["admin"], "recoverable_keys": new_secret()}
    latch.start()
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        expect(page.locator("#users-rows tr")).to_have_count(5)
        rows = page.locator("#users-rows")
        show = page.get_by_role("button", name="Show key").first
        for size in (DESKTOP, PHONE):
            page.set_viewport_size(size)
            before = (box(rows), box(show))
            with stopped_clock(page):
                page.get_by_role("button", name="Copy key").first.click()
                expect(page.get_by_text("Copied", exact=True).first).to_be_visible()
                assert (box(rows), box(show)) == before, size
        page.get_by_role("link", name="API Users").click()
        expect(page).to_have_url(f"{url(latch)}/#users")
        page.get_by_role("link", name="API Users").click()
        assert page.evaluate("scrollY") == 0
