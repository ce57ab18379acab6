"""`PATCH /admin/users/{id}`: what changes, what is refused, and what the audit log says."""

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.integration.adminapi import BEN_TOKEN, AdminClient, acme, admin
from tests.integration.feed_changes import head, published

__all__ = ["acme", "admin"]


async def edit(admin: AdminClient, user: Any, body: Any, **headers: str) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    status, answer, _ = await admin.request("PATCH", f"/users/{user['id']}", body, headers=named)
    return status, answer


async def last_change(admin: AdminClient, user: Any) -> Any:
    """Return the newest audit entry of a user."""
    return (await admin.get("/audit", subject=user["id"]))["items"][0]


@pytest.mark.parametrize(
    ("change", "recorded"),
    [
        ({"name": " Export "}, {"name": {"from": None, "to": "Export"}}),
        ({"disabled": True}, {"disabled": {"from": False, "to": True}}),
        (
            {"expires_at": "2030-01-02T03:04:05+01:00"},
            {"expires_at": {"from": None, "to": "2030-01-02T02:04:05+00:00"}},
        ),
        ({"methods": ["GET", "HEAD", "GET"]}, {"methods": {"from": None, "to": ["GET", "HEAD"]}}),
        (
            {"networks": ["192.0.2.0/24", " 192.0.2.7 ", "2001:DB8::/32", "::ffff:10.0.0.0/104"]},
            {"networks": {"from": None, "to": ["192.0.2.0/24", "192.0.2.7/32", "2001:db8::/32", "10.0.0.0/8"]}},
        ),
        ({"requests_per_second": 0.5}, {"requests_per_second": {"from": None, "to": 0.5}}),
        ({"requests_per_second": 0.000001}, {"requests_per_second": {"from": None, "to": 0.000001}}),
        (
            {"requests_per_second": 50, "burst": 100},
            {"requests_per_second": {"from": None, "to": 50.0}, "burst": {"from": None, "to": 100}},
        ),
        ({"requests_per_day": 10**12}, {"requests_per_day": {"from": None, "to": 10**12}}),
        ({"all_sites": True}, {"all_sites": {"from": False, "to": True}, "sites": ([], ["blog", "shop"])}),
        ({"sites": ["docs", "shop"]}, {"sites": (["docs"], ["blog"])}),
        ({"sites": {"add": ["docs", "shop"]}}, {"sites": (["docs"], [])}),
        ({"sites": {"remove": ["shop", "docs"]}}, {"sites": ([], ["shop"])}),
        ({"sites": {"add": ["docs"], "remove": ["shop", "blog"]}}, {"sites": (["docs"], ["blog", "shop"])}),
    ],
    ids=str,
)
async def test_a_change_is_made_and_the_audit_log_has_the_difference(
    acme: AdminClient, change: Any, recorded: Any
) -> None:
    user = await acme.create(workspace="acme", sites=["shop", "blog"])
    status, changed = await edit(acme, user, change)
    assert status == 200
    stored = await acme.get(f"/users/{user['id']}")
    assert changed | {"keys": []} == stored | {"keys": []}
    assert changed["version"] == user["version"] + 1
    entry = await last_change(acme, user)
    assert entry["action"] == "user.edited"
    changes = entry["detail"]["changes"]
    if "sites" in changes:
        changes["sites"] = tuple(changes["sites"][each]["sites"] for each in ("added", "removed"))
    assert changes == recorded


@pytest.mark.parametrize(
    "change", [{}, {"name": "x"}, {"disabled": False}, {"sites": ["shop"]}, {"sites": {"add": ["shop"], "remove": []}}]
)
async def test_a_request_that_changes_nothing_leaves_no_trace(acme: AdminClient, change: Any) -> None:
    user = await acme.create(workspace="acme", sites=["shop"], name="x")
    assert await edit(acme, user, change) == (200, {name: user[name] for name in user if name != "api_key"})
    assert (await last_change(acme, user))["action"] == "user.created"


