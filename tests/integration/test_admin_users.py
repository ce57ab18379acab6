"""API users through the JSON API: create, list, show and delete."""

import asyncio
import io
import json
import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from admin.api import users
from admin.api.response_models import User
from admin.api.user_creation import create_user
from admin.api.user_list import list_users
from admin.api.user_order import SORTS, Sort
from admin.problems import Invalid
from proxy.decision.api_keys import digest, hint, well_formed
from tests.integration.adminapi import ADA, BEN_TOKEN, BY_ADA, AdminClient, acme, admin

__all__ = ["acme", "admin"]

JSON = {"Content-Type": "application/json"}


def ids(page: Any) -> list[str]:
    return [user["id"] for user in page["items"]]


async def test_a_user_for_selected_sites_gets_a_key_that_is_shown_once(acme: AdminClient, pool: asyncpg.Pool) -> None:
    made = await acme.create(workspace="acme", sites=["shop", "blog", "shop"], name=" Nightly export ")
    assert well_formed(made["api_key"].encode())
    assert made["name"] == "Nightly export"
    assert made["sites"] == ["blog", "shop"]
    assert (made["all_sites"], made["site_count"], made["workspace"]) == (False, 2, "acme")
    assert made["authorized_by"] == {"name": ADA.name, "email": ADA.email}
    assert made["last_activity"] is None

    stored = await pool.fetchrow("SELECT digest, hint FROM sitelatch.api_keys WHERE user_id = $1", made["id"])
    assert stored is not None
    assert stored["digest"] == digest(made["api_key"].encode())
    assert stored["hint"] == hint(made["api_key"])

    shown = await acme.get(f"/users/{made['id']}")
    assert shown == {name: value for name, value in made.items() if name != "api_key"}
    assert made["api_key"] not in str(await acme.get("/users"))


async def test_an_all_sites_user_has_an_empty_list_of_sites(acme: AdminClient) -> None:
    made = await acme.create(workspace="acme", all_sites=True)
    assert (made["all_sites"], made["sites"], made["site_count"], made["name"]) == (True, [], 0, None)


@pytest.mark.parametrize(
    ("body", "pointer", "expected"),
    [
        ({"workspace": "acme", "all_sites": True, "sites": ["shop"]}, "#/sites", "either all_sites or sites"),
        ({"workspace": "acme", "all_sites": True, "sites": []}, "#/sites", "either all_sites or sites"),
        ({"workspace": "acme"}, "#/sites", "at least one site"),
        ({"workspace": "acme", "sites": []}, "#/sites", "at least one site"),
        ({"workspace": "acme", "all_sites": False}, "#/sites", "at least one site"),
        ({"workspace": "acme", "sites": ["shop", "nope"]}, "#/sites/1", 'workspace "acme" has no site "nope"'),
        ({"workspace": "acme", "sites": ["wiki"]}, "#/sites/0", 'workspace "acme" has no site "wiki"'),
        ({"workspace": "acme", "sites": ["Shop"]}, "#/sites/0", 'Did you mean "shop"?'),
        ({"workspace": "acme", "sites": ["a\x00b"]}, "#/sites/0", "must not contain control characters"),
        ({"workspace": "nope", "all_sites": True}, "#/workspace", 'workspace "nope" does not exist'),
        ({"all_sites": True}, "#/workspace", "is missing"),
        ({"workspace": "acme", "all_sites": "no"}, "#/all_sites", "true or false"),
        ({"workspace": "acme", "all_sites": 1}, "#/all_sites", "true or false"),
        ({"workspace": "acme", "sites": "shop"}, "#/sites", "must be a list"),
        ({"workspace": "acme", "sites": [1]}, "#/sites/0", "must be text"),
        ({"workspace": "acme", "all_sites": True, "name": "a\nb"}, "#/name", "must not contain control characters"),
        ({"workspace": "acme", "all_sites": True, "name": " "}, "#/name", "1 to 200"),
        ({"workspace": "acme", "all_sites": True, "name": "x" * 201}, "#/name", "1 to 200"),
        ({"workspace": "acme", "all_sites": True, "email": "x"}, "#/email", "is unknown"),
        # RFC 6901 §6: characters that a fragment must not contain are percent-encoded.
        ({"workspace": "acme", "all_sites": True, "é /~%#": "x"}, "#/%C3%A9%20~1~0%25%23", "is unknown"),
        (["acme"], "#", "must be a JSON object"),
    ],
)
async def test_an_invalid_body_is_refused_with_the_location_of_the_error_and_a_fix(
    acme: AdminClient, pool: asyncpg.Pool, body: Any, pointer: str, expected: str
) -> None:
    status, problem, answer = await acme.request("POST", "/users", body)
    assert status == 422
    assert answer.content_type == "application/problem+json"
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert expected in problem["errors"][0]["detail"]
    assert problem["code"] == "invalid"
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.api_users") == 0


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"workspace": "acme", "workspace": "globex"}', b"[" * 100_000, b'{"a": "\\ud800"}']
)
async def test_a_body_that_is_not_a_json_object_is_refused(acme: AdminClient, body: bytes) -> None:
    status, _, answer = await acme.request("POST", "/users", data=body, headers=JSON)
    assert status in (400, 422)
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/users", {"workspace": "acme", "sites": [f"{number}{'é' * 90_000}" for number in range(20)]}),
        ("POST", "/users", {"workspace": "é" * 1_900_000, "all_sites": True}),
        ("POST", "/users", {"workspace": "acme", "all_sites": True, "é" * 1_900_000: 1}),
        ("POST", "/sites", {"csv": "site,workspace\n" + f" {'é' * 90_000},acme\n" * 20}),
    ],
)
async def test_errors_quote_a_bounded_part_of_the_request(acme: AdminClient, method: str, path: str, body: Any) -> None:
    """Escaping and masking megabytes would block the event loop."""
    data = io.BytesIO(json.dumps(body, ensure_ascii=False).encode())
    status, problem, answer = await acme.request(method, path, data=data, headers=JSON)
    assert status == 422
    assert problem["errors"]
    assert int(answer.headers["Content-Length"]) < 200_000


