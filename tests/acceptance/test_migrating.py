"""The recipes of docs/migrating.md, on published examples: the old keys work at the front door."""

import asyncio
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import asyncpg
import httpx
import pytest

from sql.pool import open_connection
from sql.queries import query
from tests.acceptance.harness import Sitelatch
from tests.acceptance.page.installation import DataApi
from tests.acceptance.shell import ROOT, SECONDS, sitelatch
from tests.acceptance.wire import DEADLINE_SECONDS
from tests.database import run_aside

PAGE: Final = (ROOT / "docs" / "migrating.md").read_text()
DATA: Final = ROOT / "tests" / "data"
BEARER: Final = {"Authorization": "Bearer sk-kdEXbIqZRwEeEiHwdg7sFA"}


def block(heading: str, language: str = "sh") -> str:
    """Return the first block in this language below a heading of the page."""
    section = re.split(rf"^#+ {heading}$", PAGE, flags=re.MULTILINE)[1]
    found = re.search(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


@pytest.fixture(scope="module")
def latch(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Sitelatch]:
    """A running Sitelatch with the `[keys]` of the page, and the workspace acme with the site shop."""
    data = http.server.ThreadingHTTPServer(("127.0.0.1", 0), DataApi)
    threading.Thread(target=data.serve_forever, daemon=True).start()
    route = {
        "name": "data",
        "upstream": f"http://127.0.0.1:{data.server_port}",
        "sites": ["path:/api/sites/{site}/**"],
    }
    keys = {"from": ["header:apikey", "bearer"], "accept_foreign": True}
    assert 'from = ["header:apikey", "bearer"]\naccept_foreign = true' in PAGE
    latch = Sitelatch(tmp_path_factory.mktemp("migrating"), database_url, [route], keys=keys)
    try:
        latch.start()
        latch.create_sites_and_users()
        yield latch
    finally:
        latch.stop()
        data.shutdown()
        data.server_close()


def run(text: str, folder: Path, **environ: str) -> None:
    """Run a block of the page in a folder, with the Python of these tests."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "python3").symlink_to(sys.executable)
    environ["PATH"] = f"{tools}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", text], cwd=folder, env=os.environ | environ, capture_output=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def wait_for_answer(latch: Sitelatch, status: int, headers: dict[str, str]) -> None:
    """Wait until a request with these headers gets this status."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    with httpx.Client(trust_env=False) as client:
        while (answer := client.get(f"{latch.url}/api/sites/shop/x", headers=headers)).status_code != status:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.02)


@pytest.mark.parametrize(
    ("heading", "example", "requests"),
    [
        ("Kong", "kong.yml", [{"apikey": "ariel-key"}, {"apikey": "rosario-key"}]),
        ("Apache APISIX", "apisix-consumers.json", [{"apikey": "secret-key"}]),
        ("Envoy", "envoy.yaml", [{"Authorization": "Bearer one_key"}, {"Authorization": "Bearer another_key"}]),
        ("nginx", "api_keys.conf", [{"apikey": "7B5zIqmRGXmrJTFmKa99vcit"}, {"apikey": "mGcjH8Fv6U9y3BVF9H3Ypb9T"}]),
        ("LiteLLM", "litellm.sql", [BEARER]),
    ],
)
def test_after_the_recipe_the_old_keys_work(
    latch: Sitelatch, database_url: str, tmp_path: Path, heading: str, example: str, requests: list[dict[str, str]]
) -> None:
    shutil.copy(DATA / example, tmp_path)
    if example.endswith(".sql"):
        run_aside(execute(database_url, (DATA / example).read_text()))
    for headers in requests:
        wait_for_answer(latch, 401, headers)
    run(block(heading), tmp_path, LITELLM_DATABASE_URL=database_url)
    [file] = [*tmp_path.glob("keys.*")]
    options = ("--config", str(latch.config), "--workspace", "acme", "--all-sites", "--allow-weak")
    dry = sitelatch("import", *options, "--dry-run", str(file))
    done = sitelatch("import", *options, str(file))
    assert (dry.code, done.code) == (0, 0), done
    assert (dry.out, done.out) == (f"Would import: {count(example)}.\n", f"Imported: {count(example)}.\n")
    assert done.err == ""
    for headers in requests:
        wait_for_answer(latch, 200, headers)
    assert sitelatch("import", *options, str(file)).out == f"Unchanged: {count(example)}.\n"


def count(example: str) -> int:
    return {"kong.yml": 2, "apisix-consumers.json": 1, "envoy.yaml": 2, "api_keys.conf": 3, "litellm.sql": 1}[example]


