"""Puts keys wherever a client, an admin or a broken service can put one, and then searches everything for them."""

import asyncio
import base64
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

import asyncpg
import pytest

from proxy.decision.api_keys import new_key
from tests.acceptance.harness import ADMIN_TOKEN, Bench, Lane, Lanes, serving
from tests.acceptance.wire import Answering, TruncatedError, Wire, connect
from tests.ports import free_port

EVERYWHERE = ["header:X-API-Key", "bearer", "basic", "cookie:api_session", "query:api_key"]
MADE_UP_TOKEN = "sla_" + "madeUpTokenOfNobody" * 3


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Bench]:
    keys = {"from": EVERYWHERE, "unknown_per_minute": 100000}
    unreachable = {
        "name": "unreachable",
        "path": "/unreachable",
        "upstream": f"http://127.0.0.1:{free_port()}",
        "sites": ["path:/unreachable/{site}/**"],
    }
    limits = {"answer_seconds": 1, "head_seconds": 1, "upload_idle_seconds": 1}
    folder = tmp_path_factory.mktemp("leaks")
    log = {"access": "all"}
    with serving(folder, database_url, Lanes(20), routes=[unreachable], keys=keys, limits=limits, log=log) as bench:
        yield bench


def everywhere_encoded(key: str) -> str:
    """Return the text with every character percent-encoded."""
    return "".join(f"%{ord(character):02X}" for character in key)


def sometimes_encoded(key: str) -> str:
    return "".join(f"%{ord(character):02x}" if place % 3 else character for place, character in enumerate(key))


@dataclass
class Evidence:
    """Every byte that left the process, by destination."""

    places: dict[str, bytes] = field(default_factory=dict)

    def add(self, place: str, data: bytes) -> None:
        self.places[place] = self.places.get(place, b"") + data

    def leaks(self, secrets: dict[str, str]) -> list[str]:
        """Return where each secret was found, in any encoding. Its first and last characters may be shown."""
        return [
            f"{name} in {place}"
            for place, data in self.places.items()
            for name, secret in secrets.items()
            if any(secret[9:-9].encode().lower() in view.lower() for view in views(data))
        ]


BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}")


