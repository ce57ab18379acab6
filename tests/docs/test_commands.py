"""Every shell block of the documentation, run as a new user would run it.

The blocks run as they stand, one page after another, in a fresh clone with an empty home directory. A variable that a
page needs is set by a block before it. A block that cannot run here is in NOT_RUN, with the reason.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.database import temporary_database
from tests.docs.reader import ROOT, Network, Reader, tools_in

pytestmark = pytest.mark.docs

PAGES: Final = [
    "README.md",
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")),
    "tests/backends/README.md",
]
LANGUAGES: Final = {"sh", "toml", "json", "yaml", "text", "python", "js", "sql"}
"""A block of commands is marked `sh`, and no other block contains commands."""

NO_ENGINE: Final = "needs a container engine, which runs neither here nor in CI"
NO_SYSTEMD: Final = "needs systemd as the init process, and installs into /opt and /etc; tests/deploy checks the unit"
ON_EXAMPLES: Final = "needs another program's data; tests/acceptance/test_migrating.py runs it on published examples"
NOT_RUN: Final = {
    ("README.md", "make test "): "runs the complete test suite, which CI does by itself",
    ("docs/containers.md", "docker build "): NO_ENGINE,
    ("docs/containers.md", 'echo "POSTGRES_PASSWORD'): NO_ENGINE,
    ("docs/integrators.md", 'curl -i -H "X-API-Key'): "is run as the admin API serves it, with the address in place",
    ("docs/integrators.md", "curl --fail-with-body"): "is run as the admin API serves it, with the address in place",
    ("docs/migrating.md", "sitelatch import --workspace"): ON_EXAMPLES,
    ("docs/migrating.md", "python3 -c 'import json"): ON_EXAMPLES,
    ("docs/migrating.md", "jq -c '.list"): ON_EXAMPLES,
    ("docs/migrating.md", "(echo key,name"): ON_EXAMPLES,
    ("docs/migrating.md", 'psql "$LITELLM_DATABASE_URL"'): ON_EXAMPLES,
    ("docs/migrating.md", 'psql "$DATA_DATABASE_URL"'): ON_EXAMPLES,
    ("docs/systemd.md", "python3 -m venv"): NO_SYSTEMD,
    ("docs/systemd.md", "systemd-run"): NO_SYSTEMD,
    (
        "tests/backends/README.md",
        "make test-backends",
    ): "CI runs it by itself, and a part of it needs servers of Debian",
}
"""The blocks that are not run: the page and the beginning of the block, and the reason."""

ran: set[tuple[str, str]] = set()


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    language: str
    text: str


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page. Blocks in lists are indented."""
    found = re.findall(r"^( *)```([^\n]*)\n(.*?)^\1```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [Block(page, language.strip(), text) for _, language, text in found]


def commands(page: str) -> list[str]:
    """Return the shell blocks of a page that are run."""
    return [
        text
        for _, language, text in blocks(page)
        if language == "sh" and not any(page == name and text.startswith(start) for name, start in NOT_RUN)
    ]


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    network = Network()
    yield network
    network.close()


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tools_in(tmp_path_factory.mktemp("tools"))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, network: Network, tools: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path_factory.mktemp("reader"), network, tools)
    yield reader
    reader.stop()


@pytest.fixture(scope="module")
def database(database_server: str) -> Iterator[str]:
    """The DSN of an empty database of a real PostgreSQL server."""
    with temporary_database(database_server, "template0") as dsn:
        yield dsn


def succeed(reader: Reader, page: str, text: str, **options: object) -> str:
    """Run a block of a page, and return its output."""
    done = reader.run(text, **options)  # type: ignore[arg-type]
    assert done.code == 0, f"{page}:\n{text}\n{done.output}"
    ran.add((page, text))
    return done.output


def start_data_api(reader: Reader) -> None:
    """Start a data API at the address that the README uses."""
    python = "$HOME/.local/share/pipx/venvs/sitelatch/bin/python"
    assert reader.start(f"{python} -u -m sitelatch.sample_api 127.0.0.1:9000", "Running on").code == 0


