"""Runs the front door without sockets: takes a request, and returns the head for the upstream or a refusal.

Everything between the two transports is the real code: the parser, the decision with cached grants, the head writer,
the metrics and the access log. Only the scope table is replaced, by one in memory. So the cost of a request can be
counted and timed without the kernel and the network.
"""

import asyncio
import io
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from proxy.decision.api_keys import digest
from proxy.decision.route_table import RouteTable
from proxy.enforcement import Enforcement
from proxy.grants.cache import GrantCache
from proxy.observe.access_log import AccessLog
from proxy.observe.metrics import Metrics
from proxy.relay.client_connection import ClientConnection
from proxy.relay.front_door import FrontDoor
from proxy.relay.services import Services
from proxy.relay.upstream_connection import UpstreamConnection
from proxy.settings import GrantSettings, KeySettings, LimitSettings, ProxySettings
from tests.scopes import MemoryScope

_TURNS = 200
"""The maximum number of event loop iterations to wait for a decision. A lookup in memory takes a few."""

_DOORS = 16


@dataclass(frozen=True)
class Setup:
    """A config and the contents of the scope table, as values that can be written as JSON."""

    proxy: Mapping[str, Any]
    """`[proxy]` as in the config file, without `listen`."""
    keys: Mapping[str, Any] = field(default_factory=dict)
    """`[keys]` as in the config file."""
    known: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """API keys, with the columns of their rows that differ from MemoryScope's defaults."""
    sites: Mapping[str, str] = field(default_factory=dict)
    """The workspace of each site."""
    peer: str = "192.0.2.1"
    """The client's address."""
    access_log: Literal["all", "refused", "off"] = "all"
    """`[log] access` as in the config file."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one head. `code` is `passed` or the refusal's code."""

    code: str
    forwarded: bytes
    """The bytes that the upstream got."""
    answer: bytes
    """The bytes that the client got, if the request was refused."""


class MemoryTransport(asyncio.Transport):
    """A transport that keeps everything written to it."""

    def __init__(self, peer: str = "") -> None:
        super().__init__({"peername": (peer, 1)})
        self.written = b""
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    def abort(self) -> None:
        self._closing = True

    def pause_reading(self) -> None:
        """Do nothing: no bytes arrive by themselves."""

    def resume_reading(self) -> None:
        """Do nothing: no bytes arrive by themselves."""

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


class Visit:
    """A new client connection, and an idle connection to each upstream."""

    def __init__(self, services: Services, peer: str) -> None:
        self.client = MemoryTransport(peer)
        self._turn = services.turn
        self.downstream = ClientConnection(services, asyncio.get_running_loop())
        self.downstream.connection_made(self.client)
        self.upstreams: list[MemoryTransport] = []
        self._upstream_connections: list[UpstreamConnection] = []
        for pool in set(services.pools.values()):
            connection = UpstreamConnection(pool)
            transport = MemoryTransport()
            connection.connection_made(transport)
            pool.give_back(connection, None, asyncio.get_running_loop().time())
            self.upstreams.append(transport)
            self._upstream_connections.append(connection)

    def exchange(self, request: bytes, response: bytes) -> None:
        """Relay one request and, if it reaches the upstream, its response. The grant must be cached.

        Both connections stay open for the next exchange.
        """
        turn = self._turn
        turn.now = asyncio.get_running_loop().time()
        self.downstream.handle(request)
        turn.write()
        for connection, transport in zip(self._upstream_connections, self.upstreams, strict=True):
            if transport.written:
                transport.written = b""
                connection.handle(response)
        turn.write()

    async def send(self, head: bytes) -> None:
        """Send a head, wait for the decision, and close the connection, so that the log line is written."""
        self.downstream.handle(head)
        self._turn.end()
        turns = 0
        while not self._decided and turns < _TURNS:
            await asyncio.sleep(0)
            turns += 1
        self.downstream.connection_lost(None)

    @property
    def _decided(self) -> bool:
        return bool(self.client.written) or any(upstream.written for upstream in self.upstreams)

    @property
    def outcome(self) -> Outcome:
        """The outcome. Raises RuntimeError if there is none."""
        forwarded = b"".join(upstream.written for upstream in self.upstreams)
        answer = self.client.written
        if forwarded:
            return Outcome("passed", forwarded, answer)
        if not answer:
            raise RuntimeError("the head was neither forwarded nor refused")
        body = answer.partition(b"\r\n\r\n")[2]
        return Outcome(json.loads(body)["code"] if body else answer.split()[1].decode(), forwarded, answer)


class Driver:
    """The front door of one `Setup`. It needs a running event loop."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._proxy = ProxySettings.model_validate(setup.proxy)
        self._keys = KeySettings.model_validate(setup.keys)
        self._limits = LimitSettings(upstream_idle_seconds=3600)
        self._scope = MemoryScope()
        self._scope.sites = dict(setup.sites)
        self._known = {digest(key.encode()): row for key, row in setup.known.items()}
        for key_digest, row in self._known.items():
            self._scope.add(key_digest, **row)
        self._metrics = Metrics()
        self._log = io.BytesIO()
        # The clock is stopped, because formatting a new second would add to the cost of some requests.
        self._access_log = AccessLog(self._log, setup.access_log, wall_clock=lambda: 1_800_000_000.0)
        self._grants = GrantCache(
            GrantSettings(ttl_seconds=3600, unknown_ttl_seconds=3600), self._scope, on_lookup=self._metrics.lookup
        )
        self._doors = [self._open() for _ in range(_DOORS)]
        self._caches = _caches()

    def _open(self) -> FrontDoor:
        table = RouteTable(self._proxy.routes, self._keys)
        enforcement = Enforcement(
            table,
            self._grants,
            self._metrics,
            on_use=lambda user_id: None,
            accept_foreign=self._keys.accept_foreign,
        )
        return FrontDoor(self._proxy, self._limits, enforcement, self._metrics, self._access_log)

    async def start(self) -> None:
        """Cache the grants of the known keys, as if each had been used before."""
        for key_digest in self._known:
            await self._grants.fetch(key_digest)

    def forget(self) -> None:
        """Remove from the caches everything that earlier requests added, except the grants of the known keys.

        This switches to the least recently used of several front doors, because creating a new one would take longer
        than handling most heads.
        """
        for cache in self._caches:
            cache()
        self._doors.append(self._doors.pop(0))
        queried, self._scope.queried = self._scope.queried, []
        for argument in queried:
            if isinstance(argument, bytes):
                if argument not in self._known:
                    self._grants.drop(argument)
            elif isinstance(argument, list):
                for site in argument:
                    self._grants.drop_site(site)
        self._log.truncate(0)

    def flush_log(self) -> None:
        """Write the buffered lines of the access log now, so that no later request has to."""
        self._access_log.flush()

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the access log."""
        self._access_log.flush()
        return [json.loads(line) for line in self._log.getvalue().splitlines()]

    def connect(self) -> Visit:
        """Return a new client connection."""
        return Visit(self._doors[0].services, self.setup.peer)

    async def send(self, head: bytes) -> Outcome:
        """Return the outcome of a head."""
        visit = self.connect()
        await visit.send(head)
        return visit.outcome

    async def close(self) -> None:
        """Cancel the lookups."""
        await self._grants.close()


def _caches() -> list[Callable[[], None]]:
    """Return, for each module-level cache of the proxy, a function that empties it."""
    found: list[Callable[[], None]] = []
    for name, module in list(sys.modules.items()):
        if name.startswith("proxy."):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    found.append(value.cache_clear)
                elif isinstance(value, dict) and hasattr(type(value), "__missing__"):
                    found.append(value.clear)
    return found
