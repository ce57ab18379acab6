"""Metrics for Prometheus. Names and labels are an interface: docs/metrics.md lists them, and a test compares the two.

Counting is a dictionary or list operation. prometheus-client only renders the counts at a scrape, because its own
counters cost 0.4 to 1.9 µs a call. No label ever contains a key, a path, a site or a user.
"""

import platform
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.observe.metric_families import (
    Cells,
    by_route,
    counter,
    gauge,
    histogram,
    labeled_counter,
    labeled_gauge,
)
from proxy.upstream_errors import Reason

LOOKUP_RESULTS: Final = ("hit", "stale", "miss", "unknown_hit", "filtered", "checked", "refused_format", "error")
FLUSH_RESULTS: Final = ("ok", "error")
WATCHED: Final = {
    "keys_filtered": "API keys in the filter for clients over their budget of unknown keys; 0 while it is not used.",
    "grants_cached": "API keys whose grant is cached.",
    "activity_pending": "API users whose last activity is not written yet.",
    "usage_pending": "API users whose usage is not written yet.",
    "keys_expiring": "API keys that expire within seven days. Not a number until they were counted.",
    "limit_shares_age_seconds": "Time since this process got its shares of the limits of API users.",
    "accepting": "1 while the front door accepts connections, 0 while accepting is paused.",
    "database_up": "1 while the database answers lookups, otherwise 0.",
    "database_writable": "1 while the database accepts writes, otherwise 0.",
    "feed_lag_seconds": "Time since the change feed was last read to its end.",
    "revocation_bound_seconds": "Upper bound on how long a revoked key is still accepted.",
}
"""Gauges whose values other objects hold. `watch` registers a function that reads the value."""
WATCHED_COUNTS: Final = {
    "connections_refused": "Client connections that were closed because their client had too many.",
    "shadow_findings_left_out": "Requests that no finding of shadow mode counts, because there were too many findings.",
    "log_lines_dropped": "Log lines that were dropped because they could not be written in time.",
}
"""The same for counters."""
FEED_MODES: Final = ("woken", "polling")
REVOKE_CAUSES: Final = (
    "key_gone",
    "key_disabled",
    "key_expired",
    "site_lost",
    "method_lost",
    "network_lost",
    "unconfirmed",
)
DROP_CAUSES: Final = ("key", "user", "all", "feed", "refresh")

EXCHANGE_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
DECISION_BOUNDS: Final = (5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 2.5e-3, 1e-2, 1e-1, 1.0)
FLUSH_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def _cells(bounds: Sequence[float]) -> Cells:
    return [0.0] * (len(bounds) + 2)


class _Counted:
    """How many exchanges have ended with the same route, outcome and status, and the histograms of the route."""

    __slots__ = ("number", "seconds", "upstream_seconds")

    def __init__(self, seconds: Cells, upstream_seconds: Cells) -> None:
        self.number = 0
        self.seconds = seconds
        self.upstream_seconds = upstream_seconds