async def test_unknown_sites_are_listed_with_their_index_up_to_a_limit(acme: AdminClient) -> None:
    _, problem, _ = await acme.request("POST", "/users", {"workspace": "acme", "sites": ["a", "shop", "b", "a"]})
    assert [error["pointer"] for error in problem["errors"]] == ["#/sites/0", "#/sites/2"]
    many = [f"no{number}" for number in range(5000)]
    _, problem, _ = await acme.request("POST", "/users", {"workspace": "acme", "sites": many})
    assert len(problem["errors"]) == 20
    assert "And 4980 more." in problem["detail"]


async def test_names_may_contain_any_characters(acme: AdminClient) -> None:
    name = "<script>alert('\"')</script> \u202eעברית 👩‍👩‍👧 %s {0} \\"
    made = await acme.create(workspace="acme", all_sites=True, name=name)
    assert (await acme.get(f"/users/{made['id']}"))["name"] == name


async def test_deletion_is_permanent_and_leaves_the_audit_entry(acme: AdminClient, pool: asyncpg.Pool) -> None:
    made = await acme.create(workspace="acme", sites=["shop"], name="Old")
    status, body, _ = await acme.request("DELETE", f"/users/{made['id']}")
    assert (status, body) == (204, None)
    for table in ("api_users", "api_keys", "api_user_sites", "api_user_activity"):
        assert await pool.fetchval(f"SELECT count(*) FROM sitelatch.{table}") == 0  # noqa: S608 - names from here
    assert (await acme.request("GET", f"/users/{made['id']}"))[0] == 404
    assert (await acme.request("DELETE", f"/users/{made['id']}"))[0] == 404
    deleted, created = (await acme.get("/audit", subject=made["id"]))["items"]
    assert (deleted["action"], created["action"]) == ("user.deleted", "user.created")
    assert deleted["actor"] == {"name": ADA.name, "email": ADA.email}
    assert deleted["address"] == "127.0.0.1"
    assert deleted["workspace"] == "acme"
    assert deleted["detail"] == {
        "name": "Old",
        "keys": [hint(made["api_key"])],
        "authorized_by": {"name": ADA.name, "email": ADA.email},
        "all_sites": False,
        "sites": ["shop"],
        "site_count": 1,
    }


async def test_exactly_one_of_several_concurrent_deletions_succeeds(acme: AdminClient) -> None:
    made = await acme.create(workspace="acme", all_sites=True)
    answers = await asyncio.gather(*(acme.request("DELETE", f"/users/{made['id']}") for _ in range(4)))
    assert sorted(status for status, _, _ in answers) == [204, 404, 404, 404]
    lines = (await acme.get("/audit", subject=made["id"]))["items"]
    assert [line["action"] for line in lines] == ["user.deleted", "user.created"]


