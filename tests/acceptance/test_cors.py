"""CORS of a route on real sockets and in a real browser: what pages of other origins may send and read."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.acceptance.browser import chromium, visit
from tests.acceptance.harness import Bench, Lane, Lanes, serving
from tests.acceptance.wire import Answering, Wire, listening_socket, open_exchange, port_of
from tests.ports import free_port

APP = "https://app.example"
ALLOWED = APP.encode()
ASKS = (f"Origin: {APP}", "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-api-key")
EXPOSED = b"RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id"


class _Handler(BaseHTTPRequestHandler):
    """Serves pages at `/page`, and a data API without CORS at all other paths."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"<title>app</title>" if self.path == "/page" else b'{"data": "of shop"}'
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if self.path == "/page" else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def servers() -> Iterator[list[ThreadingHTTPServer]]:
    """The data API, the page of the allowed origin, and the page of another one."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _Handler) for _ in range(3)]
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


def url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, database_url: str, servers: list[ThreadingHTTPServer]
) -> Iterator[Bench]:
    api, page, _ = servers
    routes = [
        {
            "name": name,
            "path": f"/{name}",
            "upstream": url(api),
            "sites": [f"path:/{name}/{{site}}/**"],
            "cors": {"origins": origins},
        }
        for name, origins in (("pages", [url(page)]), ("all", ["*"]))
    ]
    silent, dead = listening_socket(), free_port()
    failing = {"sites": ["query:site"], "methods": ["GET", "POST"], "cors": {"origins": [url(page)]}}
    for name, port in (("silent", port_of(silent)), ("dead", dead)):
        routes.append({"name": name, "path": f"/{name}", "upstream": f"http://127.0.0.1:{port}", **failing})
    routes.append({"name": "reading", "path": "/reading", "upstream": url(api), **failing, "methods": ["GET"]})
    routes.append({"name": "without", "path": "/without", "upstream": url(api), "sites": ["path:/without/{site}/**"]})
    limits = {"answer_seconds": 3, "upstream_connections": 1, "upstream_wait_seconds": 0.5, "head_seconds": 2}
    lanes = Lanes(27, cors={"origins": [APP], "credentials": True})
    folder = tmp_path_factory.mktemp("cors")
    with silent, serving(folder, database_url, lanes, routes=routes, limits=limits) as bench:
        yield bench


async def test_a_preflight_is_answered_and_never_forwarded(client: Wire, lane: Lane) -> None:
    lane.upstream.handler = Answering()
    for rest in ("/sites/shop/x", "/sites/nosuch/x?site=blog", "/", "/health", "/sites/shop%5Cx", "/100%"):
        await client.send(lane.keyless("OPTIONS", rest, *ASKS))
        answer = await client.answer("HEAD")
        assert answer.start == b"HTTP/1.1 204 No Content"
        assert answer.one("Access-Control-Allow-Origin") == ALLOWED
        assert answer.one("Access-Control-Allow-Credentials") == b"true"
        assert b"PUT" in (answer.one("Access-Control-Allow-Methods") or b"").split(b", ")
        assert b"X-API-Key" in (answer.one("Access-Control-Allow-Headers") or b"").split(b", ")
        assert (answer.one("Access-Control-Max-Age"), answer.one("Vary")) == (b"600", b"Origin")
        assert answer.one("X-Request-Id")
        assert answer.all("Content-Length") == answer.all("Transfer-Encoding") == []
    assert lane.upstream.untouched
    await client.send(lane.request("GET", "/sites/shop/x"))
    assert (await client.answer()).status == 200, "the connection can still be used"
    metric = "sitelatch_exchanges_total"
    assert lane.latch.metric(metric, route=lane.name, outcome="preflight_answered", status="204") >= 4


async def test_a_preflight_from_an_unlisted_origin_gets_no_permission(client: Wire, lane: Lane) -> None:
    for origin in ("https://evil.example", "null", f"{APP}:8443"):
        await client.send(lane.keyless("OPTIONS", "/sites/shop/x", f"Origin: {origin}", *ASKS[1:]))
        answer = await client.answer("HEAD")
        assert (answer.status, answer.one("Vary")) == (204, b"Origin")
        assert b"access-control" not in answer.raw_head.lower()
    assert lane.upstream.untouched


async def test_a_preflight_with_a_body_ends_its_connection(client: Wire, lane: Lane) -> None:
    hidden = lane.request("GET", "/sites/shop/hidden")
    await client.send(
        lane.keyless("OPTIONS", "/sites/shop/x", *ASKS, f"Content-Length: {len(hidden) + 1}", body=hidden)
    )
    answer = await client.answer("HEAD")
    assert (answer.status, answer.one("Connection")) == (204, b"close")
    assert await client.read_to_end() == b""
    assert lane.upstream.untouched


@pytest.mark.parametrize(
    ("method", "rest", "key", "status"),
    [
        ("GET", "/sites/shop/x", "", 401),
        ("GET", "/sites/shop/x", "slk_wrong", 401),
        ("GET", "/sites/blog/x", None, 403),
        ("GET", "/x", None, 403),
        ("COPY", "/sites/shop/x", None, 405),
        ("GET", "/sites/shop/x;site=blog/%2e", None, 400),
        ("GET", "/sites/shop/100%", None, 400),
        ("GET", "/sites/shop/x?site=b%C3%BCro;site=blog", None, 400),
        ("OPTIONS", "/sites/blog/x", None, 403),
    ],
)
async def test_pages_can_read_refusals_of_a_route_with_cors(
    client: Wire, lane: Lane, method: str, rest: str, key: str | None, status: int
) -> None:
    lines = [] if key == "" else [f"X-API-Key: {lane.keys.shop.key if key is None else key}"]
    await client.send(lane.keyless(method, rest, f"Origin: {APP}", *lines))
    answer = await client.answer()
    assert answer.status == status
    assert answer.one("Access-Control-Allow-Origin") == ALLOWED
    assert answer.one("Access-Control-Expose-Headers") == EXPOSED
    assert answer.one("Vary") == b"Origin"
    assert lane.upstream.untouched


@pytest.mark.parametrize(
    ("method", "rest", "lines", "status"),
    [
        ("GET", "x", ["Content-Length: 1", "Content-Length: 2"], 400),
        ("GET", "x", ["Expect: the-unexpected"], 417),
        ("GET", "x", ["Connection: X-API-Key"], 400),
        ("GET", "x" * 9000, [], 414),
        ("GET", "x", ["X-Long: " + "a" * 40_000], 431),
        ("GET", "x", ["Bad Name: 1"], 400),
        ("UNHEARD-OF", "x", [], 501),
    ],
)
async def test_pages_can_read_refusals_of_malformed_requests(
    client: Wire, lane: Lane, method: str, rest: str, lines: list[str], status: int
) -> None:
    await client.send(lane.request(method, f"/sites/shop/{rest}", f"origin:{APP}", *lines))
    answer = await client.answer()
    assert answer.status == status
    assert answer.one("Access-Control-Allow-Origin") == ALLOWED
    assert answer.one("Vary") == b"Origin"


async def test_a_preflight_over_a_limit_is_answered_so_that_the_page_can_read_the_refusal(
    client: Wire, lane: Lane
) -> None:
    await client.send(lane.keyless("OPTIONS", "/sites/shop/" + "x" * 9000, *ASKS))
    answer = await client.answer("HEAD")
    assert (answer.status, answer.one("Access-Control-Allow-Origin")) == (204, ALLOWED)
    assert b"PUT" in (answer.one("Access-Control-Allow-Methods") or b"").split(b", ")
    assert await client.closed()
    assert lane.upstream.untouched


async def test_an_options_request_over_a_limit_that_is_no_preflight_is_refused(client: Wire, lane: Lane) -> None:
    await client.send(lane.keyless("OPTIONS", "/sites/shop/" + "x" * 9000, ASKS[0]))
    answer = await client.answer()
    assert (answer.code, answer.one("Access-Control-Allow-Origin")) == ("target_too_long", ALLOWED)


async def test_pages_can_read_that_a_head_did_not_arrive_in_time(client: Wire, lane: Lane) -> None:
    await client.send(lane.request("GET", "/sites/shop/x", f"Origin: {APP}")[:-2] + b"X-Slow: ")
    answer = await client.answer()
    assert (answer.code, answer.one("Access-Control-Allow-Origin")) == ("head_timeout", ALLOWED)


async def test_a_malformed_request_with_two_origins_gets_no_permission(client: Wire, lane: Lane) -> None:
    await client.send(lane.request("GET", "/sites/shop/x", f"Origin: {APP}", f"Origin: {APP}", "Bad Name: 1"))
    answer = await client.answer()
    assert answer.code == "bad_request"
    assert b"access-control" not in answer.raw_head.lower()


async def test_pages_can_read_refusals_after_the_decision(client: Wire, lane: Lane) -> None:
    served = await open_exchange(client, lane.upstream, lane.request("GET", "/sites/shop/x", f"Origin: {APP}"))
    await served.send(b"not HTTP\r\n\r\n")
    answer = await client.answer()
    assert (answer.code, answer.one("Access-Control-Allow-Origin")) == ("upstream_broken", ALLOWED)


async def test_a_forwarded_response_gets_missing_cors_headers(client: Wire, lane: Lane) -> None:
    answers = {
        b"": (ALLOWED, [b"Origin"]),
        b"Vary: Accept\r\n": (ALLOWED, [b"Accept", b"Origin"]),
        b"Vary: Accept, Origin\r\n": (ALLOWED, [b"Accept, Origin"]),
        b"Access-Control-Allow-Origin: *\r\n": (b"*", [b"Origin"]),
    }
    for lines, (origin, vary) in answers.items():
        lane.upstream.handler = Answering(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n%b\r\nok" % lines
        )
        await client.send(lane.request("GET", "/sites/shop/x", f"Origin: {APP}"))
        answer = await client.answer()
        assert answer.body == b"ok"
        assert (answer.one("Access-Control-Allow-Origin"), answer.all("Vary")) == (origin, vary)


async def test_a_request_from_an_unlisted_origin_is_handled_without_cors(client: Wire, lane: Lane) -> None:
    lane.upstream.handler = service = Answering()
    for lines in ((), ("Origin: https://evil.example",), ("Origin: null",)):
        await client.send(lane.request("GET", "/sites/shop/x", *lines))
        answer = await client.answer()
        assert (answer.status, answer.body, answer.one("Vary")) == (200, b"yes", b"Origin")
        assert b"access-control" not in answer.raw_head.lower()
    assert [request.all("Origin") for request in service.requests] == [[], [b"https://evil.example"], [b"null"]]


READ = """
async ([url, init]) => {
    try {
        const answer = await fetch(url, init);
        const body = await answer.json();
        return [answer.status, body.code ?? body.data, answer.headers.get("WWW-Authenticate"),
                answer.headers.get("X-Request-Id") !== null];
    } catch (error) { return [error.name]; }
}
"""
CHALLENGE = 'Bearer realm="api"'


def test_in_a_browser_the_application_can_read_the_status_and_body_of_each_kind_of_refusal(
    bench: Bench, servers: list[ThreadingHTTPServer]
) -> None:
    key = {"X-API-Key": bench.keys.shop.key}
    form_headers = key | {"Content-Type": "application/x-www-form-urlencoded"}
    form: dict[str, object] = {"method": "POST", "headers": form_headers, "body": "site=blog"}
    cases: list[tuple[str, dict[str, object], int, str]] = [
        ("silent?site=shop", {"headers": key}, 504, "upstream_timeout"),
        ("silent/other?site=shop", {"headers": key}, 503, "upstream_busy"),
        ("dead?site=shop", {"headers": key}, 502, "upstream_unreachable"),
        ("dead?site=shop", {}, 401, "missing_key"),
        ("dead?site=shop", {"headers": {"X-API-Key": "wrong"}}, 401, "invalid_key"),
        ("dead?site=blog", {"headers": key}, 403, "site_not_allowed"),
        ("dead", {"headers": key}, 403, "site_missing"),
        ("reading?site=shop", {"headers": key, "method": "POST"}, 405, "method_not_allowed"),
        ("dead?site=shop", form, 415, "form_body_not_read"),
        ("dead?site=shop;site=blog", {"headers": key}, 400, "ambiguous_request"),
        ("dead/100%?site=shop", {"headers": key}, 400, "ambiguous_request"),
    ]
    with chromium() as browser, visit(browser, url(servers[1]) + "/page") as visited:
        asked = [[f"{bench.latch.url}/{target}", init] for target, init, _, _ in cases]
        found = visited.page.evaluate(f"asked => Promise.all(asked.map({READ}))", asked)
        visited.console_errors.clear()
    wanted = [(status, code) for *_, status, code in cases]
    got = [tuple(each[:2]) for each in found]
    assert sorted(got[:2]) == sorted(wanted[:2])
    assert got[2:] == wanted[2:]


def test_in_a_browser_a_page_from_a_listed_origin_can_read_refusals_and_data(
    bench: Bench, servers: list[ThreadingHTTPServer]
) -> None:
    _, listed, other = servers
    key = {"X-API-Key": bench.keys.shop.key}

    def read(page: Any, route: str, site: str, **init: object) -> list[object]:
        found: list[object] = page.evaluate(READ, [f"{bench.latch.url}/{route}/{site}/x", init])
        return found

    with chromium() as browser:
        with visit(browser, url(listed) + "/page") as visited:
            page = visited.page
            assert read(page, "pages", "shop") == [401, "missing_key", CHALLENGE, True]
            assert read(page, "pages", "shop", headers={"X-API-Key": "wrong"}) == [401, "invalid_key", CHALLENGE, True]
            assert read(page, "pages", "shop", headers=key) == [200, "of shop", None, False]
            assert read(page, "pages", "blog", headers=key) == [403, "site_not_allowed", None, True]
            body = {"method": "PUT", "body": json.dumps({}), "headers": key | {"Content-Type": "application/json"}}
            assert read(page, "pages", "blog", **body) == [403, "site_not_allowed", None, True]
            assert read(page, "all", "shop", headers={"Authorization": f"Bearer {bench.keys.shop.key}"})[:2] == [
                200,
                "of shop",
            ]
            # The page may not send this header, or use a route without CORS.
            assert read(page, "pages", "shop", headers=key | {"X-Other": "1"}) == ["TypeError"]
            assert read(page, "without", "shop", headers=key) == ["TypeError"]
            visited.console_errors.clear()
        with visit(browser, url(other) + "/page") as visited:
            assert read(visited.page, "pages", "shop") == ["TypeError"]
            assert read(visited.page, "pages", "shop", headers=key) == ["TypeError"]
            assert read(visited.page, "all", "shop", headers=key)[:2] == [200, "of shop"]
            visited.console_errors.clear()