class Metrics:
    """The metrics of one process. It is not thread-safe: only the event loop writes and reads them."""

    def __init__(self) -> None:
        self.exchanges_open = 0
        self.downstream_open = 0
        self.upstream_open = 0
        self._exchanges: dict[tuple[str, str, int], _Counted] = {}
        self._exchange_seconds: dict[str, Cells] = {}
        self._upstream_seconds: dict[str, Cells] = {}
        self._decision_seconds = _cells(DECISION_BOUNDS)
        self._lookups = dict.fromkeys(LOOKUP_RESULTS, 0)
        self._upstream_errors: dict[tuple[str, str], int] = {}
        self._flushes = dict.fromkeys(FLUSH_RESULTS, 0)
        self._flush_seconds = _cells(FLUSH_BOUNDS)
        self._usage_flushes = dict.fromkeys(FLUSH_RESULTS, 0)
        self._revoked = dict.fromkeys(REVOKE_CAUSES, 0)
        self._dropped = dict.fromkeys(DROP_CAUSES, 0)
        self.shadow_routes: Sequence[str] = ()
        """The routes in shadow mode."""
        self._shadowed: dict[tuple[str, str], int] = {}
        self._watched: dict[str, Callable[[], float]] = {}
        self._feed_mode: Callable[[], str] = str
        self._registry = CollectorRegistry()
        self._registry.register(_Families(self))
        ProcessCollector(registry=self._registry)

    def exchange(self, route: str, outcome: str, status: int, seconds: float, upstream_seconds: float | None) -> None:
        """Count one exchange that has ended. `route` is "" if none matched; docs/metrics.md lists the outcomes.

        `upstream_seconds` is the time until the head of the upstream's response, or None without one. Hot: 0.6 µs.
        """
        try:
            counted = self._exchanges[route, outcome, status]
        except KeyError:
            counted = self._exchanges[route, outcome, status] = self._count(route)
        counted.number += 1
        cells = counted.seconds
        cells[bisect_left(EXCHANGE_BOUNDS, seconds)] += 1
        cells[-1] += seconds
        if upstream_seconds is not None:
            cells = counted.upstream_seconds
            cells[bisect_left(EXCHANGE_BOUNDS, upstream_seconds)] += 1
            cells[-1] += upstream_seconds

    def _count(self, route: str) -> _Counted:
        """Return a new count of exchanges on a route. All counts of a route share its histograms."""
        return _Counted(
            self._exchange_seconds.setdefault(route, _cells(EXCHANGE_BOUNDS)),
            self._upstream_seconds.setdefault(route, _cells(EXCHANGE_BOUNDS)),
        )

    def upstream_failed(self, route: str, reason: Reason) -> None:
        """Count a request that got no complete response from its upstream."""
        cell = (route, reason.value)
        self._upstream_errors[cell] = self._upstream_errors.get(cell, 0) + 1

    def decision(self, seconds: float) -> None:
        """Count one decision, including its lookups. Hot."""
        cells = self._decision_seconds
        cells[bisect_left(DECISION_BOUNDS, seconds)] += 1
        cells[-1] += seconds

    def lookup(self, result: str) -> None:
        """Count a lookup. `result` is one of LOOKUP_RESULTS; any other raises KeyError. Hot."""
        self._lookups[result] += 1

    def flush(self, result: str, seconds: float) -> None:
        """Count one write of last activity. `result` is one of FLUSH_RESULTS."""
        self._flushes[result] += 1
        cells = self._flush_seconds
        cells[bisect_left(FLUSH_BOUNDS, seconds)] += 1
        cells[-1] += seconds

    def usage_flush(self, result: str) -> None:
        """Count one write of usage. `result` is one of FLUSH_RESULTS."""
        self._usage_flushes[result] += 1

    def revoked(self, cause: str) -> None:
        """Count an exchange that a revocation ended. `cause` is one of REVOKE_CAUSES."""
        self._revoked[cause] += 1

    def dropped(self, cause: str, count: int = 1) -> None:
        """Count grants that were removed from the cache. `cause` is one of DROP_CAUSES."""
        self._dropped[cause] += count

    def shadowed(self, route: str, verdict: str) -> None:
        """Count a request that a route in shadow mode forwards. `verdict` is `Verdict.result`."""
        self._shadowed[route, verdict] = self._shadowed.get((route, verdict), 0) + 1

    def watch_feed(self, mode: Callable[[], str]) -> None:
        """Register a function that returns the change feed's mode: one of FEED_MODES, or other text during outages."""
        self._feed_mode = mode

    def watch(self, name: str, read: Callable[[], float]) -> None:
        """Register a function that reads the metric `name` at each scrape. Raises ValueError unless it is listed."""
        if name not in WATCHED and name not in WATCHED_COUNTS:
            raise ValueError(f"there is no metric sitelatch_{name}")
        self._watched[name] = read

    def render(self) -> bytes:
        """Return all metrics in Prometheus's text format 0.0.4."""
        return generate_latest(self._registry)

    def families(self) -> Iterator[Metric]:
        """Yield all Sitelatch metrics as prometheus-client objects."""
        exchanges = CounterMetricFamily(
            "sitelatch_exchanges", "Exchanges that have ended.", labels=("route", "outcome", "status")
        )
        for (route, outcome, status), counted in self._exchanges.items():
            exchanges.add_metric((route, outcome, str(status)), counted.number)
        yield exchanges
        yield by_route(
            "exchange_seconds",
            "Time from a request's head to the end of its response.",
            self._exchange_seconds,
            EXCHANGE_BOUNDS,
        )
        yield histogram(
            "decision_seconds",
            "Time to decide on a request, including lookups.",
            self._decision_seconds,
            DECISION_BOUNDS,
        )
        yield by_route(
            "upstream_seconds",
            "Time from sending the request to the upstream to the head of its response.",
            {route: cells for route, cells in self._upstream_seconds.items() if any(cells)},
            EXCHANGE_BOUNDS,
        )
        errors = CounterMetricFamily(
            "sitelatch_upstream_errors",
            "Requests that got no complete response from the upstream.",
            labels=("route", "reason"),
        )
        for cell, count in self._upstream_errors.items():
            errors.add_metric(cell, count)
        yield errors
        yield gauge("exchanges_open", "Exchanges that are open.", self.exchanges_open)
        connections = GaugeMetricFamily("sitelatch_connections_open", "Connections that are open.", labels=("side",))
        connections.add_metric(("downstream",), self.downstream_open)
        connections.add_metric(("upstream",), self.upstream_open)
        yield connections
        yield counter("grant_lookups", "Lookups of grants, by their result.", "result", self._lookups)
        yield counter("grants_dropped", "Grants that were removed from the cache.", "cause", self._dropped)
        yield counter("exchanges_ended_by_revoke", "Exchanges that a revocation ended.", "cause", self._revoked)
        yield labeled_gauge("shadow_mode", "1 for each route in shadow mode.", "route", self.shadow_routes)
        yield labeled_counter(
            "shadow_requests",
            "Requests that a route in shadow mode forwarded, by the verdict that was not enforced.",
            ("route", "verdict"),
            self._shadowed,
        )
        feed = GaugeMetricFamily(
            "sitelatch_feed_up", "1 for the mode in which changes arrive, otherwise 0.", labels=("mode",)
        )
        mode_now = self._feed_mode()
        for mode in FEED_MODES:
            feed.add_metric((mode,), mode == mode_now)
        yield feed
        yield counter("activity_flushes", "Writes of last activity.", "result", self._flushes)
        yield histogram("activity_flush_seconds", "Time to write last activity.", self._flush_seconds, FLUSH_BOUNDS)
        yield counter("usage_flushes", "Writes of usage.", "result", self._usage_flushes)
        for name, read in self._watched.items():
            if name in WATCHED:
                yield gauge(name, WATCHED[name], read())
            else:
                yield CounterMetricFamily(f"sitelatch_{name}", WATCHED_COUNTS[name], value=read())
        build = GaugeMetricFamily("sitelatch_build_info", "The running version.", labels=("version", "python"))
        build.add_metric((installed_version(), platform.python_version()), 1)
        yield build


class _Families(Collector):
    """The collector from which prometheus-client gets all metrics at a scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return self._metrics.families()


def installed_version() -> str:
    """Return the installed version of Sitelatch."""
    try:
        return version("sitelatch")
    except PackageNotFoundError:  # running from a source tree that is not installed
        return "unknown"
