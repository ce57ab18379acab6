"""The objects that all connections of a front door share."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.decision.routes import Route
from proxy.enforcement import Enforcement
from proxy.http.plain_requests import PlainRequests
from proxy.http.request_header_names import RequestSpellings
from proxy.observe.metrics import Metrics
from proxy.relay.connected_clients import ConnectedClients
from proxy.relay.exchange_record import Record
from proxy.relay.turn import Turn
from proxy.relay.upstream_pool import UpstreamPool
from proxy.settings import LimitSettings
from proxy.shadow import ShadowMode


@dataclass(slots=True)
class Services:
    """The objects that all connections of a front door share."""

    limits: LimitSettings
    enforcement: Enforcement
    spellings: RequestSpellings
    plain_requests: PlainRequests
    pools: Mapping[Route, UpstreamPool]
    metrics: Metrics
    record: Record
    is_trusted: Callable[[str], bool]
    """Whether an address belongs to a trusted proxy."""
    next_request_id: Callable[[], bytes]
    connections: ConnectedClients
    turn: Turn
    """Collects the bytes that arrive."""
    drained: asyncio.Event
    """Set when the last connection has closed after `draining` was set."""
    clock: Callable[[], float]
    """Measures durations, in seconds."""
    shadow: ShadowMode | None = None
    """Set if a route is in shadow mode."""
    relays_plainly: bool = True
    """Whether plain exchanges use the shortcut (plain_exchanges.py)."""
    draining: bool = False
