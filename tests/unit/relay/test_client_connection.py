"""A client connection without sockets: how many of its bytes are handled before other connections have their turn."""

import asyncio
import io
import itertools

import pytest

from bench.driver import MemoryTransport, Visit
from proxy.decision.route_table import RouteTable
from proxy.decision.verdict import Verdict
from proxy.enforcement import Enforcement, Pending
from proxy.grants.cache import GrantCache
from proxy.http.bodies import ChunkedBody
from proxy.observe.access_log import AccessLog
from proxy.observe.metrics import Metrics
from proxy.relay.client_connection import ClientConnection
from proxy.relay.front_door import FrontDoor
from proxy.settings import GrantSettings, KeySettings, LimitSettings, ProxySettings
from tests.scopes import MemoryScope
from tests.unit.relay.visits import KEY, KEYLESS, ROUTES, visit

__all__ = ["visit"]

REQUESTS = 2000
CHUNKS = 5000


class Client(MemoryTransport):
    """Signals when something is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.wrote = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        self.wrote.set()


class FailingEnforcement(Enforcement):
    """Fails in decisions that need a lookup."""

    async def judge_slowly(self, pending: Pending, address: str) -> Verdict:
        raise RuntimeError


POST = b"POST /api/sites/shop/x HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
MAX_TURNS = 10_000


async def turns(visit: Visit, wanted: int, counted: bytes) -> list[int]:
    """Run the event loop until the client got `wanted` responses. Return how many there were after each turn."""
    counts = [visit.client.written.count(counted)]
    while counts[-1] < wanted and len(counts) < MAX_TURNS:
        await asyncio.sleep(0)
        counts.append(visit.client.written.count(counted))
    return counts


async def test_pipelined_refusals_yield_to_other_connections(visit: Visit) -> None:
    visit.downstream.handle(KEYLESS * REQUESTS)
    counts = await turns(visit, REQUESTS, b"HTTP/1.1 401")
    assert counts[-1] == REQUESTS
    assert max(later - earlier for earlier, later in itertools.pairwise([0, *counts])) <= 32


async def test_requests_that_arrive_between_turns_are_answered_in_order(visit: Visit) -> None:
    visit.downstream.handle(KEYLESS * 100)
    visit.downstream.handle(b"HEAD" + KEYLESS[3:] + b"GET /api/sites/shop/la")
    visit.downstream.handle(b"st?x=%zz HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a..b\r\n\r\n")
    await turns(visit, 1, b"one Host header")
    answers = visit.client.written.split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"401"] * 102 + [b"400"]
    assert [len(answer.partition(b"\r\n\r\n")[2]) > 0 for answer in answers] == [True] * 100 + [False] + [True] * 2


async def test_waiting_requests_are_discarded_with_the_connection(visit: Visit) -> None:
    visit.downstream.handle(KEYLESS * 100)
    visit.downstream.connection_lost(None)
    written = visit.client.written
    for _ in range(10):
        await asyncio.sleep(0)
    assert visit.client.written == written


async def test_a_drain_answers_waiting_requests(visit: Visit) -> None:
    visit.downstream.handle(KEYLESS * 33)
    visit.downstream.drain()
    counts = await turns(visit, 33, b"HTTP/1.1 401")
    assert counts[-1] == 33


async def test_many_tiny_chunks_yield_to_other_connections(visit: Visit) -> None:
    data = [b"%05d" % number for number in range(CHUNKS)]
    chunks = b"".join(b"5\r\n%b\r\n" % piece for piece in data)
    [upstream] = visit.upstreams
    visit.downstream.handle(POST % KEY.encode() + chunks + b"0\r")
    counts = [len(upstream.written)]
    assert counts[0] < len(chunks) / 4
    visit.downstream.handle(b"\n\r\n")
    while not upstream.written.endswith(b"\r\n0\r\n\r\n") and len(counts) < MAX_TURNS:
        await asyncio.sleep(0)
        counts.append(len(upstream.written))
    assert max(later - earlier for earlier, later in itertools.pairwise(counts)) < len(chunks) / 4
    body = ChunkedBody(extensions=False, trailer_bytes=0)
    rest = upstream.written.partition(b"\r\n\r\n")[2]
    assert body.feed(rest) == ([b"".join(data[at : at + 500]) for at in range(0, CHUNKS, 500)], b"")
    assert body.done


@pytest.mark.parametrize(("open_exchanges", "status"), [(0, b"500"), (1, b"503")])
async def test_errors_before_a_verdict_have_the_cors_headers_of_the_route(open_exchanges: int, status: bytes) -> None:
    origin = "https://app.example"
    proxy = ProxySettings.model_validate({"routes": [ROUTES[0] | {"cors": {"origins": [origin]}}]})
    metrics = Metrics()
    metrics.exchanges_open = open_exchanges
    grants = GrantCache(GrantSettings(), MemoryScope(), on_lookup=metrics.lookup)
    table = RouteTable(proxy.routes, KeySettings())
    enforcement = FailingEnforcement(table, grants, metrics, on_use=lambda user_id: None, accept_foreign=False)
    door = FrontDoor(proxy, LimitSettings(open_exchanges=1), enforcement, metrics, AccessLog(io.BytesIO()))
    client = Client()
    downstream = ClientConnection(door.services, asyncio.get_running_loop())
    downstream.connection_made(client)
    fields = f"X-API-Key: {KEY}\r\nOrigin: {origin}\r\n\r\n".encode()
    downstream.handle(KEYLESS.removesuffix(b"\r\n") + fields)
    await asyncio.wait_for(client.wrote.wait(), timeout=10)
    assert client.written.startswith(b"HTTP/1.1 %b " % status)
    assert f"Access-Control-Allow-Origin: {origin}\r\n".encode() in client.written
    downstream.connection_lost(None)
    await grants.close()
