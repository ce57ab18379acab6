"""The front door: the listener, the upstream pools, the periodic check of all timeouts, and draining."""

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import structlog
from aiohttp import web

from proxy.enforcement import Enforcement
from proxy.http.forwarding import address_matcher
from proxy.http.request_header_names import RequestSpellings
from proxy.observe.access_log import AccessLog
from proxy.observe.metrics import Metrics
from proxy.relay.client_connection import ClientConnection
from proxy.relay.exchange import Exchange
from proxy.relay.exchange_record import Record
from proxy.relay.listeners import start_listening
from proxy.relay.services import Services
from proxy.relay.tls_files import ServerTls, WatchedFiles
from proxy.relay.upstream_pool import UpstreamPool
from proxy.settings import LimitSettings, ProxySettings

_log = structlog.get_logger(__name__)

_SWEEP_SECONDS = 0.5


class _Server(web.Server):
    """aiohttp's server with Sitelatch's protocol: aiohttp manages the listeners, but not the connections."""

    def __init__(self, services: Services, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(_never_called)
        self._services = services
        self._event_loop = loop

    def __call__(self) -> Any:
        return ClientConnection(self._services, self._event_loop)

    def pre_shutdown(self) -> None:
        for connection in list(self._services.connections):
            connection.drain()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's signature
        for connection in list(self._services.connections):
            connection.abort()


async def _never_called(request: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError("ClientConnection handles all requests")


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
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`clock` measures durations, because uvloop's own clock has a resolution of only one millisecond.

        Raises ValueError on a bad upstream, trusted proxy or `drop_headers` entry, and OSError on bad TLS files.
        """
        self._settings = settings
        self._metrics = metrics
        self._tls = ServerTls(settings.tls) if settings.tls else None
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
                shared[where] = UpstreamPool(*where, limits, self._count_upstream, reuse_after_body=reuse)
                if watched := shared[where].watched(f'[[proxy.routes]] "{route.name}" upstream_tls'):
                    self._watched.append(watched)
            pools[route] = shared[where]
        self._pools = list(shared.values())
        self._services = Services(
            limits=limits,
            enforcement=enforcement,
            spellings=RequestSpellings(settings.header_underscores, settings.drop_headers),
            pools=pools,
            metrics=metrics,
            record=Record(metrics, access_log, clock, {route: pool.failures for route, pool in pools.items()}),
            is_trusted=address_matcher(settings.trusted_proxies),
            next_request_id=_request_ids(),
            connections=set(),
            drained=asyncio.Event(),
            clock=clock,
        )
        self._runner: web.ServerRunner | None = None
        self._sites: list[web.BaseSite] = []
        self._sweeper: asyncio.TimerHandle | None = None

    def _count_upstream(self, change: int) -> None:
        self._metrics.upstream_open += change

    @property
    def addresses(self) -> list[Any]:
        """The addresses of the sockets: (host, port, …) or a path."""
        return list(self._runner.addresses) if self._runner is not None else []

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
        self._runner = web.ServerRunner(_Server(self._services, loop), shutdown_timeout=0)
        await self._runner.setup()
        tls = self._tls.context if self._tls is not None else None
        self._sites = await start_listening(self._runner, self._settings, tls)
        self._sweep()

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
        self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep)

    async def drain(self, timeout_seconds: float) -> bool:
        """Stop accepting, and wait for open exchanges to end. Return whether all ended in time. It may be canceled."""
        services = self._services
        services.draining = True
        for site in self._sites:
            await site.stop()
        self._sites = []
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
        if self._runner is not None:
            await self._runner.cleanup()
        for pool in self._pools:
            pool.close()


def _request_ids() -> Callable[[], bytes]:
    """Return a function that makes request ids: a random prefix per process, and a counter.

    A random id for each request would cost 1 µs more.
    """
    prefix = secrets.token_hex(6).encode()
    count = itertools.count(1)
    return lambda: b"%b-%x" % (prefix, next(count))