@pytest.mark.parametrize("user_id", ["nope", "0", "%00", "%FF", "a%2Fb", "{}", "00000000-0000-0000-0000-000000000000"])
async def test_unknown_ids_return_404(acme: AdminClient, user_id: str) -> None:
    for method in ("GET", "DELETE"):
        status, problem, _ = await acme.request(method, f"/users/{user_id}")
        assert status == 404
        assert problem["status"] == 404


async def pages(acme: AdminClient, **parameters: Any) -> list[str]:
    """Return the ids of all users, read page by page."""
    found: list[str] = []
    page = await acme.get("/users", **parameters)
    found += ids(page)
    while page["next"]:
        page = await acme.get("/users", **parameters, after=page["next"])
        found += ids(page)
    return found


async def test_sorted_pages_have_no_gaps_or_repeats(acme: AdminClient, pool: asyncpg.Pool) -> None:
    made = [(await acme.create(workspace="acme", all_sites=True))["id"] for _ in range(7)]
    # Two users with the same creation time, as an import creates them.
    await pool.execute(
        "UPDATE sitelatch.api_users SET created_at = (SELECT created_at FROM sitelatch.api_users WHERE id = $1)"
        " WHERE id = $2",
        made[2],
        made[3],
    )
    for place, age in ((1, 30), (4, 10), (6, 20), (5, 20)):
        await pool.execute(
            "UPDATE sitelatch.api_user_activity SET last_used_at = date_trunc('day', now()) - make_interval(secs => $2)"
            " WHERE user_id = $1",
            made[place],
            float(age),
        )

    newest = await pages(acme, limit=2)
    assert newest == list(reversed(await pages(acme, limit=2, sort="created")))
    assert sorted(newest) == sorted(made)
    assert [newest[0], newest[-1]] == [made[6], made[0]]

    least_active = await pages(acme, limit=2, sort="last_activity")
    assert sorted(least_active[:3]) == sorted([made[0], made[2], made[3]])
    assert least_active[3] == made[1]
    assert sorted(least_active[4:6]) == sorted([made[5], made[6]])
    assert least_active[6] == made[4]
    most_active = await pages(acme, limit=3, sort="-last_activity")
    assert most_active[0] == made[4]
    assert sorted(most_active) == sorted(made)
    assert await pages(acme, limit=7) == newest
    for sort in SORTS:
        found = await pages(acme, limit=2, sort=sort, search="ada")
        assert sorted(found) == sorted(made)
        assert found[-1] == (await pages(acme, sort=sort))[-1] or sort == "-last_activity"


async def test_paging_continues_while_users_are_created_and_deleted(acme: AdminClient) -> None:
    made = [(await acme.create(workspace="acme", all_sites=True))["id"] for _ in range(4)]
    first = await acme.get("/users", limit=2)
    assert ids(first) == [made[3], made[2]]
    await acme.request("DELETE", f"/users/{made[2]}")
    await acme.create(workspace="acme", all_sites=True)
    second = await acme.get("/users", limit=2, after=first["next"])
    assert ids(second) == [made[1], made[0]]
    assert second["next"] is None


@pytest.mark.parametrize(
    "after", ["x", "", "bnVsbA", "WzFd", "WyItY3JlYXRlZCIsIDEsIDJd", "!!", "%C3%A9", "WyJjcmVhdGVkIl0"]
)
async def test_a_forged_cursor_is_refused(acme: AdminClient, after: str) -> None:
    status, problem, _ = await acme.request("GET", f"/users?after={after}")
    assert status == 422
    assert problem["errors"][0]["parameter"] == "after"


async def test_a_cursor_from_another_list_is_refused(acme: AdminClient) -> None:
    for _ in range(2):
        await acme.create(workspace="acme", all_sites=True)
    after = (await acme.get("/users", limit=1))["next"]
    for other in ("sort=last_activity", "sort=created", "search=ada"):
        status, problem, _ = await acme.request("GET", f"/users?{other}&after={after}")
        assert (status, problem["errors"][0]["parameter"]) == (422, "after")


@pytest.mark.parametrize(
    ("parameters", "name"),
    [("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit"), ("sort=site", "sort"), ("q=x", "q"),
     ("never_used=perhaps", "never_used"), ("unused_days=0", "unused_days"), ("unused_days=99999999999", "unused_days"),
     ("expires_within_days=0", "expires_within_days"), ("expired=soon", "expired"),
     ("search=a&search=b", "search"), ("search=%00", "search"), ("workspace=%0a", "workspace")],
)  # fmt: skip
async def test_wrong_parameters_are_refused_and_the_error_names_them(
    acme: AdminClient, parameters: str, name: str
) -> None:
    status, problem, _ = await acme.request("GET", f"/users?{parameters}")
    assert status == 422
    assert [error["parameter"] for error in problem["errors"]] == [name]


