"""Sitelatch behind a real PgBouncer in transaction mode."""

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from proxy.settings import GrantSettings
from sql.migrate import MIGRATIONS
from sql.pool import open_connection
from tests.acceptance.harness import ADMIN_TOKEN, Lane, Table, User, toml
from tests.acceptance.pooled import Pooled, lane, leftovers, pooled, send_request
from tests.acceptance.shell import Done, sitelatch
from tests.acceptance.wire import Wire, connect, until
from tests.database import run_aside
from tests.pooler import PASSWORD, PooledServer, database_name, version

POLL_SECONDS = 1.0
ANSWER_SECONDS = 0.5
SLACK_SECONDS = 0.5
"""Tolerance for a busy machine."""
TTL_SECONDS = GrantSettings().ttl_seconds
ROUTE: Table = {"name": "data", "upstream": "http://127.0.0.1:1", "without_site": "any-key"}

POOLERS: dict[str, dict[str, object]] = {
    # A connection that is kept while another is acquired would deadlock.
    "one server connection": {"default_pool_size": 1},
    # Consecutive statements run in different sessions.
    "round robin": {"default_pool_size": 5, "server_round_robin": 1},
    "always reset": {
        "default_pool_size": 2,
        "server_reset_query": "DISCARD ALL",
        "server_reset_query_always": 1,
        "server_round_robin": 1,
    },
}
if version() >= (1, 21):
    for count in (0, 100):
        POOLERS[f"{count} prepared statements"] = {"default_pool_size": 2, "max_prepared_statements": count}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PooledServer]:
    server = PooledServer(tmp_path_factory.mktemp("pooled") / "postgres")
    yield server
    server.close()


@pytest.fixture(scope="module", params=POOLERS)
def behind_pooler(
    request: pytest.FixtureRequest, server: PooledServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pooled]:
    """Sitelatch behind a pooler with each of these configurations."""
    with pooled(
        server, tmp_path_factory.mktemp("pooler"), POOLERS[request.param], activity={"flush_seconds": 0.2}
    ) as served:
        yield served


async def lifetime(served: Pooled, lane: Lane, wire: Wire) -> float:
    """Delete a key, and return for how many seconds it still passed."""
    user = served.latch.create_user("acme", "shop")
    request = lane.request("GET", "/sites/shop/x", user=user)
    assert await send_request(wire, request) == (200, "")
    with served.latch.admin_client() as admin:
        assert (await asyncio.to_thread(admin.delete, f"/users/{user.id}")).status_code == 204
    gone = began = time.perf_counter()
    while (answer := await send_request(wire, request))[0] == 200:
        await asyncio.sleep(0.01)
        began = time.perf_counter()
    assert answer == (401, "invalid_key")
    return began - gone


async def test_behind_a_pooler_the_front_door_decides_and_records_activity(behind_pooler: Pooled) -> None:
    keys, latch = behind_pooler.keys, behind_pooler.latch
    async with lane(behind_pooler) as data, connect(latch.address) as wire:
        for user, rest, expected in (
            (keys.shop, "/sites/shop/x", (200, "")),
            (keys.shop, "/sites/blog/x", (403, "site_not_allowed")),
            (keys.shop_and_blog, "/sites/shop/x?site=blog", (200, "")),
            (keys.acme, "/sites/docs/x", (200, "")),
            (keys.acme, "/sites/wiki/x", (403, "site_not_allowed")),
            (User("", "slk_" + "0" * 38), "/sites/shop/x", (401, "invalid_key")),
        ):
            assert await send_request(wire, data.request("GET", rest, user=user)) == expected
        # More concurrent cold keys than server connections.
        users = [latch.create_user("acme", "shop") for _ in range(12)]

        async def first(user: User) -> tuple[int, str]:
            async with connect(latch.address) as own:
                return await send_request(own, data.request("GET", "/sites/shop/x", user=user))

        assert await asyncio.gather(*map(first, users)) == [(200, "")] * len(users)

        def recorded() -> bool:
            with latch.admin_client() as admin:
                return all(admin.get(f"/users/{user.id}").json()["last_activity"] for user in [*users, keys.acme])

        await until(recorded, "last activity was written")
    assert latch.metric("sitelatch_database_up") == 1
    assert latch.metric("sitelatch_activity_flushes_total", result="error") == 0


