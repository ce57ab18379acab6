"""The usage of API users in the admin API, and the count of keys that expire soon."""

import csv
import io
import math
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from admin.api.usage import export_usage, period
from proxy.upkeep import HOURS_KEPT_DAYS, Upkeep
from sql.queries import query
from tests.integration.adminapi import BEN_TOKEN, AdminClient, acme, admin

__all__ = ["acme", "admin"]

RECORD_USAGE = query("record_usage")


async def record(pool: asyncpg.Pool, at: datetime, *rows: tuple[str, str, int, int]) -> None:
    """Record usage of this time, which is in the past, as a process of its own."""
    now = await pool.fetchval("SELECT now()")
    columns = [[str(row[column]) for row in rows] for column in range(4)]
    await pool.execute(RECORD_USAGE, str(uuid.uuid4()), 1, (now - at).total_seconds(), *columns)


def noon(days_ago: int, hour: int = 12) -> datetime:
    return datetime.now(UTC).replace(hour=hour, minute=30) - timedelta(days=days_ago)


def shown(at: datetime, by: str = "day") -> str:
    at = at.replace(minute=0, second=0, microsecond=0)
    return f"{at.replace(hour=0) if by == 'day' else at:%Y-%m-%dT%H:%M:%SZ}"


async def create(admin: AdminClient, **fields: Any) -> str:
    user = await admin.create(**{"workspace": "acme", "all_sites": True, **fields})
    return str(user["id"])


async def test_usage_is_shown_by_day_and_by_hour(acme: AdminClient, pool: asyncpg.Pool) -> None:
    user = await create(acme)
    for at, passed in ((noon(3), 5), (noon(3, 13), 2), (noon(1), 1), (noon(40), 7), (noon(500), 100)):
        await record(pool, at, (user, "passed", passed, 100 * passed), (user, "site_not_allowed", 1, 0))
    await record(pool, noon(3), (user, "disabled_key", 4, 0))
    await Upkeep(pool).tidy()  # moves the older ones, and deletes the oldest
    usage = await acme.get(f"/users/{user}/usage")
    assert usage["by"] == "day"
    assert usage["items"] == [
        {
            "at": shown(noon(3)),
            "passed": 7,
            "refused": {"disabled_key": 4, "site_not_allowed": 2},
            "bytes_out": 700,
        },
        {"at": shown(noon(1)), "passed": 1, "refused": {"site_not_allowed": 1}, "bytes_out": 100},
    ]
    usage = await acme.get(f"/users/{user}/usage", since=shown(noon(4000)))
    assert [day["passed"] for day in usage["items"]] == [7, 7, 1]
    hours = await acme.get(f"/users/{user}/usage", by="hour")
    assert [(hour["at"], hour["passed"], hour["bytes_out"]) for hour in hours["items"]] == [
        (shown(noon(3), "hour"), 5, 500),
        (shown(noon(3, 13), "hour"), 2, 200),
        (shown(noon(1), "hour"), 1, 100),
    ]
    hours = await acme.get(f"/users/{user}/usage", by="hour", since=shown(noon(3, 13), "hour"), until=shown(noon(1)))
    assert [hour["passed"] for hour in hours["items"]] == [2]


async def test_a_user_without_usage_has_no_items(acme: AdminClient) -> None:
    user = await create(acme)
    assert (await acme.get(f"/users/{user}/usage"))["items"] == []
    assert (await acme.get("/usage", ids=user))["items"] == []


async def test_a_period_that_ends_before_it_begins_is_empty(acme: AdminClient, pool: asyncpg.Pool) -> None:
    user = await create(acme)
    await record(pool, noon(1), (user, "passed", 1, 0))
    for by in ("day", "hour"):
        usage = await acme.get(f"/users/{user}/usage", by=by, since=shown(noon(0)), until="2000-01-01T00:00:00Z")
        assert usage["items"] == []


async def test_the_list_gets_the_last_thirty_days_of_each_user(acme: AdminClient, pool: asyncpg.Pool) -> None:
    users = [await create(acme) for _ in range(3)]
    foreign = await create(acme, workspace="globex")
    for days in (0, 2, 29, 30):
        at = datetime.now(UTC) - timedelta(days=days)
        await record(pool, at, (users[0], "passed", days + 1, 0), (users[1], "expired_key", 1, 0))
        await record(pool, at, (foreign, "passed", 1, 0))
    await Upkeep(pool).tidy()
    ben = acme.as_(BEN_TOKEN)
    summary = await ben.get("/usage", ids=",".join([*users, foreign]))
    assert [item["id"] for item in summary["items"]] == [users[0]]
    assert summary["since"] == shown(noon(29))
    [passed] = [item["passed"] for item in summary["items"]]
    assert passed == [30, *[0] * 26, 3, 0, 1]


