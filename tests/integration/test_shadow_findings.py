"""The findings of shadow mode in PostgreSQL: counts of several processes, bounds, and the list of the admin API."""

import asyncio
import io
import json
from typing import Any

import asyncpg
import pytest

from admin.api.shadow_fixes import FIXES
from proxy.shadow_findings import (
    DAYS_KEPT,
    MOST_FINDINGS,
    MOST_SITES_OF_ONE_USER,
    OTHER_SITES,
    Finding,
    ShadowFindings,
)
from sql.queries import query
from tests.integration.adminapi import BEN_TOKEN, AdminClient, acme, admin
from tests.scopes import Clock

__all__ = ["acme", "admin"]

KEY = "slk_" + "a1B2c3D4" * 4 + "9Zz9Zz"
USER = "0a000000-0000-4000-8000-000000000001"
DENIED = "This API key does not cover a site that this request names."


def denied(site: str, user_id: str = USER) -> Finding:
    return Finding("data", "site_not_allowed", DENIED, user_id, site)


async def stored(pool: asyncpg.Pool) -> dict[tuple[str, str | None, str | None], int]:
    rows = await pool.fetch("SELECT code, user_id::text, site, requests FROM sitelatch.shadow_findings")
    return {(row["code"], row["user_id"], row["site"] and json.loads(row["site"])): row["requests"] for row in rows}


@pytest.fixture
async def findings(pool: asyncpg.Pool) -> ShadowFindings:
    return ShadowFindings(pool)


async def test_the_counts_of_several_processes_add_up(pool: asyncpg.Pool) -> None:
    processes = [ShadowFindings(pool) for _ in range(4)]
    for number, process in enumerate(processes):
        for _ in range(number + 1):
            process.add(denied("shop"))
        process.add(Finding("data", "missing_key", "This request has no API key."))
    assert await asyncio.gather(*(process.flush() for process in processes)) == [True] * 4
    processes[0].add(denied("shop"))
    await processes[0].flush()
    assert await stored(pool) == {("site_not_allowed", USER, "shop"): 11, ("missing_key", None, None): 4}


@pytest.mark.parametrize("site", ["caf\u00e9", "\u65e5\u672c", "a\x00b", "\udcff", "<b>", "\u202e", "x" * 255])
async def test_any_site_that_a_client_names_can_be_stored(
    pool: asyncpg.Pool, admin: AdminClient, findings: ShadowFindings, site: str
) -> None:
    findings.add(denied(site))
    assert await findings.flush()
    [found] = (await admin.get("/shadow-findings"))["items"]
    assert found["site"] == site.encode("utf-8", "backslashreplace").decode()


async def test_a_misplaced_key_and_an_endless_site_are_masked(pool: asyncpg.Pool, findings: ShadowFindings) -> None:
    findings.add(denied(KEY))
    findings.add(denied("x" * 5000))
    await findings.flush()
    assert await stored(pool) == {("site_not_allowed", USER, "***"): 2}


async def test_a_client_that_makes_up_sites_cannot_fill_the_findings(
    pool: asyncpg.Pool, findings: ShadowFindings
) -> None:
    for number in range(MOST_SITES_OF_ONE_USER + 500):
        findings.add(denied(f"site-{number}"))
    assert len(findings) == MOST_SITES_OF_ONE_USER + 1
    await findings.flush()
    assert (await stored(pool))["site_not_allowed", USER, OTHER_SITES] == 500


async def test_findings_are_bounded_and_the_rest_is_counted(findings: ShadowFindings) -> None:
    for number in range(MOST_FINDINGS + 5):
        findings.add(denied("", f"0a000000-0000-4000-8000-{number:012}"))
    assert (len(findings), findings.left_out) == (MOST_FINDINGS, 5)


async def test_the_bounds_are_new_every_day(pool: asyncpg.Pool) -> None:
    clock = Clock()
    findings = ShadowFindings(pool, clock=clock)
    for number in range(MOST_SITES_OF_ONE_USER + 5):
        findings.add(denied(f"site-{number}"))
    clock.now += 86_401
    await findings.flush()
    assert len(findings) == 0
    findings.add(denied("another"))
    await findings.flush()
    assert (await stored(pool))["site_not_allowed", USER, "another"] == 1


