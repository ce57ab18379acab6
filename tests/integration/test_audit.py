"""The audit log: search, filters, pages, and the export as a CSV file."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from admin.api.audit import ACTIONS
from admin.api.audit_list import NEAR, AuditFilter, list_audit
from admin.api.csv_cells import plain_cell
from sql.text_files import decode_spreadsheet
from tests.integration.adminapi import BEN_TOKEN, AdminClient, acme, admin

__all__ = ["acme", "admin"]

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


async def write(pool: asyncpg.Pool, **values: Any) -> int:
    """Write an entry with SQL and return its id."""
    entry = {
        "at": NOON,
        "actor_name": "Cleo Curator",
        "actor_email": "Cleo@example.com",
        "actor_address": "192.0.2.7",
        "action": "site.removed",
        "workspace": "acme",
        "subject": "old-shop",
        "detail": "{}",
        **values,
    }
    names, places = ", ".join(entry), ", ".join(f"${n + 1}" for n in range(len(entry)))
    query = f"INSERT INTO sitelatch.audit_log ({names}) VALUES ({places}) RETURNING id"  # noqa: S608 - names from here
    written: int = await pool.fetchval(query, *entry.values())
    return written


async def found(client: AdminClient, **query: Any) -> list[int]:
    return [line["id"] for line in (await client.get("/audit", **query))["items"]]


async def test_entries_are_filtered_by_person_action_subject_and_time(acme: AdminClient, pool: asyncpg.Pool) -> None:
    removed = await write(pool)
    renamed = await write(pool, action="site.renamed", at=NOON + timedelta(hours=1))
    other = await write(pool, actor_email="dan@example.com", subject="shop", workspace="globex")
    assert await found(acme, actor="cleo@EXAMPLE.com") == [renamed, removed]
    assert await found(acme, actor="cleo@example.com", action="site.removed") == [removed]
    assert await found(acme, actor="cleo@example.co") == []
    assert await found(acme, action="site.removed") == [other, removed]
    assert await found(acme, action="site.removed", workspace="globex") == [other]
    assert other in await found(acme, subject="shop")
    assert await found(acme, subject="shop", actor="dan@example.com") == [other]
    # `since` is inclusive, `until` is not. Any UTC offset works.
    assert await found(acme, since="2026-11-30T12:00:00Z", until="2026-11-30T13:00:00Z") == [other, removed]
    assert await found(acme, since="2026-11-30T13:00:00.000001+01:00", until="2026-11-30T14:00:00+01:00") == []
    assert await found(acme, since="2026-11-30T14:00:00+01:00", until="2026-11-30T14:00:01+01:00") == [renamed]


@pytest.mark.parametrize(
    ("search", "finds"),
    [
        ("cleo", True),
        ("CLEO cur", True),
        ("cleo@example", True),
        ("192.0.2", True),
        ("removed", True),
        ("acme cleo", True),
        ("old-shop", True),
        ("sho", True),
        ("hop", False),
        ("nightly", True),
        ("ohAX", True),
        ("q7ab", True),
        ("slk_Q7ab", True),
        ("slk_Q7ab…ohAX", True),
        ("blog news", True),
        ("before", True),
        ("after", True),
        ("cleo dan", False),
        ("name", False),
        ("- _ .", True),
        ("%", False),
        ("'", False),
        ("\\", False),
    ],
)
async def test_a_search_finds_the_beginnings_of_words_in_an_entry(pool: asyncpg.Pool, search: str, finds: bool) -> None:
    detail = {
        "name": "Nightly export",
        "keys": ["slk_aaaa…bbbb", "slk_Q7ab…ohAX"],
        "sites": ["blog", "news"],
        "from": "Before",
        "to": "After",
    }
    entry = await write(pool, detail=json.dumps(detail, ensure_ascii=False))
    async with pool.acquire() as connection:
        page = await list_audit(connection, only=AuditFilter(search=search))
    assert [line.id for line in page.items] == ([entry] if finds else [])


async def test_a_whole_key_is_found_by_its_hint_and_never_reaches_the_database(
    acme: AdminClient, pool: asyncpg.Pool
) -> None:
    made = await acme.create(workspace="acme", all_sites=True)
    assert [line["subject"] for line in (await acme.get("/audit", search=made["api_key"]))["items"]] == [made["id"]]


@pytest.mark.parametrize("matching", ["all", "many", "few", "old", "none"])
@pytest.mark.parametrize("within", [None, frozenset({"acme"}), frozenset({"acme", "globex"}), frozenset({"globex"})])
async def test_a_search_finds_each_entry_once_in_order(
    pool: asyncpg.Pool, matching: str, within: frozenset[str] | None
) -> None:
    """With shares of matches that lead to each of the three steps of a search."""
    count = 3 * NEAR
    divisors = {"all": 1, "many": 7, "few": 331, "old": 1, "none": 10 * count}
    newest = NEAR if matching == "old" else count
    await pool.execute(
        "INSERT INTO sitelatch.audit_log (at, actor_name, actor_email, actor_address, action, workspace, subject)"
        " SELECT $1::timestamptz + (n / 3) * interval '1 second', 'Ada', 'ada@example.com', 'command', 'site.created',"
        " CASE WHEN n % 2 = 0 THEN 'acme' ELSE 'globex' END,"
        " CASE WHEN n % $2 = 0 AND n <= $3 THEN 'needle-' ELSE 'straw-' END || n FROM generate_series(1, $4::int) n",
        NOON,
        divisors[matching],
        newest,
        count,
    )
    rows = await pool.fetch("SELECT id, subject, workspace FROM sitelatch.audit_log ORDER BY at DESC, id DESC")
    expected = [
        row["id"]
        for row in rows
        if row["subject"].startswith("needle") and (within is None or row["workspace"] in within)
    ]
    listed: list[int] = []
    after: int | None = None
    async with pool.acquire() as connection:
        while True:
            only = AuditFilter(search="needle")
            page = await list_audit(connection, within=within, only=only, after=after, limit=700)
            listed += [line.id for line in page.items]
            if page.next is None:
                break
            after = int(page.next)
    assert listed == expected


async def test_entries_of_one_transaction_are_paged_by_their_ids(pool: asyncpg.Pool) -> None:
    written = [await write(pool) for _ in range(5)]
    listed: list[int] = []
    after: int | None = None
    async with pool.acquire() as connection:
        while len(listed) < 5:
            page = await list_audit(connection, after=after, limit=2)
            listed += [line.id for line in page.items]
            after = int(page.next or 0)
    assert listed == written[::-1]


async def test_an_entry_says_whether_its_api_user_still_exists(acme: AdminClient, pool: asyncpg.Pool) -> None:
    kept = await acme.create(workspace="acme", all_sites=True)
    gone = await acme.create(workspace="acme", all_sites=True)
    await acme.request("DELETE", f"/users/{gone['id']}")
    odd = [await write(pool, action="user.created", subject=subject) for subject in ("not-an-id", None, str(uuid4()))]
    lines = {(line["action"], line["subject"]): line["subject_exists"] for line in (await acme.get("/audit"))["items"]}
    assert lines["user.created", kept["id"]] is True
    assert lines["user.created", gone["id"]] is False
    assert lines["user.deleted", gone["id"]] is False
    assert lines["site.created", "shop"] is None
    shown = {line["id"]: line["subject_exists"] for line in (await acme.get("/audit", limit=200))["items"]}
    assert [shown[entry] for entry in odd] == [None, None, False]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("action=user.renamed", '"action" must be one of '),
        ("since=2026-11-30", '"since" must be a time with a UTC offset'),
        ("since=2026-11-30T12:00:00", '"since" must be a time with a UTC offset'),
        ("until=yesterday", '"until" must be a time with a UTC offset'),
        ("until=1764500000", '"until" must be a time with a UTC offset'),
        ("until=2026-13-30T12:00:00Z", '"until" must be a time that exists'),
        ("until=2026-02-29T12:00:00Z", '"until" must be a time that exists'),
        ("since=0001-01-01T00:00:00%2B14:00", '"since" must be between the years 1 and 9999'),
        ("until=9999-12-31T23:59:59-14:00", '"until" must be between the years 1 and 9999'),
        ("after=9999999", "must be the `next` of a page of the audit log"),
        ("search=a%0Ab", '"search" must not contain control characters'),
        ("actor=" + "x" * 321, '"actor" must have at most 320 characters'),
        ("who=ada", '"who" is unknown'),
    ],
)
async def test_a_wrong_filter_is_an_error(acme: AdminClient, query: str, sentence: str) -> None:
    for path in ("/audit", "/audit.csv"):
        if path == "/audit.csv" and query.startswith("after"):
            continue
        status, problem, _ = await acme.request("GET", f"{path}?{query}")
        assert status == 422
        assert sentence in problem["detail"]
        assert [error["parameter"] for error in problem["errors"]] == [query.partition("=")[0]]


async def test_the_first_and_the_last_possible_times_are_accepted(acme: AdminClient) -> None:
    assert len(await found(acme, since="0001-01-01T00:00:00Z", until="9999-12-31T23:59:59.999999Z")) == 6


async def export(client: AdminClient, query: str = "") -> list[dict[str, str]]:
    """Return the lines of an export, by heading."""
    async with client.session.get(
        f"{client.base}admin/audit.csv{query}", headers={"Authorization": f"Bearer {client.token}"}
    ) as answer:
        raw = await answer.read()
        assert answer.status == 200
        assert answer.headers["Content-Disposition"] == 'attachment; filename="sitelatch-audit.csv"'
        assert answer.content_type == "text/csv"
    assert raw.startswith(b"\xef\xbb\xbf")
    text, _ = decode_spreadsheet(raw)
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_an_export_contains_all_entries_of_the_filtered_list(acme: AdminClient, pool: asyncpg.Pool) -> None:
    await pool.execute(
        "INSERT INTO sitelatch.audit_log (actor_name, actor_email, actor_address, action, workspace, subject)"
        " SELECT 'Ada', 'ada@example.com', 'command', 'site.created', 'acme', 's' || n FROM generate_series(1, 1234) n"
    )
    lines = await export(acme)
    assert [int(line["id"]) for line in lines] == [
        row["id"] for row in await pool.fetch("SELECT id FROM sitelatch.audit_log ORDER BY at DESC, id DESC")
    ]
    [wiki] = await export(acme, "?subject=wiki")
    assert wiki == {
        "id": wiki["id"],
        "at": (await acme.get("/audit", subject="wiki"))["items"][0]["at"].replace("Z", "+00:00"),
        "name": "Ada Admin",
        "email": "ada@example.com",
        "address": "127.0.0.1",
        "action": "site.created",
        "workspace": "globex",
        "subject": "wiki",
        "detail": '{"display_name": "wiki"}',
    }
    assert len(await export(acme, "?search=s12&action=site.created")) == 46
    assert await export(acme, "?subject=nothing") == []


async def test_an_export_is_limited_to_the_workspaces_of_the_admin(acme: AdminClient) -> None:
    ben = acme.as_(BEN_TOKEN)
    assert {line["workspace"] for line in await export(ben)} == {"acme"}
    assert (await ben.request("GET", "/audit.csv?workspace=globex"))[0] == 403
    assert (await acme.as_(None).request("GET", "/audit.csv"))[0] == 401


async def test_the_head_of_an_export_is_sent_without_entries(acme: AdminClient) -> None:
    status, body, answer = await acme.request("HEAD", "/audit.csv")
    assert (status, body, answer.content_type) == (200, None, "text/csv")


async def test_an_export_that_fails_halfway_breaks_off(acme: AdminClient, pool: asyncpg.Pool) -> None:
    await pool.execute(
        "INSERT INTO sitelatch.audit_log (actor_name, actor_email, actor_address, action, workspace, subject, detail)"
        " SELECT 'Ada', 'ada@example.com', 'command', 'site.created', 'acme', 's',"
        " jsonb_build_object('x', repeat('x', 9000)) FROM generate_series(1, 3000) n"
    )
    async with acme.session.get(
        f"{acme.base}admin/audit.csv", headers={"Authorization": f"Bearer {acme.token}"}
    ) as answer:
        assert answer.status == 200
        await answer.content.readany()
        await pool.execute("ALTER TABLE sitelatch.audit_log RENAME COLUMN subject TO gone")
        with pytest.raises(Exception, match=r"payload is not completed|Connection reset|disconnected"):
            await answer.read()


async def test_a_name_that_is_a_formula_is_exported_as_text(acme: AdminClient) -> None:
    name = '=HYPERLINK("http://evil.example";"Click")'
    made = await acme.create(workspace="acme", all_sites=True, name=name)
    site = "@SUM(1+1)*cmd|' "
    assert (await acme.request("PUT", "/sites/-1%2B2", {"workspace": "acme", "display_name": site.strip()}))[0] == 201
    created, added = (await export(acme, f"?subject={made['id']}")), (await export(acme, "?subject=-1%2B2"))
    assert json.loads(created[0]["detail"].replace(";'\"", ';"'))["name"] == name
    assert added[0]["subject"] == "'-1+2"
    for line in await export(acme):
        assert not any(value.lstrip()[:1] in ("=", "+", "-", "@") for value in line.values())


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@A1", "'@A1"),
        (" =1", " '=1"),
        ("\t=1", "\t'=1"),
        ("\r\n=1", "\r\n'=1"),
        ("＝1", "'＝1"),
        ("a;=1", "a;'=1"),
        ("a; -1;+2", "a; '-1;'+2"),
        ("a\t@b", "a\t'@b"),
        ("ada+export@example.com", "ada+export@example.com"),
        ("2026-11-30", "2026-11-30"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_text_is_written_so_that_no_spreadsheet_program_takes_it_for_a_formula(text: str, written: str) -> None:
    assert plain_cell(text) == written


async def test_every_action_that_is_recorded_is_known(acme: AdminClient) -> None:
    user = await acme.create(workspace="acme", all_sites=True)
    await acme.request("PATCH", f"/users/{user['id']}", {"disabled": True})
    await acme.request("POST", f"/users/{user['id']}/keys", {"overlap_seconds": 60})
    await acme.request("DELETE", f"/users/{user['id']}/old-keys")
    await acme.request("DELETE", f"/users/{user['id']}")
    await acme.request("PATCH", "/sites/shop", {"display_name": "Shop"})
    await acme.request("DELETE", "/sites/shop")
    await acme.request("POST", "/workspaces", {"name": "brief"})
    await acme.request("PATCH", "/workspaces/brief", {"name": "short"})
    await acme.request("DELETE", "/workspaces/short")
    recorded = {line["action"] for line in (await acme.get("/audit"))["items"]}
    assert recorded == set(ACTIONS) - {"user.revealed", "user.imported"}