def test_the_readme_leads_from_a_clone_to_a_working_key(reader: Reader, database: str) -> None:
    page = "README.md"
    run, install, serve, use = commands(page)

    done = reader.start(run, "Ctrl-C", online=True)
    assert done.code == 0, done.output
    for shown in re.findall(r"^  (curl .*)$", done.output, re.MULTILINE):
        assert reader.run(shown, online=True).code == 0, shown
    reader.stop()
    ran.add((page, run))

    succeed(reader, page, install, online=True)
    start_data_api(reader)
    rules = "path:/api/sites/{site}/** query:site"
    answers = ["http://127.0.0.1:9000", rules, "/api/uptime", database, "Ada Admin", "ada@example.com"]
    done = reader.start(serve, '"listening"', answers=answers)
    assert done.code == 0, done.output
    assert "The data API answers.\nThe database answers.\n" in done.output
    [token] = re.findall(r"sla_\S+", done.output)
    reader.run(f"ADMIN_TOKEN={token}")
    ran.add((page, serve))
    assert '"site": "shop"' in (output := succeed(reader, page, use)), output


@pytest.mark.parametrize(
    "page",
    ["docs/refusals.md", "docs/containers.md", "docs/limits.md", "docs/operating.md", "docs/signing-in.md"],
)
def test_the_commands_of_a_page_work_while_serve_runs(reader: Reader, page: str) -> None:
    for text in commands(page):
        succeed(reader, page, text)


def test_the_commands_of_the_served_guide_work(reader: Reader) -> None:
    served = reader.run(
        'curl -sS --fail-with-body -H "Authorization: Bearer $ADMIN_TOKEN" http://127.0.0.1:9091/admin/integrators.md'
    )
    assert served.code == 0, served.output
    shown = re.findall(r"^```sh\n(.*?)^```", served.output, re.MULTILINE | re.DOTALL)
    assert len(shown) == sum(page == "docs/integrators.md" for page, _ in NOT_RUN)
    for text in shown:
        done = reader.run(text)
        assert done.code == 0, f"{text}\n{done.output}"


def test_serve_ends_with_ctrl_c(reader: Reader) -> None:
    assert any('"stopped"' in output for output in reader.stop())


def test_the_commands_of_the_configuration_page_work(reader: Reader) -> None:
    start_data_api(reader)
    for text in commands("docs/configuration.md"):
        succeed(reader, "docs/configuration.md", text)
    reader.stop()


def test_the_commands_for_contributors_work(reader: Reader) -> None:
    # `make test` would create this environment.
    reader.run(f"rm -rf .venv && ln -s {sys.prefix} .venv")
    for text in commands("docs/contributing.md"):
        succeed(reader, "docs/contributing.md", text)


def test_a_trial_needs_no_database_server(
    tmp_path_factory: pytest.TempPathFactory, network: Network, tools: Path
) -> None:
    page = "README.md"
    _, install, serve, use = commands(page)
    [other] = re.findall(r"pipx install '.*'", install)
    reader = Reader(tmp_path_factory.mktemp("trial"), network, tools)
    try:
        succeed(reader, page, other, online=True)
        start_data_api(reader)
        answers = ["http://127.0.0.1:9000", "path:/api/sites/{site}/**", "embedded:postgres", "Ada", "ada@example.com"]
        assert reader.start(serve, '"listening"', answers=answers).code == 0
        assert '"site": "shop"' in succeed(reader, page, use)
    finally:
        reader.stop()


def test_every_block_is_run_or_listed_with_its_reason() -> None:
    listed = {(block.page, block.text) for page in PAGES for block in blocks(page) if block.language == "sh"}
    skipped = {
        (page, text) for page, text in listed if any(page == name and text.startswith(start) for name, start in NOT_RUN)
    }
    assert listed - skipped - ran == set(), "neither run nor listed in NOT_RUN"
    for name, start in NOT_RUN:
        assert any(page == name and text.startswith(start) for page, text in listed), f"no such block: {name}, {start}"
    assert {block.language for page in PAGES for block in blocks(page)} <= LANGUAGES
