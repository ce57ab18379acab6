"""Sites, workspaces and the audit log, through the JSON API and through the functions that the command calls."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from admin.api import sites
from admin.api.site_creation import SITES_BY_COLLATED, NewSite, add_sites
from admin.api.site_file import read_site_file
from admin.api.site_import import import_sites
from admin.identity.admins import Actor
from admin.problems import Conflict, Invalid, NotFound
from tests.integration.adminapi import ADA_TOKEN, BEN_TOKEN, BY_ADA, AdminClient, acme, admin

__all__ = ["acme", "admin"]


def ids(page: Any) -> list[str]:
    return [site["id"] for site in page["items"]]


async def test_adding_a_site_twice_succeeds(acme: AdminClient) -> None:
    for expected in (201, 200, 200):
        status, site, _ = await acme.request("PUT", "/sites/new", {"workspace": "acme"})
        assert status == expected
        assert (site["id"], site["workspace"], site["display_name"], site["user_count"]) == ("new", "acme", "new", 0)
    assert [line["action"] for line in (await acme.get("/audit", subject="new"))["items"]] == ["site.created"]


async def test_putting_a_site_again_changes_the_name_only_if_one_is_given(acme: AdminClient) -> None:
    await acme.request("PUT", "/sites/shop", {"workspace": "acme", "display_name": " The shop "})
    status, site, _ = await acme.request("PUT", "/sites/shop", {"workspace": "acme"})
    assert (status, site["display_name"]) == (200, "The shop")
    renamed, _ = (await acme.get("/audit", subject="shop"))["items"]
    assert renamed["action"] == "site.renamed"
    assert renamed["detail"] == {"from": "shop", "to": "The shop"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/sites/wiki", 'belongs to the workspace "globex"'),
        ("/sites/SHOP", 'and the site "shop" as equal'),
        ("/sites/%EF%BD%93hop", 'and the site "shop" as equal'),
    ],
)
async def test_a_taken_id_is_a_conflict(acme: AdminClient, path: str, expected: str) -> None:
    status, problem, _ = await acme.request("PUT", path, {"workspace": "acme"})
    assert status == 409
    assert expected in problem["errors"][0]["detail"]
    assert len(ids(await acme.get("/sites"))) == 4


@pytest.mark.parametrize(
    ("spelling", "reason"),
    [
        (
            "example.com%2Fblog",
            '"example.com/blog" contains "/", which separates the segments of a path. A site id',
        ),
        ("a%5Cb", 'contains "\\", which is a slash for some servers.'),
        ("a%3Bb", 'contains ";", which begins a parameter'),
        ("a%2Cb", 'contains ",", which separates sites in a list.'),
        ("a%25b", 'contains "%", which begins an encoded character.'),
        ("a%3Fb", 'contains "?", which ends a path.'),
        ("a%23b", 'contains "#", which ends a URL. A site id must not contain any of / \\ ; , % ? # '),
        ("a%EF%BC%8Fb", 'contains "/" once a server normalizes Unicode, and "/" separates the segments'),
        ("%20a", "begins or ends with a space"),
        ("a%00b", "must not contain control or invisible characters"),
        ("a%0Ab", "must not contain control or invisible characters"),
    ],
)
async def test_invalid_ids_are_refused_with_a_sentence(acme: AdminClient, spelling: str, reason: str) -> None:
    status, problem, _ = await acme.request("PUT", f"/sites/{spelling}", {"workspace": "acme"})
    assert status == 422
    assert reason in problem["errors"][0]["detail"]
    assert problem["errors"][0]["detail"].endswith(".")
    assert (await acme.request("GET", f"/sites/{spelling}"))[0] == 404
    assert (await acme.request("DELETE", f"/sites/{spelling}"))[0] == 404


async def test_an_encoded_slash_never_reaches_a_site(acme: AdminClient) -> None:
    for method, payload in (("GET", None), ("PUT", {"workspace": "acme"}), ("DELETE", None)):
        assert (await acme.request(method, "/sites/a%2Fb", payload))[0] in (404, 422)


async def test_ids_with_unusual_characters_work_end_to_end(acme: AdminClient) -> None:
    for spelling, site_id in (
        ("%7Bx%7D", "{x}"),
        ("a+b", "a+b"),
        ("a%20b", "a b"),
        ("%E4%BE%8B", "例"),
        ("...", "..."),
    ):
        assert (await acme.request("PUT", f"/sites/{spelling}", {"workspace": "acme"}))[0] == 201
        assert (await acme.get(f"/sites/{spelling}"))["id"] == site_id
        assert (await acme.request("DELETE", f"/sites/{spelling}"))[0] == 204


async def test_removing_a_site_takes_it_from_its_users(acme: AdminClient, pool: asyncpg.Pool) -> None:
    made = await acme.create(workspace="acme", sites=["shop"])
    assert (await acme.get("/sites/shop"))["user_count"] == 1
    assert (await acme.request("DELETE", "/sites/shop"))[0] == 204
    left = await acme.get(f"/users/{made['id']}")
    assert (left["all_sites"], left["sites"], left["site_count"]) == (False, [], 0)
    [line, _] = (await acme.get("/audit", subject="shop"))["items"]
    assert line["action"] == "site.removed"
    assert line["detail"] == {"display_name": "shop", "user_count": 1}
    assert (await acme.request("DELETE", "/sites/shop"))[0] == 404


async def test_sites_are_searched_by_the_beginnings_of_words_and_paged(acme: AdminClient) -> None:
    await acme.request("PUT", "/sites/docs", {"workspace": "acme", "display_name": "Handbook"})
    assert ids(await acme.get("/sites")) == ["blog", "docs", "shop", "wiki"]
    assert ids(await acme.get("/sites", workspace="acme", search="SH")) == ["shop"]
    assert ids(await acme.get("/sites", search="hand")) == ["docs"]
    assert ids(await acme.get("/sites", search="ＨＡＮＤ")) == ["docs"]  # full-width letters
    assert ids(await acme.get("/sites", search="book")) == []  # in the middle of a word
    assert ids(await acme.get("/sites", search="%")) == []
    await acme.request("PUT", "/sites/blog.eu-west", {"workspace": "acme", "display_name": "Blog for Europe"})
    for search in ("eu", "west", "europe", "wes blog", "blog.eu", "BLOG/EU"):
        assert ids(await acme.get("/sites", search=search)) == ["blog.eu-west"], search
    assert ids(await acme.get("/sites", search="blog")) == ["blog", "blog.eu-west"]
    await acme.request("DELETE", "/sites/blog.eu-west")
    first = await acme.get("/sites", limit=3)
    assert (ids(first), first["next"]) == (["blog", "docs", "shop"], "shop")
    second = await acme.get("/sites", limit=3, after=first["next"])
    assert (ids(second), second["next"]) == (["wiki"], None)


async def test_workspaces_are_created_once_and_listed(admin: AdminClient) -> None:
    status, made, _ = await admin.request("POST", "/workspaces", {"name": "Acme, Inc."})
    assert (status, made["name"]) == (201, "Acme, Inc.")
    status, problem, _ = await admin.request("POST", "/workspaces", {"name": "Acme, Inc."})
    assert (status, problem["code"]) == (409, "conflict")
    assert [item["name"] for item in (await admin.get("/workspaces"))["items"]] == ["Acme, Inc."]
    assert [line["action"] for line in (await admin.get("/audit"))["items"]] == ["workspace.created"]


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "é", "x" * 256])
async def test_a_workspace_name_must_fit_into_a_header(admin: AdminClient, name: str) -> None:
    status, problem, _ = await admin.request("POST", "/workspaces", {"name": name})
    assert (status, problem["errors"][0]["pointer"]) == (422, "#/name")


async def test_a_site_needs_an_existing_workspace(admin: AdminClient) -> None:
    status, problem, _ = await admin.request("PUT", "/sites/shop", {"workspace": "nope"})
    assert (status, problem["errors"][0]["pointer"]) == (422, "#/workspace")


@pytest.mark.parametrize(
    ("path", "display_name", "status", "place"),
    [
        ("/sites/shop", " ", 422, {"pointer": "#/display_name"}),
        ("/sites/a%3Fb", None, 422, {"parameter": "id"}),  # the id is not in the body
        ("/sites/SHOP", None, 409, {"parameter": "id"}),
        ("/sites/wiki", None, 409, {"parameter": "id"}),
    ],
)
async def test_a_refused_put_names_the_wrong_field(
    acme: AdminClient, path: str, display_name: str | None, status: int, place: dict[str, str]
) -> None:
    got, problem, _ = await acme.request("PUT", path, {"workspace": "acme", "display_name": display_name})
    assert got == status
    [error] = problem["errors"]
    assert error == {**place, "detail": error["detail"]}


async def test_patch_renames_only_existing_sites(acme: AdminClient) -> None:
    status, site, _ = await acme.request("PATCH", "/sites/shop", {"display_name": " Our shop "})
    assert (status, site["display_name"], site["user_count"]) == (200, "Our shop", 0)
    [line] = (await acme.get("/audit?limit=1"))["items"]
    assert (line["action"], line["detail"]) == ("site.renamed", {"from": "shop", "to": "Our shop"})
    assert (await acme.request("PATCH", "/sites/shop", {"display_name": "Our shop"}))[0] == 200
    assert (await acme.get("/audit?limit=1"))["items"] == [line]
    assert (await acme.request("PATCH", "/sites/nowhere", {"display_name": "x"}))[0] == 404
    assert (await acme.request("GET", "/sites/nowhere"))[0] == 404
    status, problem, _ = await acme.request("PATCH", "/sites/shop", {"display_name": " "})
    assert (status, problem["errors"][0]["pointer"]) == (422, "#/display_name")


async def test_concurrent_renames_record_consecutive_names(acme: AdminClient) -> None:
    async def rename(number: int) -> None:
        method, wish = ("PUT", {"workspace": "acme"}) if number % 2 else ("PATCH", {})
        assert (await acme.request(method, "/sites/shop", {**wish, "display_name": f"Shop {number}"}))[0] == 200

    await asyncio.gather(*(rename(number) for number in range(40)))
    lines = (await acme.get("/audit?subject=shop&limit=100"))["items"][-2::-1]
    names = ["shop", *(line["detail"]["to"] for line in lines)]
    assert [line["detail"]["from"] for line in lines] == names[:-1]
    assert len(lines) == 40


async def until_blocked(connection: Any) -> None:
    """Wait until another connection waits for a lock."""
    blocked = "EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
    await connection.execute(
        f"DO $$ BEGIN WHILE NOT {blocked} LOOP PERFORM pg_sleep(0.02); END LOOP; END $$", timeout=30
    )


async def test_a_user_authorized_during_a_removal_is_counted(acme: AdminClient, pool: asyncpg.Pool) -> None:
    user = await acme.create(workspace="acme", sites=["blog"])
    async with pool.acquire() as other:
        giving = other.transaction()
        await giving.start()
        await other.execute("INSERT INTO sitelatch.api_user_sites (user_id, site_id) VALUES ($1, 'shop')", user["id"])
        removing = asyncio.create_task(acme.request("DELETE", "/sites/shop"))
        await until_blocked(other)
        await giving.commit()
        assert (await removing)[0] == 204
    [line] = (await acme.get("/audit?subject=shop&limit=1"))["items"]
    assert line["detail"]["user_count"] == 1


async def test_the_audit_log_is_paged_newest_first(acme: AdminClient) -> None:
    whole = [line["id"] for line in (await acme.get("/audit"))["items"]]
    assert whole == sorted(whole, reverse=True)
    found: list[int] = []
    page = await acme.get("/audit", limit=2)
    found += [line["id"] for line in page["items"]]
    while page["next"]:
        page = await acme.get("/audit", limit=2, after=page["next"])
        found += [line["id"] for line in page["items"]]
    assert found == whole


async def test_either_all_sites_are_added_or_none_and_every_fault_is_reported(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        added = await add_sites(
            connection,
            workspace="acme",
            sites=[NewSite("shop"), NewSite("blog", "The blog"), NewSite("shop")],
            by=BY_ADA,
            create_workspace=True,
        )
        assert added.created == ("shop", "blog")
        with pytest.raises(Invalid) as wrong:
            await add_sites(
                connection, workspace="acme", sites=[NewSite("ok"), NewSite("a/b"), NewSite("a;b")], by=BY_ADA
            )
        assert [fault.place for fault in wrong.value.faults] == [(1, "id"), (2, "id")]
        with pytest.raises(Conflict):
            await add_sites(connection, workspace="acme", sites=[NewSite("new"), NewSite("Shop")], by=BY_ADA)
        assert [site.id for site in (await sites.list_sites(connection)).items] == ["blog", "shop"]
        again = await add_sites(
            connection, workspace="acme", sites=[NewSite("shop"), NewSite("blog", "Blog")], by=BY_ADA
        )
        assert (again.created, again.renamed, again.unchanged) == ((), ("blog",), ("shop",))


async def test_either_all_sites_are_removed_or_none(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        new = [NewSite("shop"), NewSite("blog")]
        await add_sites(connection, workspace="acme", sites=new, by=BY_ADA, create_workspace=True)
        with pytest.raises(NotFound, match='The site "nope" does not exist'):
            await sites.remove_sites(connection, ["shop", "nope", "a\x00"], by=BY_ADA)
        assert len((await sites.list_sites(connection)).items) == 2
        await sites.remove_sites(connection, ["shop", "blog"], by=BY_ADA)
        assert (await sites.list_sites(connection)).items == []


async def test_concurrent_additions_of_the_same_sites_succeed(pool: asyncpg.Pool) -> None:
    async def add(order: int) -> None:
        new = [NewSite(f"s{number}") for number in range(50)][::order]
        async with pool.acquire() as connection:
            await add_sites(connection, workspace="acme", sites=new, by=BY_ADA, create_workspace=True)

    await asyncio.gather(add(1), add(-1), add(1), add(-1))
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.sites") == 50
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.audit_log WHERE action = 'site.created'") == 50


async def test_concurrent_imports_of_the_same_sites_succeed(pool: asyncpg.Pool) -> None:
    """In any order of their files, and with ids that sort differently from their folded forms."""
    new = [("S" if number % 2 else "s") + f"{number:04}" for number in range(2_500)]

    async def add(order: int) -> None:
        async with pool.acquire() as connection:
            file = read_site_file("\n".join(new[::order]), workspace="acme")
            assert (await import_sites(connection, file, by=BY_ADA, create_workspaces=True)).faults == ()

    await asyncio.gather(add(1), add(-1), add(1), add(-1))
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.audit_log WHERE action = 'site.created'") == 2_500


class Interrupted:
    """A connection that runs another task after one of its queries."""

    def __init__(self, connection: Any, after: str, task: Callable[[], Awaitable[None]]) -> None:
        self._connection = connection
        self._after = after
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, query: str, *values: Any) -> Any:
        rows = await self._connection.fetch(query, *values)
        if query == self._after:
            await self._task()
        return rows


async def test_a_site_that_moves_while_it_is_added_is_not_renamed(acme: AdminClient, pool: asyncpg.Pool) -> None:
    async def move() -> None:
        await acme.request("DELETE", "/sites/shop")
        assert (await acme.request("PUT", "/sites/shop", {"workspace": "globex"}))[0] == 201

    ben = Actor(BY_ADA.person, "command", frozenset({"acme"}))
    async with pool.acquire() as connection:
        watched: Any = Interrupted(connection, SITES_BY_COLLATED, move)
        with pytest.raises(Conflict, match="at the same time"):
            await add_sites(watched, workspace="acme", sites=[NewSite("shop", "Ours")], by=ben)
    assert (await acme.get("/sites/shop"))["display_name"] == "shop"
    assert "site.renamed" not in {line["action"] for line in (await acme.get("/audit"))["items"]}


async def test_a_site_that_moves_during_an_import_is_a_conflict(acme: AdminClient, pool: asyncpg.Pool) -> None:
    async def move() -> None:
        if (await acme.get("/sites/shop"))["workspace"] == "acme":
            await acme.request("DELETE", "/sites/shop")
            await acme.request("PUT", "/sites/shop", {"workspace": "globex"})

    file = read_site_file("site,display_name\nnew,\nshop,Ours\n", workspace="acme")
    async with pool.acquire() as connection:
        watched: Any = Interrupted(connection, SITES_BY_COLLATED, move)
        with pytest.raises(Conflict, match='"shop" belongs to the workspace "globex"') as refused:
            await import_sites(watched, file, by=BY_ADA)
    assert refused.value.faults == ()
    assert (await acme.request("GET", "/sites/new"))[0] == 404


async def test_a_site_listed_many_times_in_a_file_is_counted_once(pool: asyncpg.Pool) -> None:
    file = read_site_file("".join(f"s{number % 1500}\n" for number in range(4_000)), workspace="acme")
    async with pool.acquire() as connection:
        done = await import_sites(connection, file, by=BY_ADA, create_workspaces=True)
    assert [len(done.ids(outcome)) for outcome in ("new", "renamed", "unchanged")] == [1_500, 0, 0]


async def test_a_csv_file_is_imported_completely_or_not_at_all(pool: asyncpg.Pool) -> None:
    file = read_site_file('site,workspace,display_name\nshop,acme,"Shop, the"\nblog,acme,\nwiki,globex,Wiki\n')
    async with pool.acquire() as connection:
        done = await import_sites(connection, file, by=BY_ADA, create_workspaces=True)
        assert (done.ids("new"), done.new_workspaces) == (["shop", "blog", "wiki"], ("acme", "globex"))
        listed = {site.id: (site.workspace, site.display_name) for site in (await sites.list_sites(connection)).items}
        assert listed == {"shop": ("acme", "Shop, the"), "blog": ("acme", "blog"), "wiki": ("globex", "Wiki")}
        file = read_site_file("site,workspace\nnew,acme\nshop,globex\n")
        done = await import_sites(connection, file, by=BY_ADA)
        [fault] = done.faults
        assert str(fault).startswith('Line 3: "shop" belongs to the workspace "acme".')
        assert len((await sites.list_sites(connection)).items) == 3


PREVIEWED = """Site;Owner;Workspace;Name
new;x;;New
shop;x;;Our shop
blog;x;acme;
docs;x;;docs
a/b;x;globex;
wiki;x;;
store;x;shops;
SHOP;x;shops;
CAFE;x;shops;
kiosk;x;shops;Büdchen
"""


async def contents(pool: asyncpg.Pool) -> list[str]:
    tables = ("workspaces", "sites", "audit_log", "scope_changes")
    return [
        await pool.fetchval(f"SELECT coalesce(json_agg(t ORDER BY t::text), '[]')::text FROM sitelatch.{table} t")  # noqa: S608 - names from here
        for table in tables
    ]


async def test_a_dry_run_names_every_change_and_every_error_and_changes_nothing(
    acme: AdminClient, pool: asyncpg.Pool
) -> None:
    await acme.request("PUT", "/sites/caf%C3%A9", {"workspace": "globex"})
    before = await contents(pool)
    body = {
        "file": base64.b64encode(PREVIEWED.encode("cp1252")).decode(),
        "workspace": "acme",
        "create_workspaces": True,
        "dry_run": True,
    }
    status, preview, _ = await acme.request("POST", "/sites", body)
    assert status == 200
    assert [preview[outcome] for outcome in ("created", "renamed", "unchanged")] == [3, 1, 2]
    assert [(site["line"], site["outcome"], site["id"], site["workspace"]) for site in preview["sites"]] == [
        (2, "new", "new", "acme"),
        (3, "renamed", "shop", "acme"),
        (4, "unchanged", "blog", "acme"),
        (5, "unchanged", "docs", "acme"),
        (8, "new", "store", "shops"),
        (11, "new", "kiosk", "shops"),
    ]
    assert [(site["display_name"], site["previous_name"]) for site in preview["sites"][:3]] == [
        ("New", None),
        ("Our shop", "shop"),
        ("blog", "blog"),
    ]
    assert preview["new_workspaces"] == ["shops"]
    assert (preview["ignored_columns"], preview["encoding"]) == (["Owner"], "windows-1252")
    assert [(error["line"], error["detail"][:50]) for error in preview["errors"]] == [
        (6, '"a/b" contains "/", which separates the segments o'),
        (7, '"wiki" belongs to the workspace "globex". Site ids'),
        (9, 'Some data services treat "SHOP" and "shop" in line'),
        (10, 'Some data services treat "CAFE" and the site "café'),
    ]
    assert await contents(pool) == before

    # The import itself refuses the file with the same errors.
    status, problem, _ = await acme.request("POST", "/sites", {**body, "dry_run": False})
    assert status == 422
    assert problem["detail"].splitlines() == [f"Line {error['line']}: {error['detail']}" for error in preview["errors"]]
    assert {error["pointer"] for error in problem["errors"]} == {"#/file"}
    assert await contents(pool) == before


async def test_without_errors_an_import_does_what_its_dry_run_says(acme: AdminClient) -> None:
    body = {"csv": "site;workspace;display_name\nnew;fresh;New\nshop;acme;Our shop\nblog;acme;\n"}
    previews = [
        (await acme.request("POST", "/sites", {**body, "create_workspaces": True, "dry_run": dry_run}))[:2]
        for dry_run in (True, False)
    ]
    assert previews[0] == previews[1]
    assert (previews[0][0], previews[0][1]["errors"]) == (200, [])
    assert (await acme.get("/sites/new"))["workspace"] == "fresh"
    assert (await acme.get("/sites/shop"))["display_name"] == "Our shop"
    # The names are current now.
    status, again, _ = await acme.request("POST", "/sites", body)
    assert (status, again["unchanged"], again["new_workspaces"]) == (200, 3, [])


async def test_a_dry_run_without_create_workspaces_names_each_line_with_an_unknown_workspace(acme: AdminClient) -> None:
    body = {"csv": "site,workspace\nnew,acme\none,glbex\ntwo,glbex\n", "dry_run": True}
    status, preview, _ = await acme.request("POST", "/sites", body)
    assert (status, preview["new_workspaces"]) == (200, ["glbex"])
    assert preview["errors"] == [{"line": line, "detail": 'The workspace "glbex" does not exist.'} for line in (3, 4)]


async def test_a_dry_run_tells_a_limited_admin_nothing_about_other_workspaces(acme: AdminClient) -> None:
    ben = acme.as_(BEN_TOKEN)
    csv = "site,workspace\nnew,acme\nx,globex\ny,initech\nwiki,acme\nwikï,acme\n"
    for create in (False, True):
        body = {"csv": csv, "create_workspaces": create, "dry_run": True}
        status, preview, _ = await ben.request("POST", "/sites", body)
        assert (status, preview["created"], preview["new_workspaces"]) == (200, 1, [])
        assert [(error["line"], error["detail"]) for error in preview["errors"][:3]] == [
            (3, 'You do not have access to the workspace "globex".'),
            (4, 'You do not have access to the workspace "initech".'),
            (5, '"wiki" belongs to another workspace. Site ids are unique across workspaces.'),
        ]
        assert preview["errors"][3]["detail"].startswith('Some data services treat "wikï" and "wiki" in line 5')


async def test_sites_that_sql_has_written_count_in_a_dry_run(acme: AdminClient, pool: asyncpg.Pool) -> None:
    await pool.execute(
        "INSERT INTO sitelatch.sites (id, folded, workspace_id, display_name)"
        " SELECT 'café', 'café', id, 'Café' FROM sitelatch.workspaces WHERE name = 'acme'"
    )
    body = {"csv": "site\ncafé\ncafe\n", "workspace": "acme", "dry_run": True}
    status, preview, _ = await acme.request("POST", "/sites", body)
    assert (status, preview["unchanged"], [error["line"] for error in preview["errors"]]) == (200, 1, [3])


@pytest.mark.parametrize("content", ["", "site\n", "site,workspace\r\n\r\n"])
async def test_a_file_without_sites_is_refused(acme: AdminClient, content: str) -> None:
    status, problem, _ = await acme.request("POST", "/sites", {"csv": content, "workspace": "acme"})
    assert (status, problem["code"]) == (422, "invalid")
    assert "no sites" in problem["detail"] or "empty" in problem["detail"]
    status, preview, _ = await acme.request("POST", "/sites", {"csv": content, "workspace": "acme", "dry_run": True})
    assert (status, [error["line"] for error in preview["errors"]]) == (200, [None])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/csv"),
        ({"csv": "site\nx\n", "file": "c2l0ZQ=="}, "#/csv"),
        ({"file": "sit"}, "#/file"),
        ({"file": "c2l0 ZQ=="}, "#/file"),
        ({"file": "é"}, "#/file"),
    ],
)
async def test_an_import_needs_one_file(acme: AdminClient, body: dict[str, str], pointer: str) -> None:
    status, problem, _ = await acme.request("POST", "/sites", body)
    assert (status, [error["pointer"] for error in problem["errors"]]) == (422, [pointer])


async def test_an_import_creates_workspaces_only_if_that_is_asked_for(acme: AdminClient) -> None:
    csv = "site,workspace\nnew,acme\n\none,glbex\ntwo,glbex\nthree,initech\n"
    for body in ({"csv": csv}, {"csv": csv, "create_workspaces": False}):
        status, problem, _ = await acme.request("POST", "/sites", body)
        assert (status, problem["detail"].splitlines()) == (
            422,
            [
                'Line 4: The workspace "glbex" does not exist.',
                'Line 5: The workspace "glbex" does not exist.',
                'Line 6: The workspace "initech" does not exist.',
                'The known workspaces are "acme", "globex".',
                "Correct the name, or set `create_workspaces` to create the workspace.",
            ],
        )
        assert [error["pointer"] for error in problem["errors"]] == ["#/csv"] * 3
    assert ids(await acme.get("/sites")) == ["blog", "docs", "shop", "wiki"]
    assert len((await acme.get("/workspaces"))["items"]) == 2

    status, imported, _ = await acme.request("POST", "/sites", {"csv": csv, "create_workspaces": True})
    assert (status, imported["created"]) == (200, 4)
    created = [line["subject"] for line in (await acme.get("/audit"))["items"] if line["action"] == "workspace.created"]
    assert sorted(created) == ["acme", "glbex", "globex", "initech"]


async def test_a_limited_admin_does_not_learn_who_owns_a_taken_id(acme: AdminClient) -> None:
    ben = acme.as_(BEN_TOKEN)
    status, problem, _ = await ben.request("PUT", "/sites/wiki", {"workspace": "acme"})
    assert status == 409
    assert "globex" not in str(problem)
    assert (await ben.request("POST", "/workspaces", {"name": "other"}))[0] == 403
    assert acme.token == ADA_TOKEN


async def test_a_lookup_names_the_ids_that_are_no_sites_of_the_workspace(acme: AdminClient) -> None:
    wanted = ["shop", "gone", "shop", "Blog", "wiki", "a/b", "", " ", "é" * 300, "gone"]
    status, found, _ = await acme.request("POST", "/site-lookup", {"workspace": "acme", "ids": wanted})
    assert status == 200
    assert found == {
        "found": ["shop"],
        "missing": [
            {"id": site, "similar": "blog" if site == "Blog" else None}
            for site in dict.fromkeys(wanted)
            if site != "shop"
        ],
    }


async def test_a_lookup_needs_an_existing_workspace_and_a_bounded_list(acme: AdminClient) -> None:
    for body, detail in (
        ({"workspace": "nowhere", "ids": ["shop"]}, 'The workspace "nowhere" does not exist.'),
        ({"workspace": "acme", "ids": ["shop"] * 10_001}, "must have at most 10000 items."),
        ({"workspace": "acme", "ids": ["shop", "a\0b"]}, "must not contain control characters."),
        ({"workspace": "acme", "ids": ["\ud800"]}, "must not contain control characters."),
        ({"workspace": "acme", "ids": [1]}, "must be text."),
        ({"workspace": "acme"}, "is missing."),
    ):
        status, problem, _ = await acme.request("POST", "/site-lookup", body)
        assert status == 422
        assert detail in str(problem["errors"]), problem


async def test_sites_are_counted_like_the_list_and_no_further_than_needed(
    acme: AdminClient, pool: asyncpg.Pool
) -> None:
    for parameters, count in (({}, 4), ({"workspace": "acme"}, 3), ({"search": "sh"}, 1), ({"search": "nothing"}, 0)):
        assert await acme.get("/site-count", **parameters) == {"count": count, "more": False}
        assert len(ids(await acme.get("/sites", **parameters))) == count
    assert await acme.as_(BEN_TOKEN).get("/site-count") == {"count": 3, "more": False}
    async with pool.acquire() as connection:
        for most, more in ((3, True), (4, False)):
            found = await sites.count_sites(connection, most=most)
            assert (found.count, found.more) == (most, more)
