"""Page objects of the dialogs."""

import re
from collections.abc import Sequence
from typing import Final

from playwright.sync_api import Locator, Page, expect

KEY: Final = re.compile(r"slk_\w{38}")


class Dialog:
    """The open dialog."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = page.get_by_role("dialog")
        self.title = self.root.get_by_role("heading", level=2)

    def field(self, label: str, *, exact: bool = False) -> Locator:
        return self.root.get_by_label(label, exact=exact)

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def submit(self, name: str) -> None:
        self.button(name).click()

    def cancel(self) -> None:
        self.button("Cancel").click()

    def error(self, text: str) -> Locator:
        return self.root.get_by_role("alert").filter(has_text=text)

    def text(self, text: str) -> Locator:
        return self.root.get_by_text(text)

    def expect_closed(self) -> None:
        expect(self.root).to_be_hidden()

    def expect_text(self, text: str) -> None:
        expect(self.root).to_contain_text(text)


class CreateDialog(Dialog):
    """The dialog Create API User: the form, and then the key."""

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self.name = self.field("Name")
        self.workspace = self.field("Workspace")
        self.all_sites = self.root.get_by_role("switch", name="Authorize for all sites")
        self.search_field = self.field("Search sites")
        self.sites = self.root.get_by_role("checkbox")
        self.select_all_button = self.root.get_by_role("button", name="Select all")
        self.paste_list_button = self.button("Paste a list")
        self.list_field = self.field("Site ids")
        self.list_error = page.locator("#pasted-error")
        self.add_list_button = self.button("Select these sites")
        self.chips = self.root.get_by_role("list", name="Selected sites")
        self.count = page.locator("#selected-count")
        self.create_button = self.button("Create")
        self.created_title = self.root.get_by_role("heading", name="API user created")
        self.key = self.field("API key", exact=True)
        self.copy_button = self.root.locator("button[data-copy=created-key]")
        self.example = self.field("Try it")
        self.done_button = self.button("Done")

    def open(self) -> None:
        self.page.get_by_role("button", name="Create API User").click()

    def site(self, site: str) -> Locator:
        return self.root.get_by_role("checkbox", name=site)

    def selected_site(self, site: str) -> Locator:
        """The chip of a selected site. A click on it deselects the site."""
        return self.root.get_by_role("button", name=f"Remove {site}", exact=True)

    def fill(
        self, *, sites: Sequence[str] = (), all_sites: bool = False, name: str = "", workspace: str | None = None
    ) -> None:
        """Open the dialog and fill in the form."""
        self.open()
        if workspace is not None:
            self.workspace.select_option(workspace)
        if name:
            self.name.fill(name)
        if all_sites:
            self.all_sites.check()
        for site in sites:
            self.site(site).check()

    def create(
        self, *, sites: Sequence[str] = (), all_sites: bool = False, name: str = "", workspace: str | None = None
    ) -> str:
        """Create an API user and return its key. The dialog stays open."""
        self.fill(sites=sites, all_sites=all_sites, name=name, workspace=workspace)
        self.create_button.click()
        return self.created_key()

    def created_key(self) -> str:
        """Wait for the key and return it."""
        expect(self.key).to_have_value(KEY)
        return self.key.input_value()

    def done(self) -> None:
        self.done_button.click()
        self.expect_closed()