async def test_an_outage_loses_no_counts(pool: asyncpg.Pool, findings: ShadowFindings) -> None:
    await pool.execute("ALTER TABLE sitelatch.shadow_findings RENAME TO gone")
    findings.add(denied("shop"))
    assert not await findings.flush()
    findings.add(denied("shop"))
    await pool.execute("ALTER TABLE sitelatch.gone RENAME TO shadow_findings")
    assert await findings.flush()
    assert await stored(pool) == {("site_not_allowed", USER, "shop"): 2}


async def test_each_finding_is_logged_once_with_its_count(findings: ShadowFindings, logged: io.StringIO) -> None:
    for _ in range(3):
        findings.add(denied("shop"))
    await findings.flush()
    findings.add(denied("shop"))
    await findings.flush()
    lines = [json.loads(line) for line in logged.getvalue().splitlines() if "shadow_finding" in line]
    assert [(line["site"], line["requests"], line["user_id"]) for line in lines] == [("shop", 3, USER)]


async def test_old_findings_and_those_beyond_the_bound_are_pruned(pool: asyncpg.Pool) -> None:
    await pool.execute(
        "INSERT INTO sitelatch.shadow_findings"
        " SELECT 'id' || n, 'data', 'missing_key', '\"\"', NULL, NULL, 1, now(), now() - n * interval '1 hour'"
        " FROM generate_series(1, 800) AS n"
    )
    await pool.execute(query("prune_shadow_findings"), DAYS_KEPT, 100)
    rows = await pool.fetch("SELECT id FROM sitelatch.shadow_findings")
    assert {row["id"] for row in rows} == {f"id{number}" for number in range(1, 101)}
    await pool.execute(query("prune_shadow_findings"), 2, 100)
    assert await pool.fetchval("SELECT count(*) FROM sitelatch.shadow_findings") in (47, 48)


# The admin API.


async def fill(acme: AdminClient, findings: ShadowFindings) -> tuple[Any, Any]:
    """Record findings about a user of acme, one of globex, and none."""
    ada = await acme.create(workspace="acme", sites=["shop"], name="Nightly export")
    gus = await acme.create(workspace="globex", all_sites=True)
    for _ in range(3):
        findings.add(denied("blog", ada["id"]))
    for _ in range(2):
        findings.add(denied("other", gus["id"]))
    findings.add(Finding("data", "method_not_allowed", "This endpoint does not allow this method."))
    assert await findings.flush()
    return ada, gus


async def test_the_list_names_the_user_and_what_would_fix_the_finding(
    acme: AdminClient, findings: ShadowFindings
) -> None:
    ada, gus = await fill(acme, findings)
    page = await acme.get("/shadow-findings")
    first, second, third = page["items"]
    assert page["next"] is None
    assert first["user"] == {
        "id": ada["id"],
        "name": "Nightly export",
        "workspace": "acme",
        "key_hint": ada["keys"][0]["hint"],
    }
    assert (first["site"], first["requests"], first["fix"]["kind"]) == ("blog", 3, "add_site")
    assert (second["user"]["id"], second["fix"]["kind"]) == (gus["id"], "register_site")
    assert third["user"] is None
    assert third["fix"] == {
        "kind": "route",
        "setting": '[[proxy.routes]] "data" methods',
        "advice": FIXES["method_not_allowed"].advice,
    }


async def test_the_list_has_pages(acme: AdminClient, findings: ShadowFindings) -> None:
    await fill(acme, findings)
    seen: list[Any] = []
    after: dict[str, Any] = {}
    for _ in range(3):
        page = await acme.get("/shadow-findings", limit=1, **after)
        seen += page["items"]
        after = {"after": page["next"]}
    assert (len({item["code"] + str(item["site"]) for item in seen}), page["next"]) == (3, None)
    status, _, _ = await acme.request("GET", "/shadow-findings?after=1%3Ax")
    assert status == 422


async def test_limited_admins_see_only_findings_about_their_users(acme: AdminClient, findings: ShadowFindings) -> None:
    await fill(acme, findings)
    [own] = (await acme.as_(BEN_TOKEN).get("/shadow-findings"))["items"]
    assert own["user"]["workspace"] == "acme"
    assert len((await acme.get("/shadow-findings", workspace="globex"))["items"]) == 1


async def test_the_finding_outlives_its_user(acme: AdminClient, findings: ShadowFindings) -> None:
    ada, _ = await fill(acme, findings)
    await acme.request("DELETE", f"/users/{ada['id']}")
    first = (await acme.get("/shadow-findings"))["items"][0]
    assert first["user"] == {"id": ada["id"], "name": None, "workspace": None, "key_hint": None}
