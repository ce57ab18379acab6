"""Credentials of admins that change while `serve` runs."""

import hashlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.harness import Sitelatch
from tests.acceptance.wire import until
from tests.ports import free_port

FIRST, SECOND = "sla_" + "first" * 9, "sla_" + "second" * 8


def tokens(*given: str) -> str:
    return json.dumps(
        [
            {"name": "Ada", "email": "ada@example.com", "sha256": hashlib.sha256(token.encode()).hexdigest()}
            for token in given
        ]
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.write_text(tokens(FIRST))
    return file


@pytest.fixture
def latch(tmp_path: Path, database_url: str, file: Path) -> Iterator[Sitelatch]:
    route = {"name": "data", "upstream": f"http://127.0.0.1:{free_port()}", "sites": ["path:/{site}/**"]}
    latch = Sitelatch(tmp_path, database_url, [route])
    latch.tables["admin"] = {"listen": latch.admin}
    latch.launch_alone(environ={"SITELATCH_ADMIN__TOKENS_FILE": str(file)})
    latch.wait_for_readiness(200)
    yield latch
    latch.stop()


def put(file: Path, text: str) -> None:
    file.write_text(text)


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def accepts(latch: Sitelatch, token: str) -> bool:
    with latch.admin_client(token) as client:
        return client.get("/users").status_code == 200


def events(latch: Sitelatch) -> list[str]:
    return [line["event"] for line in latch.log_lines()]


async def test_admin_tokens_in_a_file_are_replaced_without_a_restart(latch: Sitelatch, file: Path) -> None:
    assert accepts(latch, FIRST)
    assert not accepts(latch, SECOND)
    put(file, tokens(SECOND))  # noticed without a signal
    await until(lambda: accepts(latch, SECOND), "the new token is accepted", 20)
    assert not accepts(latch, FIRST)

    # A file that is not complete leaves the tokens as they are.
    put(file, tokens(FIRST)[:50])
    latch.signal(signal.SIGHUP)
    await until(lambda: "files_not_reloaded" in events(latch), "the fault is logged")
    assert accepts(latch, SECOND)
    assert not accepts(latch, FIRST)


async def test_other_options_need_a_restart_and_the_log_names_them(latch: Sitelatch, file: Path) -> None:
    append(latch.config, "\n[limits]\nhead_seconds = 3\n\n[keys]\nfrom = ['bearer']\n")
    latch.signal(signal.SIGHUP)
    line = latch.wait_for_log("restart_needed")
    assert line["changed_options"] == ["keys.from", "limits.head_seconds"]
    assert accepts(latch, FIRST)
