"""The image, without a container engine: its steps and its entry point, in a read-only root.

The RUN step of the Dockerfile runs with the files that .dockerignore lets through. The commands run as the image's
user, with the image's environment, without capabilities and without a home directory.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.database import temporary_database
from tests.deploy.folder import DEPLOY, ROOT

pytestmark = [pytest.mark.deploy, pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")]

DOCKERFILE: Final = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
SCRIPT: Final = Path(__file__).with_name("image.sh")


def instruction(name: str) -> str:
    """Return the argument of the last instruction with this name."""
    found: list[str] = re.findall(rf"^{name} +(.*)$", DOCKERFILE, re.MULTILINE)
    return found[-1]


def words(name: str) -> str:
    """Return an instruction in the form of a JSON list as words for the shell."""
    return " ".join(json.loads(instruction(name)))


def build_context(folder: Path) -> None:
    """Copy what the Dockerfile copies, if .dockerignore lets it through."""
    ignore = (ROOT / ".dockerignore").read_text().split()
    assert ignore[0] == "*"
    allowed = [entry[1:] for entry in ignore if entry.startswith("!")]
    sources = [
        word for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    ]
    for name in allowed:
        if any(Path(name).is_relative_to(source) for source in sources):
            (target := folder / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, target)


@pytest.fixture
def database(database_server: str) -> Iterator[str]:
    """The DSN of an empty database of a server with a unix socket."""
    with temporary_database(database_server, "template0") as dsn:
        yield dsn


def test_the_image_serves_from_a_read_only_root(tmp_path: Path, database: str) -> None:
    build_context(context := tmp_path / "context")
    environment = instruction("ENV").replace("$PATH", "/usr/local/bin:/usr/bin:/bin")
    parts = urlsplit(database)
    socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.{parse_qs(parts.query)['port'][0]}"
    relayed = f"postgresql://{parts.username}@127.0.0.1{parts.path}"
    config = DEPLOY / "compose" / "sitelatch.toml"
    relay = Path(__file__).with_name("database_relay.py")
    script = ["sh", str(SCRIPT), str(context), sys.base_prefix, str(config), relayed, str(relay), socket]
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", *script],
        env={
            **os.environ,
            "RUN": instruction("RUN"),
            "USER": instruction("USER"),
            "ENVIRONMENT": environment,
            "ENTRYPOINT": words("ENTRYPOINT"),
            "CMD": words("CMD"),
            "STOPSIGNAL": instruction("STOPSIGNAL").removeprefix("SIG"),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        "the root is read-only",
        "status without a key: 401",
        'with a key: {"site": "shop"',
        "page: 200",
        "stopped with 0",
    ):
        assert line in done.stdout, done.stdout + done.stderr
