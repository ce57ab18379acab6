"""The shortcut for plain exchanges does exactly what the full way does, whatever happens and whenever it happens."""

import asyncio
import gc
import io
import itertools
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.driver import MemoryTransport
from proxy.decision.api_keys import digest, new_key
from proxy.decision.route_table import RouteTable
from proxy.enforcement import Enforcement
from proxy.grants.cache import GrantCache
from proxy.limits.user_limits import UserLimits
from proxy.observe.access_log import AccessLog
from proxy.observe.metrics import Metrics
from proxy.refusals import INVALID_KEY
from proxy.relay.client_connection import ClientConnection
from proxy.relay.exchange import Exchange
from proxy.relay.front_door import FrontDoor
from proxy.relay.turn import Turn
from proxy.relay.upstream_connection import UpstreamConnection
from proxy.settings import GrantSettings, KeySettings, LimitSettings, ProxySettings
from tests.scopes import Clock, MemoryScope, VirtualLoop

KEY, WIDE_KEY = (new_key().encode() for _ in range(2))
CONDITIONS: list[dict[str, object]] = [
    {"expires_at": 2_000_000_000.0},
    {"expires_at": 1.0},
    {"disabled": True},
    {"methods": ["GET", "HEAD", "OPTIONS"]},
    {"methods": ["POST"]},
    {"networks": ["10.9.0.0/16"]},
    {"networks": ["0.0.0.0/0", "::/0"]},
    {"several_keys": True},
    {"requests_per_second": 1.0, "burst": 2},
]
CONDITIONAL_KEYS = {new_key().encode(): condition for condition in CONDITIONS}
"""Keys that are limited, or one of several, and how."""
PROXY = ProxySettings.model_validate(
    {
        "routes": [
            {"name": "pages", "path": "/pages", "upstream": "unix:/none", "sites": ["query:site"], "host": "upstream"},
            {
                "name": "scripts",
                "path": "/cors",
                "upstream": "unix:/none",
                "sites": ["path:/cors/{site}/**"],
                "cors": {"origins": ["https://app.example"], "credentials": True},
            },
            {
                "name": "limited",
                "path": "/limited",
                "upstream": "unix:/none",
                "sites": ["path:/limited/{site}/**"],
                "user_limits": {"requests_per_second": 0.5, "burst": 2},
            },
            {
                "name": "data",
                "upstream": "unix:/none",
                "sites": ["path:/sites/{site}/**", "query:site", "header:X-Site"],
                "public": ["GET /sites/shop/public"],
            },
        ]
    }
)
LIMITS = LimitSettings(open_exchanges=2, upstream_idle_seconds=1000, keepalive_seconds=75, answer_seconds=60)

Event = str | tuple[str, bytes]
"""A disturbance, or the bytes that the client or the upstream connection in use sends."""


class Wire(MemoryTransport):
    """Records what is done to it, in order."""

    def __init__(self, peer: str) -> None:
        super().__init__(peer)
        self.done: list[str | bytes] = []
        self.unsent = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.done and isinstance(self.done[-1], bytes):
            self.done[-1] += bytes(data)
        else:
            self.done.append(bytes(data))

    def close(self) -> None:
        self._note("close")
        super().close()

    def abort(self) -> None:
        self._note("abort")
        super().abort()

    def pause_reading(self) -> None:
        self._note("pause")

    def resume_reading(self) -> None:
        self._note("resume")

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def _note(self, what: str) -> None:
        self.done.append(what)


class End:
    """A connection of the proxy and its transport. Events that a real transport would not report are left out."""

    def __init__(self, connection: ClientConnection | UpstreamConnection, peer: str, turn: Turn) -> None:
        self.turn = turn
        self.connection = connection
        self.wire = Wire(peer)
        self.lost = self.full = False
        connection.connection_made(self.wire)

    def receive(self, data: bytes) -> None:
        if not self.wire.is_closing() and data:
            self.connection.data_received(data)
            self.turn.end()

    def lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self.wire.close()
            self.connection.connection_lost(error)

    def end(self) -> None:
        if not self.wire.is_closing():
            self.connection.eof_received()
            self.lose(None)

    def fill(self, full: bool) -> None:
        if full is not self.full and not self.lost:
            self.full = full
            (self.connection.pause_writing if full else self.connection.resume_writing)()


