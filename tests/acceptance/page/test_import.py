"""Import of sites on the page: what a file would change is shown before anything changes."""

import pytest
from playwright.sync_api import expect

from admin.static_files import static_file
from tests.acceptance.browser import DESKTOP
from tests.acceptance.page.admin_page import OpenPage
from tests.acceptance.page.installation import Installation

WIDTHS = (360, 768, 1280, 1920)
FILE = """Site;Owner;Workspace;Name\r
shop;x;;Our shop\r
blog;x;;\r
kiosk;x;stalls;Büdchen\r
booth;x;;"The\r
booth"\r
"""


def test_a_file_is_previewed_corrected_and_imported(open_page: OpenPage, installation: Installation) -> None:
    installation.import_sites("site,workspace,display_name\nshop,acme,The shop\nblog,acme,\nwiki,globex,\n")
    with open_page("#sites") as admin, installation.latch.admin_client() as client:

        def count() -> int:
            return len(client.get("/sites").json()["items"])

        sites, dialog = admin.sites, admin.dialog
        sites.import_button.click()
        expect(dialog.field("Workspace of lines")).to_have_value("")
        dialog.submit("Preview")
        expect(dialog.error("Choose a file.")).to_be_visible()
        with admin.page.expect_download() as download:
            dialog.root.get_by_role("link", name="Download a template").click()
        assert download.value.suggested_filename == "sites.csv"
        assert download.value.path().read_bytes() == static_file("sites.csv").content

        # All errors are shown, with their lines, and nothing can be imported.
        sites.choose_csv("shop;Shop\r\nblog;Blog\r\n".encode("utf-16"))
        dialog.submit("Preview")
        expect(sites.import_summary).to_be_focused()
        expect(dialog.text("The headings are missing.")).to_be_visible()
        dialog.submit("Back")
        sites.choose_csv((FILE + "a/b;x;acme;\r\nwiki;x;acme;\r\n").encode("cp1252"))
        dialog.submit("Preview")
        expect(dialog.text("5 errors. Correct the file")).to_be_visible()
        expect(sites.import_errors).to_have_count(5)
        expect(sites.import_errors.filter(has_text="Line 7: “a/b”".replace("“", '"').replace("”", '"'))).to_have_count(
            1
        )
        expect(sites.import_errors.filter(has_text="Line 2: The line names no workspace")).to_have_count(1)
        expect(dialog.root.get_by_role("button", name="Import")).to_have_count(0)
        for width in WIDTHS:
            admin.page.set_viewport_size({"width": width, "height": 800})
            assert admin.page.evaluate("document.querySelector('#import-dialog').scrollWidth <= innerWidth")
            expect(dialog.button("Back")).to_be_in_viewport(ratio=1)
        admin.page.set_viewport_size(DESKTOP)

        # The corrected file is previewed with a default workspace.
        dialog.submit("Back")
        sites.choose_csv(FILE.encode("cp1252"))
        dialog.field("Workspace of lines").select_option("acme")
        dialog.submit("Preview")
        expect(sites.import_summary).to_have_text("2 new sites, 1 renamed, 1 unchanged.")
        expect(sites.import_changes).to_have_text(
            ["Renamed shop: The shop → Our shop in acme", "New kiosk Büdchen in stalls", "New booth The booth in acme"]
        )
        expect(sites.import_notes).to_contain_text("Ignored columns: Owner. The file is not UTF-8 text.")
        expect(dialog.text("Create the workspace stalls")).to_be_visible()
        expect(sites.import_file_button(3)).to_be_disabled()
        admin.screenshot("15-import")
        assert count() == 3
        sites.new_workspaces.check()
        sites.import_file_button(3).click()
        dialog.expect_closed()
        expect(admin.toast).to_have_text("2 added, 1 renamed, 1 unchanged.")
        sites.expect_count(5)
        expect(sites.text("The booth")).to_be_visible()

        # The chosen workspace is the default. A file that changes nothing cannot be imported.
        admin.select_workspace("stalls")
        sites.expect_count(1)
        sites.preview_csv(b"kiosk\n")
        expect(sites.import_summary).to_have_text("0 new sites, 0 renamed, 1 unchanged. There is nothing to import.")
        expect(dialog.root.get_by_role("button", name="Import")).to_have_count(0)
        dialog.submit("Back")
        expect(dialog.field("Workspace of lines")).to_have_value("stalls")
        sites.choose_csv(b"site\n")
        dialog.submit("Preview")
        expect(sites.import_errors).to_have_text(["The file contains no sites, only headings."])
        dialog.submit("Back")
        # The preview of a large file shows the first changes.
        sites.choose_csv("".join(f"stall-{number:04}\n" for number in range(1500)).encode())
        dialog.submit("Preview")
        expect(sites.import_changes).to_have_count(201)
        expect(sites.import_changes.last).to_have_text("and 1,300 more")
        expect(sites.import_file_button(1500)).to_be_enabled()

        # A site that somebody else adds after the preview is found by the import.
        client.put("/sites/stall-0007", json={"workspace": "acme"}).raise_for_status()
        sites.import_file_button(1500).click()
        expect(dialog.error('Line 8: "stall-0007" belongs to the workspace "acme".')).to_be_visible()
        assert count() == 6
        dialog.cancel()
        dialog.expect_closed()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"PK\x03\x04\x14\0\x08\0\n\xd3\xff", "This is a workbook, not a text file."),
        (b"site\nshop\nb\x81\n", "Line 3 is not UTF-8 or Windows-1252 text."),
        (b"", "The file is empty."),
        (b"shop\n" * 700_000, "larger than 3 MB"),
    ],
    ids=["workbook", "unknown encoding", "empty", "huge"],
)
def test_a_file_that_cannot_be_read_is_refused(open_page: OpenPage, content: bytes, error: str) -> None:
    with open_page("#sites") as admin:
        admin.sites.preview_csv(content)
        expect(admin.dialog.text(error)).to_be_visible()
        expect(admin.dialog.root.get_by_role("button", name="Import")).to_have_count(0)
