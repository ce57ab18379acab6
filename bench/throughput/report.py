"""Turns the measured rounds into Markdown tables."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from bench.throughput.load import Round


def _median(rounds: Sequence[Round], value: Callable[[Round], float]) -> float:
    return statistics.median(value(each) for each in rounds)


def ratios(ours: Sequence[Round], theirs: Sequence[Round]) -> tuple[float, float]:
    """Return how many times faster ours is by requests, and by CPU time: the medians of each round's ratio."""
    pairs = list(zip(ours, theirs, strict=True))
    return (
        statistics.median(our.rate / their.rate for our, their in pairs),
        statistics.median(their.cpu / our.cpu if our.cpu else 0.0 for our, their in pairs),
    )


def table(
    title: str, rounds: Mapping[str, Sequence[Round]], *, ours: str, checks: Mapping[str, str], per_second: str
) -> str:
    """Return a section with a row for each candidate. The ratios are those of `ours` to the row's candidate."""
    lines = [
        f"## {title}",
        "",
        f"| | checks | {per_second} (min–max) | CPU µs | p50 ms | p99 ms | idle cores | peak MiB | {ours} against it |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, each in rounds.items():
        rates = [one.rate for one in each]
        faster, cheaper = ratios(rounds[ours], each)
        against = "" if name == ours else f"{faster:.2f}×, by CPU {cheaper:.2f}×" if cheaper else f"{faster:.2f}×"
        lines.append(
            f"| {name} | {checks.get(name, '')} "
            f"| {statistics.median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f}) "
            f"| {_median(each, lambda one: one.cpu):.1f} "
            f"| {_median(each, lambda one: one.p50) / 1000:.2f} | {_median(each, lambda one: one.p99) / 1000:.2f} "
            f"| {_median(each, lambda one: one.proxy_idle):.0%}, {_median(each, lambda one: one.idle):.0%} "
            f"| {_median(each, lambda one: one.memory):,.0f} | {against} |"
        )
    return "\n".join(lines) + "\n"
