"""How `serve` begins and what it is ready for: without a database, with a wrong schema, on sockets of every kind."""

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

import httpx
import pytest

from proxy.decision.api_keys import digest, new_key
from sql.migrate import LATEST, migrate
from sql.pool import open_connection
from tests.acceptance.harness import Sitelatch, Table
from tests.acceptance.wire import until
from tests.database import TEMPLATE, add_user, add_workspace, create_database, drop_database
from tests.ports import free_port

Launch = Callable[..., Sitelatch]
ROUTE: Table = {
    "name": "data",
    # Nobody listens there: what passes is answered 502.
    "upstream": "http://127.0.0.1:1",
    "sites": ["path:/sites/{site}"],
}


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts a process and waits for nothing."""
    with contextlib.ExitStack() as stack:

        def launch(database_url: str, **tables: Table) -> Sitelatch:
            latch = Sitelatch(tmp_path, database_url, [ROUTE], **tables)
            stack.callback(latch.stop)
            latch.launch()
            return latch

        yield launch


@pytest.fixture
async def doomed_dsn(database_server: str) -> AsyncIterator[str]:
    """A migrated database that the test may drop itself."""
    fresh = await create_database(database_server, TEMPLATE)
    yield fresh
    await drop_database(database_server, fresh)


async def key_for_shop(dsn: str) -> str:
    connection = await open_connection(dsn, role="tests")
    try:
        await add_workspace(connection, "acme", "shop")
        key = new_key()
        await add_user(connection, "acme", "shop", digest=digest(key.encode()))
    finally:
        await connection.close()
    return key


def ask(latch: Sitelatch, key: str) -> tuple[int, str]:
    """Ask for the shop; return the status and the refusal's code."""
    with httpx.Client(trust_env=False, timeout=20) as client:
        answer = client.get(latch.url + "/sites/shop", headers={"X-API-Key": key})
    if answer.status_code == 503:
        assert int(answer.headers["Retry-After"]) > 0
    return answer.status_code, answer.json()["code"]


def readiness(latch: Sitelatch) -> tuple[int, dict[str, Any]]:
    with httpx.Client(trust_env=False) as client:
        answer = client.get(f"http://{latch.ops}/readyz")
    return answer.status_code, answer.json()


def logged(latch: Sitelatch, event: str) -> list[dict[str, Any]]:
    return [line for line in latch.log_lines() if line["event"] == event]


async def until_it_listens(latch: Sitelatch, times: int) -> None:
    await until(lambda: len(logged(latch, "listening")) == times, "it listens")


async def test_it_starts_without_a_database_and_recovers_by_itself(launch: Launch, dsn: str, tmp_path: Path) -> None:
    key = await key_for_shop(dsn)
    parts = urlsplit(dsn)
    real = parse_qs(parts.query)["host"][0]
    link = tmp_path / "db"
    latch = launch(urlunsplit(parts._replace(query=parts.query.replace(quote(real, safe="/"), str(link)))))
    latch.wait_for_readiness(503)
    assert readiness(latch)[1]["database"] == "not reached yet"
    assert ask(latch, key) == (503, "scope_unavailable")
    assert ask(latch, "slk_nonsense") == (401, "invalid_key")
    link.symlink_to(real)
    latch.wait_for_readiness(200)
    await until(lambda: ask(latch, key) == (502, "upstream_unreachable"), "the key passes")
    assert logged(latch, "database_up")


async def test_a_wrong_schema_is_said_and_nobody_passes_until_it_is_right(launch: Launch, bare_dsn: str) -> None:
    latch = launch(bare_dsn)
    latch.wait_for_readiness(503)
    await until(lambda: readiness(latch)[1]["database"] == "wrong schema version", "the schema is looked at")
    [line] = logged(latch, "wrong_schema_version")
    assert line["level"] == "error"
    assert "run `sitelatch migrate`" in line["reason"]
    assert ask(latch, new_key()) == (503, "scope_unavailable")
    connection = await open_connection(bare_dsn, role="tests")
    try:
        await migrate(connection)
        # As a newer version of Sitelatch would leave it.
        await connection.execute(
            "INSERT INTO sitelatch.schema_migrations (version, name) VALUES ($1, 'later')", LATEST + 1
        )
        await until(lambda: len(logged(latch, "wrong_schema_version")) == 2, "the schema is looked at again")
        assert "newer" in logged(latch, "wrong_schema_version")[1]["reason"]
        assert ask(latch, new_key()) == (503, "scope_unavailable")
        await connection.execute("DELETE FROM sitelatch.schema_migrations WHERE version = $1", LATEST + 1)
    finally:
        await connection.close()
    latch.wait_for_readiness(200)
    await until(lambda: ask(latch, new_key()) == (401, "invalid_key"), "unknown keys are told so")


