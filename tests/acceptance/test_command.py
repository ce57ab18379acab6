"""The `sitelatch` command: results on stdout, JSON lines on stderr, and exit codes 0, 1 and 2."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from sitelatch.command import cli
from sql.pool import open_connection
from tests.acceptance.shell import ROOT, SECONDS, Done, sitelatch
from tests.database import add_workspace, run_aside

TITLES = ["ID", "KEY", "WORKSPACE", "SITES", "AUTHORIZED", "BY", "LAST", "ACTIVITY", "NAME"]


def config_text(database_url: str) -> str:
    return f"""
[[proxy.routes]]
name = "deletable"
path = "/deletable"
upstream = "http://127.0.0.1:9000"
without_site = "any-key"
methods = ["DELETE"]

[[proxy.routes]]
name = "data"
upstream = "http://127.0.0.1:9000"
sites = ["path:/api/sites/{{site}}/**", "query:site", "header:X-Site"]
public = ["GET /api/health"]
refuse = ["POST /api/$batch"]
methods = ["GET", "OPTIONS", "POST", "LIST"]
cors = {{ origins = ["https://app.example"] }}

[database]
url = "{database_url}"
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Path:
    """A config with a migrated database that contains the usual sites."""
    file = tmp_path_factory.mktemp("command") / "sitelatch.toml"
    file.write_text(config_text(database_url))
    for workspace, sites in (("acme", ("shop", "blog", "docs")), ("globex", ("wiki",))):
        done = sitelatch("sites", "add", "--config", str(file), "--workspace", workspace, *sites)
        assert (done.code, done.out) == (0, f"Added: {', '.join(sites)}.\n")
        assert [line["event"] for line in done.log] == ["workspace_created"]
    return file


async def write_site(database_url: str, site: str) -> None:
    """Add a site in a new workspace with SQL, which skips the checks of the admin API."""
    connection = await open_connection(database_url, role="tests")
    await add_workspace(connection, "written-by-sql", site)
    await connection.close()


def create(config: Path, *scope: str) -> dict[str, Any]:
    person = ("--by-name", "Ada Admin", "--by-email", "ada@example.com")
    done = sitelatch("users", "create", "--config", str(config), "--workspace", "acme", *scope, *person)
    assert (done.code, done.err) == (0, "")
    user: dict[str, Any] = json.loads(done.out)
    return user


def test_a_user_is_created_listed_and_deleted(config: Path) -> None:
    user = create(config, "--site", "shop", "--site", "blog")
    assert user["id"]
    assert re.fullmatch(r"slk_[0-9A-Za-z]{38}", user["api_key"])
    assert sorted(user["sites"]) == ["blog", "shop"]

    listed = sitelatch("users", "list", "--config", str(config), "--json")
    [shown] = [each for each in json.loads(listed.out) if each["id"] == user["id"]]
    assert shown["authorized_by"] == {"name": "Ada Admin", "email": "ada@example.com"}
    table = sitelatch("users", "list", "--config", str(config))
    assert table.out.splitlines()[0].split() == TITLES
    assert user["id"] in table.out
    for done in (listed, table):
        assert (done.code, done.err) == (0, "")
        assert user["api_key"] not in done.out

    deleted = sitelatch("users", "delete", "--config", str(config), user["id"])
    assert (deleted.code, deleted.out) == (0, f"Deleted {user['id']}.\n")
    again = sitelatch("users", "delete", "--config", str(config), user["id"])
    assert (again.code, again.out) == (1, "")
    assert again.log[0]["reason"] == "This API user does not exist."


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_user_is_not_created_if_its_key_cannot_be_printed(config: Path, unbuffered: str) -> None:
    before = sitelatch("users", "list", "--config", str(config)).out
    words = ("--config", str(config), "--workspace", "acme", "--all-sites", "--by-name", "A", "--by-email", "a@b.c")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sitelatch", "users", "create", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            check=False,
            timeout=SECONDS,
        )
    assert done.returncode == 1
    [line] = map(json.loads, done.stderr.splitlines())
    assert (line["event"], line["reason"]) == ("failed", "standard output: No space left on device")
    assert sitelatch("users", "list", "--config", str(config)).out == before


