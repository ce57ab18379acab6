"""Recoverable keys: admins of the workspace can reveal them, and the audit log records it."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from admin.app import admin_app
from admin.key_encryption import new_secret
from tests.integration.adminapi import ADA, BEN_TOKEN, SETTINGS, AdminClient, acme, admin, serving

__all__ = ["acme", "admin"]


@pytest.fixture
async def recoverable(acme: AdminClient, pool: asyncpg.Pool) -> AsyncIterator[AdminClient]:
    """The same installation with recoverable keys."""
    settings = SETTINGS.model_copy(update={"recoverable_keys": new_secret()})
    async with serving(admin_app(settings, pool)) as client:
        yield client


async def test_a_recoverable_key_is_revealed_with_an_audit_entry_each_time(
    recoverable: AdminClient, pool: asyncpg.Pool
) -> None:
    made = await recoverable.create(workspace="acme", sites=["shop"], name="Export")
    hint = made["keys"][0]["hint"]
    assert made["keys"][0]["recoverable"]
    for _ in range(2):
        status, revealed, answer = await recoverable.request("POST", f"/users/{made['id']}/reveal")
        assert (status, revealed) == (200, {"keys": [{"hint": hint, "api_key": made["api_key"]}]})
        assert answer.headers["Cache-Control"] == "no-store"
    lines = (await recoverable.get("/audit", subject=made["id"]))["items"]
    assert [line["action"] for line in lines] == ["user.revealed", "user.revealed", "user.created"]
    assert lines[0]["actor"] == {"name": ADA.name, "email": ADA.email}
    assert lines[0]["address"] == "127.0.0.1"
    assert (lines[0]["workspace"], lines[0]["detail"]) == ("acme", {"name": "Export", "keys": [hint]})
    assert made["api_key"] not in str(lines)
    everything = str(await pool.fetch("SELECT encode(sealed, 'escape') FROM sitelatch.sealed_keys"))
    assert made["api_key"] not in everything


async def test_keys_created_before_the_secret_was_set_cannot_be_revealed(
    acme: AdminClient, recoverable: AdminClient
) -> None:
    made = await acme.create(workspace="acme", all_sites=True)
    assert not made["keys"][0]["recoverable"]
    status, problem, _ = await recoverable.request("POST", f"/users/{made['id']}/reveal")
    assert (status, problem["code"]) == (409, "conflict")
    assert "created before" in problem["detail"]


async def test_keys_cannot_be_revealed_without_a_secret(acme: AdminClient, recoverable: AdminClient) -> None:
    made = await recoverable.create(workspace="acme", all_sites=True)
    status, problem, _ = await acme.request("POST", f"/users/{made['id']}/reveal")
    assert (status, problem["code"]) == (409, "conflict")
    assert "does not store keys" in problem["detail"]


async def test_another_secret_or_a_copied_row_reveals_nothing(recoverable: AdminClient, pool: asyncpg.Pool) -> None:
    first, second = [await recoverable.create(workspace="acme", all_sites=True) for _ in range(2)]
    settings = SETTINGS.model_copy(update={"recoverable_keys": new_secret()})
    async with serving(admin_app(settings, pool)) as other:
        status, problem, _ = await other.request("POST", f"/users/{first['id']}/reveal")
    assert (status, problem["code"]) == (409, "conflict")
    assert "different admin.recoverable_keys" in problem["detail"]
    # Write access to the table does not allow copying one user's key to another.
    await pool.execute("UPDATE sitelatch.sealed_keys SET sealed = (SELECT max(sealed) FROM sitelatch.sealed_keys)")
    answers = [(await recoverable.request("POST", f"/users/{user['id']}/reveal"))[0] for user in (first, second)]
    assert sorted(answers) == [200, 409]


async def test_a_key_of_another_workspace_is_not_revealed(recoverable: AdminClient) -> None:
    made = await recoverable.create(workspace="globex", all_sites=True)
    status, problem, _ = await recoverable.as_(BEN_TOKEN).request("POST", f"/users/{made['id']}/reveal")
    assert (status, problem["code"]) == (404, "not_found")
    assert len((await recoverable.get("/audit", subject=made["id"]))["items"]) == 1


async def test_no_key_is_revealed_without_an_audit_entry(recoverable: AdminClient, pool: asyncpg.Pool) -> None:
    made = await recoverable.create(workspace="acme", all_sites=True)
    await pool.execute(
        "ALTER TABLE sitelatch.audit_log ADD CONSTRAINT shut CHECK (action <> 'user.revealed') NOT VALID"
    )
    status, problem, _ = await recoverable.request("POST", f"/users/{made['id']}/reveal")
    assert status == 500
    assert made["api_key"] not in str(problem)


async def test_deleting_a_user_deletes_its_encrypted_key(recoverable: AdminClient, pool: asyncpg.Pool) -> None:
    made = await recoverable.create(workspace="acme", all_sites=True)
    assert (await recoverable.request("DELETE", f"/users/{made['id']}"))[0] == 204
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.sealed_keys") == 0
