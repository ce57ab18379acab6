"""Counting and rendering of metrics, compared with docs/metrics.md."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.observe.metrics import DROP_CAUSES, LOOKUP_RESULTS, REVOKE_CAUSES, WATCHED, WATCHED_COUNTS, Metrics
from proxy.upstream_errors import Reason

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"


def rendered(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return every sample by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def used() -> Metrics:
    metrics = Metrics()
    metrics.exchange("data", "passed", 200, 0.02, 0.01)
    metrics.decision(0.00002)
    metrics.shadow_routes = ["data"]
    metrics.shadowed("data", "site_not_allowed")
    metrics.upstream_failed("data", Reason.CONNECTION_REFUSED)
    metrics.flush("ok", 0.003)
    for name in (*WATCHED, *WATCHED_COUNTS):
        metrics.watch(name, lambda: 1.0)
    return metrics


def test_the_document_lists_exactly_the_rendered_metrics() -> None:
    documented = {
        match[1]: (match[2], frozenset(re.findall(r"`(\w+)`", match[3])))
        for match in re.finditer(r"^\| `(sitelatch_\w+)` \| (\w+) \| ([^|]*)\|", DOCUMENT.read_text("utf-8"), re.M)
    }
    found = {}
    for family in text_string_to_metric_families(used().render().decode()):
        if family.name.startswith("sitelatch_"):
            name = family.name + "_total" if family.type == "counter" else family.name
            labels = frozenset(label for sample in family.samples for label in sample.labels) - {"le"}
            found[name] = (family.type, labels)
    assert documented == found


def table_after(heading: str) -> tuple[str, ...]:
    """Return the first column of the table after some words of the document."""
    table = DOCUMENT.read_text("utf-8").partition(heading)[2].partition("\n\n")[2].partition("\n\n")[0]
    return tuple(re.findall(r"^\| `([a-z_]+)` \| [^|]+\|$", table, re.M))


def test_the_document_lists_every_result_every_cause_and_the_process_metrics() -> None:
    assert table_after("`result` of a lookup") == LOOKUP_RESULTS
    assert table_after("`reason` of an upstream error") == tuple(Reason)
    assert table_after("`cause` of a dropped grant") == DROP_CAUSES
    assert table_after("`cause` of an exchange that was ended") == REVOKE_CAUSES
    for name in {name for name, _ in rendered(Metrics()) if not name.startswith("sitelatch_")}:
        assert f"`{name}`" in DOCUMENT.read_text("utf-8")


def test_exchanges_are_counted_by_route_outcome_and_status() -> None:
    metrics = Metrics()
    metrics.exchange("data", "passed", 200, 0.02, 0.01)
    metrics.exchange("data", "passed", 200, 0.02, 0.01)
    metrics.exchange("", "bad_request", 400, 0.001, None)
    samples = rendered(metrics)
    name = "sitelatch_exchanges_total"
    assert samples[name, (("outcome", "passed"), ("route", "data"), ("status", "200"))] == 2
    assert samples[name, (("outcome", "bad_request"), ("route", ""), ("status", "400"))] == 1
    assert samples["sitelatch_upstream_seconds_count", (("route", "data"),)] == 2
    assert ("sitelatch_upstream_seconds_count", (("route", ""),)) not in samples


@pytest.mark.parametrize(
    ("seconds", "bound"),
    [
        (0.0, "0.001"),
        (0.001, "0.001"),  # a bucket includes its bound
        (0.0010001, "0.0025"),
        (60.0, "60.0"),
        (3600.0, "+Inf"),
    ],
)
def test_a_duration_is_counted_in_its_bucket_and_all_higher_ones(seconds: float, bound: str) -> None:
    metrics = Metrics()
    metrics.exchange("data", "passed", 200, seconds, None)
    samples = rendered(metrics)
    buckets = [
        (dict(labels)["le"], value)
        for (name, labels), value in samples.items()
        if name == "sitelatch_exchange_seconds_bucket"
    ]
    assert next(le for le, value in buckets if value == 1) == bound
    assert [value for _, value in buckets] == sorted(value for _, value in buckets)
    assert samples["sitelatch_exchange_seconds_count", (("route", "data"),)] == 1
    assert samples["sitelatch_exchange_seconds_sum", (("route", "data"),)] == seconds


def test_gauges_are_read_at_scrape_time() -> None:
    metrics = Metrics()
    pending = [3.0]
    metrics.watch("activity_pending", lambda: pending[0])
    metrics.downstream_open = 7
    assert rendered(metrics)["sitelatch_activity_pending", ()] == 3
    pending[0] = 0.0
    metrics.downstream_open -= 1
    assert rendered(metrics)["sitelatch_activity_pending", ()] == 0
    assert rendered(metrics)["sitelatch_connections_open", (("side", "downstream"),)] == 6


def test_lookup_results_are_rendered_before_the_first_lookup() -> None:
    """Otherwise Prometheus would miss the first increase."""
    metrics = Metrics()
    metrics.lookup("miss")
    samples = rendered(metrics)
    assert samples["sitelatch_grant_lookups_total", (("result", "miss"),)] == 1
    assert samples["sitelatch_grant_lookups_total", (("result", "error"),)] == 0


def test_the_feed_is_up_in_at_most_one_mode() -> None:
    metrics = Metrics()
    mode = ["woken"]
    metrics.watch_feed(lambda: mode[0])
    for now, up in (("woken", (1, 0)), ("polling", (0, 1)), ("down", (0, 0))):
        mode[0] = now
        samples = rendered(metrics)
        assert tuple(samples["sitelatch_feed_up", (("mode", name),)] for name in ("woken", "polling")) == up


def test_an_undocumented_metric_name_is_refused() -> None:
    metrics = Metrics()
    with pytest.raises(ValueError, match="sitelatch_made_up"):
        metrics.watch("made_up", lambda: 1)
    with pytest.raises(KeyError):
        metrics.lookup("made_up")
