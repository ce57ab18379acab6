"""`POST /admin/key-imports`: the import of existing keys by an admin."""

import base64
from typing import Any

import asyncpg
import pytest

from tests.integration.adminapi import AdminClient, acme, admin

__all__ = ["acme", "admin"]

KEY = "kq3vT8-Zp1mX9wLr4sNc"


async def test_keys_are_previewed_imported_and_found_unchanged(acme: AdminClient, pool: asyncpg.Pool) -> None:
    body = {"file": base64.b64encode(f"key;sites;name\n{KEY};shop;Export\n".encode()).decode(), "workspace": "acme"}
    for dry_run, expected in ((True, (1, 0, 0)), (False, (1, 0, 0)), (False, (0, 0, 1))):
        status, result, _ = await acme.request("POST", "/key-imports", {**body, "dry_run": dry_run})
        assert (status, result["errors"]) == (200, [])
        assert (result["imported"], result["changed"], result["unchanged"]) == expected
        assert "accept_foreign = true" in result["warnings"][0]
        assert KEY not in str(result)
    [user] = (await acme.get("/users"))["items"]
    assert (user["name"], user["sites"], user["authorized_by"]["email"]) == ("Export", ["shop"], "ada@example.com")
    assert len(await pool.fetch("SELECT FROM sitelatch.api_keys")) == 1


@pytest.mark.parametrize(
    ("body", "status", "pointer", "detail"),
    [
        ({"text": f"key\n{KEY}\nshort\n", "all_sites": True}, 422, "#/text", "Line 3: The key is shorter than 20"),
        (
            {"text": f"key\n{KEY}\n", "sites": ["wiki"]},
            422,
            "#/text",
            'Line 2: The workspace "acme" has no site "wiki"',
        ),
        ({"text": f"key\n{KEY}\n", "sites": ["shop"], "all_sites": True}, 422, "#/sites", "Set either all_sites or"),
        ({"text": "key\n", "file": ""}, 422, "#/text", "Set either text or file."),
        ({"file": "?"}, 422, "#/file", "The content of the file must be in Base64."),
        ({"text": "key\n" + "\n" * 10_001}, 422, "#/text", "The file has more than 10,000 lines."),
        ({"text": f"key\n{KEY}\n", "workspace": "nowhere", "all_sites": True}, 422, "#/text", "Line 2: "),
    ],
)
async def test_a_file_with_an_error_is_refused_as_a_whole(
    acme: AdminClient, pool: asyncpg.Pool, body: dict[str, Any], status: int, pointer: str, detail: str
) -> None:
    got, problem, _ = await acme.request("POST", "/key-imports", {"workspace": "acme", **body})
    assert (got, problem["errors"][0]["pointer"]) == (status, pointer)
    assert problem["errors"][0]["detail"].startswith(detail)
    assert KEY not in str(problem)
    assert await pool.fetch("SELECT FROM sitelatch.api_keys") == []


async def test_a_deleted_key_and_a_known_one_with_another_scope_are_conflicts(acme: AdminClient) -> None:
    body = {"workspace": "acme", "text": f"key\n{KEY}\n"}
    assert (await acme.request("POST", "/key-imports", {**body, "sites": ["shop"]}))[0] == 200
    status, problem, _ = await acme.request("POST", "/key-imports", {**body, "sites": ["blog"]})
    assert (status, problem["code"]) == (409, "conflict")
    status, result, _ = await acme.request("POST", "/key-imports", {**body, "sites": ["blog"], "update": True})
    assert (status, result["changed"]) == (200, 1)
    [user] = (await acme.get("/users"))["items"]
    assert user["sites"] == ["blog"]
    assert (await acme.request("DELETE", f"/users/{user['id']}"))[0] == 204
    status, problem, _ = await acme.request("POST", "/key-imports", {**body, "sites": ["blog"]})
    assert (status, "was deleted" in problem["detail"]) == (409, True)
