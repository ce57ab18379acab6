"""The import of existing keys, on a real PostgreSQL."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any

import asyncpg
import pytest

from admin.api.key_file import Defaults, read_key_file
from admin.api.key_import import KeyImport, import_keys
from admin.api.key_rotation import rotate_key
from admin.api.users import delete_user, reveal_keys
from admin.key_encryption import key_cipher
from admin.problems import Conflict, Forbidden
from sql.queries import query
from tests.database import add_user, add_workspace
from tests.integration.adminapi import ADA, BY_ADA

KEYS = [f"kq3vT8-Zp1mX9wLr4sNc-{number:04}" for number in range(20)]
TABLES = ("api_users", "api_keys", "api_user_sites", "sealed_keys", "audit_log", "deleted_keys", "scope_changes")


@pytest.fixture
async def connection(pool: asyncpg.Pool) -> asyncpg.Pool:
    await add_workspace(pool, "acme", "shop", "blog")
    await add_workspace(pool, "globex", "wiki")
    return pool


def digest(key: str) -> bytes:
    return sha256(key.encode()).digest()


async def imported(pool: asyncpg.Pool, lines: Sequence[dict[str, Any]], **options: Any) -> KeyImport:
    text = "\n".join(json.dumps(line) for line in lines)
    by = options.pop("by", BY_ADA)
    async with pool.acquire() as connection:
        read = read_key_file(text.encode(), Defaults("acme", all_sites=True))
        return await import_keys(connection, read, by=by, **options)


async def grant(pool: asyncpg.Pool, key: str) -> dict[str, Any]:
    [row] = await pool.fetch(query("find_grant"), digest(key))
    return dict(row)


async def rows(pool: asyncpg.Pool) -> list[str]:
    """Return the contents of all tables, to detect changes."""
    return [
        str(await pool.fetchval(f"SELECT json_agg(t ORDER BY t::text) FROM sitelatch.{table} t"))  # noqa: S608
        for table in TABLES
    ]


async def test_plaintext_and_hashed_keys_get_their_scope_and_a_second_import_changes_nothing(
    connection: asyncpg.Pool,
) -> None:
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
    lines: list[dict[str, Any]] = [
        {"key": KEYS[0], "sites": ["shop", "blog"], "name": "Nightly export", "expires_at": expires.isoformat()},
        {"sha256": digest(KEYS[1]).hex(), "all_sites": True},
        {"key": KEYS[2], "workspace": "globex", "sites": ["wiki"]},
    ]
    done = await imported(connection, lines)
    assert (done.count("new"), done.faults) == (3, ())
    first = await grant(connection, KEYS[0])
    assert (first["workspace"], first["all_sites"], first["sites"]) == ("acme", False, ["blog", "shop"])
    assert first["expires_at"] == expires.timestamp()
    assert (await grant(connection, KEYS[1]))["all_sites"] is True
    assert (await grant(connection, KEYS[2]))["sites"] == ["wiki"]
    entries = await connection.fetch("SELECT action, detail::text, actor_email FROM sitelatch.audit_log ORDER BY id")
    assert [(entry["action"], entry["actor_email"]) for entry in entries] == [("user.created", ADA.email)] * 3
    assert json.loads(entries[0]["detail"])["imported"] is True
    assert not any(KEYS[0] in text or KEYS[2] in text for text in await rows(connection))

    before = await rows(connection)
    again = await imported(connection, lines)
    assert (again.count("unchanged"), again.count("new"), again.count("changed")) == (3, 0, 0)
    assert await rows(connection) == before


async def test_a_broken_line_and_a_dry_run_change_nothing(connection: asyncpg.Pool) -> None:
    before = await rows(connection)
    lines: list[dict[str, Any]] = [
        {"key": KEYS[0]},
        {"key": KEYS[1], "workspace": "initech"},
        {"key": KEYS[2], "sites": ["shop", "wiki"]},
        {"key": "short"},
    ]
    done = await imported(connection, lines)
    assert [str(fault)[:40] for fault in done.faults] == [
        'Line 2: The workspace "initech" does not exist'[:40],
        'Line 3: The workspace "acme" has no site "wiki"'[:40],
        "Line 4: The key is shorter than 20 chara"[:40],
    ]
    assert '"acme", "globex"' in done.known_workspaces
    assert await rows(connection) == before
    dry = await imported(connection, lines[:1], dry_run=True)
    assert (dry.count("new"), dry.faults) == (1, ())
    assert await rows(connection) == before


async def test_a_known_key_with_another_scope_is_an_error_without_update(connection: asyncpg.Pool) -> None:
    expires = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    await imported(connection, [{"key": KEYS[0], "sites": ["shop"], "name": "Old", "expires_at": expires}])
    before = await rows(connection)
    for other in (
        {"sites": ["blog"], "expires_at": expires},
        {"sites": ["shop", "blog"], "expires_at": expires},
        {"all_sites": True, "expires_at": expires},
        {"sites": ["shop"]},
    ):
        done = await imported(connection, [{"key": KEYS[1]}, {"key": KEYS[0], **other}])
        [fault] = done.faults
        assert str(fault).startswith("Line 2: This key is known with another scope or expiry. Add --update")
    foreign = await imported(connection, [{"key": KEYS[0], "workspace": "globex"}], update=True)
    assert "belongs to an API user of another workspace" in str(foreign.faults[0])
    assert await rows(connection) == before
    # The name is not part of the scope.
    same = [{"key": KEYS[0], "sites": ["shop"], "name": "New", "expires_at": expires}]
    assert (await imported(connection, same)).count("unchanged") == 1

    done = await imported(connection, [{"key": KEYS[0], "sites": ["blog"], "name": "New"}], update=True)
    assert done.count("changed") == 1
    found = await grant(connection, KEYS[0])
    assert (found["all_sites"], found["sites"], found["expires_at"]) == (False, ["blog"], None)
    [entry] = await connection.fetch("SELECT detail::text FROM sitelatch.audit_log WHERE action = 'user.imported'")
    detail = json.loads(entry["detail"])
    assert (detail["before"]["sites"], detail["before"]["name"]) == (["shop"], "Old")
    assert "expires_at" in detail["before"]
    assert detail["after"] == {"name": "New", "all_sites": False, "sites": ["blog"], "site_count": 1}
    subjects = await connection.fetch("SELECT what FROM sitelatch.scope_changes WHERE what IN ('user', 'key')")
    assert len(subjects) >= 2
    everything = await imported(connection, [{"key": KEYS[0], "all_sites": True}], update=True)
    assert everything.count("changed") == 1
    assert (await grant(connection, KEYS[0]))["all_sites"] is True
    assert (await imported(connection, [{"key": KEYS[0], "all_sites": True}], update=True)).count("unchanged") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM sitelatch.api_users",
        "DELETE FROM sitelatch.api_keys",
        "TRUNCATE sitelatch.api_users CASCADE",
        "UPDATE sitelatch.api_keys SET digest = sha256(digest)",
        "SET session_replication_role = replica; DELETE FROM sitelatch.api_keys; RESET session_replication_role",
    ],
)
async def test_a_deleted_key_is_never_revived(connection: asyncpg.Pool, statement: str) -> None:
    line = {"key": KEYS[0], "sites": ["shop"]}
    await imported(connection, [line])
    await connection.execute(statement)
    for update in (False, True):
        done = await imported(connection, [{"key": KEYS[1]}, line], update=update)
        assert str(done.faults[0]).startswith("Line 2: This key was deleted on ")
        assert (await grant(connection, KEYS[0]))["user_id"] is None
        assert (await grant(connection, KEYS[1]))["user_id"] is None


async def test_a_key_that_an_admin_deleted_is_never_revived(connection: asyncpg.Pool) -> None:
    await imported(connection, [{"key": KEYS[0]}])
    user_id = (await grant(connection, KEYS[0]))["user_id"]
    async with connection.acquire() as one:
        await delete_user(one, user_id, by=BY_ADA)
    assert "was deleted" in str((await imported(connection, [{"key": KEYS[0]}])).faults[0])


@pytest.mark.parametrize("overlap", [0, 3600])
async def test_a_key_that_a_rotation_replaced_is_not_changed(connection: asyncpg.Pool, overlap: int) -> None:
    line = {"key": KEYS[0], "sites": ["shop"]}
    await imported(connection, [line])
    user_id = (await grant(connection, KEYS[0]))["user_id"]
    async with connection.acquire() as one:
        await rotate_key(one, user_id, overlap_seconds=overlap, by=BY_ADA)
    ends = (await grant(connection, KEYS[0]))["expires_at"]
    assert ends is not None
    for update in (False, True):
        done = await imported(connection, [line], update=update)
        assert str(done.faults[0]) == (
            "Line 1: A rotation has replaced this key, so an import cannot change it. Remove the line."
        )
        assert (await grant(connection, KEYS[0]))["expires_at"] == ends


async def test_a_key_that_was_imported_and_deleted_while_an_import_waited_is_not_revived(
    connection: asyncpg.Pool,
) -> None:
    file = read_key_file(json.dumps({"key": KEYS[0]}).encode(), Defaults("acme", all_sites=True))
    async with connection.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE sitelatch.api_users IN SHARE ROW EXCLUSIVE MODE")
        waiting = asyncio.create_task(imported(connection, [{"key": KEYS[0]}]))
        # Other tests use the same server.
        waits = (
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'sitelatch.api_users'::regclass"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
        )
        while not await connection.fetchval(waits):  # noqa: ASYNC110 - the condition is in the database
            await asyncio.sleep(0.01)
        await import_keys(other, file, by=BY_ADA)
        user_id = await other.fetchval("SELECT user_id::text FROM sitelatch.api_keys")
        await delete_user(other, user_id, by=BY_ADA)
    [fault] = (await waiting).faults
    assert str(fault).startswith("Line 1: This key was deleted on ")
    assert (await grant(connection, KEYS[0]))["user_id"] is None


async def test_plaintext_keys_are_recoverable_if_keys_are_stored(connection: asyncpg.Pool) -> None:
    cipher = key_cipher("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
    await imported(connection, [{"key": KEYS[0]}, {"sha256": digest(KEYS[1]).hex()}], cipher=cipher)
    async with connection.acquire() as one:
        first, second = [(await grant(connection, key))["user_id"] for key in KEYS[:2]]
        assert (await reveal_keys(one, first, cipher=cipher, by=BY_ADA)).keys[0].api_key == KEYS[0]
        with pytest.raises(Conflict):
            await reveal_keys(one, second, cipher=cipher, by=BY_ADA)


async def test_an_admin_imports_into_their_own_workspaces_only(connection: asyncpg.Pool) -> None:
    by = BY_ADA.__class__(BY_ADA.person, BY_ADA.address, frozenset({"acme"}))
    with pytest.raises(Forbidden):
        await imported(connection, [{"key": KEYS[0], "workspace": "globex", "sites": ["wiki"]}], by=by)


def _note_message(noted: list[str], _: object, message: Any) -> None:
    noted.append(message.message)


async def test_an_import_blocks_no_other_change_until_it_commits(connection: asyncpg.Pool) -> None:
    victim = await add_user(connection, "acme", "shop", digest=digest("victim"))
    async with connection.acquire() as importing, importing.transaction():
        lines = "\n".join(json.dumps({"key": key, "sites": ["shop"]}) for key in KEYS)
        await import_keys(importing, read_key_file(lines.encode(), Defaults("acme")), by=BY_ADA)
        async with asyncio.timeout(20), connection.acquire() as other:
            await delete_user(other, victim, by=BY_ADA)
        assert (await grant(connection, "victim"))["user_id"] is None
        assert (await grant(connection, KEYS[0]))["user_id"] is None
        with pytest.raises(Conflict, match="Another import is running"):
            await imported(connection, [{"key": KEYS[1]}])
        # Autovacuum skips the tables: it would not count the imported rows, and the planner would rely on that.
        skipped: list[str] = []
        async with connection.acquire() as other:
            listener = partial(_note_message, skipped)
            other.add_log_listener(listener)
            await other.execute("ANALYZE (SKIP_LOCKED) sitelatch.api_users")
            await asyncio.sleep(0)  # listeners are called from the event loop
            other.remove_log_listener(listener)
        assert skipped == ['skipping analyze of "api_users" --- lock not available']
    assert (await grant(connection, KEYS[0]))["user_id"] is not None


@pytest.mark.parametrize(("count", "whats"), [(10_000, {"key": 10_000}), (10_001, {"all": 1})])
async def test_many_changes_in_one_transaction_are_announced_as_one(
    connection: asyncpg.Pool, count: int, whats: dict[str, int]
) -> None:
    user_id = await add_user(connection, "acme", all_sites=True)
    last = await connection.fetchval("SELECT max(seq) FROM sitelatch.scope_changes")
    await connection.execute(
        "INSERT INTO sitelatch.api_keys (user_id, digest, hint)"
        " SELECT $1, sha256(number::text::bytea), '…' FROM generate_series(1, $2::int) AS number",
        user_id,
        count,
    )
    found = await connection.fetch(
        "SELECT what, count(*) AS count FROM sitelatch.scope_changes WHERE seq > $1 GROUP BY what", last
    )
    assert {row["what"]: row["count"] for row in found} == whats


async def test_a_large_import_is_announced_as_one_change(connection: asyncpg.Pool) -> None:
    last = await connection.fetchval("SELECT max(seq) FROM sitelatch.scope_changes")
    lines = [{"sha256": digest(str(number)).hex(), "sites": ["shop"]} for number in range(2001)]
    assert (await imported(connection, lines)).count("new") == 2001
    found = await connection.fetch("SELECT what FROM sitelatch.scope_changes WHERE seq > $1", last)
    assert [row["what"] for row in found] == ["all"]
    assert await connection.fetchval("SELECT count(*) FROM sitelatch.scope_pending") == 0
    assert (await imported(connection, lines)).count("unchanged") == 2001
