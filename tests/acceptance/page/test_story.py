"""The page for admins, as the customer's own page describes it: a real browser, a real database, the real proxy."""

import re
import shlex
import subprocess
from urllib.parse import quote, unquote

import asyncpg
import httpx
from playwright.sync_api import Browser, Route, expect

from admin.key_encryption import new_secret
from tests.acceptance.browser import DARK, DESKTOP, LIGHT, PHONE, SEEN_MS, axe_core, visit
from tests.acceptance.harness import ADMIN_TOKEN, REPOSITORY, Keys, Sitelatch
from tests.acceptance.page.admin_page import (
    browser,
    empty_database,
    latch,
    lose_the_next_answer,
    reached_by,
    sign_in,
    status,
    stopped_clock,
    url,
)
from tests.database import run_aside

__all__ = ["browser", "empty_database", "latch"]


async def add_older_key(dsn: str, user_id: str) -> None:
    """What only SQL does: give an API user another key, which comes first."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "INSERT INTO sitelatch.api_keys (user_id, digest, hint, created_at)"
        " VALUES ($1, sha256('other'), 'slk_aaaa…zzzz', now() - interval '1 day')",
        user_id,
    )
    await connection.close()


async def let_lapse(dsn: str, keys: Keys) -> None:
    """What only SQL does: disable one API user, and let a key expire, and another in an hour."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("UPDATE sitelatch.api_users SET disabled_at = now() WHERE id = $1", keys.shop.id)
    for user, expiry in ((keys.blog, "-2 days -1 hour"), (keys.acme, "1 hour")):
        await connection.execute(
            "UPDATE sitelatch.api_keys SET expires_at = now() + $2::text::interval WHERE user_id = $1", user.id, expiry
        )
    await connection.close()


