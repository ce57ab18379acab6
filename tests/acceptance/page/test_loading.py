"""How the admin page loads: the chain of its requests, caching, and the data that travels with the page."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin

import httpx
from playwright.sync_api import Page, expect

from tests.acceptance.harness import ADMIN_TOKEN, Sitelatch
from tests.acceptance.page.admin_page import AdminPage, OpenPage
from tests.acceptance.page.installation import BEN_TOKEN, Installation
from tests.acceptance.page.network import HeldRequest

MODULES = ("api", "app", "audit", "components", "shadow", "sites", "users")
HASHED = re.compile(r"static/(\w+)\.[0-9a-f]{16}(\.\w+)")


@contextmanager
def recorded_responses(page: Page) -> Iterator[dict[str, str]]:
    """Record where each response comes from, "network" or "cache", by its path below /admin/."""
    sources: dict[str, str] = {}

    def record(event: dict[str, Any]) -> None:
        cached = event["response"]["fromDiskCache"] or event["requestId"] in from_memory
        sources[event["response"]["url"].rpartition("/admin/")[2]] = "cache" if cached else "network"

    from_memory: set[str] = set()
    connection = page.context.new_cdp_session(page)
    connection.on("Network.requestServedFromCache", lambda event: from_memory.add(event["requestId"]))
    connection.on("Network.responseReceived", record)
    connection.send("Network.enable")
    yield sources
    connection.detach()


def plain_name(path: str) -> str:
    """Return the path of a static file without the hash."""
    return HASHED.sub(r"\1\2", path)


def test_the_first_rows_need_only_the_page_and_the_files_that_it_names(
    open_page: OpenPage, installation: Installation
) -> None:
    installation.create_users(60)
    with open_page() as admin:
        admin.users.expect_count(50)
        for fragment in ("", "?again"):
            with recorded_responses(admin.page) as sources:
                admin.page.goto(f"{admin.url}/{fragment}")
                admin.users.expect_count(50)
                expect(admin.users.rows.first).to_contain_text("User 059")
            page = sources.pop(fragment)
            assert page == "network"
            for after_the_rows in [path for path in sources if path.partition("?")[0] in ("user-count", "usage")]:
                sources.pop(after_the_rows)
            # A chain of two: the page, and then everything else at once, because the page names it.
            text = admin.page.request.get(f"{admin.url}/").text()
            assert [path for path in sources if f'"{path}"' not in text] == []
            assert sorted(map(plain_name, sources)) == sorted(
                ["page.css", "icon.svg", *(f"{module}.js" for module in MODULES)]
            )
        # The second time, all files come from the cache.
        assert [path for path, source in sources.items() if source != "cache"] == []


def test_the_header_and_empty_rows_appear_before_the_scripts_have_run(
    open_page: OpenPage, installation: Installation
) -> None:
    installation.create_users(1)
    with open_page() as admin:
        script = HeldRequest(admin.page, "**/static/app.*.js")
        admin.page.reload(wait_until="commit")
        expect(admin.link("API Users")).to_be_visible()
        expect(admin.empty_rows).to_be_in_viewport()
        expect(admin.token_field).to_be_hidden()
        script.release()
        admin.users.expect_count(1)
        expect(admin.empty_rows).to_be_hidden()


def test_the_page_can_change_things_after_it_was_loaded_with_its_data(
    open_page: OpenPage, installation: Installation
) -> None:
    installation.create_users(1)
    with open_page() as admin:
        admin.page.reload()
        admin.users.expect_count(1)
        admin.create_dialog.create(all_sites=True, name="Another")
        admin.create_dialog.done()
        expect(admin.users.rows.first).to_contain_text("Another")
        admin.users.expect_count(2)
        admin.page.reload()
        admin.sign_out()
        expect(admin.token_field).to_be_visible()


def test_a_page_with_another_person_s_data_cannot_change_anything(
    open_page: OpenPage, installation: Installation
) -> None:
    installation.add_ben()
    installation.create_users(1)
    with open_page() as admin:
        admin.page.reload()
        admin.users.expect_count(1)
        sign_in_as_ben(admin)
        admin.create_dialog.fill(all_sites=True)
        admin.create_dialog.create_button.click()
        expect(admin.create_dialog.text("Reload the page")).to_be_visible()


def sign_in_as_ben(admin: AdminPage) -> None:
    """Sign in as another person in the same browser, as in another tab."""
    sign_in = (
        "(token) => fetch('session', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: token})"
    )
    admin.page.evaluate(sign_in, json.dumps({"token": BEN_TOKEN}))


def test_hostile_names_in_the_data_of_the_page_are_only_text(open_page: OpenPage, installation: Installation) -> None:
    installation.create_workspaces("acme")
    names = ["</script><script>document.title='taken'</script>", "<!--<script>", "\u2028'\"\\"]
    with installation.latch.admin_client() as client:
        for name in names:
            user = {"workspace": "acme", "all_sites": True, "name": name}
            client.post("/users", json=user).raise_for_status()
    with open_page() as admin:
        admin.page.reload()
        for name in names:
            expect(admin.users.row_with(name)).to_have_count(1)
        expect(admin.page).to_have_title("API Users · Sitelatch")


def test_the_page_carries_data_for_a_session_only_and_never_a_key_or_token(
    latch: Sitelatch, installation: Installation
) -> None:
    keys = latch.create_sites_and_users()
    url = f"http://{latch.admin}/admin/"
    with httpx.Client(base_url=url, trust_env=False) as client:
        origin = url.removesuffix("/admin/")
        signed_in = client.post("session", json={"token": ADMIN_TOKEN}, headers={"Origin": origin})
        cookies = signed_in.headers["Set-Cookie"].partition(";")[0]
        page = client.get("", headers={"Cookie": cookies})
        assert page.headers["Cache-Control"] == "no-store"
        found = re.search(r'<script type="application/json" id="first-responses">(.*?)</script>', page.text)
        assert found is not None
        responses = json.loads(found[1])
        for path, response in responses.items():
            expected = client.get(path, headers={"Cookie": cookies}).json()
            assert response == ({**expected, "csrf_token": None} if path == "session" else expected), path
        secrets = [ADMIN_TOKEN, cookies.partition("=")[2], signed_in.json()["csrf_token"], keys.shop.key, keys.blog.key]
        assert [secret for secret in secrets if secret in page.text] == []
        client.cookies.clear()
        for headers in ({}, {"Authorization": f"Bearer {ADMIN_TOKEN}"}, {"Cookie": f"{cookies}x"}):
            assert "first-responses" not in client.get("", headers=headers).text


def test_static_files_have_hashed_urls_that_are_cached_for_ever(latch: Sitelatch) -> None:
    with httpx.Client(base_url=f"http://{latch.admin}/admin/", trust_env=False) as client:
        seen: set[str] = set()
        paths = [found[0] for found in HASHED.finditer(client.get("").text)]
        while paths:
            path = paths.pop()
            if path in seen:
                continue
            seen.add(path)
            file = client.get(path)
            assert file.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert client.get(path, headers={"Accept-Encoding": "gzip;q=0"}).content == file.content
            # Imports lead to hashed URLs, too.
            imports = re.findall(r'from "(\./[^"]+)"', file.text)
            assert all(HASHED.fullmatch(urljoin(path, name)) for name in imports)
            paths += [urljoin(path, name) for name in imports]
        assert {plain_name(path) for path in seen} == {
            "page.css",
            "icon.svg",
            "sites.csv",
            *(f"{name}.js" for name in MODULES),
        }
        # A page of another version still gets a file, which is not cached.
        for path in ("static/app.js", "static/app.0123456789abcdef.js"):
            assert client.get(path).headers["Cache-Control"] == "no-cache"
