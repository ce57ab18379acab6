"""The story of the admin page from the first sign-in to the last deletion, and each of its views."""

import re
import shlex
import subprocess
from urllib.parse import quote, unquote

import httpx
from playwright.sync_api import Browser, expect

from admin.key_encryption import new_secret
from proxy.decision.api_keys import hint as hint_of
from tests.acceptance.browser import Visit
from tests.acceptance.harness import REPOSITORY, Keys, Sitelatch
from tests.acceptance.page.accessibility import check_accessibility, page_with_axe
from tests.acceptance.page.admin_page import KEY, SESSION_ENDED, AdminPage
from tests.acceptance.page.conftest import Installation, OpenPage
from tests.acceptance.page.network import ELSEWHERE, lose_response, serve_elsewhere, stopped_clock


def disable_and_expire(installation: Installation, keys: Keys) -> None:
    """Disable the user of shop, and set the expiry of two keys: one in the past, one in an hour. Only SQL can do so."""
    installation.execute("UPDATE sitelatch.api_users SET disabled_at = now() WHERE id = $1", keys.shop.id)
    for user, expiry in ((keys.blog, "-2 days -1 hour"), (keys.acme, "1 hour")):
        installation.execute(
            "UPDATE sitelatch.api_keys SET expires_at = now() + $2::text::interval WHERE user_id = $1", user.id, expiry
        )