def test_the_customers_page_from_start_to_end(browser: Browser, latch: Sitelatch) -> None:
    with visit(browser, url(latch)) as seen:
        page = seen.page
        page.get_by_label("Admin token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert").filter(has_text="not a valid admin token")).to_be_visible()
        seen.shot("01-sign-in")
        sign_in(page)
        expect(page).to_have_title("API Users · Sitelatch")

        # Nothing is there yet, and the page says how to begin.
        expect(page.get_by_text("Begin with a workspace")).to_be_visible()
        seen.shot("02-empty")
        page.locator("#users").get_by_role("button", name="New workspace").click()
        page.get_by_role("dialog").get_by_label("Name").fill("acme")
        page.get_by_role("button", name="Create workspace").click()
        expect(page.get_by_text("No API users yet")).to_be_visible()
        page.get_by_role("link", name="Sites", exact=True).click()
        for site, name in (("shop", "The shop"), ("blog", ""), ("docs", "")):
            page.get_by_role("button", name="Add site").click()
            dialog = page.get_by_role("dialog")
            dialog.get_by_label("Site", exact=True).fill(site)
            dialog.get_by_label("Name (optional)").fill(name)
            dialog.get_by_role("button", name="Add site").click()
            expect(dialog).to_be_hidden()
            expect(page.locator("#sites-rows").get_by_text(site, exact=True).first).to_be_visible()
        seen.shot("03-sites")
        page.get_by_role("link", name="API Users").click()
        seen.shot("04-no-users")

        # Create API User, for selected sites.
        page.get_by_role("button", name="Create API User").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("switch", name="Authorize for all sites")).not_to_be_checked()
        dialog.get_by_role("button", name="Create", exact=True).click()
        expect(dialog.get_by_text("Select at least one site")).to_be_visible()
        dialog.get_by_label("Name").fill("Nightly export")
        dialog.get_by_label("Search sites").fill("sh")
        dialog.get_by_role("checkbox", name="shop").check()
        dialog.get_by_label("Search sites").fill("")
        dialog.get_by_role("checkbox", name="docs").check()
        dialog.get_by_role("button", name="Remove docs").click()
        expect(dialog.get_by_role("checkbox", name="docs")).not_to_be_checked()
        seen.shot("05-create")
        dialog.get_by_role("button", name="Create", exact=True).click()
        expect(dialog.get_by_text("it is not shown again")).to_be_visible()
        seen.shot("06-key")
        dialog.get_by_role("button", name="Copy key").click()
        key = page.evaluate("navigator.clipboard.readText()")
        assert re.fullmatch(r"slk_\w{38}", key)
        curl = dialog.get_by_label("Try it").input_value()
        for _ in range(3):
            page.keyboard.press("Escape")
            expect(dialog).to_be_visible()  # a key that is shown once does not vanish by mistake
        dialog.get_by_role("button", name="Done").click()
        expect(dialog).to_be_hidden()

        row = page.get_by_role("row").filter(has_text="Nightly export")
        expect(row).to_contain_text("Ada Admin")
        expect(row).to_contain_text("ada@example.com")
        expect(row).to_contain_text("shop")
        expect(row).to_contain_text("never")
        assert key not in page.content()

        # The key works on its site and nowhere else, and the page sees that it was used.
        done = subprocess.run(
            [*shlex.split(curl), "-s", "-o", "/dev/null", "-w", "%{http_code}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "200"
        assert status(latch, "shop", key) == 200
        assert status(latch, "blog", key) == 403
        expect(row).to_contain_text("just now")
        expect(row.locator(".activity time")).to_have_attribute("title", re.compile(r"\d{4}"))
        row.get_by_role("button", name="Delete User").click()
        expect(dialog).to_contain_text("It was last used just now.")
        dialog.get_by_role("button", name="Cancel").click()

        # For all sites: those added later too.
        page.get_by_role("button", name="Create API User").click()
        dialog.get_by_role("switch", name="Authorize for all sites").check()
        expect(dialog.get_by_label("Search sites")).to_be_hidden()
        dialog.get_by_role("button", name="Create", exact=True).click()
        expect(dialog.get_by_text("all sites of acme")).to_be_visible()
        everything = dialog.get_by_label("API key", exact=True).input_value()
        dialog.get_by_role("button", name="Done").click()
        expect(page.get_by_text("All sites", exact=True)).to_be_visible()
        assert status(latch, "later", everything) == 403
        page.get_by_role("link", name="Sites", exact=True).click()
        page.get_by_role("button", name="Add site").click()
        dialog.get_by_label("Site", exact=True).fill("later")
        dialog.get_by_role("button", name="Add site").click()
        expect(dialog).to_be_hidden()
        expect(page.locator("#sites-rows").get_by_text("later", exact=True).first).to_be_visible()
        reached_by(latch, "later", everything, 200)
        page.get_by_role("link", name="API Users").click()
        seen.shot("07-users")

        # Delete: not by mistake, and then for good.
        delete = row.get_by_role("button", name="Delete User")
        delete.click()
        expect(dialog).to_contain_text("This action cannot be undone.")
        expect(dialog).to_contain_text("shop")
        seen.shot("08-delete")
        dialog.get_by_role("button", name="Cancel").click()
        expect(delete).to_be_focused()
        assert status(latch, "shop", key) == 200
        delete.click()
        dialog.get_by_role("button", name="Delete", exact=True).click()
        expect(row).to_have_count(0)
        reached_by(latch, "shop", key, 401, seconds=1)
        expect(page.get_by_role("heading", name="API Users")).to_be_focused()

        page.get_by_role("link", name="Audit").click()
        audit = page.locator("#audit-rows")
        for line in (
            "Deleted the API user Nightly export",
            "Added the site later",
            "Created the API user Nightly export",
            "Created the workspace acme",
        ):
            expect(audit).to_contain_text(line)
        expect(audit).to_contain_text("127.0.0.1")
        seen.shot("09-audit")

        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Admin token")).to_be_visible()
        page.reload()
        expect(page.get_by_label("Admin token")).to_be_visible()


HOSTILE = (
    "<script>document.title='taken'</script>",
    "<img src=x onerror=\"document.title='taken'\">",
    "\"quotes\" 'and' `ticks` &amp; ${x}",
    "\u202etfel ot thgir\u202c",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "\U0001f980 \U0001f468\u200d\U0001f469\u200d\U0001f467",
)


HOSTILE_SITES = ("<i>site", "<img src=x onerror=alert(1)>", "'\"`${x}", "\u05e9\u05dc\u05d5\u05dd", "\U0001f980")
"""Ids hold no slash and nothing unseen."""


def test_whatever_people_are_called_is_shown_as_text(browser: Browser, latch: Sitelatch) -> None:
    with latch.admin_client() as client:
        for workspace in ("<b>bold</b>", "acme"):
            client.post("/workspaces", json={"name": workspace}).raise_for_status()
        for site, name in zip(HOSTILE_SITES, HOSTILE, strict=False):
            put = {"workspace": "<b>bold</b>", "display_name": name}
            client.put(f"/sites/{quote(site)}", json=put).raise_for_status()
        for name in HOSTILE:
            wish = {"workspace": "<b>bold</b>", "sites": list(HOSTILE_SITES[:3]), "name": name}
            client.post("/users", json=wish).raise_for_status()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        page.on("dialog", lambda dialog: seen.complaints.append(dialog.message))
        window = page.get_by_role("dialog")
        sign_in(page)
        expect(page.locator("#users-rows tr")).to_have_count(len(HOSTILE))
        page.locator("#workspace").select_option("<b>bold</b>")
        for name in HOSTILE:
            row = page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))
            for site in HOSTILE_SITES[:3]:
                expect(row.get_by_text(site, exact=True)).to_be_visible()
            row.get_by_role("button", name="Delete User").click()
            expect(window.get_by_role("heading")).to_contain_text(name)
            expect(window.get_by_text(HOSTILE_SITES[1], exact=True)).to_be_visible()
            page.get_by_role("button", name="Cancel").click()
        seen.shot("10-hostile")

        page.get_by_role("button", name="Create API User").click()
        for site in HOSTILE_SITES:
            choice = page.locator("#pick li").filter(has=page.get_by_text(site, exact=True))
            choice.get_by_role("checkbox").check()
            expect(page.get_by_role("button", name=f"Remove {site}", exact=True)).to_contain_text(site)
        page.get_by_label("Search sites").fill(HOSTILE[0])
        page.get_by_label("Name (optional)").fill(HOSTILE[0])
        page.get_by_role("button", name="Create", exact=True).click()
        expect(page.get_by_text("It can access 5 selected sites.")).to_be_visible()
        asked = shlex.split(page.get_by_label("Try it").input_value())[-1]
        assert unquote(asked.removeprefix(f"{latch.url}/api/sites/")).removesuffix("/") in HOSTILE_SITES
        seen.shot("15-hostile-created")
        page.get_by_role("button", name="Done").click()
        page.get_by_label("Search by name").fill("<u>nobody")
        expect(page.get_by_text("Nothing begins with “<u>nobody”.")).to_be_visible()

        page.get_by_role("link", name="Sites", exact=True).click()
        for site, name in zip(HOSTILE_SITES, HOSTILE, strict=False):
            expect(page.locator("#sites-rows").get_by_text(name, exact=True)).to_be_visible()
            for verb in ("Rename", "Remove"):
                page.get_by_role("button", name=f"{verb} {site}", exact=True).click()
                expect(window.get_by_role("heading")).to_contain_text(site)
                page.get_by_role("button", name="Cancel").click()
            page.get_by_role("button", name=f"Rename {site}", exact=True).click()
            window.get_by_role("button", name="Rename").click()
            # What turns a text around ends with its name.
            expect(page.locator("#told")).to_have_text(f"{site} is called {name}.")
            expect(page.locator("#told bdi")).to_have_text([site, name])
        page.get_by_role("button", name="Add site").click()
        window.get_by_label("Site", exact=True).fill("<s>a/b")
        window.get_by_role("button", name="Add site").click()
        expect(window.get_by_role("alert").filter(has_text='"<s>a/b" contains "/"')).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("link", name="Audit").click()
        for name in HOSTILE:
            expect(page.locator("#audit-rows").get_by_text(name, exact=True).first).to_be_visible()
        made = "main :is(script, img[src=x], i, u, s, b b), dialog :is(script, img, i, s, u)"
        assert page.locator(made).count() == 0
        assert page.title() == "Audit · Sitelatch"


