"""The rules of docs/decision.md, against a running process and its admin API."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest

from proxy.decision.api_keys import new_key
from tests.acceptance.harness import Bench, Lanes, User, serving
from tests.acceptance.wire import Answering, Message, Upstream, connect, listening_socket, port_of, until

TTL_SECONDS = 1.0

ROUTES: list[dict[str, Any]] = [
    {
        "name": "everywhere",
        "path": "/data",
        "sites": ["path:/data/sites/{site}/**", "query:site", "header:X-Site"],
        "public": ["GET /data/health"],
        "refuse": ["POST /data/$batch", "query:urls"],
    },
    {"name": "any", "path": "/any", "sites": ["query:site"], "without_site": "any-key", "form_body": "pass"},
    {
        "name": "all",
        "path": "/all",
        "sites": [{"query": "idSite", "separator": ",", "all": "all"}, {"header": "X-Sites", "separator": ","}],
        "without_site": "all-sites",
        "workspace": "acme",
        "preflight": "pass",
    },
    {"name": "template", "path": "/rows", "sites": [{"query": "site_id", "template": "eq.{site}"}]},
    {"name": "odata", "path": "/odata", "sites": ["path:/odata/Sites('{site}')", "path:/odata/Sites('{site}')/**"]},
    {"name": "host", "path": "/hosts", "sites": ["host:{site}.api.example.com"]},
]


@pytest.fixture(scope="module")
def service() -> Iterator[socket.socket]:
    with listening_socket() as sock:
        yield sock


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str, service: socket.socket) -> Iterator[Bench]:
    routes = [{**route, "upstream": f"http://127.0.0.1:{port_of(service)}"} for route in ROUTES]
    grants = {"ttl_seconds": TTL_SECONDS, "unknown_ttl_seconds": 0.2}
    folder = tmp_path_factory.mktemp("enforcement")
    with serving(folder, database_url, Lanes(0), routes=routes, grants=grants) as bench:
        yield bench


@dataclass
class Door:
    """Sends requests to the front door, and records what the data service received."""

    bench: Bench
    seen: list[Message] = field(default_factory=list)

    async def send(self, who: User | str | None, start: str, *lines: str, body: str = "") -> Message:
        """Send `METHOD TARGET` with the key of a user, with a key, or without one."""
        method, target = start.split(" ", 1)
        key = who.key if isinstance(who, User) else who
        head = [f"{method} {target} HTTP/1.1", *lines]
        if not any(line.startswith("Host:") for line in lines):
            head.append("Host: data.example")
        if key is not None:
            head.append(f"X-API-Key: {key}")
        if body:
            head.append(f"Content-Length: {len(body)}")
        before = len(self.seen)
        async with connect(self.bench.latch.address) as client:
            await client.send("\r\n".join((*head, "", body)).encode())
            answer = await client.answer(method)
        # A request either passes or is refused.
        assert (len(self.seen) == before) == (answer.status != 200)
        return answer

    async def outcome(self, who: User | str | None, start: str, *lines: str, body: str = "") -> str:
        """`passed`, or the code of the refusal."""
        answer = await self.send(who, start, *lines, body=body)
        return "passed" if answer.status == 200 else answer.code


@pytest.fixture
async def door(bench: Bench, service: socket.socket) -> AsyncIterator[Door]:
    # Connections are closed each time, so tests cannot affect each other.
    answering = Answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nyes")
    async with Upstream(service, answering):
        yield Door(bench, answering.requests)


WHO = ("shop", "shop_and_blog", "acme", "wiki")

TABLE: list[tuple[str, tuple[str, ...], str]] = [
    # A request, and its outcomes for keys of shop, shop+blog, all of acme, and wiki of globex: P passes, else the code.
    ("GET /data/sites/shop/x", (), "P P P site_not_allowed"),
    ("GET /data/sites/blog/x", (), "site_not_allowed P P site_not_allowed"),
    ("GET /data/sites/wiki/x", (), "site_not_allowed site_not_allowed site_not_allowed P"),
    ("GET /data/sites/nowhere/x", (), "site_not_allowed site_not_allowed site_not_allowed site_not_allowed"),
    ("GET /data/x?site=shop", (), "P P P site_not_allowed"),
    ("GET /data/x?site=shop&site=blog", (), "site_not_allowed P P site_not_allowed"),
    ("GET /data/sites/shop/x?site=blog", (), "site_not_allowed P P site_not_allowed"),
    ("GET /data/sites/shop/x?site=wiki", (), "site_not_allowed site_not_allowed site_not_allowed site_not_allowed"),
    ("GET /data/sites/shop/x", ("X-Site: blog",), "site_not_allowed P P site_not_allowed"),
    ("GET /data/x", ("X-Site: shop",), "P P P site_not_allowed"),
    ("POST /data/sites/shop/x", (), "P P P site_not_allowed"),
    ("GET /data/x", (), "site_missing site_missing site_missing site_missing"),
    ("POST /data/$batch?site=shop", (), "endpoint_refused endpoint_refused endpoint_refused endpoint_refused"),
    ("GET /data/x?site=shop&urls=1", (), "endpoint_refused endpoint_refused endpoint_refused endpoint_refused"),
    ("GET /nowhere/sites/shop/x", (), "no_route no_route no_route no_route"),
    ("GET /datax/sites/shop/x", (), "no_route no_route no_route no_route"),
    ("GET /any/x", (), "P P P P"),
    ("GET /any/x?site=blog", (), "site_not_allowed P P site_not_allowed"),
    ("GET /all/x", (), "all_sites_needed all_sites_needed P all_sites_needed"),
    ("GET /all/x?idSite=all", (), "all_sites_needed all_sites_needed P all_sites_needed"),
    ("GET /all/x?idSite=shop", (), "P P P site_not_allowed"),
    ("GET /all/x?idSite=shop,blog", (), "site_not_allowed P P site_not_allowed"),
    ("GET /all/x?idSite=shop,wiki", (), "site_not_allowed site_not_allowed site_not_allowed site_not_allowed"),
    ("GET /all/x", ("X-Sites: shop,blog",), "site_not_allowed P P site_not_allowed"),
    ("GET /rows/t?site_id=eq.shop", (), "P P P site_not_allowed"),
    ("GET /rows/t?site_id=eq.blog", (), "site_not_allowed P P site_not_allowed"),
    ("GET /odata/Sites('shop')", (), "P P P site_not_allowed"),
    ("GET /odata/Sites('blog')/Rows", (), "site_not_allowed P P site_not_allowed"),
    ("GET /hosts/x", ("Host: shop.api.example.com",), "P P P site_not_allowed"),
    ("GET /hosts/x", ("Host: blog.api.example.com",), "site_not_allowed P P site_not_allowed"),
]


@pytest.mark.parametrize(("start", "lines", "outcomes"), TABLE, ids=[f"{row[0]} {' '.join(row[1])}" for row in TABLE])
async def test_requests_pass_or_are_refused_as_listed(
    door: Door, start: str, lines: tuple[str, ...], outcomes: str
) -> None:
    got = [await door.outcome(getattr(door.bench.keys, who), start, *lines) for who in WHO]
    assert got == outcomes.replace("P", "passed").split()


@pytest.mark.parametrize("start", ["GET /data/sites/shop/x", "GET /any/x", "GET /all/x", "GET /data/x"])
async def test_requests_without_a_key_are_refused(door: Door, start: str) -> None:
    answer = await door.send(None, start)
    assert (answer.status, answer.code) == (401, "missing_key")
    assert (answer.one("WWW-Authenticate") or b"").lower().startswith(b"bearer")


async def test_public_paths_match_exactly(door: Door) -> None:
    for start in ("GET /data/health", "GET /data/health?x=1", "GET /data/healt%68"):
        assert await door.outcome(None, start) == "passed", start
    for start in (
        "POST /data/health",
        "GET /data/health/",
        "GET /data/health/x",
        "GET /data/healthy",
        "GET /data/Health",
        "GET /data//health",
        "GET /data/healt%2568",
        "GET /data/health;x",
    ):
        assert await door.outcome(None, start) in ("missing_key", "ambiguous_request"), start


async def test_the_route_decides_whether_preflights_pass(door: Door) -> None:
    lines = ("Origin: https://a.example", "Access-Control-Request-Method: GET")
    assert await door.outcome(None, "OPTIONS /all/x?idSite=shop", *lines) == "passed"
    assert await door.outcome(None, "OPTIONS /data/sites/shop/x", *lines) == "preflight_refused"
    # Not every OPTIONS request is a preflight.
    assert await door.outcome(None, "OPTIONS /all/x?idSite=shop") == "missing_key"


@pytest.mark.parametrize(
    "media_type",
    [
        "application/x-www-form-urlencoded",
        "APPLICATION/X-WWW-FORM-URLENCODED; charset=utf-8",
        "multipart/form-data; boundary=b",
        "multipart/mixed; boundary=b",
    ],
)
async def test_form_bodies_that_could_name_a_site_are_refused(door: Door, media_type: str) -> None:
    shop = door.bench.keys.shop
    line = f"Content-Type: {media_type}"
    answer = await door.send(shop, "POST /data/x?site=shop", line, body="site=blog")
    assert (answer.status, answer.code) == (415, "form_body_not_read")
    assert await door.outcome(shop, "POST /any/x?site=shop", line, body="site=blog") == "passed"
    assert await door.outcome(shop, "POST /data/x?site=shop", "Content-Type: application/json", body="{}") == "passed"


# Invalid keys.


async def test_all_invalid_keys_get_the_same_response(door: Door) -> None:
    deleted = door.bench.latch.create_user("acme", "shop")
    with door.bench.latch.admin_client() as admin:
        assert admin.delete(f"/users/{deleted.id}").status_code == 204
    answers = [
        await door.send(key, "GET /data/sites/shop/x")
        for key in (deleted.key, new_key(), "nonsense", door.bench.keys.shop.key[:-1] + "-")
    ]
    assert {(answer.status, answer.code) for answer in answers} == {(401, "invalid_key")}
    told = [{name: value for name, value in answer.problem.items() if name != "request_id"} for answer in answers]
    assert all(one == told[0] for one in told)


async def test_a_refusal_is_a_problem_details_response_without_the_key(door: Door) -> None:
    shop = door.bench.keys.shop
    answer = await door.send(shop, "GET /data/sites/blog/x")
    assert set(answer.problem) == {"type", "title", "status", "detail", "code", "request_id"}
    assert (answer.one("Cache-Control"), answer.problem["status"]) == (b"no-store", 403)
    assert shop.key.encode() not in answer.raw_head + answer.body
    assert b"blog" not in answer.raw_head + answer.body


async def test_the_response_to_a_refused_head_request_is_empty(door: Door) -> None:
    answer = await door.send(door.bench.keys.shop, "HEAD /data/sites/blog/x")
    assert (answer.status, answer.one("Content-Type")) == (403, b"application/problem+json")


# Changes at run time.


async def until_outcome(door: Door, who: User, start: str, outcome: str) -> None:
    """Retry until the cached grant is gone, which takes one TTL at most."""
    for _ in range(100):
        if await door.outcome(who, start) == outcome:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{start} never became {outcome}")


async def test_a_deleted_key_is_refused(door: Door) -> None:
    user = door.bench.latch.create_user("acme", "shop")
    assert await door.outcome(user, "GET /data/sites/shop/x") == "passed"
    with door.bench.latch.admin_client() as admin:
        assert admin.delete(f"/users/{user.id}").status_code == 204
    await until_outcome(door, user, "GET /data/sites/shop/x", "invalid_key")


async def test_an_all_sites_key_covers_sites_added_later(door: Door) -> None:
    acme = door.bench.keys.acme
    assert await door.outcome(acme, "GET /data/sites/new-site/x") == "site_not_allowed"
    with door.bench.latch.admin_client() as admin:
        assert admin.put("/sites/new-site", json={"workspace": "acme"}).status_code == 201
    await until_outcome(door, acme, "GET /data/sites/new-site/x", "passed")
    assert await door.outcome(door.bench.keys.wiki, "GET /data/sites/new-site/x") == "site_not_allowed"
    assert await door.outcome(door.bench.keys.shop, "GET /data/sites/new-site/x") == "site_not_allowed"


async def test_a_deleted_site_is_removed_from_every_key(door: Door) -> None:
    with door.bench.latch.admin_client() as admin:
        assert admin.put("/sites/brief", json={"workspace": "acme"}).status_code == 201
        user = door.bench.latch.create_user("acme", "brief")
        assert await door.outcome(user, "GET /data/sites/brief/x") == "passed"
        assert await door.outcome(door.bench.keys.acme, "GET /data/sites/brief/x") == "passed"
        assert admin.delete("/sites/brief").status_code == 204
    await until_outcome(door, user, "GET /data/sites/brief/x", "site_not_allowed")
    await until_outcome(door, door.bench.keys.acme, "GET /data/sites/brief/x", "site_not_allowed")


async def test_expired_and_disabled_keys_are_refused(door: Door, database_url: str) -> None:
    expired, disabled = (door.bench.latch.create_user("acme", "shop") for _ in range(2))
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            "UPDATE sitelatch.api_keys SET expires_at = now() - interval '1 minute' WHERE user_id = $1", expired.id
        )
        await connection.execute("UPDATE sitelatch.api_users SET disabled_at = now() WHERE id = $1", disabled.id)
    finally:
        await connection.close()
    answer = await door.send(expired, "GET /data/sites/shop/x")
    assert (answer.status, answer.code) == (401, "expired_key")
    assert await door.outcome(disabled, "GET /data/sites/shop/x") == "disabled_key"


async def test_a_user_cannot_get_a_site_of_another_workspace(door: Door) -> None:
    with door.bench.latch.admin_client() as admin:
        answer = admin.post("/users", json={"workspace": "acme", "sites": ["shop", "wiki"]})
        assert 400 <= answer.status_code < 500
        unknown = admin.post("/users", json={"workspace": "acme", "sites": ["nowhere"]})
        assert 400 <= unknown.status_code < 500


async def test_last_activity_is_visible_to_admins(door: Door) -> None:
    user = door.bench.latch.create_user("acme", "shop")
    assert await door.outcome(user, "GET /data/sites/blog/x") == "site_not_allowed"

    def last_activity() -> object:
        with door.bench.latch.admin_client() as admin:
            return admin.get(f"/users/{user.id}").json()["last_activity"]

    await until(lambda: last_activity() is not None, "the activity is written")


async def test_outcomes_are_counted(door: Door) -> None:
    latch = door.bench.latch
    before = {
        outcome: latch.metric("sitelatch_exchanges_total", route="everywhere", outcome=outcome)
        for outcome in ("passed", "site_not_allowed", "missing_key")
    }
    await door.send(door.bench.keys.shop, "GET /data/sites/shop/x")
    await door.send(door.bench.keys.shop, "GET /data/sites/blog/x")
    await door.send(None, "GET /data/sites/blog/x")
    for outcome, count in before.items():
        assert latch.metric("sitelatch_exchanges_total", route="everywhere", outcome=outcome) == count + 1
