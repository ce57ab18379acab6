"""Forwarded requests (docs/decision.md): they contain the identity, never the key, and no forged header."""

import base64
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.acceptance.harness import Bench, Lane, Lanes, Table, User, serving
from tests.acceptance.wire import Answering, Message, Wire, connect

UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {base64.b64encode(b'0123456789abcdef').decode()}",
    "Sec-WebSocket-Version: 13",
)

EVERYWHERE = ["header:X-API-Key", "bearer", "basic", "cookie:api_session", "query:api_key", "header:X-Old-Key"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Bench]:
    lanes = Lanes(140, preflight="pass", keys_from=EVERYWHERE)
    with serving(tmp_path_factory.mktemp("headers"), database_url, lanes) as bench:
        yield bench


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Bench]:
    """A server behind a trusted proxy, whose X-Forwarded-* headers it keeps."""
    lanes = Lanes(20)
    proxy: Table = {"trusted_proxies": ["10.0.0.0/8", "127.0.0.1/32"]}
    with serving(tmp_path_factory.mktemp("trusting"), database_url, lanes, proxy=proxy) as trusting:
        yield trusting


@pytest.fixture(scope="module")
def forwarding(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Bench]:
    """A server in front of services that check the key again, under their own host name."""
    lanes = Lanes(20, forward_key=True, keys_from=EVERYWHERE, host="upstream")
    with serving(tmp_path_factory.mktemp("forwarding"), database_url, lanes) as forwarding:
        yield forwarding


@pytest.fixture
async def service(lane: Lane) -> Answering:
    service = Answering()
    lane.upstream.handler = service
    return service


@pytest.fixture
async def other_lane(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Lane, Answering]]:
    bench: Bench = request.getfixturevalue(request.param)
    lane = bench.lanes.next(bench.latch, bench.keys)
    service = Answering()
    lane.upstream.handler = service
    async with lane.upstream:
        yield lane, service


async def forward(client: Wire, service: Answering, request: bytes, method: str = "GET") -> Message:
    """Send a request that passes, and return it as the data service saw it."""
    await client.send(request)
    answer = await client.answer(method)
    assert answer.status == 200, answer.raw_head + answer.body
    return service.requests[-1]


# The identity.


async def test_the_service_gets_the_identity_of_the_api_user(client: Wire, lane: Lane, service: Answering) -> None:
    seen = await forward(client, service, lane.request("GET", "/sites/shop/x", user=lane.keys.shop_and_blog))
    assert seen.one("X-Api-User-Id") == lane.keys.shop_and_blog.id.encode()
    assert seen.one("X-Api-Workspace") == b"acme"
    assert seen.one("X-Api-Sites") == b"shop"
    assert seen.one("X-Request-Id")
    assert seen.one("X-Forwarded-For") == b"127.0.0.1"
    assert seen.one("X-Forwarded-Proto") == b"http"
    assert seen.one("X-Forwarded-Host") == b"data.example"
    assert seen.one("Host") == b"data.example"


async def test_the_service_gets_all_named_sites(client: Wire, lane: Lane, service: Answering) -> None:
    request = lane.request("GET", "/sites/shop/x?site=blog", "X-Site: shop", user=lane.keys.shop_and_blog)
    seen = await forward(client, service, request)
    sites = seen.one("X-Api-Sites") or b""
    assert sorted(part.strip() for part in sites.split(b",")) == [b"blog", b"shop"]


async def test_each_request_has_its_own_id(client: Wire, lane: Lane, service: Answering) -> None:
    for _ in range(3):
        await forward(client, service, lane.request("GET", "/sites/shop/x"))
    assert len({request.one("X-Request-Id") for request in service.requests}) == 3


SPELLINGS = [
    "X-Api-User-Id",
    "x-api-user-id",
    "X-API-USER-ID",
    "X_Api_User_Id",
    "X-Api_User-Id",
    "x_api_user_id",
    "X-Api-Workspace",
    "X_API_WORKSPACE",
    "X-Api-Sites",
    "x-Api_sites",
    "X-Forwarded-For",
    "X_Forwarded_For",
    "x-forwarded-proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X_Forwarded-User",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "Forwarded",
    "FORWARDED",
    "X-Real-IP",
    "x_real_ip",
    "X-Original-URL",
    "X_Original_Url",
    "X-Rewrite-URL",
    "X-Original-URI",
    "X-Envoy-Original-Path",
    "x_envoy_original_path",
    "SCRIPT_NAME",
    "Script-Name",
    "Daphne-Root-Path",
    "X-Script-Name",
    "X-Host",
    "X-Middleware-Subrequest",
    "X-Matched-Path",
    "X-Astro-Path",
    "X-Sendfile-Type",
    "X-Accel-Mapping",
    "X.Any~Other",
]

FORGED = "forged.example"