async def test_null_clears_and_absent_keeps(acme: AdminClient) -> None:
    user = await acme.create(workspace="acme", sites=["shop"], name="x")
    limits: dict[str, Any] = {"expires_at": "2030-01-01T00:00:00Z", "methods": ["GET"], "networks": ["10.0.0.0/8"]}
    limits |= {"requests_per_second": 5.0, "burst": 9, "requests_per_day": 99}
    await edit(acme, user, limits | {"disabled": True})
    _, kept = await edit(acme, user, {"name": "y"})
    assert {name: kept[name] for name in limits} == limits
    assert kept["disabled"]
    assert kept["sites"] == ["shop"]
    _, cleared = await edit(acme, user, dict.fromkeys([*limits, "name"]) | {"disabled": False})
    assert [cleared[name] for name in (*limits, "name", "disabled_at")] == [None] * 8


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"name": ""}, "#/name", "1 to 200"),
        ({"name": 7}, "#/name", "text"),
        ({"disabled": None}, "#/disabled", "true or false"),
        ({"expires_at": "tomorrow"}, "#/expires_at", "UTC offset"),
        ({"methods": []}, "#/methods", "null for no limit"),
        ({"methods": ["GET", "get"]}, "#/methods/1", "uppercase"),
        ({"methods": ["TRACE"]}, "#/methods/0", "never forwarded"),
        ({"networks": []}, "#/networks", "null for no limit"),
        ({"networks": ["10.0.0.0/8", "10.0.0.1/8"]}, "#/networks/1", "10.0.0.0/8"),
        ({"networks": ["localhost"]}, "#/networks/0", "not a network"),
        ({"networks": ["10.0.0.0/8"] * 101}, "#/networks", "1 to 100"),
        ({"requests_per_second": 0}, "#/requests_per_second", "from 0.000001"),
        ({"requests_per_second": -1}, "#/requests_per_second", "from 0.000001"),
        ({"requests_per_second": 1e-320}, "#/requests_per_second", "from 0.000001"),
        ({"requests_per_second": 9.9e-7}, "#/requests_per_second", "from 0.000001"),
        ({"requests_per_second": 1_000_001}, "#/requests_per_second", "to 1,000,000"),
        ({"requests_per_second": "fast"}, "#/requests_per_second", "number"),
        ({"requests_per_second": True}, "#/requests_per_second", "number"),
        ({"requests_per_second": 1, "burst": 0}, "#/burst", "from 1"),
        ({"requests_per_second": 1, "burst": 1.5}, "#/burst", "number"),
        ({"requests_per_second": 1, "burst": 10**20}, "#/burst", "to 1,000,000"),
        ({"requests_per_day": 0}, "#/requests_per_day", "from 1"),
        ({"requests_per_day": 10**13}, "#/requests_per_day", "1,000,000,000,000"),
        ({"requests_per_day": "many"}, "#/requests_per_day", "number"),
        ({"burst": 5}, "#/burst", "needs requests_per_second"),
        ({"sites": []}, "#/sites", "disable"),
        ({"sites": None}, "#/sites", "list"),
        ({"sites": {"remove": ["shop"]}}, "#/sites", "disable"),
        ({"sites": {"add": ["nowhere"]}}, "#/sites/add/0", "no site"),
        ({"sites": {"remove": ["blog", "nowhere"]}}, "#/sites/remove/1", "no site"),
        ({"sites": ["shop", "wiki"]}, "#/sites/1", "no site"),
        ({"sites": {"add": ["blog"], "remove": ["blog"]}}, "#/sites/remove/0", "added and removed"),
        ({"sites": {"more": ["blog"]}}, "#/sites/more", "unknown"),
        ({"sites": ["blog", 7]}, "#/sites/1", "text"),
        ({"all_sites": True, "sites": ["shop"]}, "#/sites", "all_sites"),
        ({"version": 3}, "#/version", "unknown"),
        ({"workspace": "globex"}, "#/workspace", "unknown"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_an_error_names_the_invalid_field_of_a_change(
    acme: AdminClient, change: Any, pointer: str, words: str
) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    status, problem = await edit(acme, user, change | ({} if "name" in change else {"name": "new"}))
    assert (status, [error["pointer"] for error in problem["errors"]]) == (422, [pointer])
    assert words in problem["errors"][0]["detail"]
    assert (await acme.get(f"/users/{user['id']}"))["version"] == user["version"]


async def test_the_burst_ends_with_the_rate_that_it_belongs_to(acme: AdminClient) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    await edit(acme, user, {"requests_per_second": 5, "burst": 9})
    assert (await edit(acme, user, {"requests_per_second": None, "burst": 8}))[0] == 422
    status, changed = await edit(acme, user, {"requests_per_second": None})
    assert (status, changed["requests_per_second"], changed["burst"]) == (200, None, None)


async def test_an_api_user_for_all_sites_gets_selected_sites_only_explicitly(acme: AdminClient) -> None:
    user = await acme.create(workspace="acme", all_sites=True)
    for change in ({"sites": ["shop"]}, {"all_sites": False}, {"all_sites": False, "sites": []}):
        assert (await edit(acme, user, change))[0] == 422
    status, changed = await edit(acme, user, {"all_sites": False, "sites": {"add": ["shop"]}})
    assert (status, changed["all_sites"], changed["sites"]) == (200, False, ["shop"])


async def test_a_change_based_on_an_old_version_is_refused(acme: AdminClient) -> None:
    user = await acme.create(workspace="acme", sites=["shop"], name="x")
    _, _, answer = await acme.request("GET", f"/users/{user['id']}")
    read = answer.headers["ETag"]
    status, _ = await edit(acme, user, {"name": "first"}, If_Match=read)
    assert status == 200
    status, problem = await edit(acme, user, {"name": "second"}, If_Match=read)
    assert (status, problem["code"]) == (412, "changed_meanwhile")
    assert (await acme.get(f"/users/{user['id']}"))["name"] == "first"
    for accepted in ("*", f'"0", "{user["version"] + 1}"'):
        assert (await edit(acme, user, {"name": accepted}, If_Match=accepted))[0] == (200 if accepted == "*" else 412)
    for refused in (f'W/"{user["version"] + 2}"', '"x"', "x", '""', f'"{"9" * 50}"'):
        assert (await edit(acme, user, {"name": "y"}, If_Match=refused))[0] == 412, refused


async def test_activity_does_not_change_the_version_but_a_rotation_does(acme: AdminClient, pool: asyncpg.Pool) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    await pool.execute("UPDATE sitelatch.api_user_activity SET last_used_at = now()")
    assert (await acme.get(f"/users/{user['id']}"))["version"] == user["version"]
    _, rotated, _ = await acme.request("POST", f"/users/{user['id']}/keys", {"overlap_seconds": 60})
    assert rotated["version"] == user["version"] + 1


async def test_one_of_two_concurrent_changes_to_the_same_version_is_refused(acme: AdminClient) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    tag = f'"{user["version"]}"'
    edits = [edit(acme, user, {"name": name}, If_Match=tag) for name in ("first", "second")]
    assert sorted(status for status, _ in await asyncio.gather(*edits)) == [200, 412]


async def test_concurrent_changes_of_different_fields_are_all_kept(acme: AdminClient) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    changes = [{"name": "x"}, {"methods": ["GET"]}, {"sites": {"add": ["blog"]}}, {"sites": {"add": ["docs"]}}]
    assert {status for status, _ in await asyncio.gather(*(edit(acme, user, each) for each in changes))} == {200}
    changed = await acme.get(f"/users/{user['id']}")
    assert (changed["name"], changed["methods"], changed["sites"]) == ("x", ["GET"], ["blog", "docs", "shop"])


async def test_a_change_of_the_name_publishes_nothing(acme: AdminClient, pool: asyncpg.Pool) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    before = await head(pool)
    await edit(acme, user, {"name": "x"})
    assert await published(pool, before) == []
    for change in ({"methods": ["GET"]}, {"networks": ["10.0.0.0/8"]}, {"sites": ["blog"]}):
        before = await head(pool)
        await edit(acme, user, change)
        assert await published(pool, before) == [("user", user["id"])]


async def test_an_admin_of_another_workspace_cannot_change_or_rotate(acme: AdminClient) -> None:
    user = await acme.create(workspace="globex", sites=["wiki"])
    ben = acme.as_(BEN_TOKEN)
    assert (await edit(ben, user, {"name": "x"}))[0] == 404
    for method, path, body in (("POST", "keys", {"overlap_seconds": 0}), ("DELETE", "old-keys", None)):
        status, _, _ = await ben.request(method, f"/users/{user['id']}/{path}", body)
        assert status == 404
    own = await acme.create(workspace="acme", sites=["shop"])
    assert (await edit(ben, own, {"sites": {"add": ["wiki"]}}))[0] == 422
