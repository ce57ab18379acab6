"""`Idempotency-Key` on POST /admin/users: a wish that is sent twice is granted once, on whichever replica."""

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from admin.api.idempotency import KeyInUse, claim_key
from admin.app import admin_app
from tests.integration.adminapi import ADA, ADA_TOKEN, BEN_TOKEN, SETTINGS, AdminClient, acme, admin, serving

__all__ = ["acme", "admin"]

WISH = {"workspace": "acme", "sites": ["shop", "blog"], "name": "Export"}


async def wish(client: AdminClient, key: str, **other: Any) -> tuple[int, Any]:
    status, body, _ = await client.ask("POST", "/users", {**WISH, **other}, headers={"Idempotency-Key": key})
    return status, body


async def user_count(pool: asyncpg.Pool) -> int:
    return int(await pool.fetchval("SELECT count(*) FROM sitelatch.api_users"))


async def test_a_replay_answers_with_the_same_user_but_not_with_its_key(acme: AdminClient, pool: asyncpg.Pool) -> None:
    status, made = await wish(acme, "k-1")
    assert status == 201
    assert made["api_key"].startswith("slk_")
    status, again = await wish(acme, "k-1")
    assert status == 201
    assert again == {**made, "api_key": None}
    assert await user_count(pool) == 1
    lines = (await acme.get("/audit", subject=made["id"]))["items"]
    assert [line["action"] for line in lines] == ["user.created"]


async def test_what_means_the_same_is_the_same_wish_and_quotes_are_the_draft_s_form(acme: AdminClient) -> None:
    _, made = await wish(acme, '"8e03978e-40d5-43e8-bc93-6894a57f9324"')
    _, again = await wish(acme, "8e03978e-40d5-43e8-bc93-6894a57f9324", sites=["blog", "shop", "blog"], name=" Export ")
    assert (again["id"], again["api_key"]) == (made["id"], None)


@pytest.mark.parametrize(
    "other", [{"name": "Import"}, {"sites": ["shop"]}, {"sites": None, "all_sites": True}, {"name": None}]
)
async def test_a_key_with_another_wish_is_refused(acme: AdminClient, pool: asyncpg.Pool, other: Any) -> None:
    await wish(acme, "k")
    status, problem = await wish(acme, "k", **other)
    assert (status, problem["code"]) == (422, "idempotency_key_reused")
    assert await user_count(pool) == 1


async def test_a_replay_shows_the_user_as_it_is_now_though_the_wish_could_not_be_granted_any_more(
    acme: AdminClient,
) -> None:
    _, made = await wish(acme, "k")
    await acme.ask("DELETE", "/sites/blog")
    status, again = await wish(acme, "k")
    assert (status, again["id"], again["sites"]) == (201, made["id"], ["shop"])


async def test_a_late_replay_does_not_make_again_what_was_deleted(acme: AdminClient, pool: asyncpg.Pool) -> None:
    _, made = await wish(acme, "k")
    await acme.ask("DELETE", f"/users/{made['id']}")
    status, problem = await wish(acme, "k")
    assert (status, problem["code"]) == (409, "conflict")
    assert "was deleted since" in problem["detail"]
    assert await user_count(pool) == 0


async def test_two_admins_keys_do_not_meet(acme: AdminClient, pool: asyncpg.Pool) -> None:
    _, one = await wish(acme, "k")
    status, other = await wish(acme.as_(BEN_TOKEN), "k")
    assert status == 201
    assert other["id"] != one["id"]
    assert other["api_key"]
    assert other["authorized_by"]["email"] == "ben@example.com"
    assert await user_count(pool) == 2


async def test_a_wish_that_was_refused_has_not_used_up_its_key(acme: AdminClient, pool: asyncpg.Pool) -> None:
    assert (await wish(acme, "k", sites=["nope"]))[0] == 422
    assert (await wish(acme, "k", workspace="nope"))[0] == 422
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.idempotency_keys") == 0
    assert (await wish(acme, "k"))[0] == 201


@pytest.mark.parametrize("key", ["", "a b", '"', '"a', "é", "x" * 256, '"' + "x" * 256 + '"', "a\tb", '"a";b=1'])
async def test_a_key_that_is_none_is_named(acme: AdminClient, pool: asyncpg.Pool, key: str) -> None:
    status, problem = await wish(acme, key)
    assert status == 422
    assert [error["parameter"] for error in problem["errors"]] == ["Idempotency-Key"]
    assert await user_count(pool) == 0