KINDS = {
    "site": ("GET", "/sites/shop/x", ()),
    "post": ("POST", "/sites/shop/x", ("Content-Length: 0",)),
    "public": ("GET", "/health", ()),
    "preflight": ("OPTIONS", "/sites/shop/x", ("Origin: https://a.example", "Access-Control-Request-Method: GET")),
    "upgrade": ("GET", "/sites/shop/x", UPGRADE),
    "old": ("GET", "/sites/shop/x", ()),
}


@pytest.mark.parametrize("kind", list(KINDS))
async def test_forged_headers_are_not_forwarded(lane: Lane, service: Answering, kind: str) -> None:
    method, rest, lines = KINDS[kind]
    make = lane.keyless if kind in ("public", "preflight") else lane.request
    for spelling in SPELLINGS:
        forged = (f"{spelling}: {FORGED}", *lines, f"{spelling}: {FORGED}")
        async with connect(lane.latch.address) as client:
            await client.send(make(method, rest, *forged, version="1.0" if kind == "old" else "1.1"))
            assert (await client.answer(method)).status == 200, spelling
        assert FORGED.encode() not in service.requests[-1].raw_head, spelling
    assert len(service.requests) == len(SPELLINGS)


async def test_a_request_for_a_public_path_is_forwarded_without_identity_or_key(
    client: Wire, lane: Lane, service: Answering
) -> None:
    seen = await forward(client, service, lane.request("GET", "/health"))
    assert (seen.all("X-Api-User-Id"), seen.all("X-Api-Workspace"), seen.all("X-Api-Sites")) == ([], [], [])
    assert lane.keys.shop.key.encode() not in seen.raw_head
    assert seen.one("X-Request-Id")


async def test_a_preflight_has_an_identity_only_with_a_key(client: Wire, lane: Lane, service: Answering) -> None:
    method, rest, lines = KINDS["preflight"]
    seen = await forward(client, service, lane.keyless(method, rest, *lines), method)
    assert (seen.all("X-Api-User-Id"), seen.all("X-Api-Workspace")) == ([], [])
    seen = await forward(client, service, lane.request(method, rest, *lines), method)
    assert seen.all("X-Api-User-Id") in ([], [lane.keys.shop.id.encode()])
    assert lane.keys.shop.key.encode() not in seen.raw_head


@pytest.mark.parametrize(
    "name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "x_http_method_override"]
)
async def test_method_overrides_are_removed_from_a_request_without_a_key(
    client: Wire, lane: Lane, service: Answering, name: str
) -> None:
    seen = await forward(client, service, lane.keyless("GET", "/health", f"{name}: DELETE"))
    assert b"DELETE" not in seen.raw_head


# Behind a trusted or untrusted proxy.


@pytest.mark.parametrize("other_lane", ["trusting"], indirect=True)
async def test_forwarding_headers_from_a_trusted_proxy_are_kept(other_lane: tuple[Lane, Answering]) -> None:
    lane, service = other_lane
    lines = ("X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: api.example")
    async with connect(lane.latch.address) as client:
        seen = await forward(client, service, lane.request("GET", "/sites/shop/x", *lines))
    assert b",".join(seen.all("X-Forwarded-For")).replace(b" ", b"") == b"203.0.113.7,127.0.0.1"
    assert (seen.one("X-Forwarded-Proto"), seen.one("X-Forwarded-Host")) == (b"https", b"api.example")


@pytest.mark.parametrize("other_lane", ["trusting"], indirect=True)
@pytest.mark.parametrize(
    "spelling",
    [
        *("X-Api-User-Id", "x_api_user_id", "X-Api-Sites", "X-Original-URL", "X_Rewrite_Url", "X_Forwarded_For"),
        *("X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Path", "X-Forwarded-Server", "SCRIPT_NAME"),
        *("X-Script-Name", "Daphne-Root-Path", "X-Matched-Path"),
    ],
)
async def test_a_trusted_proxy_cannot_forge_an_identity_or_steer_the_service(
    other_lane: tuple[Lane, Answering], spelling: str
) -> None:
    lane, service = other_lane
    async with connect(lane.latch.address) as client:
        seen = await forward(client, service, lane.request("GET", "/sites/shop/x", f"{spelling}: {FORGED}"))
    assert FORGED.encode() not in seen.raw_head


# The key is removed.


