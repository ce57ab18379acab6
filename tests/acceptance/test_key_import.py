"""An import of 100,000 keys while requests are served."""

import asyncio
import csv
import secrets
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tests.acceptance.harness import ADMIN_TOKEN, Bench, Lane, Lanes, User, serving
from tests.acceptance.shell import ROOT
from tests.acceptance.wire import DEADLINE_SECONDS, Answering

COUNT = 100_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Bench]:
    keys = {"accept_foreign": True}
    with serving(tmp_path_factory.mktemp("import"), database_url, Lanes(1), keys=keys) as bench:
        yield bench


def write_keys(file: Path) -> list[str]:
    """Write a file with clear and hashed keys in turn, and return the keys."""
    keys = [secrets.token_urlsafe(24) for _ in range(COUNT)]
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["key", "sha256", "sites", "name"])
        for number, key in enumerate(keys):
            name = f"Client {number}"
            if number % 2:
                writer.writerow(["", sha256(key.encode()).hexdigest(), "shop", name])
            else:
                writer.writerow([key, "", "shop;blog", name])
    return keys


async def run(*words: str) -> tuple[int | None, str]:
    """Run a command of any duration, and return its exit code and output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sitelatch", *words),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def seconds_until_refused(client: httpx.AsyncClient, bench: Bench, user: User, target: str) -> float:
    """Delete an API user, and return how long its key is still accepted after the deletion has been confirmed."""
    answer = await client.delete(
        f"http://{bench.latch.admin}/admin/users/{user.id}", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}
    )
    assert answer.status_code == 204, answer.text
    deleted = time.monotonic()
    while (await client.get(target, headers={"X-API-Key": user.key})).status_code != 401:
        pass
    return time.monotonic() - deleted


async def test_100_000_keys_are_imported_in_one_run_while_revocations_take_effect_within_a_second(
    bench: Bench, lane: Lane, tmp_path: Path
) -> None:
    lane.upstream.handler = Answering()
    keys = write_keys(tmp_path / "keys.csv")
    victims = [bench.latch.create_user("acme", "shop") for _ in range(200)]
    target = f"{bench.latch.url}{lane.target('/sites/shop/x')}"
    words = ("import", "--config", str(bench.latch.config), "--workspace", "acme", str(tmp_path / "keys.csv"))
    began = time.monotonic()
    importing = asyncio.create_task(run(*words))
    taken, deleting = [], []
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        while not importing.done() and victims:
            user = victims.pop()
            assert (await client.get(target, headers={"X-API-Key": user.key})).status_code == 200
            before = time.monotonic()
            taken.append(await seconds_until_refused(client, bench, user, target))
            deleting.append(time.monotonic() - before)
            await asyncio.sleep(0.2)  # spreads the deletions over the import
        code, output = await importing
        assert code == 0, output
        assert output == f"Imported: {COUNT:,}.\n"
        seconds = time.monotonic() - began
        for key in (keys[0], keys[1], keys[-1]):
            deadline = time.monotonic() + DEADLINE_SECONDS
            while (await client.get(target, headers={"X-API-Key": key})).status_code != 200:
                assert time.monotonic() < deadline
    began = time.monotonic()
    assert await run(*words) == (0, f"Unchanged: {COUNT:,}.\n")
    sys.stdout.write(
        f"\nimported {COUNT:,} keys in {seconds:.1f} s, and again in {time.monotonic() - began:.1f} s; "
        f"{len(taken)} revocations meanwhile: {1000 * max(taken):.0f} ms after the response, "
        f"{1000 * max(deleting):.0f} ms with the request, at most\n"
    )
    assert max(deleting) < 1