class World:
    """A front door with one client and two upstream connections, without sockets."""

    def __init__(self, *, plainly: bool, trusted: bool = False) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.uses: list[str] = []
        self.scope = MemoryScope()
        self.scope.sites = {"shop": "acme", "blog": "acme"}
        self.scope.add(digest(KEY), "ada", "shop")
        self.scope.add(digest(WIDE_KEY), "eve", all_sites=True)
        for number, (key, condition) in enumerate(CONDITIONAL_KEYS.items()):
            self.scope.add(digest(key), f"user {number}", "shop", "blog", **condition)
        self.grants = GrantCache(GrantSettings(ttl_seconds=3600), self.scope, on_lookup=self.metrics.lookup)
        self._log = io.BytesIO()
        self._access_log = AccessLog(self._log, wall_clock=lambda: 1_800_000_000.0)
        self._plainly, self._trusted = plainly, trusted

    async def open(self) -> None:
        for key in (KEY, WIDE_KEY, *CONDITIONAL_KEYS):
            await self.grants.fetch(digest(key))
        enforcement = Enforcement(
            RouteTable(PROXY.routes, KeySettings()),
            self.grants,
            self.metrics,
            on_use=self.uses.append,
            accept_foreign=False,
            limits=UserLimits(clock=self.clock),
            wall_clock=lambda: 1_800_000_000.0,
        )
        proxy = PROXY.model_copy(update={"trusted_proxies": ("192.0.2.1",) if self._trusted else ()})
        self.door = FrontDoor(proxy, LIMITS, enforcement, self.metrics, self._access_log, clock=self.clock)
        services = self.door.services
        services.relays_plainly = self._plainly
        numbers = itertools.count(1)
        services.next_request_id = lambda: b"id-%d" % next(numbers)
        loop = asyncio.get_running_loop()
        self.client = End(ClientConnection(services, loop), "192.0.2.1", services.turn)
        [pool] = self.door.pools
        self.upstreams = [End(UpstreamConnection(pool), "", services.turn) for _ in range(2)]
        for upstream in self.upstreams:
            assert isinstance(upstream.connection, UpstreamConnection)
            pool.give_back(upstream.connection, None, loop.time())

    @property
    def connection(self) -> ClientConnection:
        assert isinstance(self.client.connection, ClientConnection)
        return self.client.connection

    def sweep(self) -> None:
        self.connection.sweep(asyncio.get_running_loop().time())

    def revoke(self) -> None:
        for exchange in self.door.exchanges():
            exchange.revoke(INVALID_KEY)

    def drain(self) -> None:
        self.door.services.draining = True
        self.connection.drain()

    def happen(self, event: Event) -> None:
        if not isinstance(event, str):
            last = self.upstreams[0 if self.upstreams[-1].lost else -1]
            (self.client if event[0] == CLIENT else last).receive(event[1])
        elif event in TIMES:
            self.clock.now += TIMES[event]
        else:
            DISTURBANCES[event](self)

    @property
    def written(self) -> list[list[str | bytes]]:
        return [self.client.wire.done, *(upstream.wire.done for upstream in self.upstreams)]

    @property
    def records(self) -> tuple[object, ...]:
        """Everything that was counted and logged, except for the time that decisions took."""
        self._access_log.flush()
        lines = self.metrics.render().decode().splitlines()
        counts = [line for line in lines if line.startswith("sitelatch_") and "decision_seconds" not in line]
        decisions = [line for line in lines if line.startswith("sitelatch_decision_seconds_count")]
        return self._log.getvalue(), self.uses, self.usage, counts, decisions

    @property
    def usage(self) -> dict[str, list[tuple[str, int, int]]]:
        """The outcomes of each API user's requests, with their number and bytes."""
        return {user: sorted(usage.counts()) for user, usage in self.door.services.enforcement.usage.users.items()}

    async def close(self) -> None:
        self.client.lose(None)
        await self.grants.close()
        await self.door.close()


def get(target: bytes, *fields: bytes, key: bytes = KEY, method: bytes = b"GET") -> bytes:
    return b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"Host: h", b"X-API-Key: " + key, *fields, b"", b""])


def reply(*fields: bytes, start: bytes = b"200 OK", body: bytes = b"hello", length: bytes | None = None) -> bytes:
    lines = [b"HTTP/1.1 " + start, *fields, b"Content-Length: " + (length or b"%d" % len(body)), b"X-After: 1"]
    return b"\r\n".join([*lines, b"", body])


