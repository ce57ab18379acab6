"""The command at a terminal: lists that fit it, and questions before anybody loses access."""

import csv
import json
import re
import signal
from pathlib import Path

import pytest

from sitelatch.commands.tables import cells
from tests.acceptance.shell import Done, sitelatch
from tests.acceptance.terminal import Terminal, at_terminal
from tests.database import execute

CONFIG = """
[[proxy.routes]]
name = "data"
upstream = "http://127.0.0.1:9000"
sites = ["query:site"]
workspace = "acme"

[database]
url = "{url}"
"""
SCOPE = """
INSERT INTO sitelatch.workspaces (name) VALUES ('acme'), ('globex');
INSERT INTO sitelatch.sites (id, folded, workspace_id, display_name)
SELECT w.name || '-' || n, w.name || '-' || n, w.id, 'Site ' || n
FROM sitelatch.workspaces w, generate_series(1, 3) n;
INSERT INTO sitelatch.api_users
  (id, workspace_id, name, all_sites, authorized_by_name, authorized_by_email, created_at, disabled_at)
SELECT made.id::uuid, w.id, made.name, made.all_sites, 'Ada Admin', 'ada@example.com', made.created_at::timestamptz,
       made.disabled_at::timestamptz
FROM (VALUES
  ('aaaaaaaa-0000-4000-8000-000000000001', 'acme', 'Nightly export', false, '2026-01-01', NULL),
  ('bbbbbbbb-0000-4000-8000-000000000002', 'acme', NULL, true, '2026-01-02', NULL),
  ('cccccccc-0000-4000-8000-000000000003', 'globex', E'\\x1b[2J日本語', false, '2026-01-03', '2026-01-04'),
  ('cccccccc-1111-4000-8000-000000000004', 'globex', 'A name that is longer than the column of most terminals',
   false, '2026-01-04', NULL)
) AS made (id, workspace, name, all_sites, created_at, disabled_at)
JOIN sitelatch.workspaces w ON w.name = made.workspace;
INSERT INTO sitelatch.api_keys (digest, user_id, hint)
SELECT sha256(id::text::bytea), id, 'slk_' || left(id::text, 4) || '…' || right(id::text, 4) FROM sitelatch.api_users;
INSERT INTO sitelatch.api_user_sites (user_id, site_id)
SELECT u.id, s.id
FROM sitelatch.api_users u JOIN sitelatch.sites s ON s.workspace_id = u.workspace_id AND s.id NOT LIKE '%3'
WHERE NOT u.all_sites;
UPDATE sitelatch.api_user_activity SET last_used_at = now() - interval '150 minutes'
WHERE user_id = 'aaaaaaaa-0000-4000-8000-000000000001';
"""
EXPORT = "aaaaaaaa-0000-4000-8000-000000000001"


