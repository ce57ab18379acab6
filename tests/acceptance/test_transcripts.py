"""The transcripts in the documentation: the output below a command is that of a real run.

`WRITE_TRANSCRIPTS=1 pytest tests/acceptance/test_transcripts.py` writes them anew.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from sql.migrate import migrate
from sql.pool import open_connection
from tests.acceptance.shell import ROOT, SECONDS, sitelatch
from tests.database import as_role
from tests.integration.test_sql_roles import with_roles
from tests.ports import free_port

USER: Final = "7b0c8d1e-5f3a-4c2b-9d8e-1a2b3c4d5e6f"
"""The API user in the documentation."""
PORT: Final = "9000"
"""The upstream's port in the documentation."""
OPEN_FILES: Final = "may open 1,048,576 files, and needs at most 10,592"


class Place:
    """A folder with the config that the transcripts are made with, and an API user of the site `shop`."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self._port = str(free_port())
        (folder / "sitelatch.toml").write_text(f"""
[[proxy.routes]]
name = "data"
upstream = "http://127.0.0.1:{self._port}"
sites = ["path:/api/sites/{{site}}/**", "query:site"]

[database]
url = "{as_role(database_url, "sitelatch_doors")}"

[admin]
database_url = "{as_role(database_url, "sitelatch_admin")}"
""")
        config = ("--config", str(folder / "sitelatch.toml"))
        assert sitelatch("sites", "add", *config, "--workspace", "acme", "shop", "blog").code == 0
        person = ("--by-name", "Ada Admin", "--by-email", "ada@example.com")
        created = sitelatch("users", "create", *config, "--workspace", "acme", "--site", "shop", *person)
        self._user = json.loads(created.out)

    def run(self, block: str) -> str:
        """Run a block of shell commands in the folder, and return its output as the documentation shows it."""
        environ = {
            "API_KEY": self._user["api_key"],
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        command = self.folder / "sitelatch"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m sitelatch "$@"\n')
        command.chmod(0o755)
        done = subprocess.run(
            ["bash", "-c", block],
            cwd=self.folder,
            env=os.environ | environ,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert self._user["api_key"] not in done.stdout
        assert done.stderr == ""
        return self._as_documented(done.stdout)

    def _as_documented(self, output: str) -> str:
        output = output.replace(self._user["id"], USER).replace(self._port, PORT)
        output = output.replace(f"{self.folder}/", "/etc/sitelatch/")
        output = re.sub(r"PostgreSQL \d+\.\d+", "PostgreSQL 18.1", output)
        return re.sub(r"may open .*? files, and needs at most [\d,]+", OPEN_FILES, output)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, database_server: str, database_url: str) -> Place:
    async def create_roles() -> None:
        async with with_roles(database_server, database_url):
            owner = await open_connection(database_url, role="tests")
            await migrate(owner)
            await owner.close()

    asyncio.run(create_roles())
    return Place(tmp_path_factory.mktemp("transcripts"), database_url)


def transcripts(page: str) -> Mapping[str, str]:
    """Return the shell blocks of a page that are followed by their output."""
    text = (ROOT / page).read_text()
    return dict(re.findall(r"^```sh\n((?:(?!```).*\n)+)```\n\n```text\n((?:(?!```).*\n)*)```$", text, re.MULTILINE))


@pytest.mark.parametrize("page", ["docs/operating.md", "docs/refusals.md"])
def test_the_transcripts_of_a_page_are_the_output_of_its_commands(place: Place, page: str) -> None:
    shown = transcripts(page)
    assert shown, f"{page} has no transcript"
    real = {command: place.run(command) for command in shown}
    if os.environ.get("WRITE_TRANSCRIPTS"):
        text = (ROOT / page).read_text()
        for command, output in shown.items():
            text = text.replace(f"{command}```\n\n```text\n{output}", f"{command}```\n\n```text\n{real[command]}")
        (ROOT / page).write_text(text)
        shown = transcripts(page)
    assert shown == real
