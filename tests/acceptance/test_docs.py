"""Checks of the claims in the documentation that a program can verify."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from proxy import refusals
from proxy.refusals import Refusal
from sitelatch.command import cli
from sitelatch.config import Config
from tests.acceptance.faults import FAULTS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
REFUSALS = (ROOT / "docs" / "refusals.md").read_text()
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
OPERATING = (ROOT / "docs" / "operating.md").read_text()
GUARANTEES = (ROOT / "docs" / "guarantees.md").read_text()
TEST = r"(?:unit|integration|acceptance)/(?:\w+/)?test_\w+\.py::test_\w+"


def blocks(language: str, page: str = README) -> list[str]:
    """Return the code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_refusals_page_lists_every_refusal_with_its_status() -> None:
    listed = [(code, int(status)) for status, code in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", REFUSALS, re.MULTILINE)]
    real = {(refusal.code, refusal.status) for refusal in vars(refusals).values() if isinstance(refusal, Refusal)}
    assert set(listed) == real
    assert len(listed) == len(real)
    assert listed == sorted(listed, key=lambda row: row[1])


def test_modules_import_only_from_lower_layers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c(['--no-cache'])"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "line",
    [
        re.split("[#<>]", line)[0]
        for page in (README, CONFIGURATION, REFUSALS)
        for block in blocks("sh", page)
        for line in block.splitlines()
        if line.startswith("sitelatch ")
    ],
)
def test_the_options_of_a_documented_command_exist(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [text] = blocks("toml")
    (tmp_path / "sitelatch.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)[1:]
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
    command.make_context(name, words)


def test_the_operating_page_lists_every_command() -> None:
    [listed] = re.findall(r"^## Commands\n\n.*? runs: (.*?)\.\n\n", OPERATING, re.MULTILINE | re.DOTALL)
    verbs = set()
    for words in re.findall(r"`([^`]+)`", listed):
        first, _, rest = words.partition(" ")
        verbs |= {f"{first} {verb}" for verb in rest.split("|")} if rest else {first}
    real = set()
    for name, command in cli.commands.items():
        real |= {f"{name} {verb}" for verb in command.commands} if isinstance(command, click.Group) else {name}
    assert verbs == real


def test_make_has_the_targets_that_the_documents_name() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        commands = " ".join(re.findall(r"`[^`\n]*`|^make .*", page.read_text(), re.MULTILINE))
        assert set(re.findall(r"\bmake ([a-z-]+)", commands)) <= targets, page.name


def test_the_seconds_in_the_documents_are_the_defaults() -> None:
    fields = Config.model_fields
    assert fields["grants"].default.ttl_seconds == 30
    assert "cached for 30 s" in README
    assert "`grants.ttl_seconds` (30)" in OPERATING


def table(title: str) -> list[list[str]]:
    """Return the rows of the tables in docs/guarantees.md whose first column has this title."""
    rows, wanted = [], False
    for line in GUARANTEES.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if wanted and cells and set(cells) != {"---"}:
            rows.append(cells)
        wanted = bool(cells) and (wanted or cells[0] == title)
    return rows


def test_every_guarantee_names_tests_that_are_run() -> None:
    promises = table("promise")
    assert len(promises) > 60
    for promise in promises:
        assert len(promise) == 5, promise
        assert re.fullmatch(rf"`{TEST}`(, `{TEST}`)*", promise[3]), promise[0]
    # pytest itself says whether it would run each.
    named = [f"tests/{name}" for name in re.findall(f"`({TEST})`", GUARANTEES)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *named],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_guarantees_list_every_fault_of_the_campaign() -> None:
    assert [row[0] for row in table("fault")] == list(FAULTS)


def test_constraints_pin_exact_versions() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), line