@pytest.fixture
def config(dsn: str, tmp_path: Path) -> str:
    """The path of a config with a database that contains two workspaces, six sites and four API users."""
    execute(dsn, SCOPE)
    file = tmp_path / "sitelatch.toml"
    file.write_text(CONFIG.format(url=dsn))
    return str(file)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A file to which standard output is redirected."""
    file = tmp_path / "output"
    file.touch()
    return file


def users(config: str, *words: str) -> list[str]:
    done = sitelatch("users", "list", "--json", "--config", config, *words)
    assert (done.code, done.err) == (0, "")
    return [user["id"][:8] for user in json.loads(done.out)]


def test_the_list_of_users_fits_the_terminal(config: str, output: Path) -> None:
    for columns in (40, 80, 160):
        code, shown = at_terminal("users", "list", "--config", config, columns=columns)
        assert code == 0
        titles, long, foreign, unnamed, export = shown.splitlines()
        assert max(map(cells, shown.splitlines())) <= columns
        assert "\x1b" not in shown
        assert titles.startswith("NAME")
        assert export.startswith("Nightly exp")
        assert unnamed.startswith("Unnamed")
        assert "slk_cccc…0004" in long
        assert foreign.startswith("\\x1b[2J")
        assert len({cells(line[: line.index("slk_")]) for line in (long, foreign, unnamed, export)}) == 1
        if columns >= 80:
            assert titles.split()[:6] == ["NAME", "KEY", "SITES", "LAST", "ACTIVITY", "ID"]
            for line, scope, activity in (
                (export, "2 sites", "2 h ago"),
                (unnamed, "all sites", "never"),
                (foreign, "disabled", "never"),
            ):
                assert scope in line
                assert activity in line
    assert EXPORT in export
    assert "Ada Admin <ada@example.com>" in export
    assert "WORKSPACE" in titles
    assert "WORKSPACE" not in at_terminal("users", "list", "--workspace", "acme", "--config", config, columns=160)[1]

    # Standard output that is not a terminal gets the columns that scripts read, in full.
    assert at_terminal("users", "list", "--config", config, stdout=output) == (0, "")
    titles, *rows = output.read_text().splitlines()
    assert titles.split() == ["ID", "KEY", "WORKSPACE", "SITES", "AUTHORIZED", "BY", "LAST", "ACTIVITY", "NAME"]
    assert re.split(" {2,}", rows[-1])[:4] == [EXPORT, "slk_aaaa…0001", "acme", "acme-1 acme-2"]


def test_the_list_of_users_is_filtered_sorted_and_limited(config: str) -> None:
    assert users(config) == ["cccccccc", "cccccccc", "bbbbbbbb", "aaaaaaaa"]
    assert users(config, "--sort", "created") == ["aaaaaaaa", "bbbbbbbb", "cccccccc", "cccccccc"]
    assert users(config, "--sort", "-last_activity", "--limit", "1") == ["aaaaaaaa"]
    assert users(config, "--workspace", "acme") == ["bbbbbbbb", "aaaaaaaa"]
    assert users(config, "--search", "export") == ["aaaaaaaa"]
    assert users(config, "--search", "globex-2", "--limit", "5") == ["cccccccc", "cccccccc"]
    for words, code in (
        (("--workspace", "amce"), 1),
        (("--sort", "name of nothing"), 2),
        (("--limit", "0"), 2),
        (("--json", "--csv"), 2),
    ):
        done = sitelatch("users", "list", "--config", config, *words)
        assert (done.code, done.out) == (code, "")
        assert done.err


def test_the_list_of_users_is_printed_as_csv(config: str) -> None:
    done = sitelatch("users", "list", "--csv", "--sort", "created", "--config", config)
    assert (done.code, done.err) == (0, "")
    export, unnamed, foreign, _ = csv.DictReader(done.out.splitlines())
    assert (export["id"], export["name"], export["workspace"]) == (EXPORT, "Nightly export", "acme")
    assert (export["sites"], export["all_sites"], export["keys"]) == ("acme-1;acme-2", "false", "slk_aaaa…0001")
    assert (export["authorized_by_name"], export["authorized_by_email"]) == ("Ada Admin", "ada@example.com")
    assert (unnamed["name"], unnamed["sites"], unnamed["all_sites"]) == ("", "", "true")
    assert (export["last_activity"] > "2026", unnamed["last_activity"], export["disabled_at"]) == (True, "", "")
    assert foreign["disabled_at"].startswith("2026-01-0")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1+2", "@SUM(A1)", " =cmd|' /C calc'!A0", "a;=1", "＝1"])
def test_a_csv_list_contains_no_formula(config: str, name: str) -> None:
    """Admins choose names, and a spreadsheet program would run them."""
    given = ["--by-name", "=Ada", "--by-email", "ada@example.com", "--workspace", "acme", "--site", "acme-1"]
    made = json.loads(sitelatch("users", "create", "--name", name, *given, "--config", config).out)
    [user] = [
        row
        for row in csv.DictReader(sitelatch("users", "list", "--csv", "--config", config).out.splitlines())
        if row["id"] == made["id"]
    ]
    sitelatch("users", "delete", "--yes", made["id"], "--config", config)
    assert user["authorized_by_name"] == "'=Ada"
    assert user["name"].replace("'", "") == name.strip().replace("'", "")
    for part in user["name"].split(";"):
        assert part.strip()[0] not in "=+-@＝"


def test_a_user_is_shown_by_its_id_or_the_beginning_that_the_list_shows(config: str) -> None:
    _, shown = at_terminal("users", "list", "--config", config)
    [cut] = [word for word in shown.splitlines()[-1].split() if word.startswith("aaaaaaaa")]
    assert cut.endswith("…")
    expected = sitelatch("users", "show", "--config", config, EXPORT)
    assert (expected.code, expected.err) == (0, "")
    for text in ("Nightly export", EXPORT, "acme", "acme-1", "acme-2", "slk_aaaa…0001", "Ada Admin <ada@example.com>"):
        assert text in expected.out
    assert "(2 h ago)" in expected.out
    assert sitelatch("users", "show", "--config", config, cut) == expected
    assert sitelatch("users", "show", "--config", config, EXPORT[:8].upper()) == expected
    user = json.loads(sitelatch("users", "show", "--json", "--config", config, EXPORT).out)
    assert (user["id"], user["sites"]) == (EXPORT, ["acme-1", "acme-2"])
    for wrong, reason in (
        ("aaaaaaa", "does not exist"),
        ("aaaaaaaa-00-", "does not exist"),
        ("dddddddd", "does not exist"),
        ("cccccccc", "several API users"),
        ("", "does not exist"),
    ):
        done = sitelatch("users", "show", "--config", config, wrong)
        assert (done.code, done.out) == (1, "")
        assert reason in done.log[0]["reason"]
    assert sitelatch("users", "delete", "--config", config, "cccccccc").code == 1
    assert len(users(config)) == 4


def test_deleting_a_user_asks_at_a_terminal_and_says_what_it_loses_access_to(config: str, output: Path) -> None:
    delete = ("users", "delete", "--config", config)
    loses = "Nightly export (slk_aaaa…0001), authorized by Ada Admin <ada@example.com>, loses access to 2 sites of the "
    loses += 'workspace "acme": acme-1, acme-2. It was last used 2 h ago.'
    for answer in ("\n", "yess\n", "\x04"):
        terminal = Terminal(*delete, EXPORT, stdout=output)
        assert loses in terminal.read_until("[y/N]")
        terminal.type(answer)
        code, shown = terminal.end()
        assert (code, output.read_text()) == (1, "")
        assert "Nothing was changed." in shown
    terminal = Terminal(*delete, EXPORT)
    terminal.read_until("[y/N]")
    terminal.interrupt(signal.SIGINT)
    assert terminal.end()[0] == 1
    assert len(users(config)) == 4

    terminal = Terminal(*delete, EXPORT[:8], stdout=output)
    terminal.read_until("[y/N]")
    terminal.type("y\n")
    assert terminal.end()[0] == 0
    assert output.read_text() == f"Deleted {EXPORT}.\n"
    code, shown = at_terminal(*delete, "--yes", "bbbbbbbb-0000-4000-8000-000000000002")
    assert (code, "[y/N]" in shown) == (0, False)
    assert "Unnamed (slk_bbbb…0002), authorized by Ada Admin <ada@example.com>, loses access to all sites of" in shown
    done = sitelatch(*delete, "cccccccc-0000-4000-8000-000000000003")
    assert (done.code, done.out) == (0, "Deleted cccccccc-0000-4000-8000-000000000003.\n")
    assert [line["event"] for line in done.log] == ["access_ends"]
    assert 'loses access to 2 sites of the workspace "globex": globex-1, globex-2.' in done.log[0]["reason"]
    assert users(config) == ["cccccccc"]


def test_removing_sites_asks_at_a_terminal_and_says_who_loses_access(config: str, output: Path) -> None:
    remove = ("sites", "remove", "--config", config)
    terminal = Terminal(*remove, "acme-1", "acme-3", stderr=output)  # standard output is still a terminal
    shown = terminal.read_until("[y/N]")
    assert '1 API user loses access to the site "acme-1": Nightly export (slk_aaaa…0001).' in shown
    assert '1 API user for all sites of the workspace "acme" loses access to the site "acme-3".' in shown
    terminal.type("no\n")
    assert terminal.end()[0] == 1
    assert output.read_text() == ""
    assert sitelatch("sites", "list", "--config", config).out.count("acme-") == 3
    terminal = Terminal(*remove, "acme-1", "acme-3")
    terminal.read_until("[y/N]")
    terminal.type("Yes\n")
    code, shown = terminal.end()
    assert (code, shown.splitlines()[-1]) == (0, "Removed acme-1, acme-3.")
    done = sitelatch(*remove, "globex-1", "globex-3")
    assert (done.code, done.out) == (0, "Removed globex-1, globex-3.\n")
    [line] = done.log
    assert '2 API users lose access to the site "globex-1": ' in line["reason"]
    assert 'No API user of the workspace "globex" loses access to the site "globex-3".' in line["reason"]
    missing = sitelatch(*remove, "globex-2", "nowhere")
    assert (missing.code, missing.log) == (1, [missing.log[0] | {"reason": 'The site "nowhere" does not exist.'}])


def test_adding_a_site_to_an_unknown_workspace_asks_at_a_terminal_and_otherwise_warns(config: str) -> None:
    add = ("sites", "add", "--config", config, "--workspace")
    terminal = Terminal(*add, "amce", "new")
    shown = terminal.read_until("[y/N]")
    assert 'The workspace "amce" does not exist. The known workspaces are "acme", "globex".' in shown
    terminal.type("n\n")
    assert terminal.end()[0] == 1
    assert "amce" not in sitelatch("workspaces", "list", "--config", config).out
    terminal = Terminal(*add, "asked", "new")
    terminal.read_until("[y/N]")
    terminal.type("y\n")
    assert terminal.end()[0] == 0
    assert at_terminal(*add, "asked", "new")[1] == "Unchanged: new.\n"
    code, shown = at_terminal(*add, "unasked", "--yes", "other")
    assert (code, shown.splitlines()) == (
        0,
        ['Created the workspace "unasked", which did not exist.', "Added: other."],
    )
    done = sitelatch(*add, "scripted", "third")
    assert (done.code, done.out) == (0, "Added: third.\n")
    assert [(line["event"], line["reason"]) for line in done.log] == [
        ("workspace_created", 'Created the workspace "scripted", which did not exist.')
    ]
    invalid = sitelatch(*add, " padded", "fourth")
    assert (invalid.code, invalid.out, len(invalid.log)) == (1, "", 1)


def test_workspaces_are_listed_added_renamed_and_removed(config: str) -> None:
    def workspaces(*words: str) -> Done:
        return sitelatch("workspaces", words[0], "--config", config, *words[1:])

    assert workspaces("add", "new", "acme", "other") == Done(0, "Added: new, other.\nUnchanged: acme.\n", "")
    listed = {
        each["name"]: (each["site_count"], each["user_count"]) for each in json.loads(workspaces("list", "--json").out)
    }
    assert listed == {"acme": (3, 2), "globex": (3, 2), "new": (0, 0), "other": (0, 0)}
    assert workspaces("list").out.splitlines()[1].split()[:3] == ["acme", "3", "2"]
    assert workspaces("rename", "new", "newer") == Done(0, "Renamed new to newer.\n", "")
    renamed = workspaces("rename", "acme", "acme-eu")
    assert (renamed.code, renamed.out) == (0, "Renamed acme to acme-eu.\n")
    assert [line["event"] for line in renamed.log] == ["config_names_workspace"]
    assert '[[proxy.routes]] "data" workspace contains "acme"' in renamed.log[0]["reason"]
    for words, reason in (
        (("rename", "nowhere", "x"), "does not exist"),
        (("rename", "other", "globex"), "already exists"),
        (("rename", "other", ""), "1 to 255"),
        (("add", "ok", "\x1b"), "1 to 255"),
        (("remove", "other", "globex"), 'The workspace "globex" has 3 sites and 2 API users. Remove them first.'),
        (("remove", "nowhere"), "does not exist"),
    ):
        done = workspaces(*words)
        assert (done.code, done.out) == (1, "")
        assert reason in done.log[0]["reason"]
    assert workspaces("remove", "other", "newer") == Done(0, "Removed other, newer.\n", "")
    assert workspaces("list").out.count("\n") == 3
    assert [line["action"] for line in json.loads(sitelatch("audit", "--json", "--config", config).out)] == [
        *["workspace.removed"] * 2,
        *["workspace.renamed"] * 2,
        *["workspace.created"] * 2,
    ]
