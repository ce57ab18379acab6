"""Page objects of the lists of API users and sites."""

from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.acceptance.page.dialogs import Dialog


class ListView:
    """A list with pages."""

    def __init__(self, page: Page, view: str) -> None:
        self.page = page
        self.rows = page.locator(f"#{view}-rows tr")
        self.error = page.locator(f"#{view}-error")
        self.empty = page.locator(f"#{view}-empty")
        self.pages = page.locator(f"#{view}-pages")
        self.next_button = page.get_by_role("button", name="Next")
        self.previous_button = page.get_by_role("button", name="Previous")

    def row(self, text: str) -> Locator:
        return self.rows.filter(has_text=text)

    def row_with(self, exact_text: str) -> Locator:
        return self.rows.filter(has=self.page.get_by_text(exact_text, exact=True))

    def expect_count(self, count: int) -> None:
        expect(self.rows).to_have_count(count)

    def expect_range(self, text: str) -> None:
        """Wait for the text below the list that says which items are shown, such as "1–50 of 60"."""
        expect(self.pages.locator("span")).to_have_text(text)

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
        """Only where not all column headers are shown, on phones and tablets."""
        self.use_filter = page.get_by_label("Filter by last activity or expiry")
        self.person_filter = page.get_by_label("Authorized by", exact=True)
        self.filters_button = page.locator("#users .filters-button")
        """Only on phones, where it shows and hides the filters."""
        self.create_button = page.get_by_role("button", name="Create API User")
        self.sparklines = page.locator("#users-rows .spark svg")
        self.site_popover = page.locator("#user-sites")
        self.no_users = page.get_by_role("heading", name="Three steps to the first API user")
        self.next_step = page.locator("#users-empty li.next")
        self.steps_done = page.locator("#users-empty li.done")

    def search(self, text: str) -> None:
        self.search_field.fill(text)

    def more_sites(self, row: Locator) -> Locator:
        """The button that lists all sites of a user."""
        return row.get_by_role("button", name="more sites")

    def column(self, name: str) -> Locator:
        return self.page.get_by_role("columnheader", name=name)

    def sort_by(self, column: str) -> None:
        """Click a column header. The second click reverses the order."""
        self.column(column).get_by_role("button").click()

    def filter_by_person(self, email: str) -> None:
        self.person_filter.fill(email)
        self.person_filter.press("Enter")

    def names(self) -> list[str]:
        return self.page.locator("#users-rows .name").all_text_contents()

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
        self.new_workspaces = page.get_by_role("checkbox", name="Create")
        self.import_summary = page.locator("#import-summary")
        self.import_errors = page.locator("#import-error-list li")
        self.import_changes = page.locator("#import-changes li")
        self.import_notes = page.locator("#import-notes")

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

    def import_csv(self, content: bytes, *, sites: int, create_workspaces: bool = False) -> None:
        """Open the dialog, preview a file and import it. It changes this number of sites."""
        self.preview_csv(content)
        if create_workspaces:
            self.new_workspaces.check()
        self.import_file_button(sites).click()

    def preview_csv(self, content: bytes) -> None:
        """Open the dialog and preview a file."""
        self.import_button.click()
        self.choose_csv(content)
        self.dialog.submit("Preview")

    def import_file_button(self, sites: int) -> Locator:
        return self.dialog.button(f"Import {sites:,} site{'' if sites == 1 else 's'}")

    def choose_csv(self, content: bytes) -> None:
        file: FilePayload = {"name": "sites.csv", "mimeType": "text/csv", "buffer": content}
        self.dialog.field("CSV file").set_input_files(file)


class AuditLog:
    """The filters of the view Audit."""

    def __init__(self, page: Page) -> None:
        self.search_field = page.get_by_label("Search the audit log")
        self.action = page.get_by_label("What", exact=True)
        self.actor = page.get_by_label("Email of the person")
        self.since = page.get_by_label("From", exact=True)
        self.until = page.get_by_label("to", exact=True)
        self.filters_button = page.locator("#audit .filters-button")
        """Only on phones, where it shows and hides the filters."""
        self.subject = page.locator("#audit-subject")
        self.export_link = page.get_by_role("link", name="Export CSV")