async def test_behind_a_pooler_a_revoke_takes_effect_within_one_poll(behind_pooler: Pooled) -> None:
    latch = behind_pooler.latch
    assert latch.metric("sitelatch_feed_up", mode="polling") == 1
    assert latch.metric("sitelatch_feed_up", mode="woken") == 0
    assert latch.metric("sitelatch_revocation_bound_seconds") == POLL_SECONDS + ANSWER_SECONDS
    taken: list[float] = []
    async with lane(behind_pooler) as data, connect(latch.address) as wire:
        for _ in range(10):
            losses, lived = latch.feed_losses, await lifetime(behind_pooler, data, wire)
            if latch.feed_losses == losses:
                taken.append(lived)
            else:
                print(f"discarded, because the feed could not be read: {lived:.2f} s")  # noqa: T201 - for the record
                assert lived < TTL_SECONDS, "the bound without the feed"
            if len(taken) == 5:
                break
    assert len(taken) == 5, "the feed was too often unreadable"
    print(f"behind a pooler a deleted key lived {max(taken):.2f} s at most")  # noqa: T201 - for the record
    assert max(taken) < POLL_SECONDS + ANSWER_SECONDS + SLACK_SECONDS


async def listen(client: ClientConnection) -> None:
    while True:
        assert await client.recv() == "tick"