@pytest.mark.parametrize(
    ("closed", "code", "reason"),
    [("<&-", 0, None), (">&-", 1, "standard output: Bad file descriptor"), ("2>&-", 0, None)],
)
def test_a_closed_standard_output_makes_a_command_fail_but_other_closed_streams_do_not(
    config: Path, closed: str, code: int, reason: str | None
) -> None:
    before = sitelatch("users", "list", "--config", str(config), "--json").out
    words = ("--config", str(config), "--workspace", "acme", "--all-sites", "--by-name", "A", "--by-email", "a@b.c")
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "sitelatch", "users", "create", *words],
        capture_output=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == code, done.stderr
    assert [json.loads(line)["reason"] for line in done.stderr.splitlines()] == ([] if reason is None else [reason])
    after = sitelatch("users", "list", "--config", str(config), "--json").out
    assert len(json.loads(after)) - len(json.loads(before)) == len(done.stdout.splitlines()) == 1 - code


def test_a_closed_standard_input_is_read_as_an_empty_file(config: Path) -> None:
    words = (sys.executable, "-m", "sitelatch", "sites", "import", "--config", str(config), "-")
    empty = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=SECONDS)
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *words], capture_output=True, check=False, timeout=SECONDS
    )
    assert closed.returncode == empty.returncode == 1
    assert json.loads(closed.stderr)["reason"] == json.loads(empty.stderr)["reason"]


def test_the_audit_log_lists_changes_newest_first(config: Path) -> None:
    def audit(*words: str) -> Done:
        done = sitelatch("audit", "--config", str(config), *words)
        assert (done.code, done.err) == (0, "")
        return done

    user = create(config, "--site", "shop", "--name", "Export")
    assert sitelatch("users", "delete", "--config", str(config), user["id"]).code == 0
    deleted, created = json.loads(audit("--json", "--subject", user["id"]).out)
    assert (deleted["action"], created["action"]) == ("user.deleted", "user.created")
    assert created["actor"] == {"name": "Ada Admin", "email": "ada@example.com"}
    assert created["address"] == deleted["address"] == "command"
    assert created["detail"]["sites"] == ["shop"]
    for filters, found in (
        (("--actor", "ADA@example.com"), [created["id"]]),
        (("--actor", "nobody@example.com"), []),
        (("--action", "user.deleted"), [deleted["id"]]),
        (("--search", "export ada"), [created["id"]]),
        (("--since", "2999-01-01T00:00:00Z"), []),
        (("--until", "2999-01-01T00:00:00+01:00"), [deleted["id"], created["id"]]),
        (("--search", "\udcff"), []),
    ):
        listed = json.loads(audit("--json", "--subject", user["id"], *filters).out)
        assert [line["id"] for line in listed] == found, filters
    table = audit("--workspace", "acme").out
    assert table.splitlines()[0].split() == ["AT", "WHO", "FROM", "ACTION", "WORKSPACE", "SUBJECT", "NAME"]
    assert re.search(rf"^\S+ \S+ .*  command  user\.deleted  +acme  +{user['id']}  Export$", table, re.MULTILINE)
    assert user["api_key"] not in table
    assert len(json.loads(audit("--json", "--limit", "1").out)) == 1


def test_a_list_longer_than_one_page_is_printed_completely(config: Path, tmp_path: Path) -> None:
    csv = tmp_path / "sites.csv"
    sites = [f"page-{number:04}" for number in range(1100)]
    csv.write_text("site,workspace,display_name\n" + "".join(f"{site},pages,Page\n" for site in sites))
    assert sitelatch("sites", "import", "--create-workspaces", "--config", str(config), str(csv)).code == 0
    listed = json.loads(sitelatch("sites", "list", "--config", str(config), "--json").out)
    assert [site["id"] for site in listed if site["workspace"] == "pages"] == sites
    assert {site["display_name"] for site in listed if site["workspace"] == "pages"} == {"Page"}
    noted = json.loads(sitelatch("audit", "--config", str(config), "--json", "--limit", "1050").out)
    assert len({line["id"] for line in noted}) == 1050