async def execute(database_url: str, statements: str) -> None:
    connection = await open_connection(database_url, role="tests")
    await connection.execute(statements)
    await connection.close()


def test_the_command_says_what_is_wrong_and_warns_if_foreign_keys_are_refused(latch: Sitelatch, tmp_path: Path) -> None:
    file = tmp_path / "keys.csv"
    file.write_text("key,name\nkq3vT8-Zp1mX9wLr4sNc,Export\nshort,Other\n")
    config = tmp_path / "sitelatch.toml"
    config.write_text(latch.config.read_text().replace('"accept_foreign" = true', '"accept_foreign" = false'))
    words = ("import", "--config", str(config), "--workspace", "acme", "--site", "shop")
    broken = sitelatch(*words, str(file))
    assert (broken.code, broken.out) == (1, "")
    assert broken.log[-1]["reason"].startswith(f"{file}: Line 3: The key is shorter than 20 characters")
    file.write_text("key,name\nkq3vT8-Zp1mX9wLr4sNc,Export\n")
    done = sitelatch(*words, "--by-name", "Ada Admin", "--by-email", "ada@example.com", str(file))
    assert (done.code, done.out) == (0, "Imported: 1.\n")
    assert [line["event"] for line in done.log] == ["foreign_keys_refused"]
    for output in (broken, done):
        assert "kq3vT8" not in output.out + output.err
    missing = sitelatch(*words, "--by-name", "Ada Admin", str(file))
    assert missing.code == 2


async def test_sites_follow_the_table_of_the_data_service(dsn: str) -> None:
    connection = await open_connection(dsn, role="tests")

    async def sites() -> dict[str, tuple[str | None, str | None]]:
        names = ["old", "/old", "Shop.EU", "/shop.eu"]
        return {
            row["name"]: (row["id"], row["workspace"]) for row in await connection.fetch(query("find_sites"), names)
        }

    async def changes() -> set[str]:
        return {row["subject"] for row in await connection.fetch("SELECT subject FROM sitelatch.scope_changes")}

    await connection.execute(
        "CREATE TABLE public.sites (id text PRIMARY KEY, account text NOT NULL, name text NOT NULL)"
    )
    await connection.execute("INSERT INTO public.sites VALUES ('old', 'acme', 'Old')")
    await connection.execute(block("In the same database", "sql"))
    assert (await sites())["old"] == ("old", "acme")
    await connection.execute("INSERT INTO public.sites VALUES ('Shop.EU', 'globex', 'Shop')")
    assert (await sites())["/shop.eu"] == ("Shop.EU", "globex")
    await connection.execute("UPDATE public.sites SET name = 'The shop' WHERE id = 'Shop.EU'")
    assert await connection.fetchval("SELECT display_name FROM sitelatch.sites WHERE id = 'Shop.EU'") == "The shop"
    await connection.execute("UPDATE public.sites SET account = 'acme' WHERE id = 'Shop.EU'")
    assert (await sites())["Shop.EU"] == ("Shop.EU", "acme")
    await connection.execute("DELETE FROM public.sites WHERE id = 'old'")
    assert (await sites())["old"] == (None, None)
    assert {"old", "Shop.EU"} <= await changes()
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await connection.execute("INSERT INTO public.sites VALUES ('SHOP.eu', 'globex', 'Another')")
    await connection.close()


async def test_sites_follow_a_table_in_another_database(dsn: str, tmp_path: Path) -> None:
    await execute(dsn, "CREATE TABLE public.sites (id text, account text, name text)")
    await execute(
        dsn, "INSERT INTO public.sites VALUES ('kiosk', 'stalls', 'Kiosk, new'), ('booth', 'stalls', 'Booth')"
    )
    config = tmp_path / "sitelatch.toml"
    config.write_text(
        '[[proxy.routes]]\nname = "data"\nupstream = "http://127.0.0.1:9000"\nsites = ["query:site"]\n'
        f'[database]\nurl = "{dsn}"\n'
    )
    (tmp_path / "sitelatch").write_text(f'#!/bin/sh\nexec {sys.executable} -m sitelatch "$@"\n')
    (tmp_path / "sitelatch").chmod(0o755)
    text = f"PATH=$PWD:$PATH; export PYTHONPATH={ROOT}\n{block('In another database')}"
    await asyncio.to_thread(run, text, tmp_path, DATA_DATABASE_URL=dsn)
    connection = await open_connection(dsn, role="tests")
    rows = await connection.fetch("SELECT id, display_name FROM sitelatch.sites ORDER BY id")
    assert [tuple(row) for row in rows] == [("booth", "Booth"), ("kiosk", "Kiosk, new")]
    await connection.close()
