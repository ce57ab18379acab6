"""`Idempotency-Key` on POST /admin/users: a retried request creates one user, on any replica."""

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from admin.api.idempotency import KeyInUse, claim_key
from admin.app import admin_app
from tests.integration.adminapi import ADA, ADA_TOKEN, BEN_TOKEN, SETTINGS, AdminClient, acme, admin, serving

__all__ = ["acme", "admin"]

BODY = {"workspace": "acme", "sites": ["shop", "blog"], "name": "Export"}


async def create(client: AdminClient, key: str, **other: Any) -> tuple[int, Any]:
    status, body, _ = await client.request("POST", "/users", {**BODY, **other}, headers={"Idempotency-Key": key})
    return status, body


async def user_count(pool: asyncpg.Pool) -> int:
    return int(await pool.fetchval("SELECT count(*) FROM sitelatch.api_users"))


async def test_a_retry_returns_the_same_user_without_its_key(acme: AdminClient, pool: asyncpg.Pool) -> None:
    status, made = await create(acme, "k-1")
    assert status == 201
    assert made["api_key"].startswith("slk_")
    status, again = await create(acme, "k-1")
    assert status == 201
    assert again == {**made, "api_key": None}
    assert await user_count(pool) == 1
    lines = (await acme.get("/audit", subject=made["id"]))["items"]
    assert [line["action"] for line in lines] == ["user.created"]


async def test_a_request_with_an_equivalent_body_is_a_retry_and_its_idempotency_key_may_be_quoted(
    acme: AdminClient,
) -> None:
    _, made = await create(acme, '"8e03978e-40d5-43e8-bc93-6894a57f9324"')
    _, again = await create(
        acme, "8e03978e-40d5-43e8-bc93-6894a57f9324", sites=["blog", "shop", "blog"], name=" Export "
    )
    assert (again["id"], again["api_key"]) == (made["id"], None)


@pytest.mark.parametrize(
    "other", [{"name": "Import"}, {"sites": ["shop"]}, {"sites": None, "all_sites": True}, {"name": None}]
)
async def test_an_idempotency_key_reused_with_a_different_body_is_refused(
    acme: AdminClient, pool: asyncpg.Pool, other: Any
) -> None:
    await create(acme, "k")
    status, problem = await create(acme, "k", **other)
    assert (status, problem["code"]) == (422, "idempotency_key_reused")
    assert await user_count(pool) == 1


async def test_a_retry_returns_the_current_state_of_the_user(
    acme: AdminClient,
) -> None:
    _, made = await create(acme, "k")
    await acme.request("DELETE", "/sites/blog")
    status, again = await create(acme, "k")
    assert (status, again["id"], again["sites"]) == (201, made["id"], ["shop"])


async def test_a_retry_does_not_recreate_a_deleted_user(acme: AdminClient, pool: asyncpg.Pool) -> None:
    _, made = await create(acme, "k")
    await acme.request("DELETE", f"/users/{made['id']}")
    status, problem = await create(acme, "k")
    assert (status, problem["code"]) == (409, "conflict")
    assert "has been deleted" in problem["detail"]
    assert await user_count(pool) == 0


async def test_equal_idempotency_keys_from_two_admins_are_independent(acme: AdminClient, pool: asyncpg.Pool) -> None:
    _, one = await create(acme, "k")
    status, other = await create(acme.as_(BEN_TOKEN), "k")
    assert status == 201
    assert other["id"] != one["id"]
    assert other["api_key"]
    assert other["authorized_by"]["email"] == "ben@example.com"
    assert await user_count(pool) == 2


async def test_a_refused_request_does_not_use_up_its_key(acme: AdminClient, pool: asyncpg.Pool) -> None:
    assert (await create(acme, "k", sites=["nope"]))[0] == 422
    assert (await create(acme, "k", workspace="nope"))[0] == 422
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.idempotency_keys") == 0
    assert (await create(acme, "k"))[0] == 201


@pytest.mark.parametrize("key", ["", "a b", '"', '"a', "é", "x" * 256, '"' + "x" * 256 + '"', "a\tb", '"a";b=1'])
async def test_an_invalid_idempotency_key_is_refused_and_the_error_names_the_header(
    acme: AdminClient, pool: asyncpg.Pool, key: str
) -> None:
    status, problem = await create(acme, key)
    assert status == 422
    assert [error["parameter"] for error in problem["errors"]] == ["Idempotency-Key"]
    assert await user_count(pool) == 0


