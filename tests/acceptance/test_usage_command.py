"""`sitelatch usage`, and the filters of `sitelatch users list` by use and expiry."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.shell import sitelatch
from tests.database import execute

CONFIG = """
[[proxy.routes]]
name = "data"
path = "/"
upstream = "http://127.0.0.1:9000"

[database]
url = "{}"
"""
USAGE = """
INSERT INTO sitelatch.usage_days (day, user_id, outcome, requests, bytes_out) VALUES
  ((now() AT TIME ZONE 'UTC')::date - 20, '{user}', 'passed', 50, 5000),
  ((now() AT TIME ZONE 'UTC')::date - 50, '{user}', 'passed', 500, 50000);
INSERT INTO sitelatch.usage_hours (day, user_id, outcome, requests, bytes_out) VALUES
  ((now() AT TIME ZONE 'UTC')::date - 2, '{user}', 'passed', '[3:5]={{1,null,2}}', '[3:5]={{100,null,200}}'),
  ((now() AT TIME ZONE 'UTC')::date - 2, '{user}', 'expired_key', '[4:4]={{7}}', null),
  ((now() AT TIME ZONE 'UTC')::date - 2, '{other}', 'passed', '[4:4]={{9}}', '[4:4]={{0}}')
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Path:
    file = tmp_path_factory.mktemp("command") / "sitelatch.toml"
    file.write_text(CONFIG.format(database_url))
    for workspace, site in (("acme", "shop"), ("globex", "wiki")):
        assert sitelatch("sites", "add", "--config", str(file), "--workspace", workspace, site).code == 0
    return file


@pytest.fixture(scope="module")
def users(config: Path, database_url: str) -> list[str]:
    """The ids of an API user of acme and one of globex, with usage."""
    person = ("--by-name", "Ada Admin", "--by-email", "ada@example.com")
    made = []
    for workspace in ("acme", "globex"):
        words = (
            "users",
            "create",
            "--config",
            str(config),
            "--workspace",
            workspace,
            "--all-sites",
            "--name",
            workspace,
        )
        made.append(json.loads(sitelatch(*words, *person).out)["id"])
    execute(database_url, USAGE.format(user=made[0], other=made[1]))
    return made


def usage(config: Path, *words: str) -> str:
    done = sitelatch("usage", "--config", str(config), *words)
    assert (done.code, done.err) == (0, "")
    return done.out


def counts(lines: Sequence[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(line["name"], line["outcome"], int(line["requests"])) for line in lines]


def test_usage_is_exported_as_csv(config: Path, users: list[str]) -> None:
    lines = list(csv.DictReader(io.StringIO(usage(config, "--since", "7d", "--csv"))))
    assert sorted(counts(lines)) == [("acme", "expired_key", 7), ("acme", "passed", 3), ("globex", "passed", 9)]
    assert {line["bytes_out"] for line in lines} == {"300", "", "0"}
    assert {line["id"] for line in lines} == set(users)


def test_usage_of_one_user_or_workspace_is_listed_by_day_or_hour(config: Path, users: list[str]) -> None:
    by_day = json.loads(usage(config, "--json", "--user", users[0][:8]))
    assert counts(by_day) == [("acme", "passed", 50), ("acme", "passed", 3), ("acme", "expired_key", 7)]
    everything = json.loads(usage(config, "--json", "--since", "400d", "--workspace", "acme"))
    assert counts(everything) == [("acme", "passed", 500), *counts(by_day)[:1], *sorted(counts(by_day)[1:])]
    by_hour = json.loads(usage(config, "--json", "--by", "hour", "--user", users[0]))
    assert [(line["at"][11:13], line["requests"]) for line in by_hour] == [("03", 1), ("04", 7), ("05", 2)]


def test_usage_is_listed_as_a_table(config: Path, users: list[str]) -> None:
    title, *lines = usage(config, "--workspace", "globex").splitlines()
    assert title.split() == ["AT", "ID", "NAME", "WORKSPACE", "OUTCOME", "REQUESTS", "BYTES", "OUT"]
    assert [line.split()[2:] for line in lines] == [[users[1], "globex", "globex", "passed", "9", "0"]]


@pytest.mark.parametrize("words", [("--since", "7"), ("--since", "yesterday"), ("--csv", "--json"), ("--by", "week")])
def test_wrong_options_are_refused(config: Path, words: Sequence[str]) -> None:
    assert sitelatch("usage", "--config", str(config), *words).code == 2


def test_users_are_filtered_by_use_and_expiry(config: Path, users: list[str], database_url: str) -> None:
    def listed(*words: str) -> list[str]:
        found = json.loads(sitelatch("users", "list", "--config", str(config), "--json", *words).out)
        return [user["name"] for user in found]

    execute(database_url, "UPDATE sitelatch.api_users SET expires_at = now() + interval '3 days' WHERE name = 'acme'")
    execute(database_url, "UPDATE sitelatch.api_users SET expires_at = now() WHERE name = 'globex'")
    assert listed("--expires-within-days", "30") == ["acme"]
    assert listed("--expires-within-days", "2") == []
    assert listed("--expired") == ["globex"]
    assert sorted(listed("--never-used")) == ["acme", "globex"]
    assert listed("--unused-days", "90") == []
