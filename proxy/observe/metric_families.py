"""Builds prometheus-client's metric families from Sitelatch's own counts. `purpose` is the HELP text."""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

Cells = list[float]
"""A histogram's data: the count for each bound, the count above the last bound, and the sum of values in seconds."""


def gauge(name: str, purpose: str, value: float) -> GaugeMetricFamily:
    """Return a gauge."""
    return GaugeMetricFamily(f"sitelatch_{name}", purpose, value=float(value))


def counter(name: str, purpose: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    """Return a counter with one label."""
    family = CounterMetricFamily(f"sitelatch_{name}", purpose, labels=(label,))
    for value, count in counts.items():
        family.add_metric((value,), count)
    return family


def labeled_gauge(name: str, purpose: str, label: str, values: Iterable[str]) -> GaugeMetricFamily:
    """Return a gauge that is 1 for each of these values of a label."""
    family = GaugeMetricFamily(f"sitelatch_{name}", purpose, labels=(label,))
    for value in values:
        family.add_metric((value,), 1)
    return family


def labeled_counter(
    name: str, purpose: str, labels: Sequence[str], counts: Mapping[tuple[str, str], int]
) -> CounterMetricFamily:
    """Return a counter with several labels."""
    family = CounterMetricFamily(f"sitelatch_{name}", purpose, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def by_route(name: str, purpose: str, routes: Mapping[str, Cells], bounds: Sequence[float]) -> HistogramMetricFamily:
    """Return a histogram for each route."""
    family = HistogramMetricFamily(f"sitelatch_{name}", purpose, labels=("route",))
    for route, cells in routes.items():
        family.add_metric((route,), _buckets(cells, bounds), cells[-1])
    return family


def histogram(name: str, purpose: str, cells: Cells, bounds: Sequence[float]) -> HistogramMetricFamily:
    """Return a histogram."""
    return HistogramMetricFamily(f"sitelatch_{name}", purpose, buckets=_buckets(cells, bounds), sum_value=cells[-1])


def _buckets(cells: Cells, bounds: Sequence[float]) -> list[tuple[str, float]]:
    """Return the cumulative counts that Prometheus expects, from the count for each bound."""
    buckets = []
    total = 0.0
    for bound, count in zip((*map(str, bounds), "+Inf"), cells[:-1], strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