def everywhere(user: User) -> dict[str, tuple[str, tuple[str, ...]]]:
    """A target and header lines for each key location, including spellings that only lenient backends read."""
    key = user.key
    basic = base64.b64encode(f"{key}:".encode()).decode()
    with_password = base64.b64encode(f"{key}:secret".encode()).decode()
    target = "/sites/shop/x"
    return {
        "header": (target, (f"X-API-Key: {key}",)),
        "header in lowercase": (target, (f"x-api-key: {key}",)),
        "header with underscores": (target, (f"X_API_KEY: {key}",)),
        "second header": (target, (f"X-Old-Key: {key}",)),
        "header twice": (target, (f"X-API-Key: {key}", f"x-api-key: {key}")),
        "bearer": (target, (f"Authorization: Bearer {key}",)),
        "bearer in lowercase": (target, (f"authorization: bearer {key}",)),
        "bearer in capitals": (target, (f"AUTHORIZATION: BEARER  {key}",)),
        "basic": (target, (f"Authorization: Basic {basic}",)),
        "basic with a password": (target, (f"authorization: basic {with_password}",)),
        "cookie": (target, (f"Cookie: a=1; api_session={key}; b=2",)),
        "cookie alone": (target, (f"Cookie: api_session={key}",)),
        "cookie in quotes": (target, (f'Cookie: api_session="{key}"; b=2',)),
        "query": (f"{target}?api_key={key}", ()),
        "query in the middle": (f"{target}?a=%7e&api_key={key}&&b=%2F", ()),
        "query at the end": (f"{target}?a=%7e&api_key={key}", ()),
        "query with an escaped name": (f"{target}?a=1&api%5Fkey={key}", ()),
        "query with an escaped value": (f"{target}?a=1&api_key=%73{key[1:]}", ()),
        "query in capitals": (f"{target}?API_KEY={key}", ()),
        "query twice": (f"{target}?api_key={key}&a=1&api_key={key}", ()),
        "header and bearer": (target, (f"X-API-Key: {key}", f"Authorization: Bearer {key}")),
        "every place": (
            f"{target}?api_key={key}",
            (f"X-API-Key: {key}", f"Authorization: Bearer {key}", f"Cookie: api_session={key}", f"X-Old-Key: {key}"),
        ),
    }


PLACES = list(everywhere(User("", "slk_")))


@pytest.mark.parametrize("place", PLACES)
async def test_the_key_is_removed_from_every_key_location(
    client: Wire, lane: Lane, service: Answering, place: str
) -> None:
    rest, lines = everywhere(lane.keys.shop)[place]
    await client.send(lane.keyless("GET", rest, *lines))
    answer = await client.answer()
    # A spelling that only some backends read as the key may be refused instead.
    lenient = place in (
        "header with underscores",
        "cookie in quotes",
        "query in capitals",
        "query with an escaped name",
    )
    assert answer.status == 200 or (lenient and answer.status in (400, 401)), answer.raw_head + answer.body
    for seen in service.requests:
        assert lane.keys.shop.key[4:-6].encode() not in seen.raw_head
        assert seen.one("X-Api-User-Id") == lane.keys.shop.id.encode()


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("?api_key={}", ("", "?")),
        ("?api_key={}&a=%7e", ("?a=%7e",)),
        ("?a=%7e&api_key={}", ("?a=%7e",)),
        ("?a=%7e&api_key={}&&b=%2F+", ("?a=%7e&&b=%2F+",)),
        ("?api_key={}&a=1&api_key={}&b", ("?a=1&b",)),
    ],
)
async def test_removing_a_key_from_the_query_changes_no_other_bytes(
    client: Wire, lane: Lane, service: Answering, query: str, left: tuple[str, ...]
) -> None:
    rest = "/sites/shop/%7Ex" + query.replace("{}", lane.keys.shop.key)
    seen = await forward(client, service, lane.keyless("GET", rest))
    assert seen.target in [lane.target("/sites/shop/%7Ex" + end).encode() for end in left]


async def test_other_cookies_and_credentials_are_kept(client: Wire, lane: Lane, service: Answering) -> None:
    lines = (f'Cookie: a=1;  b="2"; api_session={lane.keys.shop.key}; c=%33', "Cookie: d=4")
    seen = await forward(client, service, lane.keyless("GET", "/sites/shop/x", *lines))
    assert seen.all("Cookie") == [b'a=1;  b="2"; c=%33', b"d=4"]
    digest = 'Authorization: Digest username="a", realm="b"'
    seen = await forward(client, service, lane.request("GET", "/sites/shop/x", digest))
    assert seen.one("Authorization") == b'Digest username="a", realm="b"'


