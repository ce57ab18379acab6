"""The front door without sockets: it receives the bytes of a request, and returns the bytes that it would send.

`proxy.relay.client_connection.ClientConnection` reads, decides and writes heads as in production. Only its transport
and the upstream connection are replaced, so a request costs about 0.1 ms. `test_door.py` compares it with a real
`sitelatch serve`.

In production, most requests take a shortcut (proxy/relay/plain_exchanges.py). Each request is sent with the shortcut
and without it, and must be forwarded with the same bytes.
"""

import asyncio
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from proxy.decision.api_keys import digest
from proxy.decision.route_table import RouteTable
from proxy.enforcement import Enforcement
from proxy.grants.cache import GrantCache
from proxy.http.headers import Fields
from proxy.http.plain_requests import PlainRequests
from proxy.http.request_header_names import RequestSpellings
from proxy.observe.access_log import AccessLog
from proxy.observe.metrics import Metrics
from proxy.refusals import Refused
from proxy.relay.client_connection import ClientConnection
from proxy.relay.connected_clients import ConnectedClients
from proxy.relay.exchange import Exchange
from proxy.relay.exchange_record import Record
from proxy.relay.services import Services
from proxy.relay.turn import Turn
from proxy.relay.upstream_connection import UpstreamConnection
from proxy.relay.upstream_pool import UpstreamPool
from proxy.settings import GrantSettings, KeySettings, LimitSettings, RouteSettings
from tests.scopes import MemoryScope
from tests.unit.judging import read

KINDS = ("path", "query", "header")


@dataclass
class Sent:
    """The outcome of one request at the front door."""

    code: str
    """`passed`, or the code of the refusal."""
    head: bytes = b""
    body: bytes = b""
    may_reuse: bool = True
    """Whether the upstream connection may be reused after this request."""
    open: bool = False
    """Whether the request passed without a key."""
    named: tuple[str, ...] = ()
    named_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The sites that each kind of rule names if it is the only rule."""
    plainly: bool = False
    """Whether the request also passed by the shortcut for plain exchanges."""

    @property
    def passed(self) -> bool:
        """Whether the request was forwarded."""
        return self.code == "passed"


class _Transport:
    """A client connection that records the bytes written to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def get_extra_info(self, name: str) -> object:
        return ("127.0.0.1", 1) if name == "peername" else None

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def writelines(self, buffers: Sequence[bytes]) -> None:
        self.written += buffers

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def do_nothing(self) -> None:
        """Pause, resume, close or abort. There is no peer, so this does nothing."""

    pause_reading = resume_reading = close = abort = do_nothing


class _Connection:
    """An upstream connection that records the bytes sent over it."""

    def __init__(self) -> None:
        self.transport = _Transport()
        self.exchange: Exchange | None = None
        self.plain: object = None
        """Whoever sent the head of a plain exchange, which writes to the transport."""
        self.head = b""
        self.body: list[bytes] = []
        self.reads_bodies = False

    def send(self, exchange: Exchange, receiver: object, head: bytes) -> None:
        self.exchange, self.head, self.body = exchange, head, []

    def serve(self, exchange: Exchange, receiver: object) -> None:
        self.exchange = exchange

    def write(self, pieces: Sequence[bytes]) -> None:
        self.body += pieces

    def drop(self) -> None:
        """Do nothing. The connection stays usable for the next exchange."""


class _Pool(UpstreamPool):
    """A pool whose one connection is always idle."""

    def __init__(self, route: RouteSettings) -> None:
        super().__init__(
            "http://upstream.example",
            None,
            LimitSettings(),
            lambda _: None,
            Turn(),
            reuse_after_body=route.reuse_after_body,
        )
        self.connection = _Connection()

    def take(self, now: float) -> UpstreamConnection:
        return cast(UpstreamConnection, self.connection)


