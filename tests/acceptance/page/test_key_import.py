"""The dialog "Import keys" of the admin page."""

from playwright.sync_api import expect

from tests.acceptance.page.admin_page import OpenPage
from tests.acceptance.page.installation import Installation

KEY = "kq3vT8-Zp1mX9wLr4sNc"


def test_keys_are_previewed_corrected_and_imported(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.create_sites_and_users()
    with open_page("#users?workspace=acme") as admin:
        admin.page.get_by_role("button", name="Import keys").click()
        dialog = admin.page.locator("#keys-dialog")
        file = dialog.get_by_label("List of keys")
        broken = f"key,sites,name\n{KEY},shop,Nightly\nshort,shop,Other\n".encode()
        file.set_input_files({"name": "keys.csv", "mimeType": "text/csv", "buffer": broken})
        dialog.get_by_role("button", name="Preview").click()
        expect(dialog.get_by_text("1 error. Correct the file")).to_be_visible()
        expect(dialog.get_by_text("Line 3: The key is shorter than 20 characters")).to_be_visible()
        expect(dialog.get_by_role("button", name="Import", exact=True)).to_be_hidden()

        dialog.get_by_role("button", name="Back").click()
        whole = f"key,sites,name\n{KEY},shop,Nightly\n".encode()
        file.set_input_files({"name": "keys.csv", "mimeType": "text/csv", "buffer": whole})
        dialog.get_by_role("button", name="Preview").click()
        expect(dialog.get_by_text("1 new, 0 changed, 0 unchanged.")).to_be_visible()
        expect(dialog.get_by_text("Set accept_foreign = true in [keys].")).to_be_visible()
        dialog.get_by_role("button", name="Import", exact=True).click()
        expect(admin.toast).to_contain_text("1 imported, 0 changed, 0 unchanged.")
        expect(dialog).to_be_hidden()
        expect(admin.users.rows.filter(has_text="Nightly")).to_be_visible()
        admin.open("Audit")
        expect(admin.audit.get_by_text("Imported the API user")).to_be_visible()
    assert KEY not in installation.latch.output.read_text()
