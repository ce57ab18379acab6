"""Start-up and readiness of `serve`: without a database, with a wrong schema, and on TCP and Unix sockets."""

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
    # Nothing listens there, so a request that passes gets 502.
    "upstream": "http://127.0.0.1:1",
    "sites": ["path:/sites/{site}"],
}


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """A function that starts a `serve` process without waiting for it to be ready."""
    with contextlib.ExitStack() as stack:

        def launch(database_url: str, **tables: Table) -> Sitelatch:
            latch = Sitelatch(tmp_path, database_url, [ROUTE], **tables)
            stack.callback(latch.stop)
            latch.launch()
            return latch

        yield launch


@pytest.fixture
async def droppable_dsn(database_server: str) -> AsyncIterator[str]:
    """A migrated database that the test may drop."""
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


def get_shop(latch: Sitelatch, key: str) -> tuple[int, str]:
    """Request the site shop, and return the status and the refusal code."""
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


async def wait_until_listening(latch: Sitelatch, times: int) -> None:
    await until(lambda: len(logged(latch, "listening")) == times, "the process to listen")


async def test_serve_starts_without_a_database_and_recovers_when_it_appears(
    launch: Launch, dsn: str, tmp_path: Path
) -> None:
    key = await key_for_shop(dsn)
    parts = urlsplit(dsn)
    real = parse_qs(parts.query)["host"][0]
    link = tmp_path / "db"
    latch = launch(urlunsplit(parts._replace(query=parts.query.replace(quote(real, safe="/"), str(link)))))
    latch.wait_for_readiness(503)
    assert readiness(latch)[1]["database"] == "not reached yet"
    assert get_shop(latch, key) == (503, "scope_unavailable")
    assert get_shop(latch, "slk_nonsense") == (401, "invalid_key")
    link.symlink_to(real)
    latch.wait_for_readiness(200)
    await until(lambda: get_shop(latch, key) == (502, "upstream_unreachable"), "the key to pass")
    latch.wait_for_log("database_up")


async def test_a_wrong_schema_is_logged_and_requests_are_refused_until_it_is_fixed(
    launch: Launch, bare_dsn: str
) -> None:
    latch = launch(bare_dsn)
    latch.wait_for_readiness(503)
    await until(lambda: readiness(latch)[1]["database"] == "wrong schema version", "the schema to be checked")
    line = latch.wait_for_log("wrong_schema_version")
    assert line["level"] == "error"
    assert "run `sitelatch migrate`" in line["reason"]
    assert get_shop(latch, new_key()) == (503, "scope_unavailable")
    connection = await open_connection(bare_dsn, role="tests")
    try:
        # A schema version from a newer release of Sitelatch. The process never sees the latest one of this release.
        async with connection.transaction():
            await migrate(connection)
            await connection.execute(
                "INSERT INTO sitelatch.schema_migrations (version, name) VALUES ($1, 'later')", LATEST + 1
            )
        await until(lambda: len(logged(latch, "wrong_schema_version")) == 2, "the schema to be checked again")
        assert "newer" in logged(latch, "wrong_schema_version")[1]["reason"]
        assert get_shop(latch, new_key()) == (503, "scope_unavailable")
        await connection.execute("DELETE FROM sitelatch.schema_migrations WHERE version = $1", LATEST + 1)
    finally:
        await connection.close()
    latch.wait_for_readiness(200)
    await until(lambda: get_shop(latch, new_key()) == (401, "invalid_key"), "unknown keys to be refused")


async def test_recovery_from_an_outage_is_detected_without_traffic(launch: Launch, dsn: str) -> None:
    """Without the detection, the first requests after the outage would be refused."""
    latch = launch(dsn)
    latch.wait_for_readiness(200)
    connection = await open_connection(dsn, role="tests")
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE sitelatch.api_keys")
            assert get_shop(latch, new_key()) == (503, "scope_unavailable")
            assert not logged(latch, "database_answers_again")
    finally:
        await connection.close()
    await until(lambda: bool(logged(latch, "database_answers_again")), "the recovery to be detected")


def test_the_front_door_is_open_once_readiness_succeeds(launch: Launch, database_url: str) -> None:
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


async def test_readiness_succeeds_during_an_outage_and_reports_it(
    launch: Launch, droppable_dsn: str, database_server: str
) -> None:
    key = await key_for_shop(droppable_dsn)
    latch = launch(droppable_dsn, grants={"ttl_seconds": 1, "stale_seconds": 600})
    latch.wait_for_readiness(200)
    assert readiness(latch)[1]["database"] == "up"
    assert latch.metric("sitelatch_database_up") == 1
    assert get_shop(latch, key) == (502, "upstream_unreachable")
    await drop_database(database_server, droppable_dsn)
    await until(lambda: readiness(latch) == (200, {"status": "ready", "database": "down"}), "the outage to be detected")
    assert latch.metric("sitelatch_database_up") == 0
    # The bound rises even without any lookup, because the cached key would be served stale.
    assert latch.metric("sitelatch_revocation_bound_seconds") == 601
    assert get_shop(latch, key) == (502, "upstream_unreachable")
    assert get_shop(latch, new_key()) == (503, "scope_unavailable")


async def test_a_port_in_use_is_named_in_the_error(launch: Launch, dsn: str) -> None:
    for table in ("proxy", "ops", "admin"):
        with socket.create_server(("127.0.0.1", 0)) as occupied:
            listen = f"127.0.0.1:{occupied.getsockname()[1]}"
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


async def test_all_listeners_can_use_unix_sockets_even_after_a_kill(launch: Launch, dsn: str, tmp_path: Path) -> None:
    key = await key_for_shop(dsn)
    sockets = {table: tmp_path / f"{table}.sock" for table in ("proxy", "ops", "admin")}
    tables = {table: {"listen": f"unix:{path}"} for table, path in sockets.items()}

    def get(table: str, path: str) -> int:
        transport = httpx.HTTPTransport(uds=str(sockets[table]))
        with httpx.Client(transport=transport, trust_env=False) as client:
            return client.get(f"http://sitelatch{path}", headers={"X-API-Key": key}).status_code

    for number in (1, 2):
        latch = launch(dsn, **tables)
        await wait_until_listening(latch, number)
        assert get("ops", "/readyz") == 200
        assert get("proxy", "/sites/shop") == 502
        assert get("admin", "/admin/users") == 401
        os.kill(latch.pid, 9)
        latch.wait()
        assert all(path.exists() for path in sockets.values())