class Door:
    """The front door of one rule set, with one key for the site `shop`."""

    def __init__(
        self,
        route: RouteSettings,
        keys_from: tuple[str, ...],
        key: str,
        sites: tuple[str, ...],
        *,
        trusted: bool,
        underscores: Literal["drop", "pass"] = "drop",
    ) -> None:
        self._digest = digest(key.encode())
        scope = MemoryScope()
        scope.add(self._digest, "ada", *sites)
        self._grants = GrantCache(GrantSettings(ttl_seconds=3600), scope, on_lookup=lambda _: None)
        metrics = Metrics()
        keys = KeySettings.model_validate({"from": keys_from})
        table = RouteTable([route], keys)
        enforcement = Enforcement(
            table,
            self._grants,
            metrics,
            on_use=lambda _: None,
            accept_foreign=False,
        )
        self._pool = _Pool(route)
        self._number = 0
        spellings = RequestSpellings(underscores, ())
        self._services = Services(
            limits=LimitSettings(),
            enforcement=enforcement,
            spellings=spellings,
            plain_requests=PlainRequests(LimitSettings(), spellings, table.noticed_names, table.plain_key_fields),
            pools={table.routes[0]: self._pool},
            metrics=metrics,
            record=Record(metrics, AccessLog(io.BytesIO(), "off"), time.perf_counter, {}, enforcement.usage),
            is_trusted=lambda _: trusted,
            next_request_id=lambda: b"request-%x" % self._number,
            connections=ConnectedClients(5000),
            turn=self._pool.turn,
            drained=asyncio.Event(),
            clock=time.perf_counter,
            relays_plainly=False,
        )
        self._tables = {
            kind: RouteTable([route.model_copy(update={"sites": rules, "without_site": "any-key"})], keys)
            for kind in KINDS
            if (rules := tuple(rule for rule in route.sites if _kind_of(rule) == kind))
        }

    async def warm(self) -> None:
        """Load the grant of the key into the cache, so that every request is decided synchronously."""
        await self._grants.fetch(self._digest, "127.0.0.1")

    async def close(self) -> None:
        """Close the grants."""
        await self._grants.close()

    def _connect(self) -> tuple[ClientConnection, _Transport]:
        transport = _Transport()
        connection = ClientConnection(self._services, asyncio.get_running_loop())
        connection.connection_made(cast(asyncio.Transport, transport))
        return connection, transport

    def send(self, raw: bytes) -> Sent:
        """Send a request, and return the outcome. It is decided synchronously, because the grant is cached."""
        self._number += 1
        sent = self._send(raw, plainly=False)
        plain = self._send(raw, plainly=True)
        same = (sent.code, sent.head, sent.body) == (plain.code, plain.head, plain.body)
        assert same, f"the shortcut changes the outcome:\n{sent}\n{plain}"
        return replace(sent, plainly=plain.plainly)

    def _send(self, raw: bytes, *, plainly: bool) -> Sent:
        self._services.relays_plainly = plainly
        upstream = self._pool.connection
        upstream.exchange = upstream.plain = None
        upstream.transport.written.clear()
        connection, transport = self._connect()
        try:
            connection.handle(raw)
            self._services.turn.write()
            if upstream.plain is not None:
                return Sent("passed", b"".join(upstream.transport.written), plainly=True)
            exchange = upstream.exchange
            if exchange is None:
                return Sent(_code(b"".join(transport.written)))
            return self._passed(exchange)
        finally:
            connection.connection_lost(None)

    def learn(self, fields: Fields) -> None:
        """Record a response head, as a connection does, to detect servers that do not read bodies."""
        self._pool.connection.reads_bodies = self._pool.body_readers.learn(None, 0, fields, 0)

    def _passed(self, exchange: Exchange) -> Sent:
        verdict = exchange.verdict
        assert verdict is not None
        assert verdict.claim is not None
        return Sent(
            "passed",
            self._pool.connection.head,
            b"".join(self._pool.connection.body),
            exchange.may_reuse,
            verdict.claim.open,
            verdict.claim.named.sites,
            {kind: _sites_named(table, exchange) for kind, table in self._tables.items()},
        )


def _kind_of(rule: Any) -> str:
    if isinstance(rule, str):
        return rule.partition(":")[0]
    return "query" if hasattr(rule, "query") else "header"


def _sites_named(table: RouteTable, exchange: Exchange) -> tuple[str, ...]:
    head = exchange.head
    try:
        return read(table, head).named.sites
    except Refused:
        return ()


def _code(response: bytes) -> str:
    _, found, rest = response.partition(b'"code":"')
    if not found:
        _, found, rest = response.partition(b'"code": "')
    return rest.partition(b'"')[0].decode() if found else "none"