async def test_search_matches_the_beginnings_of_words_in_name_site_person_and_key(acme: AdminClient) -> None:
    export = await acme.create(workspace="acme", sites=["shop"], name="Export_50%")
    blog = await acme.create(workspace="acme", sites=["blog"], name="Blog reader")
    ben = await acme.as_(BEN_TOKEN).create(workspace="acme", all_sites=True, name="Ärger")
    await acme.request("PUT", "/sites/docs", {"workspace": "acme", "display_name": "Handbook"})
    docs = await acme.create(workspace="acme", sites=["docs"])

    async def found(search: str) -> Iterable[str]:
        return sorted(ids(await acme.get("/users", search=search)))

    assert await found("export") == [export["id"]]
    assert await found("EXPORT_50%") == [export["id"]]
    assert await found("export%") == []  # no wildcards
    assert await found("e_port") == []
    assert await found("50") == [export["id"]]  # any word
    assert await found("50 exp") == [export["id"]]  # words in any order
    assert await found("xport") == []  # not in the middle of a word
    assert await found("export shop") == [export["id"]]  # words in different places
    assert await found("export-shop") == []  # words that are not separated by spaces: in the same place
    assert await found("example.com") == await found("com") == sorted([export["id"], blog["id"], ben["id"], docs["id"]])
    assert await found("SHO") == [export["id"]]  # a site
    assert await found("blog") == [blog["id"]]  # name and site: once
    assert await found("hand") == [docs["id"]]  # a site's display name
    assert await found("BEN@") == [ben["id"]]
    assert await found("ada") == sorted([export["id"], blog["id"], docs["id"]])
    assert await found("Är") == [ben["id"]]
    key = export["api_key"]
    for text in (hint(key), key, key[:8], key[:12], key[4:8], key[-4:], key[-4:].swapcase()):
        assert export["id"] in await found(text)
    assert await found("slk_" + "!" * 4) == []
    assert await found("\\") == []
    assert len(list(await found("slk_"))) == 4


async def test_a_search_for_nothing_but_spaces_matches_everything(acme: AdminClient) -> None:
    for body in ({"all_sites": True}, {"sites": ["shop"], "name": "Shop exporter"}):
        await acme.create(workspace="acme", **body)
    for search in ("", " ", "\u3000 "):
        assert len((await acme.get("/users", search=search))["items"]) == 2
        assert len((await acme.get("/sites", search=search))["items"]) == 4
    assert [user["name"] for user in (await acme.get("/users", search="  shop e"))["items"]] == ["Shop exporter"]


async def test_search_results_are_correct_however_many_users_match(acme: AdminClient, pool: asyncpg.Pool) -> None:
    """There are so many users that some pages are found among the next users, and others need a search of all users."""
    await pool.execute(
        """
        INSERT INTO sitelatch.api_users
          (workspace_id, name, all_sites, authorized_by_name, authorized_by_email, created_at)
        SELECT id, CASE WHEN n % 100 = 7 THEN 'rare ' ELSE 'usual ' END || n, false, 'Ada', 'ada@example.com',
               now() - n / 3 * interval '1.000001 s'
        FROM sitelatch.workspaces, generate_series(1, 1000) n WHERE workspaces.name = 'acme';
        INSERT INTO sitelatch.api_user_sites (user_id, site_id)
        SELECT id, CASE WHEN name LIKE '% 99_' THEN 'docs' ELSE 'shop' END FROM sitelatch.api_users
        """
    )
    whole = {sort: [(user.id, user.name, user.sites) for user in await all_users(pool, sort)] for sort in SORTS}
    for sort in SORTS:
        for search, matches in (
            ("usual", lambda name, _: name.startswith("usual")),
            ("rare", lambda name, _: name.startswith("rare")),
            ("docs", lambda _, sites: "docs" in sites),
            ("nothing", lambda *_: False),
        ):
            expected = [user_id for user_id, name, sites in whole[sort] if matches(name, sites)]
            assert await pages(acme, limit=60, sort=sort, search=search) == expected, (sort, search)


async def all_users(pool: asyncpg.Pool, sort: Sort) -> list[User]:
    async with pool.acquire() as connection:
        return (await list_users(connection, sort=sort, limit=2000)).items


