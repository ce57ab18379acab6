"""Relays plain exchanges in two steps, without the objects of an exchange: a shortcut for most of this folder.

Most exchanges are plain. The request is a GET whose plain head (proxy/http/plain_requests.py) arrives in one read while
its client's connection has nothing else to do. Its verdict needs no lookup, and an upstream connection is idle. The
whole response arrives in one read, and its head is plain too (proxy/http/plain_responses.py).

`handle` judges and forwards such a request, and `respond` forwards its response. In between, a plain exchange is
only a tuple. Anything else that happens first (other bytes, a lost connection, a timeout, a recheck of the key, a
drain) calls `unfold`. That creates the objects as they would be without this shortcut, and the rest of this folder
continues. Requests that are not plain get a full exchange from the start. A property test compares both.
"""

import asyncio
from typing import Protocol

import structlog

from proxy.decision.claim import Claim
from proxy.decision.named_sites import Candidate
from proxy.decision.plain_claims import fill_in, name_plainly
from proxy.decision.routes import Route
from proxy.decision.verdict import Verdict
from proxy.enforcement import Passed
from proxy.http.headers import Head
from proxy.http.hop_by_hop import Hop
from proxy.http.plain_requests import Shape, plain_get, plain_get_start
from proxy.relay.client import Client
from proxy.relay.client_input import ClientInput
from proxy.relay.exchange import PASSED, Exchange
from proxy.relay.exchange_ending import ExchangeEnding
from proxy.relay.peer import Peer
from proxy.relay.request_forwarder import RequestForwarder
from proxy.relay.response_forwarder import ResponseForwarder
from proxy.relay.services import Services
from proxy.relay.upstream_connection import UpstreamConnection
from proxy.relay.upstream_pool import UpstreamPool

_log = structlog.get_logger(__name__)

_GET = b"GET "

_OpenExchange = tuple[
    UpstreamConnection,
    UpstreamPool,
    Shape,
    bytes,  # the head from the client
    bytes,  # the head for the upstream
    bytes,  # the id of the request
    Passed,
    float,  # when the request began (services.clock)
    float,  # when it was sent to the upstream (services.clock)
    float,  # the same (the event loop's time)
]


class PlainClient(Client, Protocol):
    """The interface of the client's connection that its plain exchanges use."""

    deadline: float
    """When the connection has been idle for too long, in seconds of the event loop's clock."""

    def begin(self, head: Head, hop: Hop) -> None:
        """Begin an exchange in full."""