async def test_after_an_outage_it_finds_out_by_itself_that_lookups_are_answered_again(launch: Launch, dsn: str) -> None:
    """So that of those who come first, all at once, nobody is refused."""
    latch = launch(dsn)
    latch.wait_for_readiness(200)
    connection = await open_connection(dsn, role="tests")
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE sitelatch.api_keys")
            assert ask(latch, new_key()) == (503, "scope_unavailable")
            assert not logged(latch, "database_answers_again")
    finally:
        await connection.close()
    await until(lambda: bool(logged(latch, "database_answers_again")), "it is found out, and nobody asks")


def test_whoever_is_told_that_it_is_ready_finds_the_front_door_open(launch: Launch, database_url: str) -> None:
    latch = launch(database_url)
    host, _, port = latch.ops.rpartition(":")
    answer = b""
    while not answer.startswith(b"HTTP/1.1 200"):
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, int(port))) as probe:
            probe.sendall(b"GET /readyz HTTP/1.1\r\nHost: ops\r\n\r\n")
            answer = probe.recv(4096)
        assert latch.running
    host, _, port = latch.address.rpartition(":")
    socket.create_connection((host, int(port))).close()


async def test_it_stays_ready_through_an_outage_and_says_so(
    launch: Launch, doomed_dsn: str, database_server: str
) -> None:
    key = await key_for_shop(doomed_dsn)
    latch = launch(doomed_dsn, grants={"ttl_seconds": 1, "stale_seconds": 600})
    latch.wait_for_readiness(200)
    assert readiness(latch)[1]["database"] == "up"
    assert latch.metric("sitelatch_database_up") == 1
    assert ask(latch, key) == (502, "upstream_unreachable")
    await drop_database(database_server, doomed_dsn)
    await until(lambda: readiness(latch) == (200, {"status": "ready", "database": "down"}), "the outage is noticed")
    assert latch.metric("sitelatch_database_up") == 0
    # Also while nothing has to be looked up: the key that is held would be served stale.
    assert latch.metric("sitelatch_revocation_bound_seconds") == 601
    assert ask(latch, key) == (502, "upstream_unreachable")
    assert ask(latch, new_key()) == (503, "scope_unavailable")


async def test_a_port_that_is_taken_is_named(launch: Launch, dsn: str) -> None:
    for table in ("proxy", "ops", "admin"):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            latch = launch(dsn, **{table: {"listen": listen}})
            assert latch.wait() == 1
            [line] = logged(latch, "failed")[-1:]
            assert line["reason"].startswith(f"[{table}] listen {listen}: ")


async def test_ops_and_admin_may_share_an_address(launch: Launch, dsn: str) -> None:
    listen = f"127.0.0.1:{free_port()}"
    latch = launch(dsn, ops={"listen": listen}, admin={"listen": listen})
    latch.ops = listen
    latch.wait_for_readiness(200)
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://{listen}/metrics")).status_code == 200
        assert (await client.get(f"http://{listen}/admin/users")).status_code == 401


async def test_every_door_can_be_a_unix_socket_even_after_a_kill(launch: Launch, dsn: str, tmp_path: Path) -> None:
    key = await key_for_shop(dsn)
    sockets = {table: tmp_path / f"{table}.sock" for table in ("proxy", "ops", "admin")}
    tables = {table: {"listen": f"unix:{path}"} for table, path in sockets.items()}

    def get(table: str, path: str) -> int:
        transport = httpx.HTTPTransport(uds=str(sockets[table]))
        with httpx.Client(transport=transport, trust_env=False) as client:
            return client.get(f"http://sitelatch{path}", headers={"X-API-Key": key}).status_code

    for number in (1, 2):
        latch = launch(dsn, **tables)
        await until_it_listens(latch, number)
        assert get("ops", "/readyz") == 200
        assert get("proxy", "/sites/shop") == 502
        assert get("admin", "/admin/users") == 401
        os.kill(latch.pid, 9)
        latch.wait()
        assert all(path.exists() for path in sockets.values())