async def test_behind_a_pooler_open_exchanges_end_with_their_key(behind_pooler: Pooled) -> None:
    user = behind_pooler.latch.create_user("acme", "shop")
    data = behind_pooler.lanes.next(behind_pooler.latch, behind_pooler.keys)

    async def tick(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await connection.send("tick")
                await asyncio.sleep(0.01)

    async with await serve(tick, sock=data.socket.dup()):
        url = f"ws://{behind_pooler.latch.address}{data.target('/sites/shop/ws')}"
        async with websocket(url, additional_headers={"X-API-Key": user.key}, proxy=None) as client:
            assert await client.recv() == "tick"
            with behind_pooler.latch.admin_client() as admin:
                assert admin.delete(f"/users/{user.id}").status_code == 204
            async with asyncio.timeout(10):
                with pytest.raises(ConnectionClosedError) as closed:
                    await listen(client)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_a_listen_url_that_bypasses_the_pooler_gets_notifications(server: PooledServer, tmp_path: Path) -> None:
    # Polling is too slow to find the change.
    with pooled(server, tmp_path, {"default_pool_size": 1}, listen=True, grants={"poll_seconds": 60}) as served:
        latch = served.latch
        await until(lambda: latch.metric("sitelatch_feed_up", mode="woken") == 1, "notifications arrive")
        assert latch.metric("sitelatch_revocation_bound_seconds") == 0.05
        async with lane(served) as data, connect(latch.address) as wire:
            taken = [await lifetime(served, data, wire) for _ in range(10)]
        print(f"with a listen_url that bypasses the pooler a deleted key lived {max(taken):.3f} s at most")  # noqa: T201
        assert max(taken) < 2
        assert latch.metric("sitelatch_feed_up", mode="woken") == 1


def test_behind_a_pooler_the_admin_api_and_sessions_work(behind_pooler: Pooled) -> None:
    with behind_pooler.latch.admin_client() as api:
        for _ in range(3):
            made = api.post("/users", json={"workspace": "acme", "sites": ["shop", "blog"], "name": "Zoe"}).json()
            assert api.get("/users", params={"search": "Zoe"}).json()["items"][0]["id"] == made["id"]
            for sort in ("created", "-created", "last_activity", "-last_activity"):
                assert api.get("/users", params={"sort": sort, "limit": 2}).json()["next"]
            assert api.post(f"/users/{made['id']}/reveal").json()["keys"][0]["api_key"] == made["api_key"]
            assert api.delete(f"/users/{made['id']}").status_code == 204
            assert api.get(f"/users/{made['id']}").status_code == 404
        csv = "site,workspace,display_name\n" + "".join(f"csv-{number},acme,Site {number}\n" for number in range(500))
        assert api.post("/sites", json={"csv": csv, "create_workspaces": True}).status_code in (200, 201)
        assert len(api.get("/sites", params={"search": "csv-", "limit": 200}).json()["items"]) == 200
        assert api.get("/audit").json()["items"]
    origin = f"http://{behind_pooler.latch.admin}"
    with httpx.Client(base_url=f"{origin}/admin", headers={"Origin": origin}, trust_env=False) as page:
        session = page.post("/session", json={"token": ADMIN_TOKEN})
        assert session.status_code == 200
        csrf = {"X-CSRF-Token": session.json()["csrf_token"]}
        body = {"workspace": "acme", "all_sites": True}
        assert page.post("/users", json=body, headers=csrf).status_code == 201
        assert page.delete("/session", headers=csrf).status_code == 204
        assert page.get("/users").status_code == 401


async def test_server_connections_are_returned_to_the_pooler_clean(behind_pooler: Pooled) -> None:
    """The next client gets a session without a LISTEN, setting, prepared statement or lock of ours."""
    name = database_name(behind_pooler.dsn)
    for login in ("sitelatch_doors", "sitelatch_admin"):
        connections = [await open_connection(behind_pooler.pooler.dsn(login, name), role="tests") for _ in range(5)]
        # Concurrent transactions use all server connections.
        size = min(int(str(behind_pooler.pooler.settings["default_pool_size"])), 2)
        for connection in connections[:size]:
            await connection.execute("BEGIN")
            row = await connection.fetchrow(leftovers())
            assert row is not None
            # PgBouncer sets these for each client.
            assert set(row["settings"]) <= {"application_name", "client_encoding"}, login
            assert (row["channels"], row["statements"], row["locks"]) == ([], [], 0)
        for connection in connections:
            connection.terminate()


@pytest.mark.parametrize("behind_pooler", ["one server connection"], indirect=True)
def test_behind_a_pooler_the_commands_work(behind_pooler: Pooled, tmp_path: Path) -> None:
    config = str(behind_pooler.latch.config)

    def run(*words: str, code: int = 0) -> Done:
        done = sitelatch(*words, "--config", config)
        assert done.code == code, done
        return done

    csv = tmp_path / "sites.csv"
    csv.write_text("site,workspace,display_name\nkiosk,globex,Kiosk\n")
    assert run("sites", "add", "--workspace", "new", "a1", "a2").out == "Added: a1, a2.\n"
    assert run("sites", "import", str(csv)).out == "Added: kiosk.\n"
    assert "kiosk" in run("sites", "list").out
    person = ("--by-name", "Ada Admin", "--by-email", "ada@example.com")
    user = json.loads(run("users", "create", "--workspace", "new", "--site", "a1", *person).out)
    assert user["id"] in run("users", "list").out
    target = "/lane0/sites/a1/x"
    assert "PASSES" in run("explain", "--user", user["id"], "GET", target).out
    done = sitelatch("explain", "--key-stdin", "GET", target, "--config", config, stdin=user["api_key"])
    assert "PASSES" in done.out
    assert run("users", "delete", user["id"]).out == f"Deleted {user['id']}.\n"
    assert run("sites", "remove", "a1", "a2", "kiosk").code == 0


@pytest.mark.parametrize("behind_pooler", ["one server connection"], indirect=True)
def test_behind_a_pooler_doctor_says_that_no_notifications_arrive(behind_pooler: Pooled) -> None:
    done = sitelatch("doctor", "--json", "--config", str(behind_pooler.latch.config))
    found = {finding["check"]: finding for finding in json.loads(done.out)}
    assert (found["listen"]["status"], found["roles"]["status"]) == ("warning", "ok"), done
    assert "set database.listen_url to a DSN that leads to the server" in found["listen"]["message"]


def test_doctor_names_a_pool_mode_in_which_nothing_can_be_changed(server: PooledServer, tmp_path: Path) -> None:
    dsn = server.create_migrated()
    with server.pooler(pool_mode="statement") as pooler:
        url = pooler.dsn("sitelatch_admin", database_name(dsn))
        config = tmp_path / "sitelatch.toml"
        config.write_text(toml({"proxy": {"routes": [ROUTE]}, "database": {"url": url}}))
        done = sitelatch("doctor", "--config", str(config))
    assert done.code == 1
    assert "not statement (docs/pgbouncer.md)" in done.out


@pytest.mark.parametrize("behind_pooler", ["round robin"], indirect=True)
def test_behind_a_pooler_concurrent_migrations_take_turns(behind_pooler: Pooled) -> None:
    """The lock ends with each transaction. A session lock would pass to the next client of the connection."""
    empty = behind_pooler.server.create_database()
    owner = {"SITELATCH_ADMIN__DATABASE_URL": behind_pooler.pooler.dsn("sitelatch_owner", database_name(empty))}

    def migrate(_: int) -> Done:
        return sitelatch("migrate", "--config", str(behind_pooler.latch.config), environ=owner)

    with ThreadPoolExecutor(3) as threads:
        done = list(threads.map(migrate, range(3)))
    assert [one.code for one in done] == [0, 0, 0], done
    lines = "".join(one.out for one in done).splitlines()
    assert [line for line in sorted(lines) if not line.startswith("The schema")] == [step.name for step in MIGRATIONS]

    async def locks() -> object:
        connection = await open_connection(behind_pooler.dsn, role="tests")
        try:
            return await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        finally:
            await connection.close()

    assert run_aside(locks()) == 0


def test_no_password_is_logged(behind_pooler: Pooled) -> None:
    assert PASSWORD not in behind_pooler.latch.output.read_text()
    assert "hunter2" not in behind_pooler.latch.output.read_text()