class PlainExchanges:
    """Relays the plain exchanges of one client connection, one after another."""

    __slots__ = (
        "_client",
        "_ending",
        "_input",
        "_keepalive_seconds",
        "_most_exchanges",
        "_open",
        "_peer",
        "_request_end",
        "_requests",
        "_responses",
        "_services",
        "_shape",
        "_transport",
    )

    def __init__(
        self,
        client: PlainClient,
        incoming: ClientInput,
        requests: RequestForwarder,
        responses: ResponseForwarder,
        ending: ExchangeEnding,
        services: Services,
    ) -> None:
        self._client = client
        self._input = incoming
        self._requests = requests
        self._responses = responses
        self._ending = ending
        self._services = services
        # Copies, because settings take longer to read than attributes.
        self._keepalive_seconds = services.limits.keepalive_seconds
        self._most_exchanges = services.limits.open_exchanges
        self._open: _OpenExchange | None = None
        self._shape: Shape | None = None
        """The shape of the last plain request. Clients usually send the same fields again."""
        self._request_end = b""
        """The part of the head for the upstream after the request id."""
        self._transport: asyncio.Transport
        self._peer: Peer

    def connect(self, transport: asyncio.Transport, peer: Peer) -> None:
        """Begin."""
        self._transport = transport
        self._peer = peer

    @property
    def is_open(self) -> bool:
        """Whether a plain exchange is open."""
        return self._open is not None

    def handle(self, data: bytes) -> None:
        """Handle bytes from the client. Hot."""
        incoming, client, services = self._input, self._client, self._services
        metrics = services.metrics
        if (
            self._open is not None
            or client.full_exchange is not None
            or client.full
            or incoming.holds
            or incoming.pending
            or incoming.reader.partial
            or incoming.closed
            or services.draining
            or metrics.exchanges_open >= self._most_exchanges
        ):
            self.unfold()
            incoming.feed(data)
            return
        start = plain_get_start(data)
        if start is None or len(data) > services.plain_requests.longest:
            incoming.feed(data)
            return
        started = services.clock()
        # The shape says what follows the target, except for the key.
        target_end = start.end()
        shape = self._shape
        if shape is None or not (data.startswith(shape.head_start, target_end) and data.endswith(shape.head_end)):
            shape = self._find_shape(data, target_end)
            if shape is None:
                incoming.feed(data)
                return
        key = data[target_end + len(shape.head_start) : len(data) - len(shape.head_end)]
        if not key.replace(b"_", b"").isalnum():
            incoming.feed(data)
            return
        passed: Passed | None = None
        named: tuple[Route, Candidate] | None = None
        try:
            named = name_plainly(services.enforcement.table, shape, b"GET", start[1], False)
            if named is not None and named[0].keeps_host:
                passed = services.enforcement.pass_plainly(*named, key)
        except Exception:
            _log.exception("the decision on a plain request failed; it is decided in full")
        if passed is None:
            head = plain_get(data, shape)
            head.named = named
            client.begin(head, shape.hop)
            return
        route, _, _, identity = passed
        request_id = services.next_request_id()
        request = b"".join(
            (data[:target_end], shape.forwarded_start, identity, b"X-Request-Id: ", request_id, self._request_end)
        )
        sent = services.clock()
        now = services.turn.now
        metrics.exchanges_open += 1
        metrics.decision(sent - started)
        pool = services.pools[route]
        connection = pool.take(now)
        if connection is None:
            exchange = self._exchange(data, shape, request_id, passed, started)
            client.full_exchange = exchange
            self._requests.start(exchange, pool, request, self._responses)
            return
        connection.plain = self
        self._open = (connection, pool, shape, data, request, request_id, passed, started, sent, now)
        services.turn.writes.append((connection.transport, request))

    def _find_shape(self, data: bytes, target_end: int) -> Shape | None:
        """Return the shape of a plain request that may be relayed plainly, and remember it, or return None."""
        if self._peer.trusted:  # its fields about the origin of the request may be kept
            return None
        shape = self._services.plain_requests.known_shape(data, target_end)
        if shape is None or not shape.keep_alive:
            return None
        self._shape = shape
        self._request_end = b"\r\n%b\r\n" % self._peer.origin_lines(shape.host)
        return shape

    def respond(self, data: bytes) -> None:
        """Handle bytes from the upstream connection of the open exchange. Hot."""
        opened = self._open
        assert opened is not None  # noqa: S101 - for the type checker
        connection, pool, shape, head, _, request_id, (route, named, grant, _), started, sent, _ = opened
        cors = route.cors
        response = pool.plain_responses.read_whole(data, b"" if cors is None else cors.plain_response(shape.origin))
        if response is None or connection.transport.get_write_buffer_size() or not connection.knows_bodies:
            self.unfold()
            connection.handle(data)
            return
        self._open = connection.plain = None
        status, written, size = response
        services = self._services
        if pool.failures.lasting:
            pool.failures.succeeded()
        turn = services.turn
        now = turn.now
        pool.give_back(connection, None, now)
        turn.writes.append((self._transport, written))
        self._client.deadline = now + self._keepalive_seconds
        ended = services.clock()
        metrics = services.metrics
        metrics.exchanges_open -= 1
        metrics.exchange(route.name, PASSED, status, ended - started, ended - sent)
        services.enforcement.usage.users[grant.user_id].bytes_out += size
        if services.record.logs_passed:
            target = head[len(_GET) : head.index(b" ", len(_GET))]
            services.record.log_plain(
                now,
                request_id,
                self._peer.address,
                target,
                status,
                route.name,
                grant.user_id,
                named.sites,
                ended - started,
                ended - sent,
                size,
            )

    def unfold(self) -> None:
        """Convert the open plain exchange, if any, to a full one, with its objects in the right state."""
        opened = self._open
        if opened is None:
            return
        self._services.turn.write()
        connection, pool, shape, data, request, request_id, passed, started, sent, now = opened
        self._open = connection.plain = None
        exchange = self._exchange(data, shape, request_id, passed, started)
        exchange.sent_at = sent
        self._client.full_exchange = exchange
        self._requests.resume(exchange, pool, connection, request, self._responses, now)

    def _exchange(self, data: bytes, shape: Shape, request_id: bytes, passed: Passed, started: float) -> Exchange:
        """Return the exchange of a request that has passed."""
        route, named, grant, identity = passed
        head = plain_get(data, shape)
        claim = Claim(self._services.enforcement.table, head)
        fill_in(claim, head, route, named)
        exchange = Exchange(head, shape.hop, request_id, started, self._ending)
        exchange.route = route
        exchange.verdict = Verdict(None, claim, grant, named.sites, identity)
        return exchange
