"""`POST /admin/users/{id}/keys`: a new key, and an overlap in which the old one still works."""

from typing import Any

import asyncpg

from proxy.decision.api_keys import digest
from sql.queries import query
from tests.integration.adminapi import AdminClient, acme, admin

__all__ = ["acme", "admin"]

FIND_GRANT = query("find_grant")


async def rotate(admin: AdminClient, user: Any, overlap: int, **other: Any) -> tuple[int, Any]:
    headers = other.pop("headers", {})
    body = {"overlap_seconds": overlap, **other}
    status, answer, _ = await admin.request("POST", f"/users/{user['id']}/keys", body, headers=headers)
    return status, answer


async def seconds_left(pool: asyncpg.Pool, key: str) -> float | None:
    """Return how long a key still works, by what the front door reads."""
    (row,) = await pool.fetch(FIND_GRANT, digest(key.encode()))
    assert row["user_id"] is not None
    if row["expires_at"] is None:
        return None
    return float(row["expires_at"] - await pool.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8"))


async def test_a_rotation_returns_a_new_key_and_the_old_one_expires_later(
    acme: AdminClient, pool: asyncpg.Pool
) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    status, rotated = await rotate(acme, user, 600)
    assert status == 201
    assert rotated["id"] == user["id"]
    assert rotated["api_key"] not in (None, user["api_key"])
    old, new = rotated["keys"]
    assert (old["hint"], new["expires_at"], new["seconds_left"]) == (user["keys"][0]["hint"], None, None)
    assert 500 < old["seconds_left"] <= 600
    left = await seconds_left(pool, user["api_key"])
    assert left is not None
    assert 500 < left <= 600
    assert await seconds_left(pool, rotated["api_key"]) is None
    [entry, _] = (await acme.get("/audit", subject=user["id"]))["items"]
    assert entry["action"] == "user.rotated"
    assert (entry["detail"]["from"], entry["detail"]["to"]) == ([old["hint"]], new["hint"])
    assert rotated["api_key"] not in str(entry)


async def test_without_an_overlap_the_old_key_ends_now(acme: AdminClient, pool: asyncpg.Pool) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    _, rotated = await rotate(acme, user, 0)
    assert rotated["keys"][0]["seconds_left"] == 0
    left = await seconds_left(pool, user["api_key"])
    assert left is not None
    assert left <= 0


async def test_a_rotation_during_an_overlap_needs_to_end_the_old_key(acme: AdminClient, pool: asyncpg.Pool) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    _, second = await rotate(acme, user, 600)
    status, problem = await rotate(acme, user, 600)
    assert (status, problem["code"]) == (409, "conflict")
    status, third = await rotate(acme, user, 300, end_old_key=True)
    assert status == 201
    assert [key["seconds_left"] is not None and key["seconds_left"] > 0 for key in third["keys"]] == [
        False,
        True,
        False,
    ]
    assert (await seconds_left(pool, user["api_key"]) or 0) <= 0
    left = await seconds_left(pool, second["api_key"])
    assert left is not None
    assert 200 < left <= 300


async def test_ending_the_old_key_early_is_one_request(acme: AdminClient, pool: asyncpg.Pool) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    _, rotated = await rotate(acme, user, 600)
    for ended in (True, False):
        status, left, _ = await acme.request("DELETE", f"/users/{user['id']}/old-keys")
        assert status == 200
        assert [key["seconds_left"] for key in left["keys"]] == [0, None]
        entries = (await acme.get("/audit", subject=user["id"]))["items"]
        assert [entry["action"] for entry in entries].count("user.keys_ended") == 1, ended
    assert entries[0]["detail"]["ended"] == [user["keys"][0]["hint"]]
    assert await seconds_left(pool, rotated["api_key"]) is None


async def test_a_rotation_never_prolongs_the_expiry_of_a_key(acme: AdminClient, pool: asyncpg.Pool) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    await pool.execute("UPDATE sitelatch.api_keys SET expires_at = now() + interval '10 minutes'")
    _, rotated = await rotate(acme, user, 3600)
    for key in (user["api_key"], rotated["api_key"]):
        left = await seconds_left(pool, key)
        assert left is not None
        assert left <= 600


async def test_clearing_the_expiry_of_a_user_does_not_revive_its_old_key(acme: AdminClient, pool: asyncpg.Pool) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    path = f"/users/{user['id']}"
    await acme.request("PATCH", path, {"expires_at": "2020-01-01T00:00:00Z"})
    _, rotated = await rotate(acme, user, 0)
    assert [key["seconds_left"] for key in rotated["keys"]] == [0, 0]
    _, cleared, _ = await acme.request("PATCH", path, {"expires_at": None})
    assert [key["seconds_left"] for key in cleared["keys"]] == [0, None]
    assert (await seconds_left(pool, user["api_key"]) or 0) <= 0


async def test_keys_that_expired_before_a_rotation_are_deleted(acme: AdminClient) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    _, second = await rotate(acme, user, 0)
    _, third = await rotate(acme, user, 60)
    assert [key["hint"] for key in third["keys"]] == [second["keys"][1]["hint"], third["keys"][1]["hint"]]


async def test_a_retry_creates_no_further_key(acme: AdminClient) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    headers = {"Idempotency-Key": "one"}
    _, first = await rotate(acme, user, 600, headers=headers)
    status, retried = await rotate(acme, user, 600, headers=headers)
    assert (status, retried["api_key"]) == (201, None)
    assert [key["hint"] for key in retried["keys"]] == [key["hint"] for key in first["keys"]]
    status, problem = await rotate(acme, user, 60, headers=headers)
    assert (status, problem["code"]) == (422, "idempotency_key_reused")


async def test_invalid_rotations_are_refused(acme: AdminClient) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    for body in ({}, {"overlap_seconds": -1}, {"overlap_seconds": 1.5}, {"overlap_seconds": 10**9}, {"overlap": 1}):
        status, problem, _ = await acme.request("POST", f"/users/{user['id']}/keys", body)
        assert (status, problem["code"]) == (422, "invalid"), body
    assert len((await acme.get(f"/users/{user['id']}"))["keys"]) == 1


async def test_each_key_has_its_own_last_use(acme: AdminClient, pool: asyncpg.Pool) -> None:
    user = await acme.create(workspace="acme", sites=["shop"])
    await pool.execute(query("record_activity"), [user["id"]], ["3600"])
    [only] = (await acme.get(f"/users/{user['id']}"))["keys"]
    assert only["last_activity"] is not None, "the uses of a user with one key are those of the key"
    _, rotated = await rotate(acme, user, 600)
    old, new = rotated["keys"]
    assert (old["last_activity"], new["last_activity"]) == (only["last_activity"], None)
    await pool.execute(query("record_activity"), [f"{user['id']}/{digest(rotated['api_key'].encode()).hex()}"], ["0"])
    used = await acme.get(f"/users/{user['id']}")
    assert used["keys"][0]["last_activity"] == only["last_activity"]
    assert used["keys"][1]["last_activity"] == used["last_activity"]
