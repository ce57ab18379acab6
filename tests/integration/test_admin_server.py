"""The internal listeners: errors quote no secrets, requests are bounded, outages are reported."""

import asyncio
import gzip
import io
import json
import re
import tempfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiohttp import ClientSession, UnixConnector, web
from yarl import URL

from admin.app import admin_app
from admin.internal_listeners import InternalRunner, internal_listeners
from proxy.observe.metrics import Metrics
from proxy.observe.ops import ops_app
from sql.pool import open_pool
from tests.effort import calls
from tests.integration.adminapi import ADA_TOKEN, SETTINGS, AdminClient, acme, admin, serve, with_ops

__all__ = ["acme", "admin"]

FOREIGN = "s3cret-of-no-known-format-0123456789"
"""A token that an operator chose and hashed, which no masking pattern matches."""
PLANTED = (ADA_TOKEN, FOREIGN)


async def raw(port: int, sent: bytes) -> bytes:
    """Send bytes and return the response, or nothing if the server closes without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(10):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            return head + await reader.readexactly(int(length[1]) if length else 0)
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return b""
    finally:
        writer.close()


MALFORMED = [
    b"GET /admin/users HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer %b\r\n\r\n",
    b"GET /admin/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \x00%b\r\n\r\n",
    b"GET /admin/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n %b\r\n\r\n",
    b"GET /admin/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\rx\r\n\r\n",
    b"GET /admin/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b" + b"x" * 9000 + b"\r\n\r\n",
    b"GET /admin/users HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n",
    b"GET /admin/users HTTP/1.1\r\nHost: x\r\nBearer %b: Authorization\r\n\r\n",
    b"GET /admin/users HTTP/1.1\r\nHost: %b\r\nHost: %b\r\n\r\n",
    b"GET /admin/%b" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /admin/%b HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET /admin/ %b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"%b /admin/users HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://[%b/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://%b:99999999/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /admin/%%zz%b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /admin/users/%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"POST /admin/users HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\n\r\n",
    b"POST /admin/users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: %b\r\n\r\n",
    b"POST /admin/users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\n\r\n",
    b"POST /admin/users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n%b",
    b"POST /admin/users HTTP/1.1\r\nHost: x\r\nExpect: %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    b"POST /nope HTTP/1.1\r\nHost: x\r\nExpect: %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nUpgrade: %b\r\nConnection: upgrade\r\n\r\n",
    b"CONNECT %b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01%b",
    b"%b",
]


async def test_a_secret_in_a_malformed_request_is_neither_returned_nor_logged(
    pool: asyncpg.Pool, logged: io.StringIO
) -> None:
    app = with_ops(admin_app(SETTINGS, pool))
    runner, port = await serve(app, head_seconds=0.5)
    answered = 0
    for template in MALFORMED:
        for secret in PLANTED:
            answer = await raw(port, template.replace(b"%b", secret.encode()).replace(b"%%", b"%"))
            assert secret.encode() not in answer, template
            assert b"aiohttp.http_exceptions" not in answer
            answered += bool(answer)
            if answer:
                head, _, body = answer.partition(b"\r\n\r\n")
                assert int(head.split()[1]) >= 400 or template.startswith(b"GET /metrics"), template
                if body and b"problem+json" in head:
                    assert json.loads(body)["status"] == int(head.split()[1])
    for secret in PLANTED:
        assert secret not in logged.getvalue()
    assert answered > 1.5 * len(MALFORMED)
    assert b" 200 " in await raw(port, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")  # the server still works
    await runner.cleanup()


@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        ("POST", "/users", {}, f'{{"workspace": "acme", "{ADA_TOKEN}": 1}}'),
        ("POST", "/users", {}, f'{{"workspace": "acme", "sites": ["{ADA_TOKEN}"]}}'),
        ("POST", "/users", {}, f'{{"workspace": "{ADA_TOKEN}", "all_sites": true}}'),
        ("POST", "/users", {}, f'{{"workspace": "acme", "all_sites": "{ADA_TOKEN}"}}'),
        ("POST", "/users", {}, f'{{"{FOREIGN}'),
        ("POST", "/users", {"Content-Type": FOREIGN}, "{}"),
        ("POST", "/users", {"Content-Encoding": FOREIGN}, FOREIGN),
        ("POST", "/users", {"Content-Encoding": "gzip"}, FOREIGN),
        ("PUT", f"/sites/{ADA_TOKEN}%2F", {}, '{"workspace": "acme"}'),
        ("PUT", f"/sites/{ADA_TOKEN}%00", {}, '{"workspace": "acme"}'),
        ("GET", f"/sites/{ADA_TOKEN}", {}, None),
        ("GET", f"/users/{ADA_TOKEN}", {}, None),
        ("GET", f"/users?{ADA_TOKEN}=1", {}, None),
        ("GET", f"/users?after={FOREIGN}", {}, None),
        ("GET", f"/users?sort={FOREIGN}&limit={FOREIGN}", {}, None),
        ("GET", f"/users?workspace={ADA_TOKEN}&search={ADA_TOKEN}&x=1", {}, None),
        ("GET", f"/{FOREIGN}", {}, None),
    ],
)
async def test_a_secret_in_the_wrong_place_is_neither_returned_nor_logged(
    acme: AdminClient, logged: io.StringIO, method: str, path: str, headers: dict[str, str], body: str | None
) -> None:
    headers = headers if body is None else {"Content-Type": "application/json", **headers}
    status, problem, _ = await acme.request(method, path, headers=headers, data=body)
    assert 400 <= status < 500, problem
    for secret in PLANTED:
        assert secret not in json.dumps(problem)
        assert secret not in logged.getvalue()


async def test_an_internal_error_returns_500_without_details(
    acme: AdminClient, pool: asyncpg.Pool, logged: io.StringIO
) -> None:
    await pool.execute("ALTER TABLE sitelatch.api_keys ADD CONSTRAINT shut CHECK (hint = 'x')")
    status, problem, _ = await acme.request("POST", "/users", {"workspace": "acme", "all_sites": True})
    assert (status, problem["detail"]) == (500, "Internal Server Error.")
    line = json.loads(logged.getvalue().splitlines()[-1])
    assert (line["level"], line["error"]) == ("error", "CheckViolationError")
    assert "admin/api/user_creation.py:" in "".join(line["where"])
    assert "slk_" not in logged.getvalue()


async def test_a_body_over_the_limit_gets_413(acme: AdminClient) -> None:
    status, problem, _ = await acme.request(
        "POST", "/users", data=io.BytesIO(b"[" + b" " * (5 * 1024 * 1024)), headers={"Content-Type": "application/json"}
    )
    # The code is not derived from the standard phrase, which changed in Python 3.13.
    assert (status, problem["code"]) == (413, "body_too_large")
    assert problem["detail"] == "The body has more than 4,194,304 bytes."


async def test_every_endpoint_with_a_body_refuses_invalid_ones(acme: AdminClient) -> None:
    """All endpoints in the OpenAPI document are tested, so that new ones are included."""
    taking = [
        (method.upper(), path.replace("{id}", "shop").replace("{name}", "acme"))
        for path, methods in acme.document["paths"].items()
        for method, operation in methods.items()
        if "requestBody" in operation
    ]
    assert len(taking) >= 6
    json_type = {"Content-Type": "application/json", "Origin": acme.origin}
    for method, path in taking:
        for body, headers, expected in (
            (b"{", json_type, (400, "malformed")),
            (b'{"name": 1, "name": 2}', json_type, (400, "malformed")),
            (b"[]", json_type, (422, "invalid")),
            (b"{}", {"Content-Type": "text/plain"}, (415, "unsupported_media_type")),
            (b" " * (4 * 1024 * 1024 + 1), json_type, (413, "body_too_large")),
        ):
            status, problem, answer = await acme.request(method, path, data=io.BytesIO(body), headers=headers)
            assert (status, problem["code"]) == expected, (method, path)
            assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("shared", [True, False])
async def test_the_root_of_the_admin_listener_leads_to_the_page(pool: asyncpg.Pool, shared: bool) -> None:
    addresses = ("shared", "shared") if shared else ("ops", "admin")
    apps = internal_listeners(
        ops_app(Metrics(), lambda: (True, {})), addresses[0], admin_app(SETTINGS, pool), addresses[1]
    )
    for address, app in apps.items():
        runner, port = await serve(app)
        async with ClientSession() as session:
            for method in ("GET", "HEAD"):
                async with session.request(method, f"http://127.0.0.1:{port}/?x=1", allow_redirects=False) as answer:
                    assert (answer.status, answer.headers.get("Location")) == (
                        (404, None) if address == "ops" else (307, "admin/")
                    )
            if address != "ops":
                async with session.get(f"http://127.0.0.1:{port}/") as page:
                    assert (page.status, page.url.path) == (200, "/admin/")
                assert (await session.post(f"http://127.0.0.1:{port}/")).status == 405
        await runner.cleanup()


async def test_a_wrong_content_type_is_refused_with_the_right_one(acme: AdminClient) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/jsonp"}):
        status, problem, _ = await acme.request("POST", "/users", data=b"{}", headers=headers)
        assert (status, problem["code"]) == (415, "unsupported_media_type")
        assert "Content-Type: application/json" in problem["detail"]


async def test_an_import_of_ten_thousand_long_ids_fits_the_limit(acme: AdminClient) -> None:
    lines = "".join(f"{number:05}{'x' * 195},acme\n" for number in range(10_000))
    body = io.BytesIO(json.dumps({"csv": f"site,workspace\n{lines}"}).encode())
    status, imported, _ = await acme.request("POST", "/sites", data=body, headers={"Content-Type": "application/json"})
    assert (status, imported["created"]) == (200, 10_000)


@pytest.mark.parametrize("line", ["site-{},acme,Site {}\n", ",,{}\n"])
async def test_a_large_import_does_not_block_the_event_loop(admin: AdminClient, line: str) -> None:
    """A large import used to block the front door of the same process for more than a second."""
    csv = "site,workspace,display_name\n" + "".join(line.format(number, number) for number in range(10_000))
    body = io.BytesIO(json.dumps({"csv": csv, "create_workspaces": True}).encode())
    importing = asyncio.ensure_future(
        admin.request("POST", "/sites", data=body, headers={"Content-Type": "application/json"})
    )
    longest = 0
    with calls() as made:
        while not importing.done():
            before = made.total()
            await asyncio.sleep(0)
            longest = max(longest, made.total() - before)
    assert (await importing)[0] == (422 if line.startswith(",") else 200)
    assert longest < 30_000, "calls in one iteration of the event loop, for a thousand sites"


async def test_a_file_with_too_many_lines_is_refused_with_an_alternative(admin: AdminClient) -> None:
    csv = "site,workspace\n" + "a,acme\n" * 100_000
    body = io.BytesIO(json.dumps({"csv": csv}).encode())
    status, problem, _ = await admin.request("POST", "/sites", data=body, headers={"Content-Type": "application/json"})
    assert (status, problem["detail"]) == (
        422,
        "The file has more than 100,000 lines. Split it, or use the command `sitelatch sites import`.",
    )
    assert problem["errors"][0]["pointer"] == "#/csv"


@pytest.mark.parametrize("path", ["/admin/session", "/admin/nope", "/livez"])
async def test_compressed_bodies_are_not_decompressed(admin: AdminClient, path: str) -> None:
    """200 KB from an unauthenticated client used to block the front door for half a second."""
    compressor = zlib.compressobj(9, wbits=31)
    compressed = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(200)) + compressor.flush()
    url = f"{admin.base}{path.removeprefix('/')}"
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    with calls() as made:
        async with admin.session.post(url, data=io.BytesIO(compressed), headers=headers) as answer:
            assert answer.status in (401, 405, 413, 415)
    assert not made["decompress"], "zlib's function, in the thread of the event loop"


async def test_a_compressed_body_is_refused_with_advice(acme: AdminClient) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    body = gzip.compress(b'{"workspace": "acme", "all_sites": true}')
    status, problem, _ = await acme.request("POST", "/users", data=body, headers=headers)
    assert (status, problem["code"]) == (415, "unsupported_media_type")
    assert "Content-Encoding" in problem["detail"]
    headers["Content-Encoding"] = "Identity"
    plain = gzip.decompress(body)
    assert (await acme.request("POST", "/users", data=plain, headers=headers))[0] == 201


async def test_an_endpoint_that_takes_only_a_name_has_a_small_body_limit(acme: AdminClient) -> None:
    body = io.BytesIO(json.dumps({"display_name": "x" * 10_000}).encode())
    assert (await acme.request("PATCH", "/sites/shop", data=body, headers={"Content-Type": "application/json"}))[
        0
    ] == 413


async def test_unauthenticated_clients_cannot_send_large_bodies(admin: AdminClient) -> None:
    """A body full of unknown names used to block the front door for more than a second."""
    names = io.BytesIO(json.dumps({f"{number:x}": 0 for number in range(80_000)}).encode())
    headers = {"Origin": admin.origin, "Content-Type": "application/json"}
    status, problem, answer = await admin.as_(None).request("POST", "/session", data=names, headers=headers)
    assert (status, problem["status"]) == (413, 413)
    assert "Set-Cookie" not in answer.headers
    longest = {"token": "\U0001f511" * 250}
    status, _, _ = await admin.as_(None).request("POST", "/session", longest, headers=headers)
    assert status == 401


async def test_a_connection_with_an_incomplete_head_is_closed(pool: asyncpg.Pool) -> None:
    runner = InternalRunner(ops_app(Metrics(), lambda: (True, {})), head_seconds=0.3)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    [address] = runner.addresses
    assert b"200 OK" in await raw(address[1], b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    for started in (b"", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-"):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(started)
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
    await runner.cleanup()


async def test_ops_and_admin_can_listen_on_two_addresses(pool: asyncpg.Pool) -> None:
    ops, admin_only = ops_app(Metrics(), lambda: (True, {})), admin_app(SETTINGS, pool)
    listeners = internal_listeners(ops, "a", admin_only, "b")
    assert listeners["a"] is ops
    assert list(listeners) == ["a", "b"]
    runners = {listen: await serve(app) for listen, app in listeners.items()}
    headers = {"Authorization": f"Bearer {ADA_TOKEN}"}
    async with ClientSession() as session:
        statuses = {
            (listen, path): (await session.get(f"http://127.0.0.1:{port}{path}", headers=headers)).status
            for listen, (_, port) in runners.items()
            for path in ("/livez", "/admin/users")
        }
    assert statuses == {
        ("a", "/livez"): 200,
        ("a", "/admin/users"): 404,
        ("b", "/livez"): 404,
        ("b", "/admin/users"): 200,
    }
    for runner, _ in runners.values():
        await runner.cleanup()


async def test_the_admin_api_works_over_a_unix_socket(pool: asyncpg.Pool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "admin.sock")
        runner = InternalRunner(with_ops(admin_app(SETTINGS, pool)))
        await runner.setup()
        await web.UnixSite(runner, path).start()
        async with ClientSession(connector=UnixConnector(path)) as session:
            client = AdminClient(session, URL("http://localhost/"))
            status, _, _ = await client.request("POST", "/workspaces", {"name": "acme"})
            assert status == 201
            [line] = (await client.get("/audit"))["items"]
            assert line["address"] == "unix"
        await runner.cleanup()


@pytest.fixture
async def admin_without_database(tmp_path: Path) -> AsyncIterator[AdminClient]:
    """The admin API with a database that does not exist."""
    pool = await open_pool(f"postgresql://nobody@/none?host={tmp_path}", role="tests")
    runner, port = await serve(with_ops(admin_app(SETTINGS, pool)))
    async with ClientSession() as session:
        yield AdminClient(session, URL(f"http://127.0.0.1:{port}/"))
    await runner.cleanup()
    await pool.close()


async def test_without_a_database_requests_get_503_and_no_stack_trace_is_logged(
    admin_without_database: AdminClient, logged: io.StringIO
) -> None:
    for method, path, payload in (
        ("GET", "/users", None),
        ("POST", "/users", {"workspace": "acme", "all_sites": True}),
        ("DELETE", "/users/00000000-0000-4000-8000-000000000000", None),
        ("PUT", "/sites/shop", {"workspace": "acme"}),
        ("GET", "/audit", None),
    ):
        status, problem, answer = await admin_without_database.request(method, path, payload)
        assert (status, problem["code"]) == (503, "database_unavailable")
        assert answer.headers["Retry-After"] == "2"
    assert "Traceback" not in logged.getvalue()
    assert (await admin_without_database.as_(None).request("GET", "/users"))[0] == 401  # authentication comes first


async def test_the_admin_api_recovers_from_a_database_outage(
    acme: AdminClient, dsn: str, database_server: str, logged: io.StringIO
) -> None:
    name = urlsplit(dsn).path[1:]
    server = await asyncpg.connect(database_server)
    try:
        await server.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")
        await server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        for _ in range(3):
            status, problem, _ = await acme.request("GET", "/users")
            assert (status, problem["code"]) == (503, "database_unavailable")
        await server.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
    finally:
        await server.close()
    async with asyncio.timeout(10):
        while (await acme.request("GET", "/users"))[0] != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert "Traceback" not in logged.getvalue()


async def test_a_wrong_schema_returns_503_and_the_log_names_the_fix(
    acme: AdminClient, pool: asyncpg.Pool, logged: io.StringIO
) -> None:
    await pool.execute("DROP TABLE sitelatch.audit_log")
    status, problem, _ = await acme.request("GET", "/audit")
    assert (status, problem["code"]) == (503, "database_unavailable")
    assert "sitelatch migrate" in logged.getvalue()
