"""`sitelatch users edit`, `disable`, `enable`, `rotate` and `end-old-keys` with a database of their own."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.shell import Done, sitelatch

CONFIG = """
[[proxy.routes]]
name = "data"
path = "/"
upstream = "http://127.0.0.1:9000"

[database]
url = "{}"
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Path:
    """A config with a migrated database that contains two sites."""
    file = tmp_path_factory.mktemp("command") / "sitelatch.toml"
    file.write_text(CONFIG.format(database_url))
    assert sitelatch("sites", "add", "--config", str(file), "--workspace", "acme", "shop", "blog").code == 0
    return file


def create(config: Path, *scope: str) -> dict[str, Any]:
    person = ("--by-name", "Ada Admin", "--by-email", "ada@example.com")
    user: dict[str, Any] = changed(config, "create", "--workspace", "acme", *scope, *person)
    return user


def users(config: Path, verb: str, *words: str) -> Done:
    return sitelatch("users", verb, "--config", str(config), *words)


def changed(config: Path, verb: str, *words: str) -> Any:
    done = users(config, verb, *words)
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def test_an_api_user_is_changed_disabled_enabled_and_rotated(config: Path) -> None:
    user = create(config, "--site", "shop", "--name", "Export")
    limits = ("--read-only", "--network", "192.0.2.0/24", "--expires-at", "2030-01-01T01:00:00+01:00")
    edited = changed(config, "edit", "--all-sites", "--no-name", *limits, user["id"][:8])
    assert (edited["name"], edited["all_sites"], edited["methods"]) == (None, True, ["GET", "HEAD", "OPTIONS"])
    assert (edited["networks"], edited["expires_at"]) == (["192.0.2.0/24"], "2030-01-01T00:00:00Z")
    shown = users(config, "show", user["id"]).out
    for line in ("Expires:       2030-01-01T00:00:00+00:00", "Methods:       GET, HEAD, OPTIONS", "192.0.2.0/24"):
        assert line in shown
    fast = changed(
        config, "edit", "--requests-per-second", "2.5", "--burst", "10", "--requests-per-day", "5000", user["id"]
    )
    assert (fast["requests_per_second"], fast["burst"], fast["requests_per_day"]) == (2.5, 10, 5000)
    assert (
        "2.5 requests per second, in bursts of 10, and 5,000 requests per day (UTC)"
        in users(config, "show", user["id"]).out
    )
    assert changed(config, "edit", "--route-limits", user["id"])["burst"] is None
    cleared = changed(config, "edit", "--all-methods", "--any-network", "--never-expires", "--site", "shop", user["id"])
    assert [cleared[name] for name in ("methods", "networks", "expires_at", "sites")] == [None, None, None, ["shop"]]
    assert changed(config, "disable", user["id"])["disabled"]
    assert not changed(config, "enable", user["id"])["disabled"]
    rotated = changed(config, "rotate", "--overlap", "1h", user["id"])
    assert rotated["api_key"] != user["api_key"]
    assert 3500 < rotated["keys"][0]["seconds_left"] <= 3600
    assert users(config, "rotate", "--overlap", "0", user["id"]).code == 1
    assert changed(config, "end-old-keys", user["id"])["keys"][0]["seconds_left"] == 0
    assert "last used never" in users(config, "show", user["id"]).out
    lines = json.loads(sitelatch("audit", "--config", str(config), "--json", "--subject", user["id"]).out)
    assert [line["action"].removeprefix("user.") for line in reversed(lines)] == [
        *("created", *["edited"] * 6, "rotated", "keys_ended")
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("edit",),
        ("edit", "--all-sites", "--site", "shop"),
        ("edit", "--site", "shop", "--add-site", "blog"),
        ("edit", "--read-only", "--all-methods"),
        ("edit", "--expires-at", "2030-01-01T00:00:00"),
        ("edit", "--expires-at", "tomorrow"),
        ("rotate",),
        ("rotate", "--overlap", "60"),
        ("rotate", "--overlap", "1000d"),
    ],
)
def test_wrong_options_are_usage_errors(config: Path, words: tuple[str, ...]) -> None:
    assert users(config, *words, "5f3c1a9e").code == 2
