"""Routes in shadow mode (docs/shadow-mode.md): nothing is refused, and the counts are those of enforcement."""

import asyncio
import io
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from proxy.decision.api_keys import digest, new_key
from proxy.decision.route_table import RouteTable
from proxy.enforcement import Enforcement
from proxy.grants.cache import GrantCache
from proxy.grants.changes import Changes
from proxy.grants.token_bucket import TokenBuckets
from proxy.observe.access_log import AccessLog
from proxy.observe.metrics import Metrics
from proxy.relay.front_door import FrontDoor
from proxy.relay.revocation import Revocation
from proxy.settings import GrantSettings, KeySettings, LimitSettings, ProxySettings, RouteSettings
from proxy.shadow import MOST_LOOKUPS_OF_ONE_NETWORK
from proxy.shadow_findings import Finding
from tests.acceptance.wire import Answering, Upstream, connect, listening_socket, port_of, until
from tests.ordinary_traffic import REFUSED, SHAPES, WANTED
from tests.scopes import MemoryScope
from tests.traffic.shape import Shape
from tests.unit.test_refusal_details import ROWS

KEY, OTHER_KEY, UNKNOWN_KEY = (new_key() for _ in range(3))
LIMITED_KEYS: dict[str, dict[str, Any]] = {
    new_key(): {"expires_at": 1.0},
    new_key(): {"disabled": True},
    new_key(): {"methods": ["HEAD"]},
    new_key(): {"networks": ["192.0.2.0/24"]},
}
IDENTITY = ("X-Api-User-Id", "X-Api-Workspace", "X-Api-Sites")
LIMITS = LimitSettings(head_bytes=200_000, target_bytes=100_000)
LONG = GrantSettings(ttl_seconds=3600, unknown_ttl_seconds=3600)
KEYS = KeySettings(accept_foreign=True)


class Door:
    """A front door on a real socket, and everything that it shows."""

    def __init__(
        self, routes: Sequence[RouteSettings], grants: GrantCache, *, trusted: bool = False, access: Any = "all"
    ) -> None:
        self.metrics = Metrics()
        self.log = io.BytesIO()
        self.used: list[str] = []
        self.findings: list[Finding] = []
        self._access_log = AccessLog(self.log, access)
        enforcement = Enforcement(
            RouteTable(routes, KEYS), grants, self.metrics, on_use=self.used.append, accept_foreign=True
        )
        proxies = ("127.0.0.1",) if trusted else ()
        settings = ProxySettings(listen="127.0.0.1:0", routes=tuple(routes), trusted_proxies=proxies)
        self.front = FrontDoor(
            settings, LIMITS, enforcement, self.metrics, self._access_log, on_finding=self.findings.append
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.front.addresses[0][1]}"

    @property
    def idle(self) -> bool:
        """Whether no lookup is in progress in the background."""
        shadow = self.front.services.shadow
        return shadow is None or shadow.idle

    @property
    def verdicts(self) -> Counter[str]:
        """What the routes in shadow mode have counted."""
        return Counter(
            {
                sample.labels["verdict"]: int(sample.value)
                for family in self.metrics.families()
                if family.name == "sitelatch_shadow_requests"
                for sample in family.samples
            }
        )

    @property
    def log_lines(self) -> list[dict[str, Any]]:
        self._access_log.flush()
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    async def send(self, request: bytes) -> str:
        """Send one request with its body over a connection of its own. Return the outcome."""
        async with connect(self.address) as client:
            await client.send(request)
            answer = await client.answer(request.partition(b" ")[0].decode())
        line = self.log_lines[-1]
        assert line["status"] == answer.status
        return str(line["outcome"])