def test_choosing_among_5000_sites_stays_quick(browser: Browser, latch: Sitelatch) -> None:
    lines = "".join(f"many-{number:04},large,\n" for number in range(5000))
    with latch.admin_client() as client:
        client.post("/sites", json={"csv": f"site,workspace,display_name\n{lines}"}).raise_for_status()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        page.get_by_role("button", name="Create API User").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("The first 50 are shown")).to_be_visible()
        for number in (4999, 17, 2500):
            dialog.get_by_label("Search sites").fill(f"many-{number:04}")
            dialog.get_by_label("Search sites").press("Enter")
            expect(dialog.get_by_role("button", name=f"Remove many-{number:04}")).to_be_visible()
        dialog.get_by_label("Search sites").fill("many-1")
        expect(dialog.get_by_role("checkbox").first).to_have_value("many-1000")
        seen.shot("11-many")
        dialog.get_by_role("button", name="Create", exact=True).click()
        expect(dialog.get_by_text("It can access 3 selected sites.")).to_be_visible()


def test_a_kept_key_is_shown_and_copied_on_demand_and_noted(
    browser: Browser, latch: Sitelatch, empty_database: str
) -> None:
    with latch.admin_client() as client:
        client.post("/workspaces", json={"name": "acme"}).raise_for_status()
        before = client.post("/users", json={"workspace": "acme", "all_sites": True, "name": "Before"}).json()
    latch.stop()
    latch.tables["admin"] = {**latch.tables["admin"], "recoverable_keys": new_secret()}
    latch.start()
    kept = latch.create_user("acme", all_sites=True)
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        hint = page.locator("#users-rows tr").first.locator("code")
        expect(hint).to_have_text(re.compile("slk_.{4}….{4}"))
        page.get_by_role("button", name="Show key").click()
        expect(hint).to_have_text(kept.key)
        seen.shot("12-shown")
        page.get_by_role("button", name="Hide key").click()
        expect(hint).not_to_have_text(kept.key)
        with stopped_clock(page):
            page.get_by_role("button", name="Copy key slk").click()
            expect(page.get_by_text("Copied", exact=True)).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == kept.key
        # It is this key that is shown, also where the user has got another since the list was read.
        run_aside(add_older_key(empty_database, kept.id))
        page.get_by_role("button", name="Show key").click()
        expect(hint).to_have_text(kept.key)
        # Keys made before that was switched on stay hints.
        expect(page.get_by_text(before["keys"][0]["hint"])).to_be_visible()
        expect(page.get_by_role("button", name="Show key")).to_have_count(1)
        page.get_by_role("link", name="Audit").click()
        expect(page.get_by_text("Showed the key of the API user")).to_have_count(3)


