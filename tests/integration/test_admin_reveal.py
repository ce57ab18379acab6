"""Recoverable keys: shown again to an admin of the workspace, with an audit line, and to nobody else."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from admin.app import admin_app
from admin.key_encryption import new_secret
from tests.integration.adminapi import ADA, BEN_TOKEN, SETTINGS, AdminClient, acme, admin, serving

__all__ = ["acme", "admin"]


@pytest.fixture
async def keeping(acme: AdminClient, pool: asyncpg.Pool) -> AsyncIterator[AdminClient]:
    """The same installation, where keys are kept."""
    settings = SETTINGS.model_copy(update={"recoverable_keys": new_secret()})
    async with serving(admin_app(settings, pool)) as client:
        yield client


async def test_a_kept_key_is_shown_again_as_often_as_asked_and_each_time_is_noted(
    keeping: AdminClient, pool: asyncpg.Pool
) -> None:
    made = await keeping.create(workspace="acme", sites=["shop"], name="Export")
    hint = made["keys"][0]["hint"]
    assert made["keys"][0]["recoverable"]
    for _ in range(2):
        status, revealed, answer = await keeping.ask("POST", f"/users/{made['id']}/reveal")
        assert (status, revealed) == (200, {"keys": [{"hint": hint, "api_key": made["api_key"]}]})
        assert answer.headers["Cache-Control"] == "no-store"
    lines = (await keeping.get("/audit", subject=made["id"]))["items"]
    assert [line["action"] for line in lines] == ["user.revealed", "user.revealed", "user.created"]
    assert lines[0]["actor"] == {"name": ADA.name, "email": ADA.email}
    assert lines[0]["address"] == "127.0.0.1"
    assert (lines[0]["workspace"], lines[0]["detail"]) == ("acme", {"name": "Export", "keys": [hint]})
    assert made["api_key"] not in str(lines)
    everything = str(await pool.fetch("SELECT encode(sealed, 'escape') FROM sitelatch.sealed_keys"))
    assert made["api_key"] not in everything


async def test_keys_from_before_stay_hints(acme: AdminClient, keeping: AdminClient) -> None:
    made = await acme.create(workspace="acme", all_sites=True)
    assert not made["keys"][0]["recoverable"]
    status, problem, _ = await keeping.ask("POST", f"/users/{made['id']}/reveal")
    assert (status, problem["code"]) == (409, "conflict")
    assert "stays a hint" in problem["detail"]


async def test_where_keys_are_not_kept_none_is_shown(acme: AdminClient, keeping: AdminClient) -> None:
    made = await keeping.create(workspace="acme", all_sites=True)
    status, problem, _ = await acme.ask("POST", f"/users/{made['id']}/reveal")
    assert (status, problem["code"]) == (409, "conflict")
    assert "does not keep them" in problem["detail"]


async def test_another_secret_opens_nothing_and_a_foreign_row_neither(keeping: AdminClient, pool: asyncpg.Pool) -> None:
    first, second = [await keeping.create(workspace="acme", all_sites=True) for _ in range(2)]
    settings = SETTINGS.model_copy(update={"recoverable_keys": new_secret()})
    async with serving(admin_app(settings, pool)) as other:
        status, problem, _ = await other.ask("POST", f"/users/{first['id']}/reveal")
    assert (status, problem["code"]) == (409, "conflict")
    assert "another secret" in problem["detail"]
    # Whoever can write to the table still cannot have one user's key shown as another's.
    await pool.execute("UPDATE sitelatch.sealed_keys SET sealed = (SELECT max(sealed) FROM sitelatch.sealed_keys)")
    answers = [(await keeping.ask("POST", f"/users/{user['id']}/reveal"))[0] for user in (first, second)]
    assert sorted(answers) == [200, 409]


async def test_nothing_is_shown_outside_of_an_admins_workspaces_nor_noted(keeping: AdminClient) -> None:
    made = await keeping.create(workspace="globex", all_sites=True)
    status, problem, _ = await keeping.as_(BEN_TOKEN).ask("POST", f"/users/{made['id']}/reveal")
    assert (status, problem["code"]) == (404, "not_found")
    assert len((await keeping.get("/audit", subject=made["id"]))["items"]) == 1


async def test_a_key_that_cannot_be_noted_is_not_shown(keeping: AdminClient, pool: asyncpg.Pool) -> None:
    made = await keeping.create(workspace="acme", all_sites=True)
    await pool.execute(
        "ALTER TABLE sitelatch.audit_log ADD CONSTRAINT shut CHECK (action <> 'user.revealed') NOT VALID"
    )
    status, problem, _ = await keeping.ask("POST", f"/users/{made['id']}/reveal")
    assert status == 500
    assert made["api_key"] not in str(problem)


async def test_a_deleted_users_kept_key_goes_too(keeping: AdminClient, pool: asyncpg.Pool) -> None:
    made = await keeping.create(workspace="acme", all_sites=True)
    assert (await keeping.ask("DELETE", f"/users/{made['id']}"))[0] == 204
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.sealed_keys") == 0