async def exported(client: AdminClient, **parameters: str) -> list[dict[str, str]]:
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    status, _, answer = await client.request("GET", f"/usage.csv?{query}")
    assert status == 200
    assert answer.content_type == "text/csv"
    return list(csv.DictReader(io.StringIO((await answer.text()).removeprefix("\ufeff"))))


async def test_the_export_has_a_line_for_each_user_day_and_outcome(acme: AdminClient, pool: asyncpg.Pool) -> None:
    ada, foreign = await create(acme, name="=Ada"), await create(acme, workspace="globex")
    deleted = str(uuid.uuid4())
    for days in (20, 1):
        await record(pool, noon(days), (ada, "passed", 2, 30), (ada, "expired_key", 1, 0))
        await record(pool, noon(days, 15), (ada, "passed", 1, 5), (foreign, "passed", 4, 0), (deleted, "passed", 9, 0))
    await Upkeep(pool).tidy()
    lines = await exported(acme)
    assert len(lines) == 8
    [day] = [
        line for line in lines if line["id"] == ada and line["at"][:10] == shown(noon(1))[:10] and line["bytes_out"]
    ]
    assert day == {
        "at": f"{noon(1):%Y-%m-%d}T00:00:00+00:00",
        "id": ada,
        "name": "'=Ada",
        "workspace": "acme",
        "outcome": "passed",
        "requests": "3",
        "bytes_out": "35",
    }
    assert sum(int(line["requests"]) for line in lines if line["id"] == deleted) == 18
    # An admin who is limited to a workspace sees neither others nor deleted users.
    for visible in (await exported(acme.as_(BEN_TOKEN)), await exported(acme, workspace="acme")):
        assert {line["id"] for line in visible} == {ada}
    hours = await exported(acme, by="hour", workspace="acme")
    assert sorted((line["at"][11:13], line["outcome"], line["requests"]) for line in hours) == [
        ("12", "expired_key", "1"),
        ("12", "passed", "2"),
        ("15", "passed", "1"),
    ]


@pytest.mark.parametrize("by", ["day", "hour"])
async def test_the_pages_of_an_export_are_complete(acme: AdminClient, pool: asyncpg.Pool, by: Any) -> None:
    users = [await create(acme) for _ in range(7)]
    for days in (1, 2, HOURS_KEPT_DAYS + 1):
        for hour in (3, 4):
            await record(pool, noon(days, hour), *((user, "passed", 1, 1) for user in users))
    await Upkeep(pool).tidy()
    # A day can be in both tables, if it was written late.
    await record(pool, noon(HOURS_KEPT_DAYS + 1), *((user, "passed", 10, 10) for user in users))
    lines, after, pages = [], None, 0
    async with pool.acquire() as connection:
        while pages == 0 or after is not None:
            page = await export_usage(connection, period(by, None, None), after=after, limit=4)
            lines += page.items
            after, pages = page.next, pages + 1
    assert pages > 3
    assert len({(line.at, line.id) for line in lines}) == len(lines)
    if by == "day":
        assert len(lines) == 21
        assert sum(line.requests for line in lines) == 7 * 6 + 70
    else:
        assert len(lines) == 28


async def test_keys_that_expire_within_a_week_are_counted(acme: AdminClient, pool: asyncpg.Pool) -> None:
    upkeep = Upkeep(pool)
    assert math.isnan(upkeep.keys_expiring)
    users = [await create(acme) for _ in range(7)]
    expire = "UPDATE sitelatch.api_users SET expires_at = now() + make_interval(days => $2) WHERE id = $1"
    for place, days in ((0, 6), (1, 8), (2, -1), (3, 3), (4, 30)):
        await pool.execute(expire, users[place], days)
    disable = "UPDATE sitelatch.api_users SET disabled_at = now() WHERE id = $1"
    await pool.execute(disable, users[3])
    # The old key of a rotation does not count: the user has another one.
    for place in (4, 5):
        status, _, _ = await acme.request("POST", f"/users/{users[place]}/keys", {"overlap_seconds": 3600})
        assert status == 201
    # The only key of a user can expire by itself.
    await pool.execute(
        "UPDATE sitelatch.api_keys SET expires_at = now() + interval '1 day' WHERE user_id = $1", users[6]
    )
    await upkeep.count_expiring_keys()
    assert upkeep.keys_expiring == 2