async def test_a_key_given_twice_is_refused(acme: AdminClient) -> None:
    async with acme.session.post(
        f"{acme.base}admin/users",
        json=WISH,
        headers=[("Authorization", f"Bearer {ADA_TOKEN}"), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")],
    ) as answer:
        assert answer.status == 422


async def test_a_key_has_255_characters_at_most(acme: AdminClient) -> None:
    _, made = await wish(acme, '"' + "x" * 255 + '"')
    assert (await wish(acme, "x" * 255))[1]["id"] == made["id"]


async def test_twenty_at_once_with_one_key_on_two_replicas_make_one_user(acme: AdminClient, pool: asyncpg.Pool) -> None:
    async with serving(admin_app(SETTINGS, pool)) as other:
        answers = await asyncio.gather(*(wish((acme, other)[number % 2], "k") for number in range(20)))
    assert {status for status, _ in answers} == {201}
    assert len({body["id"] for _, body in answers}) == 1
    assert sum(body["api_key"] is not None for _, body in answers) == 1
    assert await user_count(pool) == 1


async def test_a_replay_waits_for_the_first_and_makes_the_user_if_that_fails(
    acme: AdminClient, pool: asyncpg.Pool
) -> None:
    async with pool.acquire() as first:
        under_way = first.transaction()
        await under_way.start()
        await first.execute(
            "INSERT INTO sitelatch.idempotency_keys (asker, key, wish, user_id)"
            " VALUES ('ada@example.com', 'k', $1, gen_random_uuid())",
            bytes(32),
        )
        replay = asyncio.create_task(wish(acme, "k"))
        async with asyncio.timeout(10):
            while not await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not replay.done()
        await under_way.rollback()
    status, made = await replay
    assert status == 201
    assert made["api_key"]


async def test_a_first_that_does_not_end_is_said_so(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as first, first.transaction(), pool.acquire() as second:
        assert await claim_key(first, ADA, "k", WISH, uuid4()) is None
        with pytest.raises(KeyInUse, match="still under way"):
            async with second.transaction():
                await claim_key(second, ADA, "k", WISH, uuid4(), wait_seconds=0.2)


async def test_keys_are_forgotten_after_a_day(acme: AdminClient, pool: asyncpg.Pool) -> None:
    _, made = await wish(acme, "k")
    await wish(acme, "other")
    await pool.execute("UPDATE sitelatch.idempotency_keys SET created_at = now() - interval '23:59'")
    assert (await wish(acme, "k"))[1]["id"] == made["id"]
    await pool.execute("UPDATE sitelatch.idempotency_keys SET created_at = now() - interval '24:01'")
    _, again = await wish(acme, "k")
    assert again["id"] != made["id"]
    assert again["api_key"]
    assert await pool.fetchval("SELECT array_agg(key) FROM sitelatch.idempotency_keys") == ["k"]


async def test_an_old_key_that_is_not_pruned_yet_counts_no_more(acme: AdminClient, pool: asyncpg.Pool) -> None:
    _, made = await wish(acme, "k")
    await pool.execute("UPDATE sitelatch.idempotency_keys SET created_at = now() - interval '24:01'")
    # As many older ones as are pruned at once, so that this one stays.
    await pool.execute(
        "INSERT INTO sitelatch.idempotency_keys (asker, key, wish, user_id, created_at)"
        " SELECT 'x', n::text, $1, gen_random_uuid(), now() - interval '2 days' FROM generate_series(1, 100) n",
        bytes(32),
    )
    assert (await wish(acme, "k"))[1]["id"] != made["id"]


async def test_whoever_may_not_act_there_any_more_is_not_told_of_the_user(
    acme: AdminClient, pool: asyncpg.Pool
) -> None:
    await wish(acme.as_(BEN_TOKEN), "k")
    ben = SETTINGS.tokens[1].model_copy(update={"workspaces": ("globex",)})
    limited = SETTINGS.model_copy(update={"tokens": (SETTINGS.tokens[0], ben)})
    async with serving(admin_app(limited, pool)) as client:
        status, problem = await wish(client.as_(BEN_TOKEN), "k")
    assert (status, problem["code"]) == (403, "forbidden")