def test_with_unbuffered_python_a_signal_during_a_write_loses_no_output(config: Path, tmp_path: Path) -> None:
    csv = tmp_path / "sites.csv"
    csv.write_text("site,workspace\n" + "".join(f"signal-{number:04},signals\n" for number in range(2500)))
    assert sitelatch("sites", "import", "--create-workspaces", "--config", str(config), str(csv)).code == 0
    listing = subprocess.Popen(
        [sys.executable, "-m", "sitelatch", "sites", "list", "--config", str(config), "--json"],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    with listing:
        assert listing.stdout is not None
        filled = struct.pack("i", 0)
        deadline = time.monotonic() + SECONDS
        while struct.unpack("i", filled)[0] < 1 << 12:  # until the pipe is full, or nearly full
            assert time.monotonic() < deadline
            time.sleep(0.05)
            filled = fcntl.ioctl(listing.stdout, termios.FIONREAD, filled)
        time.sleep(0.2)
        for sent in (signal.SIGSTOP, signal.SIGCONT):
            listing.send_signal(sent)
            time.sleep(0.1)
        assert len([each for each in json.load(listing.stdout) if each["workspace"] == "signals"]) == 2500
    assert listing.returncode == 0


def test_json_output_contains_all_sites_of_each_user(config: Path, tmp_path: Path) -> None:
    csv = tmp_path / "sites.csv"
    sites = [f"all-{number:02}" for number in range(25)]
    csv.write_text("site,workspace\n" + "".join(f"{site},acme\n" for site in sites))
    assert sitelatch("sites", "import", "--config", str(config), str(csv)).code == 0
    user = create(config, *(word for site in sites for word in ("--site", site)))
    listed = json.loads(sitelatch("users", "list", "--config", str(config), "--json").out)
    assert [each["sites"] for each in listed if each["id"] == user["id"]] == [sites]
    assert "all-19 and 5 more" in sitelatch("users", "list", "--config", str(config)).out


def test_an_audit_subject_that_is_not_valid_text_matches_nothing(config: Path) -> None:
    done = sitelatch("audit", "--config", str(config), "--json", "--subject", "\udcff")
    assert (done.code, done.out, done.err) == (0, "[]\n", "")


@pytest.mark.parametrize("workspace", ["nowhere", "", "\udcff"])
def test_an_unknown_workspace_in_a_filter_is_an_error(config: Path, workspace: str) -> None:
    done = sitelatch("audit", "--config", str(config), "--workspace", workspace)
    assert (done.code, done.out) == (1, "")
    assert "does not exist. The known workspaces are " in done.log[0]["reason"]


def test_adding_a_site_twice_succeeds_but_removing_it_twice_fails(config: Path) -> None:
    def run(subcommand: str, *words: str) -> Done:
        return sitelatch("sites", subcommand, "--config", str(config), *words)

    assert run("add", "--workspace", "new", "a1", "a2").out == "Added: a1, a2.\n"
    assert run("add", "--workspace", "new", "a2", "a3") == Done(0, "Added: a3.\nUnchanged: a2.\n", "")
    assert run("add", "--workspace", "acme", "a1").code == 1
    assert re.search(r"^a1 +new +a1$", run("list").out, re.MULTILINE)
    removed = run("remove", "a1", "a2", "a3")
    assert (removed.code, removed.out) == (0, "Removed a1, a2, a3.\n")
    assert run("remove", "a1").code == 1


@pytest.mark.parametrize(
    "words",
    [
        ("users", "create", "--workspace", "acme", "--by-name", "A", "--by-email", "a@b.c"),
        (
            "users",
            "create",
            "--workspace",
            "acme",
            "--by-name",
            "A",
            "--by-email",
            "a@b.c",
            "--all-sites",
            "--site",
            "shop",
        ),
        ("users", "create", "--workspace", "acme", "--all-sites"),
        ("sites", "add", "--workspace", "acme"),
        ("explain", "GET"),
        ("explain", "--user", "x", "--key-stdin", "GET", "/"),
        ("explain", "--form", "a=b", "--json-body", "{}", "POST", "/"),
        ("explain", "--user", "x", "GET", "/", "--header", "nothing"),
        ("explain", "--user", "x", "GET", "/", "--client-address", "nowhere"),
        ("explain", "--user", "x", "GET", "/", "--header", "X: a\nb"),
        ("serve", "--port", "80"),
        ("audit", "--limit", "0"),
        ("audit", "--action", "user.renamed"),
        ("audit", "--since", "2026-11-30"),
        ("audit", "--until", "2026-02-30T00:00:00Z"),
        *(
            ("users", "create", "--workspace", "acme", "--all-sites", "--by-name", name, "--by-email", email)
            for name, email in (
                ("", "a@b.c"),
                ("A\nB", "a@b.c"),
                ("\udcff", "a@b.c"),
                ("A", ""),
                ("A", "ada"),
                ("A", "ada@example"),
                ("A", "a@b.c\x1b[2J"),
            )
        ),
    ],
)
def test_bad_usage_exits_with_code_2(config: Path, words: tuple[str, ...]) -> None:
    done = sitelatch(*words, "--config", str(config))
    assert (done.code, done.out) == (2, "")
    assert done.err


@pytest.mark.parametrize("subcommand", ["serve", "migrate", "check-config", "users list"])
def test_a_bad_config_exits_with_code_2_and_one_line_per_error(tmp_path: Path, subcommand: str) -> None:
    file = tmp_path / "sitelatch.toml"
    file.write_text(config_text("postgresql://u:hunter2@h/d") + "[limits]\nhead_bytes = 0\n[log]\naccess = 3\n")
    done = sitelatch(*subcommand.split(), "--config", str(file))
    assert (done.code, done.out) == (2, "")
    assert [line["event"] for line in done.log] == ["bad_config", "bad_config"]
    line = file.read_text().splitlines().index("head_bytes = 0") + 1
    assert done.log[0]["complaint"] == f"{file}:{line}: [limits] head_bytes: must be greater than 0."
    assert "hunter2" not in done.err


def test_check_config_confirms_a_valid_config(config: Path) -> None:
    done = sitelatch("check-config", "--config", str(config), environ={"SITELATCH_LOG__ACCESS": "off"})
    assert (done.code, done.out) == (0, "The config is valid. Routes: deletable, data.\n")
    assert done.err.startswith(f"warning: {config}:")
    assert '[[proxy.routes]] "data" sites, item 2: "query:site" applies to every path' in done.err


def test_a_command_exits_with_code_1_if_the_database_is_unreachable(tmp_path: Path) -> None:
    file = tmp_path / "sitelatch.toml"
    file.write_text(config_text("postgresql://u:hunter2@127.0.0.1:1/d"))
    done = sitelatch("users", "list", "--config", str(file))
    assert (done.code, done.out) == (1, "")
    assert done.log[0]["event"] == "database_unreachable"
    assert "hunter2" not in done.err


def test_migrate_lists_what_it_applied_and_a_missing_schema_is_reported(tmp_path: Path, bare_dsn: str) -> None:
    file = tmp_path / "sitelatch.toml"
    file.write_text(config_text(bare_dsn))
    unready = sitelatch("users", "list", "--config", str(file))
    assert unready.code == 1
    assert "run `sitelatch migrate`" in unready.log[0]["reason"]
    first = sitelatch("migrate", "--config", str(file))
    assert first.code == 0
    assert first.out.startswith("0001_")
    again = sitelatch("migrate", "--config", str(file))
    assert (again.code, len(again.out.splitlines())) == (0, 1)
    assert sitelatch("users", "list", "--config", str(file)).code == 0


def test_similar_site_ids_are_refused_and_existing_ones_are_listed(
    tmp_path: Path, database_url: str, config: Path
) -> None:
    done = sitelatch("sites", "add", "--config", str(config), "--workspace", "acme", "my shop")
    assert (done.code, done.out) == (0, "Added: my shop.\n")
    clash = sitelatch("sites", "add", "--config", str(config), "--workspace", "globex", "my+shop")
    assert (clash.code, clash.out) == (1, "")
    assert 'the site "my shop" of the workspace "acme" as equal' in clash.log[0]["reason"]
    csv = tmp_path / "sites.csv"
    csv.write_text("site,workspace\nMÝ shop,globex\n", encoding="utf-8")
    clash = sitelatch("sites", "import", "--config", str(config), str(csv))
    assert (clash.code, clash.out) == (1, "")
    assert 'the site "my shop" of the workspace "acme" as equal' in clash.log[0]["reason"]
    run_aside(write_site(database_url, "my+shop"))
    listed = 'Some data services treat the sites "my shop" and "my+shop" as the same. Check that yours does not.'
    for _ in range(2):
        migrated = sitelatch("migrate", "--config", str(config))
        assert (migrated.code, migrated.out.splitlines()[0]) == (0, listed)
    done = sitelatch("sites", "remove", "--config", str(config), "my shop", "my+shop")
    assert done.code == 0


def test_every_command_starts_and_migrates_an_embedded_database(tmp_path: Path) -> None:
    file = tmp_path / "sitelatch.toml"
    file.write_text(config_text("embedded:var/postgres"))
    done = sitelatch("sites", "add", "--config", str(file), "--workspace", "acme", "shop")
    assert (done.code, done.out) == (0, "Added: shop.\n")
    assert "shop" in sitelatch("sites", "list", "--config", str(file)).out


NEW_TOKEN = ("tokens", "new", "--name", 'Ada "Ä" \\ \N{GRINNING FACE}', "--email", "ada@example.com")


def test_standard_output_of_tokens_new_has_the_config_entry_but_not_the_token(config: Path, tmp_path: Path) -> None:
    done = sitelatch(*NEW_TOKEN)
    assert done.code == 0
    [token] = re.findall(r"sla_[A-Za-z0-9_-]{43,}", done.err)
    assert token not in done.out
    assert hashlib.sha256(token.encode()).hexdigest() in done.out
    file = tmp_path / "sitelatch.toml"
    file.write_text(config.read_text() + done.out)
    assert sitelatch("check-config", "--config", str(file)).code == 0


@pytest.mark.parametrize("end", ["\n", ""])
def test_a_new_token_can_be_appended_to_the_config_in_place(config: Path, tmp_path: Path, end: str) -> None:
    file = tmp_path / "sitelatch.toml"
    file.write_text(config.read_text().rstrip("\n") + end)
    file.chmod(0o640)
    before = file.stat()
    digests = set()
    for _ in range(2):
        done = sitelatch(*NEW_TOKEN, "--append", str(file))
        assert (done.code, done.out) == (0, "")
        [token] = re.findall(r"sla_[A-Za-z0-9_-]{43,}", done.err)
        digests.add(hashlib.sha256(token.encode()).hexdigest())
    assert (file.stat().st_mode, file.stat().st_ino) == (before.st_mode, before.st_ino)
    assert {table["sha256"] for table in tomllib.loads(file.read_text())["admin"]["tokens"]} == digests
    assert sitelatch("check-config", "--config", str(file)).code == 0


@pytest.mark.parametrize("text", ["[admin]\ntokens = []\n", "not TOML"])
def test_a_config_to_which_a_token_cannot_be_appended_stays_unchanged(tmp_path: Path, text: str) -> None:
    file = tmp_path / "sitelatch.toml"
    file.write_text(text)
    done = sitelatch(*NEW_TOKEN, "--append", str(file))
    assert (done.code, done.out) == (2, "")
    assert "without --append" in done.err
    assert "sla_" not in done.err
    assert file.read_text() == text


def test_the_config_is_found_without_an_option(config: Path, tmp_path: Path) -> None:
    assert "docs" in sitelatch("sites", "list", environ={"SITELATCH_CONFIG": str(config)}).out
    command = [sys.executable, "-m", "sitelatch", "check-config"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    missing = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert missing.returncode == 2
    assert "No config file was found. Give --config FILE, set SITELATCH_CONFIG" in missing.stderr
    (tmp_path / "sitelatch.toml").write_text(config.read_text())
    assert subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True).returncode == 0


def at_a_terminal(*words: str, **environ: str) -> str:
    """Run a command whose standard error is a terminal, and return what the terminal shows."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "sitelatch", *words]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **environ}, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux reports the end of a terminal as an error
        while data := os.read(ours, 1000):
            shown += data
    os.close(ours)
    return shown.decode()


def test_messages_are_text_on_a_terminal_and_json_elsewhere(tmp_path: Path) -> None:
    words = ("check-config", "--config", str(tmp_path / "missing.toml"))
    reason = f"{tmp_path}/missing.toml: cannot be read: No such file or directory"
    assert at_a_terminal(*words, TERM="xterm") == f"\x1b[31merror:\x1b[0m {reason}\r\n"
    assert at_a_terminal(*words, NO_COLOR="1") == f"error: {reason}\r\n"
    assert at_a_terminal(*words, TERM="dumb") == f"error: {reason}\r\n"
    assert json.loads(at_a_terminal(*words, "--log-format", "json"))["complaint"] == reason
    assert json.loads(at_a_terminal("serve", *words[1:]))["complaint"] == reason
    assert sitelatch(*words).log[0]["complaint"] == reason
    assert sitelatch(*words, "--log-format", "text").err == f"error: {reason}\n"
    assert sitelatch("--log-format", "text", *words).err == f"error: {reason}\n"


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


@pytest.mark.parametrize(("path", "command"), [(("sitelatch",), cli), *commands(cli)], ids=lambda each: str(each))
def test_the_first_line_of_every_help_text_is_whole(path: tuple[str, ...], command: click.Command) -> None:
    text = click.unstyle(command.get_help(click.Context(command, info_name=path[-1], terminal_width=80)))
    usage, summary, *_ = text.split("\n\n")
    assert usage.startswith("Usage: ")
    assert "\n" not in summary
    assert summary.endswith(".")
    if isinstance(command, click.Group):
        assert "..." not in text.partition("Commands:")[2]


def test_a_shell_can_complete_commands_and_options(config: Path) -> None:
    def completions(line: str) -> str:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_SITELATCH_COMPLETE": "bash_complete"}
        return sitelatch(environ=words).out

    assert completions("sitelatch us") == "plain,usage\nplain,users\n"
    assert completions("sitelatch users li") == "plain,list\n"
    assert "plain,--json" in completions("sitelatch users list --")


@pytest.mark.parametrize(("name", "email"), [("", "ada@example.com"), ("Ada", "a"), ("Ada\x7f", "ada@example.com")])
def test_a_token_is_not_created_for_a_person_whom_the_config_would_reject(name: str, email: str) -> None:
    done = sitelatch("tokens", "new", "--name", name, "--email", email)
    assert (done.code, done.out) == (2, "")


def test_a_workspace_name_that_is_not_valid_text_is_unknown(config: Path) -> None:
    person = ("--by-name", "Ada Admin", "--by-email", "ada@example.com")
    done = sitelatch("users", "create", "--config", str(config), "--workspace", "\udcff", "--all-sites", *person)
    assert (done.code, done.out) == (1, "")
    assert "does not exist" in done.log[0]["reason"]


def test_a_dry_run_shows_every_change_and_error_and_changes_nothing(config: Path, tmp_path: Path) -> None:
    csv = tmp_path / "sites.csv"
    csv.write_bytes("Site;Owner;Workspace;Name\r\nkiosk;x;previewed;Büdchen\r\nshop;x;;\r\n".encode("latin-1"))
    preview = ["sites", "import", "--config", str(config), "--workspace", "acme", str(csv), "--dry-run"]
    report = [
        "Would add: kiosk.",
        "Unchanged: shop.",
        "Ignored columns: Owner.",
        "The file is not UTF-8 text. It was read as Windows-1252, so check letters with accents.",
        "",
    ]
    refused = sitelatch(*preview)
    assert (refused.code, refused.out.split("\n")) == (1, report)
    assert refused.log[0]["reason"].startswith(f'{csv}: Line 2: The workspace "previewed" does not exist.\n')
    previewed = sitelatch(*preview, "--create-workspaces")
    assert (previewed.code, previewed.out.split("\n")) == (0, ["Would create workspaces: previewed.", *report])
    assert "kiosk" not in sitelatch("sites", "list", "--config", str(config)).out


def test_an_import_reads_a_bare_list_of_ids_from_standard_input(config: Path) -> None:
    done = sitelatch("sites", "import", "--config", str(config), "--workspace", "acme", "-", stdin="stall\nbooth\n")
    assert done == Done(0, "Added: stall, booth.\n", "")
    empty = sitelatch("sites", "import", "--config", str(config), "--workspace", "acme", "-", stdin="site\n")
    assert (empty.code, empty.out) == (1, "")
    assert empty.log[0]["reason"] == "standard input: The file contains no sites, only headings."


def test_each_fault_of_an_imported_file_names_the_file_and_the_line(config: Path, tmp_path: Path) -> None:
    csv = tmp_path / "sites.csv"
    csv.write_bytes(b"\xef\xbb\xbfSite,Workspace,\r\na/b,acme,\r\n,acme,\r\n,,\r\n\r\n")
    done = sitelatch("sites", "import", "--config", str(config), str(csv))
    assert (done.code, done.out) == (1, "")
    faults = done.log[0]["reason"].split("\n")
    assert [fault.partition(": ")[0] for fault in faults] == [str(csv)] * 2
    assert [fault.split(": ")[1] for fault in faults] == ["Line 2", "Line 3"]


def test_an_import_creates_workspaces_only_with_the_option(config: Path, tmp_path: Path) -> None:
    csv = tmp_path / "sites.csv"
    csv.write_text("site,workspace\nimported-1,acme\nimported-2,imported\n")
    refused = sitelatch("sites", "import", "--config", str(config), str(csv))
    assert (refused.code, refused.out) == (1, "")
    reason = refused.log[0]["reason"]
    assert f'{csv}: Line 3: The workspace "imported" does not exist.' in reason
    assert "--create-workspaces" in reason
    assert "imported-1" not in sitelatch("sites", "list", "--config", str(config)).out
    done = sitelatch("sites", "import", "--create-workspaces", "--config", str(config), str(csv))
    assert done == Done(0, "Created workspaces: imported.\nAdded: imported-1, imported-2.\n", "")
    many = [f"many-{number:04}" for number in range(1234)]
    csv.write_text("\n".join(many))
    done = sitelatch("sites", "import", "--workspace", "imported", "--config", str(config), str(csv))
    assert done == Done(0, f"Added: {', '.join(many[:20])} and 1,214 more.\n", "")


@pytest.mark.parametrize(("path", "fault"), [("gone.csv", "No such file or directory"), (".", "Is a directory")])
def test_an_imported_file_that_cannot_be_opened_is_named(config: Path, tmp_path: Path, path: str, fault: str) -> None:
    done = sitelatch("sites", "import", "--config", str(config), str(tmp_path / path))
    assert (done.code, done.out) == (2, "")
    assert f"'{tmp_path / path}': {fault}" in done.err


def explain(config: Path, user: Mapping[str, Any], *words: str) -> str:
    done = sitelatch("explain", "--config", str(config), "--user", user["id"], *words)
    assert (done.code, done.err) == (0 if "\nPASSES" in done.out else 1, ""), done
    return done.out


@pytest.fixture(scope="module")
def shop(config: Path) -> dict[str, Any]:
    return create(config, "--site", "shop")


@pytest.fixture(scope="module")
def everything(config: Path) -> dict[str, Any]:
    return create(config, "--all-sites")


PREFLIGHT = ("--header", "Origin: https://app.example", "--header", "Access-Control-Request-Method: GET")


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (("GET", "/api/sites/shop/uptime"), "PASSES"),
        (("GET", "/api/uptime?site=shop"), "PASSES"),
        (("GET", "/api/health"), "PASSES"),
        (("GET", "/api/uptime", "--header", "X-Site: shop"), "PASSES"),
        (("GET", "/api/sites/blog/uptime"), "REFUSED: 403 site_not_allowed"),
        (("GET", "/api/uptime?site=shop&site=blog"), "REFUSED: 403 site_not_allowed"),
        (("GET", "/api/sites/nowhere/uptime"), "REFUSED: 403 site_not_allowed"),
        (("GET", "/api/sites/shop/%2e%2e/blog/uptime"), "REFUSED: 400 ambiguous_request"),
        (("GET", "/api/uptime"), "REFUSED: 403 site_missing"),
        (("POST", "/api/$batch"), "REFUSED: 403 endpoint_refused"),
        (("GET", "/api/sites/shop/x", "--header", "Connection: X-Site"), "REFUSED: 400 bad_connection_header"),
        # Refused by the front door before it selects a route.
        (("DELETE", "/api/sites/shop/x"), "REFUSED: 405 method_not_allowed"),
        (("LIST", "/api/sites/shop/x"), "PASSES"),
        (("OPTIONS", "/api/sites/blog/x", *PREFLIGHT), "PASSES: this is a CORS preflight"),
        (("OPTIONS", "/api/sites/blog/x", *PREFLIGHT[:2]), "REFUSED: 403 site_not_allowed"),
        (("BREW", "/api/sites/shop/x"), "REFUSED: 501 unknown_method"),
        (("GET X", "/api/sites/shop/x"), "REFUSED: 400 bad_request"),
        (("GET", "/api/sites/shop/a b"), "REFUSED: 400 bad_request"),
        (("GET", "/api/sites/shop/x HTTP/1.1\r\nX: y\r\n\r\n"), "REFUSED: 400 bad_request"),
        (("GET", "/api/sites/shop/x", "--header", "X Y: z"), "REFUSED: 400 bad_request"),
        (("GET", "/api/sites/shop/" + "x" * 9000), "REFUSED: 414 target_too_long"),
        (("GET", "/api/sites/shop/x", *("--header", "X: y") * 101), "REFUSED: 431 head_too_large"),
        (("get", "/api/sites/shop/x"), "Methods are case-sensitive"),
        (("POST", "/api/uptime?site=shop", "--form", "site=blog"), "REFUSED: 415 form_body_not_read"),
        (("POST", "/api/uptime?site=shop", "--json-body", "{}"), "PASSES"),
        # Bytes that a shell can pass but that are not valid UTF-8.
        (("GET", "/api/sites/shop/\udcff"), "REFUSED: 400 bad_request"),
        (("GET", "/api/sites/shop/x", "--header", "X: \udcff"), "PASSES"),
        (("GET", "/api/uptime?site=%FF"), "REFUSED: 403 site_not_allowed"),
    ],
)
def test_explain_prints_the_decision_and_the_reason(
    config: Path, shop: dict[str, Any], words: tuple[str, ...], verdict: str
) -> None:
    output = explain(config, shop, *words)
    assert output.splitlines()[-1].startswith(verdict) or verdict in output
    assert shop["api_key"] not in output


def test_explain_refuses_a_site_of_another_workspace(config: Path, everything: dict[str, Any]) -> None:
    assert "PASSES" in explain(config, everything, "GET", "/api/sites/docs/uptime")
    output = explain(config, everything, "GET", "/api/sites/wiki/uptime")
    assert "REFUSED: 403 site_not_allowed" in output
    assert "globex" in output


def test_explain_reads_the_key_from_standard_input_and_never_prints_it(config: Path, shop: dict[str, Any]) -> None:
    def explain_with(key: str) -> Done:
        words = ("--config", str(config), "--key-stdin", "GET", "/api/sites/shop/uptime")
        return sitelatch("explain", *words, stdin=key + "\n")

    known = explain_with(shop["api_key"])
    assert (known.code, known.err) == (0, "")
    assert "PASSES" in known.out
    assert shop["api_key"] not in known.out
    assert "REFUSED: 401 invalid_key" in explain_with("slk_" + "0" * 38).out
    assert "REFUSED: 401 missing_key" in explain_with("").out


def test_explain_masks_a_key_in_an_unexpected_place(config: Path, shop: dict[str, Any]) -> None:
    assert shop["api_key"] not in explain(config, shop, "GET", f"/api/sites/{shop['api_key']}/uptime")


def test_explain_without_a_user_decides_on_a_request_without_a_key(config: Path) -> None:
    words = ("explain", "--config", str(config), "GET")
    public = sitelatch(*words, "/api/health")
    assert (public.code, public.err) == (0, "")
    assert "PASSES: no key is needed" in public.out
    refused = sitelatch(*words, "/api/sites/shop/uptime")
    assert (refused.code, refused.err) == (1, "")
    assert "REFUSED: 401 missing_key" in refused.out


def test_explain_exits_with_3_if_it_cannot_decide(config: Path, tmp_path: Path) -> None:
    words = ("--user", "nobody", "GET", "/api/sites/shop/uptime")
    unknown = sitelatch("explain", "--config", str(config), *words)
    assert (unknown.code, unknown.err) == (3, "")
    assert "UNDECIDED: This API user does not exist." in unknown.out
    unreachable = tmp_path / "sitelatch.toml"
    unreachable.write_text(config_text("postgresql://sitelatch:secret@127.0.0.1:1/none"))
    undecided = sitelatch("explain", "--config", str(unreachable), *words)
    assert (undecided.code, undecided.err) == (3, "")
    assert "UNDECIDED: The database does not answer" in undecided.out
    assert "secret" not in undecided.out
    public = sitelatch("explain", "--config", str(unreachable), "GET", "/api/health")
    assert public.code == 0


def test_an_unknown_command_counts_as_bad_usage_and_help_succeeds(config: Path) -> None:
    assert sitelatch("user").code == 2
    done = sitelatch("--help")
    assert (done.code, done.err) == (0, "")
    assert "check-config" in done.out
    assert sitelatch("--version").out.startswith("sitelatch")
