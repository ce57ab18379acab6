"""The page object of the admin page: its elements, and what a person does with them."""

import re
from collections.abc import Sequence
from typing import Final, Literal

from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.acceptance.browser import Visit
from tests.acceptance.harness import ADMIN_TOKEN

View = Literal["API Users", "Sites", "Audit"]

KEY: Final = re.compile(r"slk_\w{38}")
UNREACHABLE: Final = "The server cannot be reached. Try again."
SESSION_ENDED: Final = "Your session has ended. Sign in again."


class AdminPage:
    """The whole page: signing in and out, the header with its views and workspaces, and messages."""

    def __init__(self, visit: Visit, url: str) -> None:
        self.page = page = visit.page
        self.url = url
        self.console_errors = visit.console_errors
        self.screenshot = visit.screenshot
        self.users = UserList(page)
        self.sites = SiteList(page)
        self.audit = page.locator("#audit-rows")
        self.dialog = Dialog(page)
        self.create_dialog = CreateDialog(page)
        self.token_field = page.get_by_label("Admin token")
        self.sign_out_button = page.get_by_role("button", name="Sign out")
        self.sign_in_error = page.locator("#sign-in-error")
        self.person = page.locator("#person")
        self.toast = page.locator("#toast")
        self.progress = page.locator("#progress")
        self.workspace = page.locator("#workspace")
        self.new_workspace_button = page.locator("#new-workspace")

    def sign_in(self, token: str = ADMIN_TOKEN) -> None:
        self.submit_token(token)
        expect(self.page.locator("#signed-in")).to_be_visible()

    def submit_token(self, token: str) -> None:
        self.token_field.fill(token)
        self.page.get_by_role("button", name="Sign in", exact=True).click()

    def sign_out(self) -> None:
        self.sign_out_button.click()

    def lose_session(self) -> None:
        """Delete the session cookie, as if the session had timed out."""
        self.page.context.clear_cookies()

    def link(self, view: View) -> Locator:
        return self.page.get_by_role("link", name=view, exact=True)

    def heading(self, view: View) -> Locator:
        return self.page.get_by_role("heading", name=view, level=1)

    def open(self, view: View) -> None:
        self.link(view).click()
        expect(self.heading(view)).to_be_visible()

    def section(self, view: View) -> Locator:
        return self.page.locator({"API Users": "#users", "Sites": "#sites", "Audit": "#audit"}[view])

    def rows(self, view: View) -> Locator:
        return self.section(view).locator("tbody tr")

    def select_workspace(self, name: str) -> None:
        self.workspace.select_option(name)

    def create_workspace(self, name: str) -> None:
        """Create a workspace with the button in the header, or in the empty list if there is no workspace yet."""
        self.page.get_by_role("button", name="New workspace").last.click()
        self.dialog.field("Name").fill(name)
        self.dialog.submit("Create workspace")
        self.dialog.expect_closed()

    def clipboard(self) -> str:
        text = self.page.evaluate("navigator.clipboard.readText()")
        assert isinstance(text, str)
        return text


class ListView:
    """A list with pages."""

    def __init__(self, page: Page, view: str) -> None:
        self.page = page
        self.rows = page.locator(f"#{view}-rows tr")
        self.error = page.locator(f"#{view}-error")
        self.empty = page.locator(f"#{view}-empty")
        self.next_button = page.get_by_role("button", name="Next")
        self.previous_button = page.get_by_role("button", name="Previous")

    def row(self, text: str) -> Locator:
        return self.rows.filter(has_text=text)

    def row_with(self, exact_text: str) -> Locator:
        return self.rows.filter(has=self.page.get_by_text(exact_text, exact=True))

    def expect_count(self, count: int) -> None:
        expect(self.rows).to_have_count(count)

    def expect_page(self, number: int) -> None:
        expect(self.page.get_by_text(f"Page {number}", exact=True)).to_be_visible()

    def next_page(self) -> None:
        self.next_button.click()

    def previous_page(self) -> None:
        self.previous_button.click()


class UserList(ListView):
    """The view API Users."""

    def __init__(self, page: Page) -> None:
        super().__init__(page, "users")
        self.search_field = page.get_by_label("Search by name")
        self.sort_field = page.get_by_label("Sort by")
        self.create_button = page.get_by_role("button", name="Create API User")
        self.no_users = page.get_by_text("No API users yet")

    def search(self, text: str) -> None:
        self.search_field.fill(text)

    def delete_button(self, row: Locator) -> Locator:
        return row.get_by_role("button", name="Delete User")

    def hint(self, row: Locator) -> Locator:
        """The hint of a key, or the key itself while it is revealed."""
        return row.locator("code")

    def show_key_buttons(self) -> Locator:
        return self.page.get_by_role("button", name="Show key")

    def copy_key_buttons(self) -> Locator:
        return self.page.get_by_role("button", name="Copy key slk")

    def last_activity(self, row: Locator) -> Locator:
        return row.locator(".activity")


class SiteList(ListView):
    """The view Sites."""

    def __init__(self, page: Page) -> None:
        super().__init__(page, "sites")
        self.search_field = page.get_by_label("Search by id")
        self.add_button = page.get_by_role("button", name="Add site")
        self.import_button = page.get_by_role("button", name="Import CSV")
        self.dialog = Dialog(page)

    def text(self, text: str) -> Locator:
        return self.page.locator("#sites-rows").get_by_text(text, exact=True).first

    def add(self, site: str, name: str = "") -> None:
        self.start_adding(site, name)
        self.dialog.expect_closed()
        expect(self.text(site)).to_be_visible()

    def start_adding(self, site: str, name: str = "") -> None:
        """Fill in and submit the form, without waiting for the result."""
        self.add_button.click()
        self.dialog.field("Site", exact=True).fill(site)
        self.dialog.field("Name (optional)").fill(name)
        self.dialog.submit("Add site")

    def rename_button(self, site: str) -> Locator:
        return self.page.get_by_role("button", name=f"Rename {site}", exact=True)

    def remove_button(self, site: str) -> Locator:
        return self.page.get_by_role("button", name=f"Remove {site}", exact=True)

    def rename(self, site: str, name: str) -> None:
        self.rename_button(site).click()
        self.dialog.field("Name").fill(name)
        self.dialog.submit("Rename")

    def import_csv(self, content: bytes) -> None:
        """Open the dialog and import a file."""
        self.import_button.click()
        self.choose_csv(content)
        self.dialog.submit("Import")

    def choose_csv(self, content: bytes) -> None:
        file: FilePayload = {"name": "sites.csv", "mimeType": "text/csv", "buffer": content}
        self.dialog.field("CSV file").set_input_files(file)


class Dialog:
    """The open dialog."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = page.get_by_role("dialog")
        self.title = self.root.get_by_role("heading")

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