async def test_a_repeated_key_header_is_refused(acme: AdminClient) -> None:
    async with acme.session.post(
        f"{acme.base}admin/users",
        json=BODY,
        headers=[("Authorization", f"Bearer {ADA_TOKEN}"), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")],
    ) as answer:
        assert answer.status == 422


async def test_a_key_may_have_255_characters(acme: AdminClient) -> None:
    _, made = await create(acme, '"' + "x" * 255 + '"')
    assert (await create(acme, "x" * 255))[1]["id"] == made["id"]


async def test_concurrent_requests_with_one_key_on_two_replicas_create_one_user(
    acme: AdminClient, pool: asyncpg.Pool
) -> None:
    async with serving(admin_app(SETTINGS, pool)) as other:
        answers = await asyncio.gather(*(create((acme, other)[number % 2], "k") for number in range(20)))
    assert {status for status, _ in answers} == {201}
    assert len({body["id"] for _, body in answers}) == 1
    assert sum(body["api_key"] is not None for _, body in answers) == 1
    assert await user_count(pool) == 1


async def test_a_retry_waits_for_the_first_request_and_takes_its_place_if_it_fails(
    acme: AdminClient, pool: asyncpg.Pool
) -> None:
    async with pool.acquire() as first:
        transaction = first.transaction()
        await transaction.start()
        await first.execute(
            "INSERT INTO sitelatch.idempotency_keys (caller, key, request_digest, user_id)"
            " VALUES ('ada@example.com', 'k', $1, gen_random_uuid())",
            bytes(32),
        )
        retry = asyncio.create_task(create(acme, "k"))
        async with asyncio.timeout(10):
            while not await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not retry.done()
        await transaction.rollback()
    status, made = await retry
    assert status == 201
    assert made["api_key"]


async def test_a_retry_is_refused_if_the_first_request_does_not_end(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as first, first.transaction(), pool.acquire() as second:
        assert await claim_key(first, ADA, "k", BODY, uuid4()) is None
        with pytest.raises(KeyInUse, match="still in progress"):
            async with second.transaction():
                await claim_key(second, ADA, "k", BODY, uuid4(), wait_seconds=0.2)


async def test_idempotency_keys_expire_after_a_day(acme: AdminClient, pool: asyncpg.Pool) -> None:
    _, made = await create(acme, "k")
    await create(acme, "other")
    await pool.execute("UPDATE sitelatch.idempotency_keys SET created_at = now() - interval '23:59'")
    assert (await create(acme, "k"))[1]["id"] == made["id"]
    await pool.execute("UPDATE sitelatch.idempotency_keys SET created_at = now() - interval '24:01'")
    _, again = await create(acme, "k")
    assert again["id"] != made["id"]
    assert again["api_key"]
    assert await pool.fetchval("SELECT array_agg(key) FROM sitelatch.idempotency_keys") == ["k"]


async def test_an_expired_key_that_is_not_pruned_yet_is_ignored(acme: AdminClient, pool: asyncpg.Pool) -> None:
    _, made = await create(acme, "k")
    await pool.execute("UPDATE sitelatch.idempotency_keys SET created_at = now() - interval '24:01'")
    # As many older keys as one request prunes, so that this one remains.
    await pool.execute(
        "INSERT INTO sitelatch.idempotency_keys (caller, key, request_digest, user_id, created_at)"
        " SELECT 'x', n::text, $1, gen_random_uuid(), now() - interval '2 days' FROM generate_series(1, 100) n",
        bytes(32),
    )
    assert (await create(acme, "k"))[1]["id"] != made["id"]


async def test_a_retry_by_an_admin_who_lost_access_is_forbidden(acme: AdminClient, pool: asyncpg.Pool) -> None:
    await create(acme.as_(BEN_TOKEN), "k")
    ben = SETTINGS.tokens[1].model_copy(update={"workspaces": ("globex",)})
    limited = SETTINGS.model_copy(update={"tokens": (SETTINGS.tokens[0], ben)})
    async with serving(admin_app(limited, pool)) as client:
        status, problem = await create(client.as_(BEN_TOKEN), "k")
    assert (status, problem["code"]) == (403, "forbidden")
