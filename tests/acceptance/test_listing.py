"""Listings of the command: streamed in constant memory, from one state of the database, to readers that may leave."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.acceptance.shell import SECONDS
from tests.database import execute

CONFIG = """
[[proxy.routes]]
name = "data"
upstream = "http://127.0.0.1:9000"
sites = ["query:site"]

[database]
url = "{url}"
"""
WORKSPACE = "INSERT INTO sitelatch.workspaces (name) VALUES ('acme')"
SITES = """
INSERT INTO sitelatch.sites (id, folded, workspace_id, display_name)
SELECT made, made, w.id, made FROM sitelatch.workspaces w, generate_series(1, 3000) n
CROSS JOIN LATERAL (SELECT 'site-with-a-long-name-' || n AS made) AS named
"""
AUDIT = """
INSERT INTO sitelatch.audit_log (actor_name, actor_email, actor_address, action, workspace, subject)
SELECT 'Ada', 'ada@example.com', 'command', 'user.created', 'acme', n::text FROM generate_series(1, 3000) n
"""
USERS = """
INSERT INTO sitelatch.api_users (workspace_id, name, all_sites, authorized_by_name, authorized_by_email, created_at)
SELECT id, 'Export ' || n, true, 'Ada Admin', 'ada@example.com', now() - n * interval '1 s'
FROM sitelatch.workspaces, generate_series(1, {count}) n
"""
USAGE = """
INSERT INTO sitelatch.usage_days (day, user_id, outcome, requests, bytes_out)
SELECT current_date - 10 + n % 3, md5(n::text)::uuid, 'passed', n, 1000 FROM generate_series(1, {count}) n
"""
LISTS = (
    ("users", "list"),
    ("users", "list", "--json"),
    ("sites", "list"),
    ("sites", "list", "--json"),
    ("audit", "--limit", "100000"),
    ("audit", "--limit", "100000", "--json"),
    ("usage",),
    ("usage", "--csv"),
)


@pytest.fixture
def config(dsn: str, tmp_path: Path) -> Path:
    """A config with a database that contains 1,000 API users, and 3,000 sites, audit entries and lines of usage."""
    execute(dsn, WORKSPACE, SITES, AUDIT, USERS.format(count=1000), USAGE.format(count=3000))
    file = tmp_path / "sitelatch.toml"
    file.write_text(CONFIG.format(url=dsn))
    return file


def listing(config: Path, words: Sequence[str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "sitelatch", *words, "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_a_listing_ends_quietly_when_its_reader_leaves(config: Path, words: Sequence[str]) -> None:
    with listing(config, words) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert command.stdout.read(100)
        command.stdout.close()
        assert command.stderr.read() == b""
        assert command.wait(SECONDS) == 0


def test_a_listing_escapes_characters_that_the_encoding_of_the_output_lacks(
    config: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    execute(dsn, "UPDATE sitelatch.api_users SET authorized_by_name = 'Ada …' WHERE name = 'Export 1'")
    output, errors = listing(config, ["users", "list"]).communicate(timeout=SECONDS)
    assert b"Ada \\u2026 <ada@example.com>" in output, errors
    assert len(output.splitlines()) == 1001


def test_a_listing_shows_one_state_of_the_database(config: Path, dsn: str) -> None:
    with listing(config, ("users", "list", "--json")) as command:
        assert command.stdout is not None
        # The output is larger than the pipe and the buffers, so the command has not read all users yet.
        begin = command.stdout.read(100)
        execute(dsn, "DELETE FROM sitelatch.api_users WHERE name LIKE '%7'", USERS.format(count=500))
        shown = json.loads(begin + command.stdout.read())
    assert [user["name"] for user in shown] == [f"Export {number}" for number in range(1, 1001)]


def test_the_memory_of_a_listing_does_not_grow_with_its_length(config: Path, dsn: str) -> None:
    def peak_kilobytes(*words: str) -> int:
        with open(os.devnull, "wb") as discarded:
            command = [sys.executable, "-m", "sitelatch", *words, "--config", str(config)]
            process = subprocess.Popen(command, stdout=discarded)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss

    listings = (("users", "list"), ("users", "list", "--json"), ("usage", "--csv"))
    before = [peak_kilobytes(*words) for words in listings]
    execute(dsn, USERS.format(count=9000), "TRUNCATE sitelatch.usage_days", USAGE.format(count=30_000))
    after = [peak_kilobytes(*words) for words in listings]
    for few, many in zip(before, after, strict=True):
        assert many - few < 10_000
