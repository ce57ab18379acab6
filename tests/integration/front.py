"""A front door in this process on real sockets, with one route, one upstream and one API key."""

import io
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from proxy.decision.api_keys import digest, new_key
from proxy.decision.route_table import RouteTable
from proxy.enforcement import Enforcement
from proxy.grants.cache import GrantCache
from proxy.observe.access_log import AccessLog
from proxy.observe.metrics import Metrics
from proxy.relay.front_door import FrontDoor
from proxy.relay.upstream_pool import UpstreamPool
from proxy.settings import GrantSettings, KeySettings, LimitSettings, ProxySettings, RouteSettings
from tests.acceptance.wire import Upstream, listening_socket, port_of
from tests.scopes import MemoryScope

KEY = new_key()


@dataclass
class Front:
    door: FrontDoor
    metrics: Metrics
    upstream: Upstream
    grants: GrantCache

    @property
    def pool(self) -> UpstreamPool:
        """The pool of the one upstream."""
        (pool,) = self.door.pools
        return pool

    @property
    def connections(self) -> set[Any]:
        """The clients' connections."""
        return set(self.door.services.connections)

    @property
    def port(self) -> int:
        return int(self.door.addresses[0][1])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def client(self) -> Any:
        """The front door's object for the only client connection."""
        (connection,) = self.connections
        return connection


@asynccontextmanager
async def front(
    *,
    upstream: str | None = None,
    route_settings: Mapping[str, Any] | None = None,
    service_tls: ssl.SSLContext | None = None,
    service_path: str | None = None,
    trusted: tuple[str, ...] = (),
    **limits: float,
) -> AsyncIterator[Front]:
    with listening_socket(service_path) as sock:
        service = Upstream(sock, tls=service_tls)
        await service.start()
        scope = MemoryScope()
        scope.add(digest(KEY.encode()), "ada", "shop")
        where = f"unix:{service_path}" if service_path else f"127.0.0.1:{port_of(sock)}"
        if service_path is None:
            where = f"{'https' if service_tls else 'http'}://{where}"
        route = RouteSettings(
            name="data", upstream=upstream or where, sites=("path:/sites/{site}/**",), **(route_settings or {})
        )
        metrics = Metrics()
        grants = GrantCache(GrantSettings(), scope, on_lookup=metrics.lookup)
        enforcement = Enforcement(
            RouteTable([route], KeySettings()), grants, metrics, on_use=lambda _: None, accept_foreign=False
        )
        settings = ProxySettings(listen="127.0.0.1:0", routes=(route,), trusted_proxies=trusted)
        door = FrontDoor(settings, LimitSettings(**limits), enforcement, metrics, AccessLog(io.BytesIO()))
        await door.start()
        try:
            yield Front(door, metrics, service, grants)
        finally:
            await door.close()
            await grants.close()
            await service.stop()