@pytest.mark.parametrize(
    ("rest", "lines"),
    [
        ("/sites/shop/x?api_key={blog}", ("X-API-Key: {shop}",)),
        ("/sites/shop/x", ("X-API-Key: {shop}", "X-API-Key: {blog}")),
        ("/sites/shop/x", ("X-API-Key: {shop}", "X_API_KEY: {blog}")),
        ("/sites/shop/x", ("X-API-Key: {shop}", "Authorization: Bearer {blog}")),
        ("/sites/shop/x?api_key={shop}&api_key={blog}", ()),
        ("/sites/shop/x?api_key={shop}&api%5fkey={blog}", ()),
        ("/sites/shop/x", ("Cookie: api_session={shop}; api_session={blog}",)),
        ("/sites/shop/x", ("Cookie: api_session={shop}", "Cookie: api_session={blog}")),
        ("/sites/shop/x", ("Authorization: Bearer {shop}", "Authorization: Bearer {blog}")),
    ],
)
async def test_two_keys_are_refused(
    client: Wire, lane: Lane, service: Answering, rest: str, lines: tuple[str, ...]
) -> None:
    keys = {"shop": lane.keys.shop.key, "blog": lane.keys.blog.key}
    await client.send(lane.keyless("GET", rest.format(**keys), *(line.format(**keys) for line in lines)))
    answer = await client.answer()
    assert (answer.status, answer.code) == (400, "ambiguous_key")
    assert lane.upstream.untouched


@pytest.mark.parametrize("other_lane", ["forwarding"], indirect=True)
async def test_the_key_is_forwarded_if_the_route_says_so(other_lane: tuple[Lane, Answering]) -> None:
    lane, service = other_lane
    key = lane.keys.shop.key
    async with connect(lane.latch.address) as client:
        seen = await forward(client, service, lane.request("GET", f"/sites/shop/x?b=1&api_key={key}&a=%7e"))
    assert seen.one("X-API-Key") == key.encode()
    assert seen.target == lane.target(f"/sites/shop/x?b=1&api_key={key}&a=%7e").encode()
    # Host is the service's own name, and X-Forwarded-Host the client's.
    assert (seen.one("Host"), seen.one("X-Forwarded-Host")) == (
        f"127.0.0.1:{lane.socket.getsockname()[1]}".encode(),
        b"data.example",
    )


# Connection lists headers to remove.


@pytest.mark.parametrize(
    "listed",
    [
        "X-API-Key",
        "x-api-key",
        "Authorization",
        "Cookie",
        "X-Site",
        "x-site",
        "X_Site",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "close, X-Site",
        "Upgrade, Host",
    ],
)
@pytest.mark.parametrize("kind", ["site", "public"])
async def test_a_connection_header_that_lists_a_needed_header_is_refused(
    client: Wire, lane: Lane, kind: str, listed: str
) -> None:
    method, rest, lines = KINDS[kind]
    await client.send(lane.request(method, rest, f"Connection: {listed}", "X-Site: shop", *lines))
    answer = await client.answer()
    assert (answer.status, answer.code) == (400, "bad_connection_header")
    assert lane.upstream.untouched


@pytest.mark.parametrize(
    "listed",
    ["X-Api-User-Id", "X-Api-Sites", "keep-alive,\tx-api-workspace", "X-Request-Id", "X-Forwarded-For", "X-Any-Other"],
)
async def test_the_connection_header_may_list_headers_that_sitelatch_sets(
    client: Wire, lane: Lane, service: Answering, listed: str
) -> None:
    name = listed.rpartition("\t")[2]
    lines = (f"Connection: {listed}", f"{name}: {FORGED}")
    seen = await forward(client, service, lane.request("GET", "/sites/shop/x", *lines))
    assert FORGED.encode() not in seen.raw_head
    assert seen.one("X-Api-User-Id") == lane.keys.shop.id.encode()
    assert seen.one("X-Api-Sites") == b"shop"
    assert seen.one("X-Forwarded-For") == b"127.0.0.1"
    assert seen.one("X-Request-Id")


async def test_hop_by_hop_headers_of_requests_are_not_forwarded(client: Wire, lane: Lane, service: Answering) -> None:
    lines = (
        "Connection: X-Hop, keep-alive",
        "Connection: x-other-hop",
        "X-Hop: 1",
        "X-Other-Hop: 1",
        "x-hop: 2",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic YTpi",
        "TE: gzip",
        "Trailer: X-Sum",
        "X-Kept: 1",
    )
    seen = await forward(client, service, lane.request("GET", "/sites/shop/x", *lines))
    gone = ("X-Hop", "X-Other-Hop", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Trailer")
    assert [seen.all(name) for name in gone] == [[]] * len(gone)
    assert seen.all("TE") in ([], [b"trailers"])
    assert seen.one("X-Kept") == b"1"


async def test_hop_by_hop_headers_of_responses_are_not_forwarded(client: Wire, lane: Lane, service: Answering) -> None:
    service.answer = (
        b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: a\r\n"
        b"X-Kept: 1\r\nContent-Length: 2\r\n\r\nok"
    )
    await client.send(lane.request("GET", "/sites/shop/x"))
    answer = await client.answer()
    assert [answer.all(name) for name in ("X-Hop", "Keep-Alive", "Proxy-Connection")] == [[], [], []]
    assert answer.one("X-Kept") == b"1"