@dataclass
class Setup:
    scope: MemoryScope
    grants: GrantCache
    upstream: Answering
    url: str

    def route(self, name: str = "data", **settings: Any) -> RouteSettings:
        return RouteSettings.model_validate(
            {"name": name, "upstream": self.url, "sites": ["path:/sites/{site}/**"], "mode": "shadow", **settings}
        )

    @asynccontextmanager
    async def door(self, *routes: RouteSettings, trusted: bool = False, access: str = "all") -> AsyncIterator[Door]:
        door = Door(routes, self.grants, trusted=trusted, access=access)
        await door.front.start()
        try:
            yield door
        finally:
            await door.front.close()


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    scope = MemoryScope()
    grants = GrantCache(LONG, scope, on_lookup=lambda _: None, budget=TokenBuckets(100_000))
    with listening_socket() as sock:
        answering = Answering()
        upstream = Upstream(sock, answering)
        await upstream.start()
        yield Setup(scope, grants, answering, f"http://127.0.0.1:{port_of(sock)}")
        await grants.close()
        await upstream.stop()


def get(target: str, *lines: str, key: str | None = KEY) -> bytes:
    keys = [f"X-API-Key: {key}"] if key else []
    return "\r\n".join((f"GET {target} HTTP/1.1", "Host: h", *keys, *lines, "", "")).encode()


# A recorded mix of traffic.


def with_body(head: bytes) -> bytes:
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    body = b"x" * int(length[1]) if length else b"0\r\n\r\n" if b"\r\nTransfer-Encoding: chunked" in head else b""
    return head + body


Group = tuple[list[Any], dict[str, Any], list[bytes]]


def groups() -> Iterator[Group]:
    """Yield site rules, further settings of a route, and requests for it: real ones, and ones that are ambiguous."""
    found: dict[str, Group] = {}
    for number, shape in enumerate([*SHAPES, *WANTED, *REFUSED]):
        options = {"accept": shape.every_site, **shape.options}
        key = repr((shape.rules, sorted(options.items(), key=repr)))
        group = found.setdefault(key, (list(shape.rules), dict(shape.options), []))
        group[2].extend(variants(shape, number))
    for rules, options, data, _ in ROWS:
        if rules:
            options = {"keys_from": ["header:X-API-Key", "bearer", "query:api_key", "cookie:key"], **options}
            group = found.setdefault(repr((rules, sorted(options.items()))), (rules, options, []))
            group[2].append(data)
    yield from found.values()


def variants(shape: Shape, number: int) -> Iterator[bytes]:
    """Yield the request with a key that covers its sites, and one that is refused for a reason of its own."""
    yield with_body(shape.wire(KEY))
    others = [
        shape.wire(OTHER_KEY),
        shape.wire(UNKNOWN_KEY),
        *map(shape.wire, LIMITED_KEYS),
        shape.wire(KEY).replace(b"\r\n\r\n", b"\r\nOrigin: https://a.example\r\nX-API-Key: another\r\n\r\n"),
        shape.wire(KEY).replace(shape.method.encode(), b"PROPFIND", 1),
        shape.wire(KEY).replace(b"\r\n\r\n", b"\r\nx-amz-copy-source: /other/x\r\n\r\n"),
        shape.wire(KEY).replace(b"\r\n\r\n", b"\r\nX-HTTP-Method-Override: PROPFIND\r\n\r\n"),
    ]
    yield with_body(others[number % len(others)])


def add_keys(scope: MemoryScope, group: Group) -> None:
    sites = {site for shape in [*SHAPES, *WANTED] for site in shape.sites}
    limited_to = group[1].get("workspace")
    workspace: str = limited_to or "acme"
    scope.add(digest(KEY.encode()), "ada", *sites, all_sites=bool(limited_to), workspace=workspace)
    scope.sites.update(dict.fromkeys(sites, workspace))
    scope.add(digest(OTHER_KEY.encode()), "bob", "elsewhere")
    for key, limits in LIMITED_KEYS.items():
        scope.add(digest(key.encode()), "eve", *sites, **limits)


