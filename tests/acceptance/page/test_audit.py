"""The audit log on the page: search, filters in the URL, links from and to API users, and the export."""

import csv
import io

from playwright.sync_api import expect

from tests.acceptance.browser import DESKTOP
from tests.acceptance.page.admin_page import OpenPage
from tests.acceptance.page.installation import Installation

WIDTHS = (360, 768, 1280, 1920)


def test_entries_are_found_filtered_linked_and_exported(open_page: OpenPage, installation: Installation) -> None:
    installation.import_sites("site,workspace,display_name\nshop,acme,The shop\nblog,acme,\nwiki,globex,\n")
    with installation.latch.admin_client() as client:
        kept, gone = (
            client.post("/users", json={"workspace": "acme", "sites": ["shop"], "name": name}).json()["id"]
            for name in ("Nightly export", "=Old export")
        )
        client.delete(f"/users/{gone}").raise_for_status()
    installation.execute(
        "INSERT INTO sitelatch.audit_log (at, actor_name, actor_email, actor_address, action, workspace, subject)"
        " VALUES ('2026-03-15 12:00+00', 'Cleo', 'cleo@example.com', '192.0.2.7', 'site.removed', 'acme', 'old-shop')"
    )
    with open_page("#audit") as admin:
        rows, page, audit = admin.audit.locator("tr"), admin.page, admin.audit_log
        expect(rows).to_have_count(9)

        audit.search_field.fill("nightly")
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("Created the API user Nightly export")
        assert page.url.endswith("#audit?search=nightly")
        audit.search_field.fill("nothing like it")
        expect(page.get_by_text("No entry matches these filters.")).to_be_visible()
        page.get_by_role("link", name="Show all entries").click()
        expect(rows).to_have_count(9)
        expect(audit.search_field).to_have_value("")

        audit.action.select_option("Sites removed")
        expect(rows).to_have_count(1)
        audit.action.select_option("Sites added")
        expect(rows).to_have_count(3)
        admin.select_workspace("globex")
        expect(rows).to_have_count(1)
        admin.select_workspace("")
        audit.action.select_option("All changes")
        expect(rows).to_have_count(9)

        # The dates include whole days. The state survives a reload, and Back returns to the previous link.
        audit.since.fill("2026-03-15")
        audit.until.fill("2026-03-15")
        expect(rows).to_have_count(1)
        page.reload()
        expect(rows).to_have_count(1)
        expect(audit.until).to_have_value("2026-03-15")
        audit.until.fill("2026-03-14")
        expect(rows).to_have_count(0)
        # Back undoes each filter.
        page.go_back()
        expect(audit.until).to_have_value("")
        expect(rows).to_have_count(9)
        audit.search_field.fill("shop")
        audit.action.select_option("Sites removed")
        expect(rows).to_have_count(1)
        page.go_back()
        expect(audit.action).to_have_value("")
        expect(audit.search_field).to_have_value("shop")
        expect(audit.since).to_have_value("2026-03-15")
        admin.open("Audit")
        expect(rows).to_have_count(9)
        page.get_by_role("link", name="Entries by Cleo").click()
        expect(rows).to_have_count(1)
        expect(audit.actor).to_have_value("cleo@example.com")
        audit.actor.fill("Nobody@example.com")
        expect(rows).to_have_count(0)
        page.go_back()
        expect(rows).to_have_count(9)

        # From an entry to the history of its subject, to the API user, and back.
        page.get_by_role("link", name="History of =Old export").first.click()
        expect(rows).to_have_count(2)
        expect(audit.subject).to_contain_text("Entries about =Old export slk_")
        expect(page.get_by_role("link", name="Show the API user")).to_have_count(0)
        audit.subject.get_by_role("button").click()
        expect(rows).to_have_count(9)
        page.get_by_role("link", name="Show the API user Nightly export").click()
        expect(admin.heading("API Users")).to_be_visible()
        admin.users.expect_count(1)
        expect(admin.users.rows.first).to_contain_text("Nightly export")
        admin.users.rows.first.get_by_role("link", name="History of Nightly export").click()
        expect(rows).to_have_count(1)
        assert page.url.endswith(f"#audit?subject={kept}")
        admin.screenshot("16-history")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
            expect(audit.export_link).to_be_in_viewport(ratio=1)
            if width == 360:
                expect(audit.filters_button).to_have_text("Filters")
                expect(audit.action).to_be_hidden()
                audit.filters_button.click()
            expect(audit.until).to_be_in_viewport(ratio=1)
            boxes = [field.bounding_box() for field in (audit.since, audit.until)]
            (top, wide), (other_top, other_wide) = [(box["y"], box["width"]) for box in boxes if box is not None]
            assert top == other_top, width
            assert abs(wide - other_wide) < 2, width
            # The time needs no more lines than the person.
            assert rows.first.locator("td > div").first.evaluate("(time) => time.offsetHeight") <= 44, width
        page.set_viewport_size(DESKTOP)

        # The export has the entries of the filters.
        audit.search_field.fill("export")
        expect(rows).to_have_count(1)
        audit.subject.get_by_role("button").click()
        expect(rows).to_have_count(3)
        with page.expect_download() as download:
            audit.export_link.click()
        assert download.value.suggested_filename == "sitelatch-audit.csv"
        text = download.value.path().read_text(encoding="utf-8-sig")
        lines = list(csv.DictReader(io.StringIO(text)))
        assert [line["action"] for line in lines] == ["user.deleted", "user.created", "user.created"]


def test_a_pasted_key_gets_into_no_url(open_page: OpenPage, installation: Installation) -> None:
    installation.import_sites("site,workspace\nshop,acme\n")
    key = installation.latch.create_user("acme", "shop").key
    with open_page("#audit") as admin:
        urls: list[str] = []
        admin.page.on("request", lambda request: urls.append(request.url))
        admin.audit_log.search_field.fill(f"key: {key}")
        expect(admin.page.get_by_text("No entry matches")).to_be_visible()
        admin.audit_log.search_field.fill(key)
        expect(admin.audit.locator("tr")).to_have_count(1)
        urls.append(admin.page.url)
        admin.open("Sites")
        with admin.page.expect_response(lambda response: "search=slk_" in response.url):
            admin.sites.search_field.fill(key)
        admin.open("API Users")
        with admin.page.expect_response(lambda response: "search=slk_" in response.url):
            admin.users.search_field.fill(key)
        assert any(key[:8] in url for url in urls)
        assert not any(key[8:] in url for url in urls)


def test_an_empty_audit_log_says_what_to_do_next(open_page: OpenPage) -> None:
    with open_page("#audit") as admin:
        expect(admin.page.get_by_text("No entries yet")).to_be_visible()
        admin.page.get_by_role("link", name="Go to the API users").click()
        expect(admin.heading("API Users")).to_be_visible()
