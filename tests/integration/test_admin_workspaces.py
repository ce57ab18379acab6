"""Workspaces: renaming and removing them, and filters that name one that does not exist."""

import asyncio
from typing import Any

import asyncpg
import pytest

from admin.api.site_creation import NewSite, add_sites
from admin.api.user_creation import create_user
from admin.api.workspaces import LOCK_WORKSPACE, create_workspace, remove_workspace
from admin.problems import Conflict, Invalid
from tests.integration.adminapi import BEN_TOKEN, BY_ADA, AdminClient, acme, admin

__all__ = ["acme", "admin"]


def names(page: Any) -> list[str]:
    return [workspace["name"] for workspace in page["items"]]


async def test_an_empty_workspace_is_removed_and_its_audit_entries_remain(acme: AdminClient) -> None:
    for name in ("typo", "a/b", "100% ours"):
        assert (await acme.request("POST", "/workspaces", {"name": name}))[0] == 201
    for path in ("typo", "a%2Fb", "100%25%20ours"):
        assert (await acme.request("DELETE", f"/workspaces/{path}"))[0] == 204
    assert names(await acme.get("/workspaces")) == ["acme", "globex"]
    status, problem, _ = await acme.request("DELETE", "/workspaces/typo")
    assert (status, problem["detail"]) == (
        404,
        'The workspace "typo" does not exist. The known workspaces are "acme", "globex".',
    )
    noted = (await acme.get("/audit", workspace="typo"))["items"]
    assert [(line["action"], line["subject"]) for line in noted] == [
        ("workspace.removed", "typo"),
        ("workspace.created", "typo"),
    ]


async def test_a_workspace_with_sites_or_api_users_is_not_removed(acme: AdminClient) -> None:
    await acme.create(workspace="acme", sites=["shop"])
    status, problem, _ = await acme.request("DELETE", "/workspaces/acme")
    assert (status, problem["code"]) == (409, "conflict")
    assert problem["detail"] == 'The workspace "acme" has 3 sites and 1 API user. Remove them first.'
    assert (await acme.request("DELETE", "/sites/wiki"))[0] == 204
    await acme.create(workspace="globex", all_sites=True)
    _, problem, _ = await acme.request("DELETE", "/workspaces/globex")
    assert problem["detail"] == 'The workspace "globex" has 1 API user. Remove them first.'
    assert names(await acme.get("/workspaces")) == ["acme", "globex"]


async def test_a_renamed_workspace_keeps_its_sites_and_api_users(acme: AdminClient) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    status, workspace, _ = await acme.request("PATCH", "/workspaces/acme", {"name": "acme-eu"})
    assert (status, workspace["name"]) == (200, "acme-eu")
    assert names(await acme.get("/workspaces")) == ["acme-eu", "globex"]
    assert (await acme.get(f"/users/{user['id']}"))["workspace"] == "acme-eu"
    assert (await acme.get("/sites/shop"))["workspace"] == "acme-eu"
    [entry] = [line for line in (await acme.get("/audit"))["items"] if line["action"] == "workspace.renamed"]
    assert (entry["workspace"], entry["subject"]) == ("acme-eu", "acme-eu")
    assert entry["detail"] == {"from": "acme", "to": "acme-eu"}

    for path, new_name, expected in (
        ("acme-eu", "globex", 409),
        ("acme-eu", "acme-eu", 200),
        ("acme-eu", " padded", 422),
        ("acme", "other", 404),
    ):
        assert (await acme.request("PATCH", f"/workspaces/{path}", {"name": new_name}))[0] == expected


@pytest.mark.parametrize("path", ["/users", "/sites", "/audit"])
async def test_a_filter_with_an_unknown_workspace_is_an_error_that_names_the_known_ones(
    acme: AdminClient, path: str
) -> None:
    status, problem, _ = await acme.request("GET", f"{path}?workspace=amce")
    assert (status, problem["errors"][0]["parameter"]) == (422, "workspace")
    assert problem["detail"] == 'The workspace "amce" does not exist. The known workspaces are "acme", "globex".'
    ben = acme.as_(BEN_TOKEN)
    assert (await ben.request("GET", f"{path}?workspace=amce"))[0] == 403
    await acme.request("PATCH", "/workspaces/acme", {"name": "renamed"})
    if path == "/audit":
        assert (await acme.get(path, workspace="acme"))["items"]
    else:
        status, problem, _ = await ben.request("GET", f"{path}?workspace=acme")
        assert (status, problem["detail"]) == (422, 'The workspace "acme" does not exist. There are no workspaces yet.')


async def test_an_error_about_an_unknown_workspace_does_not_list_many(admin: AdminClient) -> None:
    for number in range(11):
        await admin.request("POST", "/workspaces", {"name": f"w{number:02}"})
    _, problem, _ = await admin.request("GET", "/users?workspace=w")
    assert problem["detail"] == 'The workspace "w" does not exist.'
    _, problem, _ = await admin.request("POST", "/sites", {"csv": "site,workspace\nshop,w\n"})
    assert problem["detail"].splitlines() == [
        'Line 2: The workspace "w" does not exist.',
        "Correct the name, or set `create_workspaces` to create the workspace.",
    ]


async def test_nothing_is_added_to_a_workspace_that_is_removed_at_the_same_time(pool: asyncpg.Pool) -> None:
    """The removal waits until what is being added is there, and what comes later finds no workspace."""
    async with pool.acquire() as first, pool.acquire() as second:
        await create_workspace(first, name="acme", by=BY_ADA)
        transaction = first.transaction()
        await transaction.start()
        await first.fetchval(LOCK_WORKSPACE, "acme")
        adding = asyncio.ensure_future(add_sites(second, workspace="acme", sites=[NewSite("shop")], by=BY_ADA))
        await waiting(pool)
        await remove_workspace(first, "acme", by=BY_ADA)
        await transaction.commit()
        with pytest.raises(Invalid, match="does not exist"):
            await adding
        await create_workspace(first, name="acme", by=BY_ADA)
        transaction = first.transaction()
        await transaction.start()
        await create_user(first, workspace="acme", all_sites=True, sites=None, name=None, by=BY_ADA)
        removing = asyncio.ensure_future(remove_workspace(second, "acme", by=BY_ADA))
        await waiting(pool)
        await transaction.commit()
        with pytest.raises(Conflict, match="has 1 API user"):
            await removing


async def waiting(pool: asyncpg.Pool) -> None:
    """Wait until a query waits for a lock."""
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(30):
        while not await pool.fetchval(waits):  # noqa: ASYNC110 - the condition is in the database
            await asyncio.sleep(0.01)