async def test_counts_in_shadow_mode_are_those_of_enforcement_and_nothing_is_refused(setup: Setup) -> None:
    enforced: Counter[str] = Counter()
    shadowed: Counter[str] = Counter()
    still_refused: Counter[str] = Counter()
    for group in groups():
        await compare(setup, group, enforced, shadowed, still_refused)
    assert enforced == shadowed + still_refused
    assert len(enforced) > 12, enforced
    assert still_refused.keys() <= {"bad_request", "ambiguous_request", "no_route"}


async def compare(
    setup: Setup, group: Group, enforced: Counter[str], shadowed: Counter[str], still_refused: Counter[str]
) -> None:
    """Send the requests of a group to both doors, and count what they do with each."""
    setup.grants.drop_all()
    add_keys(setup.scope, group)
    rules, options, requests = group[0], dict(group[1]), group[2]
    trusted = options.pop("trusted", False)
    settings = {"sites": rules, "host": "keep", **options}
    seen = setup.upstream.requests
    async with (
        setup.door(setup.route(**settings, mode="enforce"), trusted=trusted) as enforcing,
        setup.door(setup.route(**settings), trusted=trusted) as door,
    ):
        for request in requests:
            seen.clear()
            expected = await enforcing.send(request)
            passed = [*seen]
            enforced[expected] += 1
            before = door.verdicts
            seen.clear()
            outcome = await door.send(request)
            counted = door.verdicts - before
            if expected == "preflight_answered":
                assert (outcome, counted, seen) == (expected, Counter(), []), request
                shadowed[expected] += 1
                continue
            shadowed += counted
            if not counted:
                still_refused[outcome] += 1
                assert (outcome, seen) == (expected, []), request
                continue
            assert counted == Counter([expected]), request
            assert outcome == "passed", request
            identities = [[each.all(name) for name in IDENTITY] for each in (*passed, *seen)]
            assert identities == ([identities[0]] * 2 if passed else [[[], [], []]]), request
            start = request.partition(b"\r\n")[0]
            if start.split(b" ")[1].startswith(b"/"):
                assert seen[0].start.split(b" ")[:2] == start.split(b" ")[:2]
            assert seen[0].raw_head.count(KEY.encode()) == request.count(KEY.encode()), request


# Lookups.


async def test_a_request_is_forwarded_before_its_key_is_looked_up(setup: Setup) -> None:
    setup.scope.add(digest(KEY.encode()), "ada", "shop")
    async with setup.door(setup.route()) as door:
        setup.scope.hold()
        assert await door.send(get("/sites/shop/x")) == "passed"
        assert door.verdicts == Counter(undecided=1)
        assert setup.upstream.requests[-1].one("X-Api-User-Id") is None
        setup.scope.resume()
        await until(lambda: door.idle, "the lookup")
        assert await door.send(get("/sites/shop/x")) == "passed"
        assert door.verdicts == Counter(undecided=1, passed=1)
        assert setup.upstream.requests[-1].one("X-Api-User-Id") == b"ada"


async def test_no_request_is_refused_or_delayed_while_the_database_is_down(setup: Setup) -> None:
    setup.scope.down = ConnectionError("down")
    async with setup.door(setup.route()) as door:
        for number in range(20):
            assert await door.send(get(f"/sites/shop/{number}")) == "passed"
        assert door.verdicts == Counter(undecided=20)
    assert len(setup.upstream.requests) == 20


async def test_a_flood_of_unknown_keys_holds_few_lookups_and_no_request_waits(setup: Setup) -> None:
    async with setup.door(setup.route()) as door, connect(door.address) as client:
        setup.scope.hold()
        for number in range(MOST_LOOKUPS_OF_ONE_NETWORK + 50):
            await client.send(get("/sites/shop/x", key=f"unknown-{number}"))
            assert (await client.answer()).status == 200
        setup.scope.resume()
        await until(lambda: door.idle, "the lookups")
        looked_up = {queried for queried in setup.scope.queried if isinstance(queried, bytes)}
        assert len(looked_up) == MOST_LOOKUPS_OF_ONE_NETWORK
        assert door.verdicts == Counter(undecided=MOST_LOOKUPS_OF_ONE_NETWORK + 50)


