"""The front door: the listener, the upstream pools, the periodic check of all timeouts, and draining."""

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import structlog

from proxy.enforcement import Enforcement
from proxy.http.forwarding import address_matcher
from proxy.http.plain_requests import PlainRequests
from proxy.http.request_header_names import RequestSpellings
from proxy.observe.access_log import AccessLog
from proxy.observe.metrics import Metrics
from proxy.relay import descriptors
from proxy.relay.client_connection import ClientConnection
from proxy.relay.connected_clients import ConnectedClients
from proxy.relay.exchange import Exchange
from proxy.relay.exchange_record import Record
from proxy.relay.intake import Intake
from proxy.relay.listeners import bind_sockets
from proxy.relay.services import Services
from proxy.relay.tls_files import ServerTls, WatchedFiles
from proxy.relay.turn import Turn
from proxy.relay.upstream_pool import UpstreamPool
from proxy.settings import LimitSettings, ProxySettings
from proxy.shadow import ShadowMode
from proxy.shadow_findings import Finding

_log = structlog.get_logger(__name__)

_SWEEP_SECONDS = 0.5


class FrontDoor:
    """Serves `[proxy]`: accepts connections, and judges and forwards their requests."""

    def __init__(
        self,
        settings: ProxySettings,
        limits: LimitSettings,
        enforcement: Enforcement,
        metrics: Metrics,
        access_log: AccessLog,
        *,
        on_finding: Callable[[Finding], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`on_finding` gets what routes in shadow mode would have refused.

        `clock` measures durations, because uvloop's own clock has a resolution of only one millisecond.

        Raises ValueError on a bad upstream, trusted proxy or `drop_headers` entry, and OSError on bad TLS files.
        """
        self._settings = settings
        self._metrics = metrics
        self._tls = ServerTls(settings.tls) if settings.tls else None
        turn = Turn()
        shared: dict[tuple[str, Any], UpstreamPool] = {}
        pools = {}
        self._watched = [] if self._tls is None else [self._tls.watched]
        for route in enforcement.table.routes:
            where = (route.settings.upstream, route.settings.upstream_tls)
            if where not in shared:
                # Routes with the same upstream share its connections, so `reuse_after_body` applies to all of them.
                reuse = all(
                    other.settings.reuse_after_body
                    for other in enforcement.table.routes
                    if (other.settings.upstream, other.settings.upstream_tls) == where
                )
                shared[where] = UpstreamPool(*where, limits, self._count_upstream, turn, reuse_after_body=reuse)
                if watched := shared[where].watched(f'[[proxy.routes]] "{route.name}" upstream_tls'):
                    self._watched.append(watched)
            pools[route] = shared[where]
        self._pools = list(shared.values())
        spellings = RequestSpellings(settings.header_underscores, settings.drop_headers)
        self._services = Services(
            limits=limits,
            enforcement=enforcement,
            spellings=spellings,
            plain_requests=PlainRequests(
                limits, spellings, enforcement.table.noticed_names, enforcement.table.plain_key_fields
            ),
            pools=pools,
            metrics=metrics,
            record=Record(
                metrics,
                access_log,
                clock,
                {route: pool.failures for route, pool in pools.items()},
                enforcement.usage,
            ),
            is_trusted=address_matcher(settings.trusted_proxies),
            next_request_id=_request_ids(),
            connections=ConnectedClients(limits.connections_per_client, on_full=self._check_room),
            turn=turn,
            drained=asyncio.Event(),
            clock=clock,
            shadow=ShadowMode(enforcement, metrics, on_finding) if enforcement.table.has_shadow_mode else None,
        )
        metrics.shadow_routes = [route.name for route in enforcement.table.routes if route.in_shadow_mode]
        self._intake: Intake | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    def _count_upstream(self, change: int) -> None:
        self._metrics.upstream_open += change

    @property
    def addresses(self) -> list[Any]:
        """The addresses of the sockets: (host, port, …) or a path."""
        return self._intake.addresses if self._intake is not None else []

    @property
    def accepting(self) -> bool:
        """Whether it accepts connections."""
        return self._intake is not None and not self._intake.paused

    @property
    def services(self) -> Services:
        """The objects that its client connections share."""
        return self._services

    @property
    def pools(self) -> Sequence[UpstreamPool]:
        """The pool of each upstream."""
        return self._pools

    @property
    def watched_files(self) -> Sequence[WatchedFiles]:
        """The files of the TLS contexts of the front door and the upstreams."""
        return self._watched

    def exchanges(self) -> Iterator[Exchange]:
        """Yield the open exchanges."""
        for connection in list(self._services.connections):
            if connection.exchange is not None:
                yield connection.exchange

    async def start(self) -> None:
        """Listen. Raises OSError if the address is not available."""
        loop = asyncio.get_running_loop()
        services = self._services
        sockets = bind_sockets(self._settings)
        services.connections.capacity = self._count_descriptors()
        tls = self._tls.context if self._tls is not None else None
        self._intake = Intake(
            sockets,
            lambda: ClientConnection(services, loop),
            services.connections,
            tls=tls,
            handshake_seconds=services.limits.head_seconds,
            is_trusted=services.is_trusted,
        )
        await self._intake.open()
        self._sweep()

    def _count_descriptors(self) -> int:
        """Return how many client connections the file descriptors are enough for."""
        limits, limit, used = self._services.limits, descriptors.limit(), descriptors.in_use()
        upstream = limits.upstream_connections * len(self._pools)
        needed = descriptors.needed(used, limits.open_exchanges, upstream)
        capacity = descriptors.client_capacity(limit - used, upstream)
        if limit < needed:
            _log.warning(
                "few_file_descriptors",
                limit=limit,
                needed_for_limits=needed,
                room_for_clients=capacity,
                advice="raise the hard limit of open files (LimitNOFILE=, ulimit -n, docker --ulimit nofile=), or "
                "lower [limits] open_exchanges and upstream_connections",
            )
        return capacity

    def _check_room(self) -> None:
        if self._intake is not None:
            self._intake.check()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._services.connections):
            try:
                connection.sweep(now)
            except Exception:  # a defect in one connection must not disable the timeouts of all others
                _log.exception("checking the timeouts of a connection failed; it was closed")
                connection.abort()
        for pool in self._pools:
            pool.sweep(now)
        if self._intake is not None:
            self._intake.check()
        self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep)

    async def drain(self, timeout_seconds: float) -> bool:
        """Stop accepting, and wait for open exchanges to end. Return whether all ended in time. It may be canceled."""
        services = self._services
        services.draining = True
        if self._intake is not None:
            self._intake.close()
        if not services.connections:
            return True
        for connection in list(services.connections):
            connection.drain()
        try:
            async with asyncio.timeout(timeout_seconds):
                await services.drained.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Close everything that is still open."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._intake is not None:
            self._intake.close()
        for connection in list(self._services.connections):
            connection.abort()
        for pool in self._pools:
            pool.close()
        if self._services.shadow is not None:
            await self._services.shadow.close()


def _request_ids() -> Callable[[], bytes]:
    """Return a function that makes request ids: a random prefix per process, and a counter.

    A random id for each request would cost 1 µs more.
    """
    form = secrets.token_hex(6).encode() + b"-%x"
    return map(form.__mod__, itertools.count(1)).__next__