def test_the_customer_story_from_start_to_end(open_page: OpenPage, installation: Installation) -> None:
    with open_page(sign_in=False) as admin:
        admin.submit_token("wrong")
        expect(admin.page.get_by_role("alert").filter(has_text="not a valid admin token")).to_be_visible()
        admin.screenshot("01-sign-in")
        admin.sign_in()
        expect(admin.page).to_have_title("API Users · Sitelatch")

        # The empty page says how to start.
        expect(admin.page.get_by_text("Start with a workspace")).to_be_visible()
        admin.screenshot("02-empty")
        admin.create_workspace("acme")
        expect(admin.users.no_users).to_be_visible()
        admin.open("Sites")
        for site, name in (("shop", "The shop"), ("blog", ""), ("docs", "")):
            admin.sites.add(site, name)
        admin.screenshot("03-sites")
        admin.open("API Users")
        admin.screenshot("04-no-users")

        # Create a user for selected sites.
        dialog = admin.create_dialog
        dialog.open()
        expect(dialog.all_sites).not_to_be_checked()
        dialog.create_button.click()
        expect(dialog.text("Select at least one site")).to_be_visible()
        dialog.name.fill("Nightly export")
        dialog.search_field.fill("sh")
        dialog.site("shop").check()
        dialog.search_field.fill("")
        dialog.site("docs").check()
        dialog.selected_site("docs").click()
        expect(dialog.site("docs")).not_to_be_checked()
        admin.screenshot("05-create")
        dialog.create_button.click()
        expect(dialog.text("It will not be shown again")).to_be_visible()
        admin.screenshot("06-key")
        dialog.button("Copy key").click()
        key = admin.clipboard()
        assert KEY.fullmatch(key)
        curl = dialog.example.input_value()
        for _ in range(3):
            admin.page.keyboard.press("Escape")
            expect(dialog.root).to_be_visible()  # a key that is shown once must not vanish by accident
        dialog.done()

        row = admin.users.row("Nightly export")
        for text in ("Ada Admin", "ada@example.com", "shop", "never"):
            expect(row).to_contain_text(text)
        assert key not in admin.page.content()

        # The key works for its site only, and the page shows its use.
        done = subprocess.run(
            [*shlex.split(curl), "-s", "-o", "/dev/null", "-w", "%{http_code}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "200"
        assert installation.status("shop", key) == 200
        assert installation.status("blog", key) == 403
        expect(row).to_contain_text("just now")
        expect(admin.users.last_activity(row).locator("time")).to_have_attribute("title", re.compile(r"\d{4}"))
        admin.users.delete_button(row).click()
        dialog.expect_text("It was last used just now.")
        dialog.cancel()

        # Create a user for all sites, including sites added later.
        dialog.fill(all_sites=True)
        expect(dialog.search_field).to_be_hidden()
        dialog.create_button.click()
        expect(dialog.text("all sites of acme")).to_be_visible()
        everything = dialog.created_key()
        dialog.done()
        expect(admin.page.get_by_text("All sites", exact=True)).to_be_visible()
        assert installation.status("later", everything) == 403
        admin.open("Sites")
        admin.sites.add("later")
        installation.expect_status("later", everything, 200)
        admin.open("API Users")
        expect(row).to_be_visible()
        admin.screenshot("07-users")

        # Delete: first cancel, then confirm.
        delete = admin.users.delete_button(row)
        delete.click()
        dialog.expect_text("This action cannot be undone.")
        dialog.expect_text("shop")
        admin.screenshot("08-delete")
        dialog.cancel()
        expect(delete).to_be_focused()
        assert installation.status("shop", key) == 200
        delete.click()
        dialog.submit("Delete")
        expect(row).to_have_count(0)
        installation.expect_status("shop", key, 401, seconds=1)
        expect(admin.heading("API Users")).to_be_focused()

        admin.open("Audit")
        for entry in (
            "Deleted the API user Nightly export",
            "Added the site later",
            "Created the API user Nightly export",
            "Created the workspace acme",
            "127.0.0.1",
        ):
            expect(admin.audit).to_contain_text(entry)
        admin.screenshot("09-audit")

        admin.sign_out()
        expect(admin.token_field).to_be_visible()
        admin.page.reload()
        expect(admin.token_field).to_be_visible()


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
            for site in HOSTILE_SITES[:3]:
                expect(row.get_by_text(site, exact=True)).to_be_visible()
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


def test_selecting_among_5000_sites_is_quick(open_page: OpenPage, installation: Installation) -> None:
    lines = "".join(f"many-{number:04},large,\n" for number in range(5000))
    installation.import_sites(f"site,workspace,display_name\n{lines}")
    with open_page() as admin:
        dialog = admin.create_dialog
        dialog.open()
        expect(dialog.text("Showing the first 50")).to_be_visible()
        for number in (4999, 17, 2500):
            dialog.search_field.fill(f"many-{number:04}")
            dialog.search_field.press("Enter")
            expect(dialog.selected_site(f"many-{number:04}")).to_be_visible()
        dialog.search_field.fill("many-1")
        expect(dialog.sites.first).to_have_value("many-1000")
        admin.screenshot("11-many")
        dialog.create_button.click()
        expect(dialog.text("It can access 3 selected sites.")).to_be_visible()


def test_a_recoverable_key_is_shown_copied_and_audited(open_page: OpenPage, installation: Installation) -> None:
    installation.create_workspaces("acme")
    earlier = installation.latch.create_user("acme", all_sites=True)
    installation.configure_admin(recoverable_keys=new_secret())
    user = installation.latch.create_user("acme", all_sites=True)
    with open_page() as admin:
        hint = admin.users.hint(admin.users.rows.first)
        expect(hint).to_have_text(re.compile("slk_.{4}….{4}"))
        show = admin.users.show_key_buttons()
        show.click()
        expect(hint).to_have_text(user.key)
        admin.screenshot("12-shown")
        admin.page.get_by_role("button", name="Hide key").click()
        expect(hint).not_to_have_text(user.key)
        with stopped_clock(admin.page):
            admin.users.copy_key_buttons().click()
            expect(admin.page.get_by_text("Copied", exact=True)).to_be_visible()
        assert admin.clipboard() == user.key
        # The right key is shown even if SQL has added an older key since the list was loaded.
        installation.execute(
            "INSERT INTO sitelatch.api_keys (user_id, digest, hint, created_at)"
            " VALUES ($1, sha256('other'), 'slk_aaaa…zzzz', now() - interval '1 day')",
            user.id,
        )
        show.click()
        expect(hint).to_have_text(user.key)
        # Keys created before the option was set cannot be shown.
        expect(admin.page.get_by_text(hint_of(earlier.key))).to_be_visible()
        expect(show).to_have_count(1)
        admin.open("Audit")
        expect(admin.page.get_by_text("Revealed the key of the API user")).to_have_count(3)


def test_sites_are_renamed_removed_and_imported(open_page: OpenPage, installation: Installation) -> None:
    installation.import_sites("site,workspace,display_name\nshop,acme,The shop\n")
    user = installation.latch.create_user("acme", "shop")
    with open_page("#sites") as admin:
        dialog = admin.dialog
        admin.sites.rename("shop", "Our shop")
        expect(admin.sites.text("Our shop")).to_be_visible()
        admin.sites.remove_button("shop").click()
        dialog.expect_text("1 API user loses access to it.")
        dialog.submit("Remove")
        expect(admin.page.get_by_text("No sites yet.")).to_be_visible()
        installation.expect_status("shop", user.key, 403)
        admin.open("API Users")
        expect(admin.page.get_by_text("None (its sites were removed)")).to_be_visible()
        admin.open("Sites")
        admin.sites.import_button.click()
        dialog.submit("Import")
        expect(dialog.error("Choose a file.")).to_be_visible()
        admin.sites.choose_csv(b"site,workspace\na/b,acme\n")
        dialog.submit("Import")
        dialog.expect_text("Line 2:")
        admin.sites.choose_csv(b"site,workspace\nshop,acme\ndocs,acme\n")
        dialog.submit("Import")
        admin.sites.expect_count(2)


def test_a_new_key_comes_with_a_guide_for_integrators(open_page: OpenPage, installation: Installation) -> None:
    installation.latch.enrol()
    with open_page() as admin:
        admin.create_dialog.create(sites=["shop"])
        with admin.page.context.expect_page() as opened:
            admin.page.get_by_role("link", name="a guide to the key").click()
        guide = opened.value
        expect(guide.get_by_role("heading", name="Calling the data API with an API key")).to_be_visible()
        expect(guide.get_by_text(f"The address is {installation.latch.url}.")).to_be_visible()
        guide.on("console", Visit(guide, admin.console_errors).record)
        with stopped_clock(guide):
            guide.get_by_role("button", name="Copy as text").click()
            expect(guide.get_by_role("button", name="Copied")).to_be_visible()
        copied = guide.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("# Calling the data API with an API key")
        with guide.expect_download() as download:
            guide.get_by_role("link", name="Download").click()
        assert download.value.path().read_text() == copied
        admin.screenshot("13-guide", guide)
        with admin.page.expect_download() as file:
            admin.page.get_by_role("link", name="as a file").click()
        assert file.value.path().read_text() == copied


def test_disabled_users_and_expired_keys_are_marked(open_page: OpenPage, installation: Installation) -> None:
    disable_and_expire(installation, installation.latch.enrol())
    with open_page(sign_in=False) as admin:
        admin.page.clock.install()
        admin.page.reload()
        admin.sign_in()
        wiki, acme, blog, shop_and_blog, shop = (admin.users.rows.nth(number) for number in range(5))
        expect(shop.get_by_text("Disabled", exact=True)).to_be_visible()
        expect(blog.get_by_text("Expired", exact=True)).to_be_visible()
        expect(blog.locator("time").first).to_have_text("2 days ago")
        expect(acme.get_by_text("expires ")).to_be_visible()
        for valid in (wiki, acme, shop_and_blog):
            expect(valid.locator(".badge.off")).to_have_count(0)
        admin.screenshot("14-lapsed")
        for refused in (shop, blog):
            admin.users.delete_button(refused).click()
            admin.dialog.expect_text("is already refused. It had access to")
            admin.dialog.cancel()
        # The key of acme expires while the page is open, and the person comes back to it.
        admin.page.clock.fast_forward("03:00:00")
        admin.page.keyboard.press("Shift")
        admin.page.clock.fast_forward("00:05")
        expect(acme.get_by_text("Expired", exact=True)).to_be_visible()


def test_an_ended_session_leads_back_to_the_sign_in_form(open_page: OpenPage) -> None:
    with open_page() as admin:
        admin.lose_session()
        admin.sign_out()
        expect(admin.token_field).to_be_focused()
        admin.sign_in()
        admin.lose_session()
        admin.link("Audit").click()
        expect(admin.page.get_by_text(SESSION_ENDED)).to_be_visible()
        admin.sign_in()
        expect(admin.heading("Audit")).to_be_focused()


def test_axe_finds_no_violation_in_any_view(browser: Browser, installation: Installation) -> None:
    disable_and_expire(installation, installation.latch.enrol())
    with page_with_axe(browser) as page:
        admin = AdminPage(Visit(page), f"http://{installation.latch.admin}/admin")
        create = admin.create_dialog
        page.goto(admin.url)
        expect(admin.token_field).to_be_visible()
        check_accessibility(page, "sign in")
        admin.sign_in()
        admin.users.expect_count(5)
        check_accessibility(page, "users")
        create.open()
        create.sites.first.check()
        check_accessibility(page, "create")
        create.create_button.click()
        expect(create.created_title).to_be_visible()
        check_accessibility(page, "created")
        page.goto(f"{admin.url}/integrators")
        expect(page.get_by_role("heading", name="The key", exact=True)).to_be_visible()
        check_accessibility(page, "guide")
        page.goto(admin.url)
        create.open()
        create.sites.first.check()
        lose_response(page, "**/admin/users", "POST")
        create.create_button.click()
        expect(create.text("cannot be reached")).to_be_visible()
        check_accessibility(page, "no response")
        create.create_button.click()
        expect(create.text("cannot be shown again")).to_be_visible()
        check_accessibility(page, "lost response")
        create.done()
        admin.users.delete_button(admin.users.rows.first).click()
        check_accessibility(page, "delete")
        admin.dialog.cancel()
        admin.users.search("nothing like it")
        expect(page.get_by_text("No API user matches")).to_be_visible()
        check_accessibility(page, "nothing found")
        admin.open("Sites")
        admin.sites.expect_count(4)
        check_accessibility(page, "sites")
        for name in ("Add site", "Import CSV", "New workspace", "Rename shop", "Remove shop"):
            page.get_by_role("button", name=name).click()
            expect(admin.dialog.root).to_be_visible()
            check_accessibility(page, name)
            admin.dialog.cancel()
        admin.open("Audit")
        expect(page.get_by_text("Created the workspace").first).to_be_visible()
        check_accessibility(page, "audit")


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
        modules = {file.name for file in (REPOSITORY / "admin" / "static").glob("*.js")} - {"integrators.js"}
        assert set(re.findall(r'(?:src|modulepreload" href)="static/(\w+\.js)"', response.text)) == modules
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