async def test_an_exchange_is_not_ended_when_its_key_is_revoked(setup: Setup) -> None:
    setup.scope.add(digest(KEY.encode()), "ada", "shop")
    ended: list[str] = []
    async with setup.door(setup.route(), setup.route("enforced", mode="enforce", path="/sites/enforced")) as door:
        revocation = Revocation(
            door.front.exchanges, setup.grants, LONG, read_at=asyncio.get_running_loop().time, on_ended=ended.append
        )
        await setup.grants.fetch(digest(KEY.encode()))
        setup.upstream.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbegun\n"[:-1]
        async with connect(door.address) as client:
            await client.send(get("/sites/shop/x"))
            await client.read_until(b"begun")
            setup.scope.grants.clear()
            setup.grants.drop_all()
            revocation.changed(Changes(everything=True))
            assert not revocation.rechecks.queued
            assert [exchange.done for exchange in door.front.exchanges()] == [False]
        await revocation.close()
    assert ended == []


async def test_findings_name_the_user_and_the_site_and_follow_when_a_lookup_is_done(setup: Setup) -> None:
    setup.scope.add(digest(KEY.encode()), "ada", "shop")
    setup.scope.add(digest(OTHER_KEY.encode()), "bob", all_sites=True)
    setup.scope.sites["shop"] = "acme"
    async with setup.door(setup.route(sites=["path:/sites/{site}/**", {"query": "site", "separator": ","}])) as door:
        for key, target in ((KEY, "/sites/blog/x"), (OTHER_KEY, "/sites/shop/x?site=shop,wiki"), (UNKNOWN_KEY, "/x")):
            for _ in range(2):
                await door.send(get(target, key=key))
                await until(lambda: door.idle, "the lookups")
        await door.send(get("/sites/shop/x", key=KEY))
    found = Counter((finding.code, finding.user_id, finding.site) for finding in door.findings)
    assert found == {
        ("site_not_allowed", "ada", "blog"): 2,
        ("site_not_allowed", "bob", "wiki"): 2,
        ("site_missing", "", ""): 2,
    }
    assert door.verdicts["undecided"] == 2


# Routes.


async def test_a_request_that_may_belong_to_an_enforced_route_is_refused(setup: Setup) -> None:
    enforced = setup.route("data", mode="enforce", path="/data")
    async with setup.door(enforced, setup.route("rest", path="/")) as door:
        for target in (
            "/x%2F..%2Fdata",
            "/DATA/x",
            "/data%2Fx",
            "/x/../data",
            "/data;a/x",
            "/%64ata%252Fx",
            "/a\\data",
        ):
            assert await door.send(get(target)) == "ambiguous_request", target
        assert await door.send(get("/data#/../x")) == "bad_request"
        assert await door.send(get("/data/x", key=None)) == "missing_key"
        assert await door.send(get("/x", key=None)) == "passed"
    assert [message.target for message in setup.upstream.requests] == [b"/x"]


async def test_a_request_that_belongs_to_a_route_in_shadow_mode_in_every_reading_is_forwarded(setup: Setup) -> None:
    async with setup.door(setup.route("data", path="/data"), setup.route("rest", path="/")) as door:
        for target in ("/DATA/x", "/data%2Fx", "/x/../data", "/a?b=\xff"):
            assert await door.send(get(target).decode().encode("latin-1")) == "passed", target
        assert door.verdicts.keys() == {"ambiguous_request", "bad_request"}
        assert {line["route"] for line in door.log_lines} <= {"rest", "data"}


async def test_no_path_without_a_route_is_forwarded(setup: Setup) -> None:
    async with setup.door(setup.route("data", path="/data")) as door:
        assert await door.send(get("/other")) == "no_route"
        assert await door.send(get("/data/../other")) == "ambiguous_request"
        assert await door.send(get("/data%2Fx")) == "ambiguous_request"
    assert setup.upstream.requests == []