PLAIN = get(b"/sites/shop/x")
OK = reply(b"Server: nginx")
REQUESTS = [
    PLAIN,
    get(b"/sites/shop/x?a=1&site=shop", b"Accept: */*", b"Origin: https://app.example"),
    get(b"/sites/shop/x?site=blog"),
    get(b"/sites/shop/x?q=caf\xe9"),
    get(b"/sites/shop/x", b"X-Site: shop"),
    get(b"/sites/blog/x"),
    get(b"/sites/shop/x", key=WIDE_KEY),
    get(b"/sites/none/x", key=WIDE_KEY),
    *(get(b"/sites/blog/x", key=key) for key in CONDITIONAL_KEYS),
    get(b"/sites/shop/x", key=new_key().encode()[:-1]),
    get(b"/sites/shop/x", b"X-API-Key: " + WIDE_KEY),
    get(b"/sites/shop/public"),
    get(b"/pages?site=shop"),
    get(b"/limited/shop/x"),
    get(b"/cors/shop/x"),
    get(b"/cors/shop/x", b"Origin: https://app.example"),
    get(b"/cors/shop/x", b"Origin: https://app.example", b"Origin: https://app.example"),
    get(b"/sites/shop/x", method=b"HEAD"),
    get(b"/sites/shop/x", method=b"DELETE"),
    get(b"/sites/shop/x", b"Connection: close"),
    get(b"/sites/shop/x", b"Connection: keep-alive", b"X-Forwarded-For: 203.0.113.9"),
    get(b"/sites/shop/x", b"Connection: Upgrade", b"Upgrade: websocket"),
    get(b"/sites/shop/x", b"Content-Length: 2") + b"{}",
    get(b"/sites/shop/x", b"Content-Type: application/json", b"Content-Length: 2", method=b"POST") + b"{}",
    get(b"/sites/shop/x", b"Expect: 100-continue", b"Content-Length: 2", method=b"PUT") + b"{}",
    get(b"/sites/shop/x", b"Transfer-Encoding: chunked", method=b"POST") + b"2\r\n{}\r\n0\r\n\r\n",
    PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
    PLAIN.replace(b"X-API-Key: ", b"X-Other: "),
    PLAIN + PLAIN,
    PLAIN + b"GET /sites",
    PLAIN.replace(b" /", b"  /"),
    b"\r\n" + PLAIN,
    b"nonsense\r\n\r\n",
]
RESPONSES = [
    OK,
    reply(b"Connection: keep-alive", b"Date: now", b"ETag: 1"),
    reply(b"Connection: keep-alive", b"Connection: keep-alive"),
    reply(b"Connection: keep-alive", b"Keep-Alive: timeout=5"),
    reply(b"Connection: close"),
    reply(b"Vary: Origin", b"Access-Control-Allow-Origin: *"),
    reply(b"Server: SimpleHTTP/0.6"),
    reply(body=b""),
    reply(body=b"x\r\n\r\nContent-Length: 5\r\nConnection: keep-alive\r\n"),
    reply(start=b"500 Internal Server Error"),
    reply(start=b"200 Fine"),
    reply(start=b"204 No Content", body=b""),
    reply(start=b"304 Not Modified", body=b""),
    reply(length=b"05"),
    reply(length=b"4"),
    reply(length=b"6"),
    reply(length=b"x"),
    reply(b"Content-Length: 5"),
    reply(b"content-length: 4"),
    reply(b"Transfer-Encoding: chunked"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nhello",
    b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    OK + OK,
    OK + b"x",
    OK[:-1],
    b"nonsense\r\n\r\n",
]


@st.composite
def pieces(draw: st.DrawFn, wholes: Sequence[bytes]) -> list[bytes]:
    """Generate the reads in which one of these messages arrives: usually one."""
    whole = draw(st.sampled_from(wholes))
    cuts = draw(st.one_of(st.just([]), st.just([]), st.lists(st.integers(0, len(whole)), max_size=2)))
    return [whole[start:stop] for start, stop in itertools.pairwise([0, *sorted(cuts), len(whole)])]


DISTURBANCES: dict[str, Callable[[World], None]] = {
    "the client leaves": lambda world: world.client.lose(None),
    "the client resets": lambda world: world.client.lose(ConnectionResetError()),
    "the client closes its side": lambda world: world.client.end(),
    "the client stops reading": lambda world: world.client.fill(True),
    "the client reads again": lambda world: world.client.fill(False),
    "the upstream closes": lambda world: world.upstreams[-1].end(),
    "the upstream resets": lambda world: world.upstreams[-1].lose(ConnectionResetError()),
    "the other upstream closes": lambda world: world.upstreams[0].end(),
    "the upstream stops reading": lambda world: world.upstreams[-1].fill(True),
    "the upstream reads again": lambda world: world.upstreams[-1].fill(False),
    "the upstream has not read everything": lambda world: setattr(world.upstreams[-1].wire, "unsent", 1),
    "timeouts are checked": World.sweep,
    "keys are revoked": World.revoke,
    "the proxy drains": World.drain,
    "an upstream failed before": lambda world: setattr(world.door.pools[0].failures, "lasting", True),
    "other exchanges are open": lambda world: setattr(world.metrics, "exchanges_open", 2),
}
TIMES = {"a second passes": 1.0, "the time for a response passes": 61.0, "the keep-alive time passes": 76.0}
CLIENT, UPSTREAM = "client", "upstream"
WARM: list[Event] = [(CLIENT, PLAIN), (UPSTREAM, OK)]


@st.composite
def scripts(draw: st.DrawFn) -> list[Event]:
    """Generate some exchanges, with a few disturbances at random moments."""
    script: list[Event] = [*WARM]
    for _ in range(draw(st.integers(1, 3))):
        script += [(CLIENT, piece) for piece in draw(pieces(REQUESTS))]
        script += [(UPSTREAM, piece) for piece in draw(pieces(RESPONSES))]
    for name in draw(st.lists(st.sampled_from([*DISTURBANCES, *TIMES]), max_size=2)):
        script.insert(draw(st.integers(len(WARM), len(script))), name)
    return script


async def run(script: Sequence[Event], *, trusted: bool) -> None:
    """Compare the two ways after each event, and what they recorded at the end."""
    short, full = (World(plainly=plainly, trusted=trusted) for plainly in (True, False))
    worlds = (short, full)
    for world in worlds:
        await world.open()
    for event in script:
        for world in worlds:
            world.happen(event)
        if isinstance(event, str) and event in TIMES:
            await asyncio.sleep(TIMES[event])
            for world in worlds:
                world.sweep()
        assert short.written == full.written
        assert short.metrics.exchanges_open == full.metrics.exchanges_open
    for world in worlds:
        await world.close()
    assert short.written == full.written
    assert short.records == full.records


def check(script: Sequence[Event], *, trusted: bool = False) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run(script, trusted=trusted))


