"""The admin page against injection, foreign content and plain HTTP."""

import re
import shlex
from urllib.parse import quote, unquote

import httpx
from playwright.sync_api import Browser, expect

from tests.acceptance.harness import REPOSITORY, Sitelatch
from tests.acceptance.page.admin_page import OpenPage
from tests.acceptance.page.installation import Installation
from tests.acceptance.page.network import ELSEWHERE, serve_elsewhere

HOSTILE = (
    "<script>document.title='taken'</script>",
    "<img src=x onerror=\"document.title='taken'\">",
    "\"quotes\" 'and' `ticks` &amp; ${x}",
    "\u202etfel ot thgir\u202c",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\U0001f980 \U0001f468\u200d\U0001f469\u200d\U0001f467",
)

HOSTILE_SITES = ("<i>site", "<img src=x onerror=alert(1)>", "'\"`${x}", "\u05e9\u05dc\u05d5\u05dd", "\U0001f980")
"""Site ids cannot contain slashes or invisible characters."""


def test_names_and_ids_are_shown_as_text(open_page: OpenPage, installation: Installation) -> None:
    installation.create_workspaces("<b>bold</b>", "acme")
    with installation.latch.admin_client() as client:
        for site, name in zip(HOSTILE_SITES, HOSTILE, strict=False):
            put = {"workspace": "<b>bold</b>", "display_name": name}
            client.put(f"/sites/{quote(site)}", json=put).raise_for_status()
        for name in HOSTILE:
            user = {"workspace": "<b>bold</b>", "sites": list(HOSTILE_SITES[:3]), "name": name}
            client.post("/users", json=user).raise_for_status()
    with open_page() as admin:
        admin.page.on("dialog", lambda dialog: admin.console_errors.append(dialog.message))
        dialog = admin.dialog
        admin.users.expect_count(len(HOSTILE))
        admin.select_workspace("<b>bold</b>")
        for name in HOSTILE:
            row = admin.users.row_with(name)
            admin.users.more_sites(row).click()
            for site in HOSTILE_SITES[:3]:
                expect(admin.users.site_popover.get_by_text(site, exact=True)).to_be_visible()
            admin.page.keyboard.press("Escape")
            admin.users.delete_button(row).click()
            expect(dialog.title).to_contain_text(name)
            expect(dialog.root.get_by_text(HOSTILE_SITES[1], exact=True)).to_be_visible()
            dialog.cancel()
        admin.screenshot("10-hostile")

        create = admin.create_dialog
        create.open()
        for site in HOSTILE_SITES:
            choice = admin.page.locator("#picker li").filter(has=admin.page.get_by_text(site, exact=True))
            choice.get_by_role("checkbox").check()
            expect(create.selected_site(site)).to_contain_text(site)
        create.search_field.fill(HOSTILE[0])
        create.name.fill(HOSTILE[0])
        create.create_button.click()
        expect(create.text("It can access 5 selected sites.")).to_be_visible()
        url = shlex.split(create.example.input_value())[-1]
        site_in_url = unquote(url.removeprefix(f"{installation.latch.url}/api/sites/")).removesuffix("/")
        assert site_in_url in HOSTILE_SITES
        admin.screenshot("15-hostile-created")
        create.done()
        admin.users.search("<u>nobody")
        expect(admin.page.get_by_text("No API user matches “<u>nobody”.")).to_be_visible()

        admin.open("Sites")
        for site, name in zip(HOSTILE_SITES, HOSTILE, strict=False):
            expect(admin.sites.text(name)).to_be_visible()
            for button in (admin.sites.rename_button(site), admin.sites.remove_button(site)):
                button.click()
                expect(dialog.title).to_contain_text(site)
                dialog.cancel()
            admin.sites.rename(site, name)
            # Text with a direction override does not affect the text around it.
            expect(admin.toast).to_have_text(f"Renamed {site} to {name}.")
            expect(admin.toast.locator("bdi")).to_have_text([site, name])
        admin.sites.start_adding("<s>a/b")
        expect(dialog.error('"<s>a/b" contains "/"')).to_be_visible()
        dialog.cancel()
        admin.open("Audit")
        for name in HOSTILE:
            expect(admin.audit.get_by_text(name, exact=True).first).to_be_visible()
        injected = "main :is(script, img[src=x], i, u, s, b b), dialog :is(script, img, i, s, u)"
        assert admin.page.locator(injected).count() == 0
        assert admin.page.title() == "Audit · Sitelatch"


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(latch: Sitelatch) -> None:
    url = f"http://{latch.admin}/admin"
    with httpx.Client(base_url=url, trust_env=False, follow_redirects=True) as client:
        response = client.get("")
        assert str(response.url) == f"{url}/"
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"<style|\bstyle=|\bon\w+=|<script(?![^>]*src=)|https?://(?!localhost)", response.text)
        # Without preloading, a browser would discover the modules one after the other.
        modules = {file.stem for file in (REPOSITORY / "admin" / "static").glob("*.js")} - {"integrators"}
        assert set(re.findall(r'(?:src|modulepreload" href)="static/(\w+)\.\w+\.js"', response.text)) == modules
        for name in re.findall(r'(?:src|href)="(static/[^"]+)"', response.text):
            file = client.get(f"/{name}")
            assert file.status_code == 200
            assert client.get(f"/{name}", headers={"If-None-Match": file.headers["ETag"]}).status_code == 304
        for name in ("nope.js", "..%2Fapp.py", "%2e%2e/app.py", "index.html"):
            assert client.get(f"/static/{name}").status_code in (401, 404)


def test_the_page_refuses_tokens_over_plain_http_beyond_loopback(browser: Browser, latch: Sitelatch) -> None:
    context = browser.new_context()
    page = context.new_page()
    serve_elsewhere(page, latch.admin.rpartition(":")[2])
    page.goto(ELSEWHERE)
    expect(page.get_by_text("This page was loaded over plain HTTP")).to_be_visible()
    expect(page.get_by_label("Admin token")).to_be_hidden()
    context.close()
