"""The page object of the admin page: its elements, and what a person does with them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Literal

from playwright.sync_api import Locator, expect

from tests.acceptance.browser import Visit
from tests.acceptance.harness import ADMIN_TOKEN
from tests.acceptance.page.dialogs import CreateDialog, Dialog
from tests.acceptance.page.lists import AuditLog, SiteList, UserList

View = Literal["API Users", "Sites", "Audit"]

OpenPage = Callable[..., AbstractContextManager["AdminPage"]]
"""The fixture `open_page`: opens the page with an optional URL fragment, and by default signs in."""

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
        self.audit_log = AuditLog(page)
        self.dialog = Dialog(page)
        self.create_dialog = CreateDialog(page)
        self.token_field = page.get_by_label("Admin token")
        self.sign_out_button = page.get_by_role("button", name="Sign out")
        self.sign_in_error = page.locator("#sign-in-error")
        self.person = page.locator("#person")
        self.toast = page.locator("#toast")
        self.tooltip = page.locator("#tooltip")
        self.empty_rows = page.locator("#first-list")
        self.outage = page.locator("#outage")
        self.retry_button = self.outage.get_by_role("button", name="Try again")
        self.progress = page.locator("#progress")
        self.account_button = page.locator("#account")
        self.workspace = page.locator("#workspace")
        self.workspace_button = page.locator("#workspace-button")
        self.workspace_choices = page.locator("#workspace-choices button")
        self.new_workspace_button = page.locator("#new-workspace")

    def sign_in(self, token: str = ADMIN_TOKEN) -> None:
        self.submit_token(token)
        expect(self.page.locator("#signed-in section").filter(visible=True)).to_be_visible()

    def submit_token(self, token: str) -> None:
        self.token_field.fill(token)
        self.page.get_by_role("button", name="Sign in", exact=True).click()

    def sign_out(self) -> None:
        self.account_button.click()
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
        """Select a workspace, or all with an empty name."""
        self.workspace_button.click()
        self.page.locator("#workspace-menu").get_by_role("button", name=name or "All workspaces", exact=True).click()

    def create_workspace(self, name: str) -> None:
        self.start_creating_workspace()
        self.dialog.field("Name").fill(name)
        self.dialog.submit("Create workspace")
        self.dialog.expect_closed()

    def start_creating_workspace(self) -> None:
        """Open the dialog that creates a workspace."""
        self.workspace_button.click()
        self.new_workspace_button.click()

    def clipboard(self) -> str:
        text = self.page.evaluate("navigator.clipboard.readText()")
        assert isinstance(text, str)
        return text