@settings(max_examples=100, deadline=None)
@given(scripts(), st.booleans())
@example([*WARM, (CLIENT, PLAIN), (UPSTREAM, OK)], False)
def test_generated_exchanges_are_relayed_as_full_exchanges(script: list[Event], trusted: bool) -> None:
    check(script, trusted=trusted)


@pytest.mark.parametrize("request_", REQUESTS, ids=range(len(REQUESTS)))
def test_each_request_is_relayed_as_in_a_full_exchange(request_: bytes) -> None:
    once: list[Event] = [(CLIENT, request_), (UPSTREAM, OK)]
    check([*WARM, *once, *once, *WARM])


@pytest.mark.parametrize("response", RESPONSES, ids=range(len(RESPONSES)))
def test_each_response_is_relayed_as_in_a_full_exchange(response: bytes) -> None:
    for request in (PLAIN, get(b"/cors/shop/x", b"Origin: https://app.example")):
        once: list[Event] = [(CLIENT, request), (UPSTREAM, response)]
        check([*WARM, *once, *once, *WARM])


@pytest.mark.parametrize("name", [*DISTURBANCES, *TIMES])
@pytest.mark.parametrize("at", range(5))
def test_each_disturbance_has_the_same_effect_as_in_a_full_exchange(name: str, at: int) -> None:
    script: list[Event] = [(CLIENT, PLAIN), (UPSTREAM, OK[:20]), (UPSTREAM, OK[20:]), (CLIENT, PLAIN)]
    script.insert(at, name)
    check([*WARM, *script, (UPSTREAM, OK), (CLIENT, PLAIN), (UPSTREAM, OK)])


@pytest.fixture
def world() -> Iterator[tuple[asyncio.Runner, World]]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        world = World(plainly=True)
        runner.run(world.open())
        yield runner, world
        runner.run(world.close())


def exchange_objects() -> int:
    return sum(isinstance(each, Exchange) for each in gc.get_objects())


def test_a_plain_exchange_needs_no_object(world: tuple[asyncio.Runner, World]) -> None:
    runner, front = world

    async def relay() -> tuple[int, int]:
        for event in WARM:
            front.happen(event)
        before = exchange_objects()
        front.happen((CLIENT, PLAIN))
        during = exchange_objects() - before
        assert len(list(front.door.exchanges())) == 1
        return during, exchange_objects() - before

    assert runner.run(relay()) == (0, 1)