def test_removing_a_site_says_first_who_loses_it(browser: Browser, latch: Sitelatch) -> None:
    with latch.admin_client() as client:
        client.post("/sites", json={"csv": "site,workspace,display_name\nshop,acme,The shop\n"}).raise_for_status()
    user = latch.create_user("acme", "shop")
    with visit(browser, f"{url(latch)}/#sites") as seen:
        page = seen.page
        page.get_by_label("Admin token").fill(ADMIN_TOKEN)
        page.get_by_role("button", name="Sign in").click()
        dialog = page.get_by_role("dialog")
        page.get_by_role("button", name="Rename shop").click()
        dialog.get_by_label("Name").fill("Our shop")
        dialog.get_by_role("button", name="Rename").click()
        expect(page.locator("#sites-rows").get_by_text("Our shop", exact=True)).to_be_visible()
        page.get_by_role("button", name="Remove shop").click()
        expect(dialog).to_contain_text("1 API user loses access to it.")
        dialog.get_by_role("button", name="Remove").click()
        expect(page.get_by_text("No sites yet.")).to_be_visible()
        reached_by(latch, "shop", user.key, 403)
        page.get_by_role("link", name="API Users").click()
        expect(page.get_by_text("None: its sites were removed")).to_be_visible()
        page.get_by_role("link", name="Sites", exact=True).click()
        page.get_by_role("button", name="Import CSV").click()
        dialog.get_by_role("button", name="Import").click()
        expect(dialog.get_by_role("alert").filter(has_text="Choose a file.")).to_be_visible()
        for csv, said in (("site,workspace\na/b,acme\n", "Line 2:"), ("site,workspace\nshop,acme\ndocs,acme\n", None)):
            dialog.get_by_label("CSV file").set_input_files(
                {"name": "s.csv", "mimeType": "text/csv", "buffer": csv.encode()}
            )
            dialog.get_by_role("button", name="Import").click()
            if said:
                expect(dialog).to_contain_text(said)
        expect(page.locator("#sites-rows tr")).to_have_count(2)