async def test_the_list_can_be_limited_to_one_workspace(acme: AdminClient) -> None:
    one = await acme.create(workspace="acme", all_sites=True)
    other = await acme.create(workspace="globex", all_sites=True)
    assert ids(await acme.get("/users", workspace="acme")) == [one["id"]]
    assert ids(await acme.get("/users", workspace="globex")) == [other["id"]]


async def test_a_count_of_an_unknown_workspace_is_refused(acme: AdminClient) -> None:
    status, problem, _ = await acme.request("GET", "/user-count?workspace=nope")
    assert (status, problem["errors"][0]["parameter"]) == (422, "workspace")


async def test_filters_by_use_and_by_person_can_be_combined(acme: AdminClient, pool: asyncpg.Pool) -> None:
    made = [(await acme.create(workspace="acme", all_sites=True, name=f"user {n}"))["id"] for n in range(5)]
    of_ben = (await acme.as_(BEN_TOKEN).create(workspace="acme", all_sites=True))["id"]
    # User 0 is new, user 1 is old, and both were never used. User 2 was used recently, and users 3 and 4 long ago.
    ago = "now() - make_interval(days => $2) WHERE"
    for place, created, used in ((1, 91, None), (2, 200, 89), (3, 200, 91), (4, 100, 95)):
        await pool.execute(f"UPDATE sitelatch.api_users SET created_at = {ago} id = $1", made[place], created)  # noqa: S608
        await pool.execute(
            f"UPDATE sitelatch.api_user_activity SET last_used_at = {ago} user_id = $1",  # noqa: S608 - text from here
            made[place],
            used,
        )

    async def found(**filters: Any) -> list[str]:
        for sort in SORTS:
            users = await pages(acme, **filters, sort=sort, limit=2)
            assert await acme.get("/user-count", **filters) == {"count": len(users), "more": False}
        return sorted(users)

    assert await found(never_used="true") == sorted([made[0], made[1], of_ben])
    assert await found(unused_days=90) == sorted([made[1], made[3], made[4]])
    assert await found(unused_days=90, never_used="true") == [made[1]]
    assert await found(unused_days=90, search="user 3") == [made[3]]
    assert await found(authorized_by="BEN@example.com") == [of_ben]
    assert await found(authorized_by="ben@example.co") == []
    assert await found(authorized_by="ben@example.com", workspace="globex") == []
    by_ada = {"authorized_by": "ada@example.com", "workspace": "acme"}
    assert await found(**by_ada, unused_days=90, never_used="true") == [made[1]]
    assert sorted(await found(never_used="false")) == sorted([*made, of_ben])
    for place, days in ((0, -1), (1, 1), (2, 29), (3, 31)):
        expire = "UPDATE sitelatch.api_users SET expires_at = now() + make_interval(days => $2) WHERE id = $1"
        await pool.execute(expire, made[place], days)
    assert await found(expires_within_days=30) == sorted([made[1], made[2]])
    assert await found(expired="true") == [made[0]]
    assert await found(expired="true", expires_within_days=30) == []
    assert await found(expires_within_days=30, search="user 2") == [made[2]]
    assert await found(expires_within_days=30, workspace="globex") == []


async def test_lists_can_be_ordered_by_name_and_by_person(acme: AdminClient) -> None:
    names = ["export B", "Émile", "zebra", "emil", "Export a", None, "_"]
    made = {name: (await acme.create(workspace="acme", all_sites=True, name=name))["id"] for name in names}
    of_ben = (await acme.as_(BEN_TOKEN).create(workspace="acme", all_sites=True, name="Aa"))["id"]
    expected = [made["_"], of_ben, *(made[name] for name in ("emil", "Émile", "Export a", "export B", "zebra", None))]
    for limit in (1, 3, 50):
        assert await pages(acme, sort="name", limit=limit) == expected
        assert await pages(acme, sort="-name", limit=limit) == [*expected[-2::-1], made[None]]  # unnamed last again
        assert (await pages(acme, sort="authorized_by", limit=limit))[-1] == of_ben
        assert (await pages(acme, sort="-authorized_by", limit=limit))[0] == of_ben
    cursor = (await acme.get("/users", sort="name", limit=1))["next"]
    for sort in ("-name", "authorized_by", "created"):
        assert (await acme.request("GET", f"/users?sort={sort}&after={cursor}"))[0] == 422