def views(data: bytes) -> Iterator[bytes]:
    """Return the data unchanged, percent-decoded twice, and with base64 decoded."""
    yield data
    yield (once := unquote_to_bytes(data))
    yield unquote_to_bytes(once)
    for run in BASE64.findall(once):
        for start in range(4):
            part = run[start:].replace(b"-", b"+").replace(b"_", b"/")
            with contextlib.suppress(ValueError):
                yield base64.b64decode(part[: len(part) // 4 * 4])


def test_the_search_finds_encoded_keys() -> None:
    key = new_key()
    for hidden in (
        key,
        everywhere_encoded(key),
        quote(sometimes_encoded(key)),
        key.upper(),
        "Basic " + base64.b64encode(f"{key}:".encode()).decode(),
        "x=" + base64.urlsafe_b64encode(f"user:{key}".encode()).decode(),
    ):
        evidence = Evidence()
        evidence.add("log", f'{{"event": "{hidden}"}}\n'.encode())
        assert evidence.leaks({"key": key}) == ["key in log"]
    evidence = Evidence()
    evidence.add("log", f"{key[:6]}…{key[-4:]}".encode())
    assert evidence.leaks({"key": key}) == []


def places(key: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return a suffix for `/sites/shop/x` and header lines, for each configured key location."""
    basic = base64.b64encode(f"{key}:".encode()).decode()
    return [
        ("", (f"X-API-Key: {key}",)),
        ("", (f"x_api_key: {key}",)),
        ("", (f"Authorization: Bearer {key}",)),
        ("", (f"authorization: bearer   {key}",)),
        ("", (f"Authorization: Basic {basic}",)),
        ("", (f"Cookie: a=1; api_session={key}; b=2",)),
        ("", (f'Cookie: api_session="{key}"',)),
        (f"?api_key={key}", ()),
        (f"?a=1&api_key={key}&b=2", ()),
        (f"?api%5Fkey={everywhere_encoded(key)}", ()),
        (f"?api_key={sometimes_encoded(key)}", ()),
        (f"?API_KEY={key}", ()),
        (f"?a=1;api_key={key}", ()),
        (f"?api_key={key}", (f"X-API-Key: {key}", f"Authorization: Bearer {key}")),
    ]


def requests_with_misplaced_key(key: str, target: str) -> list[str]:
    """Return requests with the key in a wrong place. None of them may pass."""
    host = "Host: a"
    return [
        f"{key} {target} HTTP/1.1\r\n{host}\r\n\r\n",
        f"GET {target}?api_key={key} HTTP/2.0\r\n{host}\r\n\r\n",
        f"GET {target}?api_key={key} HTTP/1.1 {key}\r\n{host}\r\n\r\n",
        f"GET {target}?api_key={key}#{key} HTTP/1.1\r\n{host}\r\n\r\n",
        f"GET {target}/%zz?api_key={key} HTTP/1.1\r\n{host}\r\n\r\n",
        f"GET {target}/../{key} HTTP/1.1\r\n{host}\r\n\r\n",
        f"GET {target}/{key} HTTP/1.1\r\n{host}\r\n\r\n",
        f"GET {target}/{everywhere_encoded(key)} HTTP/1.1\r\n{host}\r\n\r\n",
        f"GET /{key} HTTP/1.1\r\n{host}\r\n\r\n",
        f"GET /nowhere/{sometimes_encoded(key)}/x HTTP/1.1\r\n{host}\r\n\r\n",
        f"GET {target}?token={key} HTTP/1.1\r\n{host}\r\n\r\n",
        f"GET http://user:{key}@a{target} HTTP/1.1\r\n{host}\r\n\r\n",
        f"GET {target} HTTP/1.1\r\nHost: {key}\r\nHost: {key}\r\n\r\n",
        f"GET {target} HTTP/1.1\r\n{host}\r\nX-API-Key : {key}\r\n\r\n",
        f"GET {target} HTTP/1.1\r\n{host}\r\nX-API-Key\r\n{key}\r\n\r\n",
        f"GET {target} HTTP/1.1\r\n{host}\r\nX-API-Key: {key}\r\n {key}\r\n\r\n",
        f"GET {target} HTTP/1.1\r\n{host}\r\nX-API-Key: {key}\x00\r\n\r\n",
        f"GET {target} HTTP/1.1\r\n{host}\r\n{key}: 1\r\n\r\n",
        f"GET {target} HTTP/1.1\r\n{host}\r\nX-API-Key: {key}\nX: 1\r\n\r\n",
        f"GET {target} HTTP/1.1\r\n{host}\r\nConnection: X-API-Key\r\nX-API-Key: {key}\r\n\r\n",
        f"GET {target} HTTP/1.1\r\n{host}\r\nConnection: {key}\r\nExpect: {key}\r\nX-API-Key: {key}\r\n\r\n",
        f"GET {target} HTTP/1.1\r\n{host}\r\nContent-Length: {key}\r\n\r\n",
        f"GET {target} HTTP/1.1\r\n{host}\r\nTransfer-Encoding: {key}\r\n\r\n",
        f"GET {target} HTTP/1.1\r\n{host}\r\nX-API-Key: {key}\r\nX-Big: {'x' * 40000}\r\n\r\n",
        f"GET {target}?api_key={key}&{'x' * 9000} HTTP/1.1\r\n{host}\r\n\r\n",
        f"GET {target} HTTP/1.1\r\n{host}\r\nX-API-Key: {key}\r\nX-Slow: ",
        f"POST {target} HTTP/1.1\r\n{host}\r\nX-API-Key: {key}\r\nTransfer-Encoding: chunked\r\n\r\n{key}\r\n",
        f"{key}\r\n\r\n",
        f"\x16\x03\x01{key}",
    ]


async def send_all(evidence: Evidence, place: str, address: str, requests: list[bytes]) -> None:
    """Send each request on its own connection, twenty at a time, and keep all responses."""
    at_once = asyncio.Semaphore(20)

    async def send(request: bytes) -> None:
        async with at_once, connect(address) as client:
            with contextlib.suppress(TruncatedError, ConnectionError, TimeoutError):
                await client.send(request)
                await client.answer(seconds=3)
            evidence.add(place, bytes(client.received))

    await asyncio.gather(*map(send, requests))


async def test_keys_appear_only_where_they_belong(bench: Bench, lane: Lane, database_url: str) -> None:
    latch, shop = bench.latch, bench.keys.shop
    wrong_checksum = shop.key[:-1] + ("0" if shop.key[-1] != "0" else "1")
    secrets = {
        "a good key": shop.key,
        "another good key": bench.keys.wiki.key,
        "an unknown key": new_key(),
        "a key with a wrong checksum": new_key()[:-6] + "000000",
        "an admin's token": ADMIN_TOKEN,
        "nobody's token": MADE_UP_TOKEN,
    }
    evidence = Evidence()
    service = Answering()
    lane.upstream.handler = service

    sent = []
    for secret in secrets.values():
        for query, lines in places(secret):
            sent += [
                lane.keyless("GET", rest + query, *lines) for rest in ("/sites/shop/x", "/sites/blog/x", "/health")
            ]
            sent.append(sent[-1].replace(lane.name.encode(), b"nowhere", 1))
        sent += [
            misplaced.encode("latin-1")
            for misplaced in requests_with_misplaced_key(secret, lane.target("/sites/shop/x"))
        ]
    sent.append(lane.request("GET", "/sites/shop/x", f"Authorization: Bearer {wrong_checksum}"))
    await send_all(evidence, "answers", latch.address, sent)
    assert any(request.one("X-Api-User-Id") for request in service.requests)

    # A service that is gone, broken or silent, or responds with nonsense, with a valid key.
    unreachable = lane.request("GET", f"/shop/x?api_key={shop.key}").replace(lane.name.encode(), b"unreachable", 1)
    await send_all(evidence, "answers", latch.address, [unreachable])

    async def broken(wire: Wire) -> None:
        request = await wire.head()
        if request.target.endswith(b"nonsense"):
            await wire.send(b"nonsense " + request.raw_head)
        elif request.target.endswith(b"silent"):
            await wire.read_to_end()
        elif request.target.endswith(b"short"):
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")

    lane.upstream.handler = broken
    sent = []
    for what in ("nonsense", "silent", "short", "nothing"):
        sent.append(lane.request("GET", f"/sites/shop/{what}"))
        sent.append(lane.keyless("GET", f"/sites/shop/{what}?api_key={shop.key}"))
    await send_all(evidence, "answers", latch.address, sent)

    # The admin API.
    sent = []
    for secret in secrets.values():
        # With a valid token, the list does not show keys either.
        line = f"Authorization: Bearer {secret}"
        for target in ("/admin/users", f"/admin/users/{secret}", f"/livez?token={secret}", f"/{secret}"):
            sent.append(f"GET {target} HTTP/1.1\r\nHost: a\r\n{line}\r\nConnection: close\r\n\r\n".encode())
        sent += [misplaced.encode("latin-1") for misplaced in requests_with_misplaced_key(secret, "/admin/users")]
        for body in (
            f'{{"workspace": "acme", "sites": "{secret}"}}',
            f'{{"{secret}": 1}}',
            f'{{"workspace": "{secret}',
        ):
            sent.append(
                f"POST /admin/users HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\nConnection: close\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
    for address in (latch.admin, latch.ops):
        await send_all(evidence, "admin answers", address, sent)

    evidence.add("metrics", latch.metrics().encode())
    with latch.admin_client() as admin:
        for path in ("/users", f"/users/{shop.id}", "/sites", "/workspaces", "/audit"):
            evidence.add("admin lists", admin.get(path).content)
    assert latch.running
    assert "Traceback" not in latch.output.read_text()
    latch.stop()
    evidence.add("log", latch.output.read_bytes())
    for wire in lane.upstream.connections:
        evidence.add("the data service", bytes(wire.received))
    evidence.add("the database", await whole_database(database_url))

    assert len(latch.log_lines()) > 500
    assert evidence.leaks(secrets) == []


async def whole_database(database_url: str) -> bytes:
    """Return every row of every table as text."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'sitelatch'")
        rows = []
        for table in tables:
            name = table["tablename"]
            rows += await connection.fetch(f"SELECT t::text AS row FROM sitelatch.{name} AS t")  # noqa: S608 - from the catalogue
        return "\n".join(row["row"] for row in rows).encode()
    finally:
        await connection.close()