def test_the_new_key_comes_with_a_guide_to_hand_out(browser: Browser, latch: Sitelatch) -> None:
    latch.enrol()
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        page.get_by_role("button", name="Create API User").click()
        page.get_by_role("checkbox", name="shop").check()
        page.get_by_role("button", name="Create", exact=True).click()
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="where the key goes").click()
        guide = opened.value
        expect(guide.get_by_role("heading", name="Calling the data API with an API key")).to_be_visible()
        expect(guide.get_by_text(f"The address is {latch.url}.")).to_be_visible()
        guide.on("console", seen.note)
        with stopped_clock(guide):
            guide.get_by_role("button", name="Copy as text").click()
            expect(guide.get_by_role("button", name="Copied")).to_be_visible()
        copied = guide.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("# Calling the data API with an API key")
        with guide.expect_download() as download:
            guide.get_by_role("link", name="Download").click()
        assert download.value.path().read_text() == copied
        seen.shot("13-guide", guide)
        with page.expect_download() as handed_over:
            page.get_by_role("link", name="as a file").click()
        assert handed_over.value.path().read_text() == copied


def test_a_key_that_refuses_every_request_says_so(browser: Browser, latch: Sitelatch, empty_database: str) -> None:
    run_aside(let_lapse(empty_database, latch.enrol()))
    with visit(browser, url(latch)) as seen:
        page = seen.page
        page.clock.install()
        page.reload()
        sign_in(page)
        wiki, acme, blog, shop_and_blog, shop = (page.locator("#users-rows tr").nth(number) for number in range(5))
        expect(shop.get_by_text("Disabled", exact=True)).to_be_visible()
        expect(blog.get_by_text("Expired", exact=True)).to_be_visible()
        expect(blog.locator("time").first).to_have_text("2 days ago")
        expect(acme.get_by_text("expires ")).to_be_visible()
        for living in (wiki, acme, shop_and_blog):
            expect(living.locator(".badge.off")).to_have_count(0)
        seen.shot("14-lapsed")
        for lapsed in (shop, blog):
            lapsed.get_by_role("button", name="Delete User").click()
            expect(page.get_by_role("dialog")).to_contain_text("is refused already; it had access to")
            page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        # It ends while it is looked at, by somebody who is back.
        page.clock.fast_forward("03:00:00")
        page.keyboard.press("Shift")
        page.clock.fast_forward("00:05")
        expect(acme.get_by_text("Expired", exact=True)).to_be_visible()


def test_a_session_that_ended_leads_back_to_the_door(browser: Browser, latch: Sitelatch) -> None:
    with visit(browser, url(latch)) as seen:
        page = seen.page
        sign_in(page)
        page.context.clear_cookies()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_label("Admin token")).to_be_focused()
        sign_in(page)
        page.context.clear_cookies()
        page.get_by_role("link", name="Audit").click()
        expect(page.get_by_text("Your session has ended. Sign in again.")).to_be_visible()
        sign_in_again = page.get_by_label("Admin token")
        sign_in_again.fill(ADMIN_TOKEN)
        sign_in_again.press("Enter")
        expect(page.get_by_role("heading", name="Audit")).to_be_focused()