async def test_a_defect_of_the_decision_refuses_the_request(setup: Setup) -> None:
    async with setup.door(setup.route()) as door:
        setup.grants.peek = broken  # type: ignore[method-assign]
        assert await door.send(get("/sites/shop/x")) == "internal_error"


def broken(digest: bytes) -> None:
    raise RuntimeError("a defect")


# The forwarded request.


async def test_the_key_stays_and_forged_and_steering_fields_go(setup: Setup) -> None:
    setup.scope.add(digest(KEY.encode()), "ada", "shop")
    route = setup.route(drop_headers=["X-Tenant"], keys_from=["query:api_key", "cookie:key", "header:X-API-Key"])
    lines = ("X-Api-User-Id: eve", "X_Api_Sites: blog", "X-Tenant: eve", "X-Original-URL: /admin", "Cookie: key=a; b=c")
    async with setup.door(route) as door:
        assert await door.send(get("/sites/blog/x?api_key=b&c=d", *lines)) == "passed"
        assert door.verdicts == Counter(ambiguous_key=1)
    seen = setup.upstream.requests[-1]
    assert seen.target == b"/sites/blog/x?api_key=b&c=d"
    assert seen.one("Cookie") == b"key=a; b=c"
    assert seen.one("X-API-Key") == KEY.encode()
    for name in (*IDENTITY, "X_Api_Sites", "X-Tenant", "X-Original-URL"):
        assert seen.all(name) == [], name


async def test_a_public_request_keeps_its_key_and_loses_its_method_override(setup: Setup) -> None:
    async with setup.door(setup.route(public=["GET /health"])) as door:
        assert await door.send(get("/health", "X-HTTP-Method-Override: DELETE")) == "passed"
        assert door.verdicts == Counter(passed=1)
    assert setup.upstream.requests[-1].one("X-API-Key") == KEY.encode()
    assert setup.upstream.requests[-1].all("X-HTTP-Method-Override") == []


PREFLIGHT = get("/sites/shop/x", "Origin: https://a.example", "Access-Control-Request-Method: GET", key=None)
PREFLIGHT = PREFLIGHT.replace(b"GET", b"OPTIONS", 1)


async def test_preflights_are_answered_on_a_route_with_cors_and_otherwise_forwarded(setup: Setup) -> None:
    with_cors = setup.route("cors", path="/sites", cors={"origins": ["https://a.example"]})
    async with setup.door(with_cors) as door:
        assert await door.send(PREFLIGHT) == "preflight_answered"
    async with setup.door(setup.route()) as door:
        assert await door.send(PREFLIGHT) == "passed"
        assert door.verdicts == Counter(preflight_refused=1)
    assert len(setup.upstream.requests) == 1


# The log and the metrics.


async def test_the_access_log_says_what_would_have_been_refused(setup: Setup) -> None:
    setup.scope.add(digest(KEY.encode()), "ada", "shop")
    await setup.grants.fetch(digest(KEY.encode()))
    async with setup.door(setup.route(), access="refused") as door, connect(door.address) as client:
        for target in ("/sites/shop/x", "/sites/blog/x"):
            await client.send(get(target))
            await client.answer()
        [line] = door.log_lines
    assert (line["outcome"], line["status"], line["shadow"]) == ("passed", 200, "site_not_allowed")
    assert (line["user_id"], line["sites"]) == ("ada", ["blog"])
    assert KEY not in json.dumps(line)


async def test_a_metric_names_the_routes_in_shadow_mode(setup: Setup) -> None:
    async with setup.door(setup.route("one", path="/one"), setup.route("two", path="/two", mode="enforce")) as door:
        rendered = door.metrics.render().decode()
    assert 'sitelatch_shadow_mode{route="one"} 1.0' in rendered
    assert 'sitelatch_shadow_mode{route="two"}' not in rendered