async def test_the_cursor_of_a_long_name_is_accepted(acme: AdminClient) -> None:
    for character in '𝔸日é"':
        for name in (character * 200, character * 199 + "x"):
            await acme.create(workspace="acme", all_sites=True, name=name)
    assert len(await pages(acme, sort="name", limit=1)) == 8


async def test_lists_shorten_the_sites_of_a_user(acme: AdminClient) -> None:
    many = [f"s{number:03}" for number in range(30)]
    for site in many:
        await acme.request("PUT", f"/sites/{site}", {"workspace": "acme"})
    made = await acme.create(workspace="acme", sites=many)
    [listed] = (await acme.get("/users"))["items"]
    assert listed["sites"] == many[:20]
    assert listed["site_count"] == 30
    assert (await acme.get(f"/users/{made['id']}"))["sites"] == many


async def test_last_activity_is_read_from_the_activity_table(acme: AdminClient, pool: asyncpg.Pool) -> None:
    made = await acme.create(workspace="acme", all_sites=True)
    await pool.execute("UPDATE sitelatch.api_user_activity SET last_used_at = '2026-01-02 03:04:05.678+00'")
    [listed] = (await acme.get("/users"))["items"]
    assert listed["id"] == made["id"]
    assert re.fullmatch(r"2026-01-02T03:04:05\.678(000)?Z", listed["last_activity"])


async def test_the_last_activity_of_some_users_is_listed(acme: AdminClient, pool: asyncpg.Pool) -> None:
    used, never, other = [await acme.create(workspace=name, all_sites=True) for name in ("acme", "acme", "globex")]
    await pool.execute(
        "UPDATE sitelatch.api_user_activity SET last_used_at = '2026-01-02 03:04:05+00' WHERE user_id <> $1",
        never["id"],
    )
    unknown = "00000000-0000-0000-0000-000000000000"
    sought = ",".join(user_id.upper() for user_id in (used["id"], never["id"], other["id"], unknown))
    expected = {used["id"]: "2026-01-02T03:04:05Z", never["id"]: None, other["id"]: "2026-01-02T03:04:05Z"}
    items = (await acme.get("/activity", ids=sought))["items"]
    assert {item["id"]: item["last_activity"] for item in items} == expected
    items = (await acme.as_(BEN_TOKEN).get("/activity", ids=sought))["items"]
    assert {item["id"] for item in items} == {used["id"], never["id"]}


@pytest.mark.parametrize("ids", ["", "x", f"{UUID(int=1)},", ",".join([str(UUID(int=1))] * 101), "%00"])
async def test_activity_of_wrong_ids_is_refused(acme: AdminClient, ids: str) -> None:
    status, problem, _ = await acme.request("GET", f"/activity?ids={ids}")
    assert status == 422
    assert [error["parameter"] for error in problem["errors"]] == ["ids"]


async def test_no_user_is_created_without_an_audit_entry(acme: AdminClient, pool: asyncpg.Pool) -> None:
    await pool.execute("ALTER TABLE sitelatch.audit_log ADD CONSTRAINT shut CHECK (action <> 'user.created')")
    status, _, answer = await acme.request("POST", "/users", {"workspace": "acme", "all_sites": True})
    assert status == 500
    assert answer.content_type == "application/problem+json"
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.api_users") == 0


async def test_a_site_that_is_being_removed_cannot_be_selected(acme: AdminClient, pool: asyncpg.Pool) -> None:
    async with pool.acquire() as remover:
        removal = remover.transaction()
        await removal.start()
        await remover.execute("DELETE FROM sitelatch.sites WHERE id = 'shop'")
        creation = asyncio.create_task(acme.request("POST", "/users", {"workspace": "acme", "sites": ["shop"]}))
        async with asyncio.timeout(10):
            while not await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await removal.commit()
    status, problem, _ = await creation
    assert (status, problem["errors"][0]["pointer"]) == (422, "#/sites/0")


async def test_the_functions_behind_the_command_behave_like_the_api(acme: AdminClient, pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        with pytest.raises(Invalid, match='has no site "nope"'):
            await create_user(connection, workspace="acme", all_sites=False, sites=["nope"], name=None, by=BY_ADA)
        made = await create_user(connection, workspace="acme", all_sites=True, sites=None, name=None, by=BY_ADA)
        [line] = (await acme.get("/audit", subject=made.id))["items"]
        assert line["address"] == "command"
        page = await list_users(connection)
        assert [user.id for user in page.items] == [made.id]
        assert "api_key" in made.model_dump(mode="json")
        await users.delete_user(connection, made.id, by=BY_ADA)
    assert ids(await acme.get("/users")) == []