def test_axe_finds_nothing_on_any_view(browser: Browser, latch: Sitelatch, empty_database: str) -> None:
    run_aside(let_lapse(empty_database, latch.enrol()))
    context = browser.new_context(bypass_csp=True)  # axe is the one script from elsewhere
    context.set_default_timeout(SEEN_MS)
    page = context.new_page()
    page.add_init_script(axe_core())

    def check(view: str) -> None:
        for scheme in (DARK, LIGHT):
            page.emulate_media(color_scheme=scheme)
            for size in (PHONE, DESKTOP):
                page.set_viewport_size(size)
                # Colours are judged when they have stopped changing.
                page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
                found = page.evaluate("axe.run().then((told) => told.violations.map((v) => [v.id, v.nodes[0].html]))")
                assert found == [], (view, scheme, size)
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (view, size)

    page.goto(url(latch))
    expect(page.get_by_label("Admin token")).to_be_visible()
    check("sign in")
    sign_in(page)
    expect(page.locator("#users-rows tr")).to_have_count(5)
    check("users")
    dialog = page.get_by_role("dialog")
    page.get_by_role("button", name="Create API User").click()
    dialog.get_by_role("checkbox").first.check()
    check("create")
    dialog.get_by_role("button", name="Create", exact=True).click()
    expect(dialog.get_by_role("heading", name="API user created")).to_be_visible()
    check("created")
    page.goto(f"{url(latch)}/integrators")
    expect(page.get_by_role("heading", name="The key", exact=True)).to_be_visible()
    check("guide")
    page.goto(url(latch))
    page.get_by_role("button", name="Create API User").click()
    dialog.get_by_role("checkbox").first.check()
    lose_the_next_answer(page)
    dialog.get_by_role("button", name="Create", exact=True).click()
    expect(dialog.get_by_text("cannot be reached")).to_be_visible()
    check("no answer")
    dialog.get_by_role("button", name="Create", exact=True).click()
    expect(dialog.get_by_text("cannot be shown again")).to_be_visible()
    check("answer lost")
    dialog.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Delete User").first.click()
    check("delete")
    dialog.get_by_role("button", name="Cancel").click()
    page.get_by_label("Search by name").fill("nothing like it")
    expect(page.get_by_text("Nothing begins with")).to_be_visible()
    check("nothing found")
    page.get_by_role("link", name="Sites", exact=True).click()
    expect(page.locator("#sites-rows tr")).to_have_count(4)
    check("sites")
    for name in ("Add site", "Import CSV", "New workspace", "Rename shop", "Remove shop"):
        page.get_by_role("button", name=name).click()
        expect(dialog).to_be_visible()
        check(name)
        dialog.get_by_role("button", name="Cancel").click()
    page.get_by_role("link", name="Audit").click()
    expect(page.get_by_text("Created the workspace").first).to_be_visible()
    check("audit")
    context.close()


def test_the_page_asks_for_nothing_from_outside_and_runs_nothing_inline(latch: Sitelatch) -> None:
    with httpx.Client(base_url=url(latch), trust_env=False, follow_redirects=True) as client:
        answer = client.get("")
        assert str(answer.url) == f"{url(latch)}/"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"<style|\bstyle=|\bon\w+=|<script(?![^>]*src=)|https?://(?!localhost)", answer.text)
        # On a slow line modules that are found one by another would come one after the other.
        modules = {file.name for file in (REPOSITORY / "admin" / "static").glob("*.js")} - {"integrators.js"}
        assert set(re.findall(r'(?:src|modulepreload" href)="static/(\w+\.js)"', answer.text)) == modules
        for name in re.findall(r'(?:src|href)="(static/[^"]+)"', answer.text):
            file = client.get(f"/{name}")
            assert file.status_code == 200
            assert client.get(f"/{name}", headers={"If-None-Match": file.headers["ETag"]}).status_code == 304
        for name in ("nope.js", "..%2Fapp.py", "%2e%2e/app.py", "index.html"):
            assert client.get(f"/static/{name}").status_code in (401, 404)


def test_plain_http_beyond_loopback_is_said_so(browser: Browser, latch: Sitelatch) -> None:
    context = browser.new_context()
    page = context.new_page()
    port = latch.admin.rpartition(":")[2]

    def served_elsewhere(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace("admin.test", f"127.0.0.1:{port}")))

    page.route("http://admin.test/**", served_elsewhere)
    page.goto("http://admin.test/admin/")
    expect(page.get_by_text("This page came over plain http")).to_be_visible()
    expect(page.get_by_label("Admin token")).to_be_hidden()
    context.close()
